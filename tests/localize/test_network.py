"""The network: shapes, time, tiles; its loss; its decoding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lucule.core import InputError
from lucule.localize.decode import decode
from lucule.localize.likelihood import LossWeights, Truth, loss
from lucule.localize.network import CHANNELS, LocalizationNet, build
from lucule.nn import count_parameters, torch_threads

SMALL = {"context": 3, "widths": [8, 8, 8, 8, 8], "head": 8}


@pytest.fixture(autouse=True)
def one_thread():
    with torch_threads(1):
        yield


def network(**changes):
    torch.manual_seed(1)
    net = build(SMALL | changes).eval()
    for parameter in net.parameters():  # a start that reacts to its input
        parameter.data += 0.1 * torch.randn(parameter.shape)
    return net


def movie(frames=6, rows=32, columns=40, seed=0):
    return 50 + 40 * torch.rand(1, frames, rows, columns, generator=torch.Generator().manual_seed(seed))


def test_the_default_has_at_most_two_million_parameters():
    assert count_parameters(LocalizationNet()) <= 2_000_000


def test_unknown_options_and_an_even_context_are_refused():
    with pytest.raises(InputError, match="no such option"):
        build({"width": 3})
    with pytest.raises(InputError, match="odd"):
        build({"context": 4})


def test_a_frame_is_seen_by_its_neighbours_within_the_context_only():
    net = network()
    light = movie()
    changed = light.clone()
    changed[0, 2] *= 2
    with torch.inference_mode():
        moved = (net(light) - net(changed)).abs().amax(dim=(0, 2, 3, 4)) > 1e-6
    assert moved.tolist() == [False, True, True, True, False, False]


def test_both_ends_of_a_movie_are_computed_with_frames_that_do_not_exist():
    net = network(context=5)
    light = movie(frames=3)
    with torch.inference_mode():
        alone, together = net(light[:, :1]), net(light)
    assert alone.shape[1] == 1
    assert together.shape[1] == 3
    assert torch.isfinite(alone).all()


def raw_for(p, x, y, z, log_photons, sigma, shape=(16, 16), at=(5, 7), frames=1):
    """Raw output with one certain pixel; the inverse of `fields`."""
    raw = torch.zeros(frames, len(CHANNELS), *shape)
    raw[:, 0] = -12.0
    row, column = at
    values = [float(np.log(p / (1 - p))), *(float(np.arctanh(v / 1.5)) for v in (x, y)), z, log_photons - 7.6]
    values += [float(np.log(np.expm1(sigma - 0.005)))] * 4
    raw[0, :9, row, column] = torch.tensor(values)
    return raw


def truth(x, y, z=0.1, log_photons=8.0, frames=1, shape=(16, 16), frame=0):
    one = [torch.tensor([float(v)]) for v in (x, y, z, log_photons)]
    return Truth(torch.tensor([frame]), *one, torch.full((frames, *shape), float(np.exp(3.0))))


def test_loss_is_the_likelihood_of_one_gaussian_where_one_pixel_is_certain():
    sigma, error = 0.2, 0.1
    raw = raw_for(0.999999, 0.25, -0.1, 0.1, 8.0, sigma)
    value, parts = loss(raw, truth(7.75 + error, 5.4), LossWeights(pixel=0.0))
    expected = 4 * np.log(sigma * np.sqrt(2 * np.pi)) + 0.5 * (error / sigma) ** 2
    # the probabilities of the other pixels add up to 0.0016, of which the logarithm is the rest
    assert float(parts["place"]) == pytest.approx(expected, abs=0.01)
    assert float(parts["background"]) == pytest.approx(0.0, abs=1e-6)
    assert float(value) == pytest.approx(float(parts["count"] + parts["place"]), abs=1e-4)


def test_loss_is_smallest_at_the_truth():
    at = loss(raw_for(0.99, 0.25, -0.1, 0.1, 8.0, 0.2), truth(7.75, 5.4), LossWeights())[0]
    for changes in ({"x": 0.0}, {"y": 0.3}, {"z": 0.5}, {"log_photons": 9.0}, {"p": 0.3}):
        given = {"p": 0.99, "x": 0.25, "y": -0.1, "z": 0.1, "log_photons": 8.0, "sigma": 0.2} | changes
        assert loss(raw_for(**given), truth(7.75, 5.4), LossWeights())[0] > at


def test_loss_of_frames_without_emitters_and_at_corners_is_finite():
    raw = torch.randn(2, len(CHANNELS), 16, 16, requires_grad=True)
    none = Truth(*(torch.empty(0, dtype=d) for d in (torch.int64, *[torch.float32] * 4)), torch.ones(2, 16, 16))
    for emitters in (none, truth(0.01, 15.99, frames=2), truth(15.99, 0.01, frames=2, frame=1)):
        value, _ = loss(raw, emitters, LossWeights())
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(raw.grad).all()


def test_decode_gives_back_what_was_put_in():
    found = decode(raw_for(0.9, 0.25, -0.1, 0.1, 8.0, 0.2, frames=3), threshold=0.5)
    assert (found.frame.tolist(), found.row.tolist(), found.column.tolist()) == ([0], [5], [7])
    assert found.values[0] == pytest.approx([0.9, 7.75, 5.4, 0.1, 8.0, 0.2, 0.2, 0.2, 0.2, 3.0], abs=1e-4)


def two(p, q, gap, sigma=0.2):
    """Pixels (5, 7) and (5, 8) that point to places `gap` pixels apart, the middle of which is their common border."""
    raw = raw_for(p, 0.5 - gap / 2, 0.0, 0.1, 8.0, sigma)
    second = raw_for(q, -0.5 + gap / 2, 0.0, 0.1, 8.0, sigma, at=(5, 8))
    raw[0, :, 5, 8] = second[0, :, 5, 8]
    return raw


@pytest.mark.parametrize(
    ("p", "q", "gap", "expected"),
    [
        (0.55, 0.4, 0.0, [8.0]),  # one emitter on the border, shared
        (0.95, 0.9, 0.0, [8.0, 8.0]),  # two, for together they are more than one
        (0.6, 0.55, 1.2, [7.4, 8.6]),  # two places
        (0.3, 0.15, 0.0, []),  # too unlikely together
        (0.3, 0.3, 0.0, [8.0]),  # likely together only
    ],
)
def test_pixels_that_share_an_emitter_are_joined_and_others_are_not(p, q, gap, expected):
    found = decode(two(p, q, gap), threshold=0.5)
    assert sorted(found.values[:, 1]) == pytest.approx(expected, abs=1e-4)


def test_the_joint_standard_deviation_holds_the_distance_of_the_parts():
    found = decode(two(0.5, 0.5, 0.2), threshold=0.5)
    assert found.values[0, 5] == pytest.approx(np.hypot(0.2, 0.1), abs=1e-4)


def test_nothing_is_found_in_nothing():
    found = decode(torch.full((2, len(CHANNELS), 8, 8), -9.0), threshold=0.5)
    assert found.values.shape == (0, 10)
