"""Windows, uneven backgrounds and places of structures for varied fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

FloatArray = NDArray[np.float64]
Background = Literal["uniform", "gradient", "patches"]
Outline = Literal["square", "cell", "holes"]

_ROUNDS: Final = 30
_HARMONICS: Final = np.arange(2, 6)


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Where localizations are seen: a square, less a wobbly surrounding, less round holes.

    Attributes
    ----------
    side_nm
        Side of the square.
    wobble
        Amplitude and phase of the harmonics of a cell's outline `(4, 2)`; empty: the whole square.
    holes
        Centre and radius of each hole `(n, 3)`, nm.
    """

    side_nm: float
    wobble: FloatArray
    holes: FloatArray

    def holds(self, xy: FloatArray) -> NDArray[np.bool_]:
        """Whether each of the points `(n, 2)` is seen."""
        inside: NDArray[np.bool_] = np.asarray(((xy >= 0) & (xy < self.side_nm)).all(axis=1))
        if len(self.wobble):
            x, y = (xy - self.side_nm / 2).T
            angle = np.arctan2(y, x)[:, None]
            amplitude, phase = self.wobble.T
            limit = 0.38 * self.side_nm * (1 + (amplitude * np.cos(_HARMONICS * angle + phase)).sum(axis=1))
            inside &= np.hypot(x, y) < limit
        for x, y, radius in self.holes:
            inside &= (xy[:, 0] - x) ** 2 + (xy[:, 1] - y) ** 2 > radius**2
        return inside

    def uniform(self, rng: np.random.Generator, n: int) -> FloatArray:
        """Draw `n` points `(n, 2)` uniformly inside."""
        found = np.empty((0, 2))
        while len(found) < n:
            tried = rng.random((2 * n + 64, 2)) * self.side_nm
            found = np.concatenate([found, tried[self.holds(tried)]])
        return found[:n]


def window(rng: np.random.Generator, area_nm2: float, outline: Outline) -> Window:
    """Draw a window whose open part has the given area (within a few percent)."""
    side = float(np.sqrt(area_nm2))
    none = np.empty((0, 3))
    if outline == "square":
        return Window(side, np.empty((0, 2)), none)
    if outline == "cell":
        wobble = np.column_stack([rng.uniform(0, 0.3, 4) / _HARMONICS, rng.uniform(0, 2 * np.pi, 4)])
        drawn = Window(side, wobble, none)
    else:
        n = int(rng.integers(1, 5))
        holes = np.column_stack([rng.random((n, 2)), rng.uniform(0.08, 0.25, n)]) * side
        drawn = Window(side, np.empty((0, 2)), holes)
    grid: FloatArray = (np.stack(np.meshgrid(*[np.arange(64.0)] * 2), axis=-1).reshape(-1, 2) + 0.5) * (side / 64)
    scale = 1 / np.sqrt(max(drawn.holds(grid).mean(), 0.05))
    return Window(side * scale, drawn.wobble, drawn.holes * scale)


def draw(rng: np.random.Generator, place: Window, n: int, background: Background) -> FloatArray:
    """Draw `n` points `(n, 2)` of a background inside the window, nm."""
    if background == "uniform":
        return place.uniform(rng, n)
    if background == "gradient":
        direction = rng.normal(size=2)
        waves, strength = direction[None] / np.linalg.norm(direction) * 0.5, rng.uniform(0.5, 1.5)
        phases = np.array([rng.uniform(-0.25, 0.25) * np.pi])
    else:
        waves, strength = rng.normal(size=(6, 2)) * rng.uniform(1, 4), rng.uniform(0.2, 0.7)
        phases = rng.uniform(0, 2 * np.pi, 6)

    def intensity(xy: FloatArray) -> FloatArray:
        level = np.sin(2 * np.pi * (xy / place.side_nm - 0.5) @ waves.T + phases).sum(axis=1)
        return np.asarray(np.exp(strength * level / np.sqrt(len(waves))))

    highest = intensity(place.uniform(rng, 400)).max() * 1.2
    found = np.empty((0, 2))
    while len(found) < n:
        tried = place.uniform(rng, 2 * n + 64)
        found = np.concatenate([found, tried[rng.random(len(tried)) * highest < intensity(tried)]])
    return found[:n]


def place(rng: np.random.Generator, where: Window, reach_nm: FloatArray, beside: float) -> FloatArray:
    """Draw a centre `(n, 2)` for each structure so that no two are nearer than the sum of their reaches.

    A fraction `beside` lies right at another structure. Structures that find no place have NaN.
    """
    n = len(reach_nm)
    centres = where.uniform(rng, n)
    if n < 2 or reach_nm.max() == 0:
        return centres
    followers = np.flatnonzero(rng.random(n) < beside)
    for _ in range(_ROUNDS):
        losers = _losers(centres, reach_nm)
        if not len(losers):
            break
        centres[losers] = where.uniform(rng, len(losers))
    for follower in followers:
        leader = int(rng.integers(n))
        if leader == follower:
            continue
        angle, before = rng.uniform(0, 2 * np.pi), centres[follower].copy()
        apart = (reach_nm[leader] + reach_nm[follower]) * rng.uniform(1, 1.2)
        centres[follower] = centres[leader] + apart * np.array([np.cos(angle), np.sin(angle)])
        distance = np.linalg.norm(centres - centres[follower], axis=1)
        distance[follower] = np.inf
        if (distance < reach_nm + reach_nm[follower]).any() or not where.holds(centres[follower][None])[0]:
            centres[follower] = before
    centres[_losers(centres, reach_nm)] = np.nan
    return centres


def _losers(centres: FloatArray, reach_nm: FloatArray) -> NDArray[np.int64]:
    """Of each pair that is too near, the later one."""
    pairs = cKDTree(centres).query_pairs(2 * reach_nm.max(), output_type="ndarray")
    apart = np.linalg.norm(centres[pairs[:, 0]] - centres[pairs[:, 1]], axis=1)
    return np.unique(pairs[apart < reach_nm[pairs].sum(axis=1)].max(axis=1))
