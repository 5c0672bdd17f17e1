"""The compiled kernels of training give what the plain operations give, forward and backward."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numba
import pytest
import torch

from lucule.classify.graph.batches import FieldBatch, FieldSettings, make_batch
from lucule.classify.graph.gradients import PairKernels
from lucule.classify.graph.vectors import activate

train = importlib.import_module("lucule.classify.graph.train")


def batch(points: int = 700) -> FieldBatch:
    """Several fields, in which neighbours are missing and a point has none at all."""
    found = make_batch(FieldSettings(families={"discs": 1, "three_d": 1}, points=points, blinking=0.5), 3, 0)
    index = found.index.clone()
    index[:5, 3:] = -1
    index[17] = -1
    return replace(found, index=index)


def network(width: int = 32) -> torch.nn.Module:
    torch.manual_seed(0)
    return train.build(width=width, layers=3, classes=4)  # type: ignore[no-any-return]


def gradients(net: torch.nn.Module, fields: FieldBatch) -> tuple[float, dict[str, torch.Tensor]]:
    net.zero_grad()
    value, _ = train.loss(net, fields)
    value.backward()
    return value.item(), {name: parameter.grad.clone() for name, parameter in net.named_parameters()}


def test_loss_and_gradients_are_those_of_the_plain_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    net, fields = network(), batch()
    assert (fields.index[17] < 0).all()
    value, found = gradients(net, fields)
    monkeypatch.setattr(PairKernels, "for_training", classmethod(lambda *_: None))
    expected, wanted = gradients(net, fields)
    assert value == pytest.approx(expected, rel=1e-6)
    for name, gradient in wanted.items():
        assert gradient.norm() > 0, name
        assert (found[name] - gradient).norm() < 1e-3 * gradient.norm(), name


def test_gradients_do_not_depend_on_the_number_of_threads() -> None:
    net, fields = network(), batch()
    before, torch_before = numba.get_num_threads(), torch.get_num_threads()
    try:
        # sums over rows that are looked up several times are not the same twice on several threads of torch
        torch.set_num_threads(1)
        numba.set_num_threads(1)
        one = gradients(net, fields)
        numba.set_num_threads(before)
        several = gradients(net, fields)
    finally:
        numba.set_num_threads(before)
        torch.set_num_threads(torch_before)
    assert one[0] == several[0]
    assert all(torch.equal(one[1][name], several[1][name]) for name in one[1])


def test_what_the_kernels_cannot_do_is_left_to_the_plain_operations() -> None:
    features = torch.zeros(1, 1)
    assert PairKernels.for_training(network(32), features) is not None
    assert PairKernels.for_training(network(16), features) is None
    with torch.autocast("cpu", torch.bfloat16):
        assert PairKernels.for_training(network(32), features) is None
    assert torch.isfinite(gradients(network(16), batch(200))[1]["layers.0.pair.weight"]).all()


def test_small_numbers_are_flushed_only_within_the_kernels() -> None:
    gradients(network(), batch(200))
    assert torch.tensor([1e-45]) * 1 > 0


def test_activation_and_its_slope() -> None:
    x = torch.linspace(-60, 60, 16 * 16, requires_grad=True)
    torch.nn.functional.silu(x).sum().backward()
    values, slopes = x.detach().reshape(16, 16).numpy().copy(), torch.zeros(16, 16).numpy()
    activate(values, slopes, 16)
    assert torch.allclose(torch.from_numpy(values).flatten(), torch.nn.functional.silu(x.detach()), atol=1e-6)
    assert torch.allclose(torch.from_numpy(slopes).flatten(), x.grad, atol=1e-6)
