"""Simulated tables with the truth, made once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lucule import simulate
from lucule.core import Localizations

MOTION = {
    "linear_nm_per_min": (25.0, -15.0, 10.0),
    "settling_nm": (120.0, -80.0, 100.0),
    "settling_time_s": 90.0,
    "walk_nm_per_sqrt_min": (4.0, 4.0, 4.0),
}


def drifting(name: str, *, seed: int = 7, psf: str | None = None, **changes) -> tuple[Localizations, np.ndarray]:
    """A packaged scene with realistic drift, and that drift in each frame, `(frames, 3)`."""
    scene = simulate.load_scene(name, motion=MOTION, **changes)
    times = scene.acquisition
    moved = scene.motion.displacement(
        times.frames, frame_time_s=times.interval_s, exposure_s=times.exposure_s, seed=seed
    )
    return simulate.localizations(scene, seed=seed, outside="drop", psf=psf), moved


@pytest.fixture(scope="session")
def origami() -> tuple[Localizations, np.ndarray]:
    return drifting("origami", frames=4000)


@pytest.fixture(scope="session")
def pores() -> tuple[Localizations, np.ndarray]:
    return drifting("nuclear_pores", psf="astigmatic", frames=6000)


@pytest.fixture(scope="session")
def microtubules() -> tuple[Localizations, np.ndarray]:
    return drifting("microtubules", frames=2000)


def _spots(
    *, n: int, times: int, sigma: float, frames: int, seed: int = 1, size: float = 10_000.0, errors: bool = True, dims: int = 2
) -> Localizations:
    """Molecules anywhere, each seen `times` times in frames by lot, all with the same error."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, size, (n, dims))
    if dims == 3:
        truth[:, 2] *= 600 / size
    points = truth.repeat(times, axis=0) + rng.normal(0, sigma, (n * times, dims))
    data = {"frame": rng.integers(0, frames, n * times), **{a: points[:, i] for i, a in enumerate("xyz"[:dims])}}
    data["molecule"] = np.arange(n).repeat(times)
    if errors:
        data |= {f"{a}_err": np.full(n * times, sigma) for a in "xyz"[:dims]}
    return Localizations(data)


@pytest.fixture(scope="session")
def spots() -> Callable[..., Localizations]:
    return _spots
