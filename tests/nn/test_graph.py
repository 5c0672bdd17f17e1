import numpy as np
import pytest
import torch

from lucule.nn.graph import GraphNetwork, Pairs, harmonics


def random_rotation(seed):
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return torch.tensor(q * np.sign(np.linalg.det(q)), dtype=torch.float32)


@pytest.mark.parametrize("seed", range(3))
def test_contractions_of_harmonics_do_not_change_when_everything_is_turned(seed):
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.nn.functional.normalize(torch.randn(2, 50, 3, generator=generator), dim=-1)
    turn = random_rotation(seed)
    for low, high in ((0, 3), (3, 8)):
        plain = (harmonics(a)[:, low:high] * harmonics(b)[:, low:high]).sum(-1)
        turned = (harmonics(a @ turn.T)[:, low:high] * harmonics(b @ turn.T)[:, low:high]).sum(-1)
        assert torch.allclose(plain, turned, atol=1e-5)
    assert torch.allclose(harmonics(a)[:, :3].norm(dim=1), torch.ones(50), atol=1e-5)
    assert torch.allclose(harmonics(a)[:, 3:].norm(dim=1), torch.ones(50), atol=1e-5)


def small(points=30, ranks=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(0, points, (points, ranks), generator=generator)
    direction = torch.nn.functional.normalize(torch.randn(points, ranks, 3, generator=generator), dim=-1)
    features = torch.randn(points, ranks, 5, generator=generator)
    pairs = Pairs(index, torch.ones(points, ranks, dtype=torch.bool), features, harmonics(direction))
    torch.manual_seed(seed)
    network = GraphNetwork(
        point_features=4, pair_features=5, symmetric_features=3, classes=3, width=16, layers=4
    ).eval()
    return network, torch.randn(points, 4, generator=generator), pairs


def test_fields_do_not_see_each_other():
    network, features, pairs = small()
    index = torch.cat((pairs.index, pairs.index + 30))
    both = Pairs(index, pairs.present.repeat(2, 1), pairs.features.repeat(2, 1, 1), pairs.harmonics.repeat(2, 1, 1))
    field = torch.arange(60) // 30
    with torch.inference_mode():
        one, affinity = network(features, pairs, torch.zeros(30, dtype=torch.int64), 1)
        other = features + 1
        two, _ = network(torch.cat((features, other)), both, field, 2)
    assert torch.allclose(one, two[:30], atol=1e-5)
    assert affinity.shape == (30, 6)
    assert not torch.allclose(one, two[30:], atol=1e-2)


def test_missing_neighbours_are_not_looked_at():
    network, features, pairs = small()
    present = pairs.present.clone()
    present[:, 3:] = False
    half = Pairs(pairs.index, present, pairs.features * present[..., None], pairs.harmonics * present[..., None])
    elsewhere = Pairs(torch.where(present, pairs.index, 0), present, half.features, half.harmonics)
    field = torch.zeros(30, dtype=torch.int64)
    with torch.inference_mode():
        one, _ = network(features, half, field, 1)
        two, _ = network(features, elsewhere, field, 1)
    assert torch.allclose(one, two, atol=1e-5)


def test_a_point_without_any_neighbour_is_no_trouble():
    network, features, pairs = small()
    nothing = Pairs(pairs.index, torch.zeros_like(pairs.present), pairs.features * 0, pairs.harmonics * 0)
    logits, affinity = network(features, nothing, torch.zeros(30, dtype=torch.int64), 1)
    assert torch.isfinite(logits).all()
    assert torch.isfinite(affinity).all()
    logits.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)
