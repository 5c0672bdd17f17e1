import numpy as np
import pytest
import torch

from lucule.classify.graph.readout import FieldStates, ReadoutSettings, fit_readout, score
from lucule.classify.graph.train import build

WIDTH = 8


def network(*, readout=True):
    torch.manual_seed(4)
    return build(width=WIDTH, layers=2, classes=4, readout=readout).eval()


def fields(number, seed):
    """Points of one appearance, clustered in half of the fields; the other points of a field tell in which."""
    rng, seen = np.random.default_rng(seed), []
    for i in range(number):
        states, clustered = rng.normal(0, 0.3, (60, WIDTH)), i % 2
        states[:30, 0] = 1
        states[30:, 1] = 1 if clustered else -1
        seen.append(FieldStates(states.astype(np.float16), np.repeat([clustered, 0], 30).astype(np.uint8)))
    return seen


def test_in_the_beginning_a_readout_changes_nothing():
    states = torch.randn(50, WIDTH)
    with torch.inference_mode():
        assert torch.equal(network().probabilities(states), network(readout=False).probabilities(states))


def test_a_readout_learns_what_a_point_alone_cannot_tell():
    learner, unseen = network(), fields(20, 2)
    untouched = {name: value.clone() for name, value in learner.state_dict().items() if "layers" in name}
    fit_readout(learner, fields(60, 1), ReadoutSettings(steps=200, learning_rate=2e-2), seed=1)
    assert score(learner, unseen)["validation_point_accuracy"] > 0.98
    alone = network(readout=True)
    alone.readout.verdict[-1].requires_grad_(False)  # classes alone, as without a readout
    fit_readout(alone, fields(60, 1), ReadoutSettings(steps=200, learning_rate=2e-2), seed=1)
    assert score(alone, unseen)["validation_point_accuracy"] < 0.8
    assert all(torch.equal(learner.state_dict()[name], value) for name, value in untouched.items())


def test_the_same_seed_gives_the_same_readout():
    one, two = network(), network()
    for learner in (one, two):
        fit_readout(learner, fields(6, 1), ReadoutSettings(steps=5, fields=100), seed=3)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_without_a_readout_there_is_nothing_to_fit():
    with pytest.raises(ValueError, match="no readout"):
        fit_readout(network(readout=False), fields(2, 1), ReadoutSettings(steps=1), seed=1)
