"""Overlapping emitters: told apart when fitted together, and not invented."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.localize import FitSettings, fit
from lucule.localize.matching import MatchSettings, match
from lucule.simulate import load_camera
from lucule.simulate.optics import compile_psf

CAMERA = load_camera("ideal")
FRAMES = 60
SIGMA = 130.0


def pairs(lab, kernel, distance, seed=1, dz=0.0):
    """Two emitters in each frame at a distance in any direction; frame and xyz."""
    rng = np.random.default_rng(seed)
    first = rng.uniform(2800, 3600, (FRAMES, 2))
    angle = rng.uniform(0, 2 * np.pi, FRAMES)
    second = first + distance * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    xyz = np.concatenate([np.column_stack([first, np.full(FRAMES, -dz / 2)]),
                          np.column_stack([second, np.full(FRAMES, dz / 2)])])  # fmt: skip
    frame = np.tile(np.arange(FRAMES), 2)
    return frame, xyz, lab.taken(kernel, CAMERA, frame, xyz, 4000, 20, FRAMES, seed)


def scored(lab, multi, psf, frame, xyz, movie):
    locs = fit(movie, camera=CAMERA, psf=psf, settings=FitSettings(multi=multi))
    gates = MatchSettings(lateral_nm=100, axial_nm=300 if "z" in locs.data.columns else None)
    matches = match(locs["frame"], lab.positions(locs), frame, xyz, gates)
    errors = np.sqrt((matches.difference_nm**2).sum(axis=0) / max(len(matches.true), 1))
    return len(matches.true) / len(frame), errors, len(matches.wrong)


@pytest.mark.parametrize(("distance", "recall", "nm"), [(1.5, 0.75, 40), (2.0, 0.93, 20), (3.0, 0.98, 8)])
def test_pairs_of_gaussians_are_told_apart(lab, distance, recall, nm):
    frame, xyz, movie = pairs(lab, compile_psf("gaussian_2d", 100), distance * SIGMA)
    together, errors, wrong = scored(lab, True, "gaussian_2d", frame, xyz, movie)
    apart, _, _ = scored(lab, False, "gaussian_2d", frame, xyz, movie)
    assert together > recall
    # a Gaussian of free width covers both
    assert together > apart + 0.2
    assert errors[:2].max() < nm
    assert wrong <= 0.15 * len(frame)


def test_pairs_at_different_depths_are_told_apart(lab):
    frame, xyz, movie = pairs(lab, compile_psf("astigmatic", 100), 350.0, dz=500)
    recall, errors, wrong = scored(lab, True, "astigmatic", frame, xyz, movie)
    assert recall > 0.88
    assert errors[:2].max() < 15
    assert errors[2] < 50
    assert wrong <= 6


@pytest.mark.parametrize("psf", ["gaussian_2d", "astigmatic"])
def test_emitters_that_are_alone_stay_alone_and_at_the_bound(lab, psf):
    kernel = compile_psf(psf, 100)
    depths = (0, 0) if psf == "gaussian_2d" else (-400, 400)
    scene = lab.alone(kernel, CAMERA, frames=60, photons=10_000, background=30, z=depths, seed=4)
    locs = fit(scene.movie, camera=CAMERA, psf=psf, settings=FitSettings(multi=True))
    found = lab.judged(locs, scene, kernel, CAMERA, 10_000, 30)
    assert found.recall == 1
    assert found.wrong <= 2
    assert np.sqrt((found.over_bound**2).mean(axis=0)).max() < 1.25
    assert np.mean(locs["p_fit"]) == pytest.approx(0.5, abs=0.08)


def test_five_together(lab):
    kernel = compile_psf("gaussian_2d", 100)
    rng = np.random.default_rng(8)
    frame = np.repeat(np.arange(40), 5)
    offsets = 330 * np.array([[0, 0], [1, 0], [0, 1], [-1, 0], [0, -1]])
    xyz = np.column_stack([(rng.uniform(3000, 3400, (40, 1, 2)) + offsets).reshape(-1, 2), np.zeros(200)])
    movie = lab.taken(kernel, CAMERA, frame, xyz, 4000, 20, 40, 8)
    recall, errors, wrong = scored(lab, True, "gaussian_2d", frame, xyz, movie)
    assert recall > 0.6  # 0.69 to 0.88 over seeds
    assert errors[:2].max() < 25
    assert wrong <= 5


def test_an_empty_frame_between_others(lab):
    kernel = compile_psf("astigmatic", 100)
    frame, xyz = np.array([0, 2]), np.array([[3000.0, 3000, 0], [2000, 4000, 200]])
    locs = fit(lab.taken(kernel, CAMERA, frame, xyz, 5000, 20, 3, 1), camera=CAMERA, psf="astigmatic",
               settings=FitSettings(multi=True))  # fmt: skip
    assert locs["frame"].tolist() == [0, 2]
