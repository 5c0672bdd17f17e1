"""Refinement: at the bound where emitters are bright, at the network's word where they are not."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.localize import refine as room
from lucule.localize.refine import refine
from lucule.localize.scores import error_over_bound
from lucule.simulate import load_camera
from lucule.simulate.camera import expose
from lucule.simulate.crlb import crlb, noise_of
from lucule.simulate.optics import compile_psf

CAMERA = load_camera("smlm_challenge")
KERNEL = compile_psf("astigmatic", 100)
FRAMES = 150


def frames(xyz, photons, background=30.0, seed=1):
    """One frame for each row of `xyz` `(frames, emitters, 3)`, in photons."""
    light = np.full((len(xyz), 24, 24), background, np.float32)
    for f, points in enumerate(xyz):
        light[f] += KERNEL.image(*points.T, np.full(len(points), photons), (24, 24))
    return (expose(light, CAMERA, seed=seed).astype(np.float32) - 100) * np.float32(CAMERA.photons_per_count)


def refined(light, xyz, photons, offset, sigma, **options):
    """Refine from the true places moved by an offset; rows of all frames in order."""
    per_frame = xyz.shape[1]
    points = xyz.reshape(-1, 3) + offset
    said = np.column_stack([points, np.full(len(points), photons), np.full(len(points), 30.0)])
    spread = np.tile([*sigma, 0.3 * photons], (len(points), 1))
    starts = np.arange(len(xyz) + 1) * per_frame
    found = refine(light, starts, said, spread, KERNEL, noise_of(CAMERA), **options)
    return found.values, found.errors


def alone(seed=0, z=200.0):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.uniform(1100, 1300, (FRAMES, 1, 2)), np.full((FRAMES, 1, 1), z)], axis=2)


@pytest.mark.parametrize("photons", [3000.0, 20_000.0])
def test_bright_emitters_reach_the_bound_and_the_errors_say_so(photons):
    xyz = alone()
    found, error = refined(frames(xyz, photons), xyz, photons, [30, -40, 60], [100, 100, 200], trust=1.0)
    difference = found[:, :3] - xyz[:, 0]
    bound = crlb(KERNEL, CAMERA, *xyz[:, 0].T, photons, 30.0)
    bounds = np.stack([bound.x_err, bound.y_err, bound.z_err], axis=1)
    assert error_over_bound(difference, bounds) == pytest.approx([1, 1, 1], abs=0.2)
    assert error_over_bound(difference, error[:, :3]) == pytest.approx([1, 1, 1], abs=0.2)
    assert np.abs(difference.mean(axis=0) / bounds.mean(axis=0)).max() < 0.4
    assert found[:, 3].mean() == pytest.approx(photons, rel=0.03)


def test_where_the_frame_says_nothing_the_network_is_believed():
    xyz = alone()
    dark = frames(xyz, 1e-3)
    found, error = refined(dark, xyz, 30.0, [5, 5, 5], [20, 20, 40], trust=0.5)
    assert np.abs(found[:, :3] - xyz[:, 0] - 5).max() < 15
    assert error[:, :3].mean(axis=0) == pytest.approx([10, 10, 20], rel=0.15)


def test_a_background_that_rises_to_one_side_draws_nobody_there(monkeypatch):
    xyz = alone(z=550.0)
    slope = 60 + 3.0 * (np.arange(24) - 11.5)
    light = frames(xyz, 6000.0, background=np.broadcast_to(slope, (24, 24)))
    options = {"offset": [10, -10, 20], "sigma": [100, 100, 200], "trust": 1.0}
    found, error = refined(light, xyz, 6000.0, **options)
    monkeypatch.setattr(room, "lasting_shape", lambda _light, rest, _camera: np.zeros_like(rest))
    drawn, _ = refined(light, xyz, 6000.0, **options)
    bias, without = ((f[:, 0] - xyz[:, 0, 0]).mean() / error[:, 0].mean() for f in (found, drawn))
    assert without > 5  # 6.4; with the true background 0.06
    assert abs(bias) < 1.0  # 0.7 to 0.8 over seeds


def test_two_that_overlap_are_told_apart():
    rng = np.random.default_rng(2)
    first = np.column_stack([rng.uniform(1000, 1100, (FRAMES, 2)), np.full(FRAMES, -250.0)])
    xyz = np.stack([first, first + np.array([350, 100, 500])], axis=1)
    found, _ = refined(frames(xyz, 15_000.0), xyz, 15_000.0, [20, -20, 50], [60, 60, 120], trust=1.0)
    difference = found[:, :3] - xyz.reshape(-1, 3)
    assert np.sqrt((difference**2).mean(axis=0)).max() < 18  # 14.5 to 16.5 over seeds
    assert np.abs(difference.mean(axis=0)).max() < 4


def test_emitters_at_and_beyond_the_border_stay_finite():
    xyz = np.array([[[10.0, 10.0, 0.0]], [[2390.0, 5.0, 0.0]], [[-60.0, 1200.0, 0.0]]])
    found, error = refined(frames(xyz, 5000.0), xyz, 5000.0, [10, 10, 10], [30, 30, 60])
    assert np.isfinite(found).all()
    assert np.isfinite(error).all()
    assert np.abs(found[:, :2] - xyz[:, 0, :2]).max() < 60


def test_depth_stays_inside_the_range_of_the_psf():
    high = KERNEL.z_range_nm[1]
    xyz = alone(z=high)
    found, _ = refined(frames(xyz, 500.0), xyz, 500.0, [0, 0, 0], [50, 50, 2000], trust=1.0)
    assert found[:, 2].max() <= high


def test_frames_of_one_molecule_share_what_they_say_of_its_place():
    xyz = alone()
    xyz[..., :2] = np.random.default_rng(5).uniform(800, 1600, (FRAMES, 1, 2))
    xyz[:] = np.repeat(xyz[::3], 3, axis=0)  # each is on for three frames
    light = frames(xyz, 3000.0)
    options = {"offset": [10, -10, 10], "sigma": [100, 100, 200], "trust": 1.0}
    single, _ = refined(light, xyz, 3000.0, **options)
    shared, error = refined(light, xyz, 3000.0, **options, reach=2)
    off = [np.sqrt(((found[:, :3] - xyz[:, 0]) ** 2).mean(axis=0)) for found in (single, shared)]
    # the average of three; the next molecule is rarely so near that it could be the same
    assert off[1] / off[0] == pytest.approx(np.full(3, 3**-0.5), abs=0.1)
    pulls = (shared[:, :3] - xyz[:, 0]) / error[:, :3]
    assert np.sqrt((pulls**2).mean(axis=0)) == pytest.approx([1, 1, 1], abs=0.25)


def test_it_is_said_in_which_frames_around_a_molecule_is_seen_again():
    place = np.array([1200.0, 1200.0, 0.0])
    xyz = np.stack([place, place, place + np.array([600.0, 0.0, 0.0]), place])[:, None]  # on, on, elsewhere, on
    said = np.column_stack([xyz[:, 0], np.full(4, 5000.0), np.full(4, 30.0)])
    spread = np.tile([20.0, 20.0, 40.0, 1500.0], (4, 1))
    light = frames(xyz, 5000.0)
    none = [-1, -1, -1, -1]
    for reach, others in ((0, [[], [], [], []]), (2, [[1, -1, -1, -1], [-1, -1, 0, -1], none, none])):
        found = refine(light, np.arange(5), said, spread, KERNEL, noise_of(CAMERA), reach=reach)
        assert found.others.tolist() == others


def test_what_jumps_between_frames_is_not_averaged():
    xyz = alone()
    xyz[1::2, 0, 0] += 150
    found, _ = refined(frames(xyz, 10_000.0), xyz, 10_000.0, [5, 5, 5], [100, 100, 200], trust=1.0, reach=2)
    assert np.abs((found[:, 0] - xyz[:, 0, 0]).reshape(-1, 2).mean(axis=0)).max() < 2


def test_frames_without_emitters_are_passed_over():
    found = refine(
        np.zeros((3, 24, 24), np.float32), np.zeros(4, np.int64), np.empty((0, 5)), np.empty((0, 4)), KERNEL,
        noise_of(CAMERA),
    )  # fmt: skip
    assert found.values.shape == found.errors.shape == (0, 5)
    assert found.others.shape == (0, 0)
