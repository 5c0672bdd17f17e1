"""Simulated frames with the truth, for all tests of the fits."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from lucule.core import Camera, Localizations
from lucule.localize.matching import match
from lucule.simulate.camera import expose, sensor
from lucule.simulate.crlb import crlb
from lucule.simulate.optics import Kernel

SIZE = 64


@dataclass(frozen=True, eq=False)
class Scene:
    """Frames, and the frame and the position `(n, 3)` of each emitter."""

    movie: NDArray[np.uint16]
    frame: NDArray[np.int64]
    xyz: NDArray[np.float64]


def alone(
    kernel: Kernel, camera: Camera, *, frames: int, photons: float, background: float, z: tuple[float, float], seed: int
) -> Scene:
    """Four emitters in each frame, far from each other, anywhere on the pixels and in a range of depths."""
    rng = np.random.default_rng(seed)
    centres = np.tile([[i, j] for i in (16, 48) for j in (16, 48)], (frames, 1))
    xy = kernel.pixel_size_nm[0] * (centres + rng.uniform(-4, 4, (4 * frames, 2)))
    xyz = np.column_stack([xy, rng.uniform(*z, 4 * frames)])
    frame = np.repeat(np.arange(frames), 4)
    return Scene(taken(kernel, camera, frame, xyz, photons, background, frames, seed), frame, xyz)


def taken(kernel, camera, frame, xyz, photons, background, frames, seed):
    """Expose emitters on frames of 64 x 64 pixels."""
    light = np.full((frames, SIZE, SIZE), background, np.float32)
    for f in range(frames):
        x, y, z = xyz[frame == f].T
        light[f] += kernel.image(x, y, z, np.full(len(x), float(photons)), (SIZE, SIZE))
    return expose(light, camera, seed=seed)


def positions(locs: Localizations) -> NDArray[np.float64]:
    """x, y, z of a table; z is 0 where there is none."""
    zero = np.zeros(len(locs))
    return np.stack([locs[a].astype(np.float64) if a in locs.data.columns else zero for a in "xyz"], axis=1)


@dataclass(frozen=True, eq=False)
class Judged:
    """Errors in units of the bound and of the table's own errors, along the axes that were fitted."""

    recall: float
    wrong: int
    over_bound: NDArray[np.float64]
    pulls: NDArray[np.float64]
    matches: object


def judged(
    locs: Localizations, scene: Scene, kernel: Kernel, camera: Camera, photons: float, background: float
) -> Judged:
    """Pair a table with the truth."""
    axes = "xyz" if "z" in locs.data.columns else "xy"
    pairs = match(locs["frame"], positions(locs), scene.frame, scene.xyz)
    true = scene.xyz[pairs.true]
    bound = crlb(kernel, sensor(camera, (SIZE, SIZE)), *true.T, photons, background, free_z=len(axes) == 3)
    bounds = np.stack([getattr(bound, f"{a}_err") for a in axes], axis=1)
    errors = np.stack([locs[f"{a}_err"].astype(np.float64) for a in axes], axis=1)[pairs.found]
    difference = pairs.difference_nm[:, : len(axes)]
    return Judged(len(pairs.true) / len(scene.frame), len(pairs.wrong), difference / bounds, difference / errors, pairs)


@pytest.fixture(scope="session")
def lab():
    """Give the functions of this file."""
    return SimpleNamespace(alone=alone, taken=taken, positions=positions, judged=judged)
