"""Clusters: where their centres lie, how points lie around a centre, which points a cluster covers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from lucule.core import InputError
from lucule.simulate.outlines import Cell, FloatArray, Square

SPACING_RADII: Final = 2.2
TRIES_PER_CLUSTER: Final = 200

Indices = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Slab:
    """Where localizations may lie: an outline in the plane and a range in z (None in 2D)."""

    outline: Cell | Square
    z_nm: tuple[float, float] | None = None

    def shrunk(self, margin_nm: float) -> Slab:
        """Give the part of the slab that is at least `margin_nm` away from its surface."""
        z = None if self.z_nm is None else (self.z_nm[0] + margin_nm, self.z_nm[1] - margin_nm)
        return Slab(self.outline.shrunk(margin_nm), z)

    def uniform(self, rng: np.random.Generator, n: int) -> FloatArray:
        """Draw `n` points uniformly inside, `(n, 3)` with z = 0 in 2D, nm."""
        low, high = self.z_nm or (0.0, 0.0)
        xy = self.outline.uniform(rng, n)
        return np.column_stack([xy, rng.uniform(low, high, n)])


@dataclass(frozen=True, slots=True, eq=False)
class CellList:
    """Centres sorted into cubic cells so that those near a point are found at once; grows while centres are added."""

    low_nm: FloatArray
    size_nm: float
    first: Indices  # (nx, ny, nz), the centre added last to each cell, -1 = none
    following: Indices  # (n,), the centre added to the same cell before, -1 = none
    centres_nm: FloatArray  # (n, 3)


def _cell_list(slab: Slab, n: int, spacing_nm: float) -> CellList:
    x_min, y_min, x_max, y_max = slab.outline.bounds_nm
    z_min, z_max = slab.z_nm or (0.0, 0.0)
    low, high = np.array([x_min, y_min, z_min]), np.array([x_max, y_max, z_max])
    # cells not smaller than the spacing, and not more cells than a few for each centre
    size = max(spacing_nm, float(np.sqrt((x_max - x_min) * (y_max - y_min) / max(n, 1))))
    shape = tuple(int((b - a) / size) + 1 for a, b in zip(low, high, strict=True))
    return CellList(low, size, np.full(shape, -1, np.int32), np.full(n, -1, np.int32), np.empty((n, 3)))


def place(
    rng: np.random.Generator,
    slab: Slab,
    n: int,
    radius_nm: float,
    taken: Callable[[FloatArray], NDArray[np.bool_]] | None = None,
) -> CellList:
    """Place `n` centres at random, whole clusters inside the slab, no two closer than 2.2 radii (CAML).

    `taken` tells which of the points `(n, 3)` can be no centre.

    Raises
    ------
    InputError
        The clusters do not fit; random placement fills up at about 45 % of the area (30 % of the volume).
    """
    spacing = SPACING_RADII * radius_nm
    cells = _cell_list(slab, n, spacing)
    inside = slab.shrunk(radius_nm)
    placed = tried = 0
    while placed < n:
        if tried >= TRIES_PER_CLUSTER * n or inside.outline.area_um2 == 0:
            raise InputError(
                "The clusters do not fit into the field",
                received=f"{n} clusters of radius {radius_nm:g} nm in {slab.outline.area_um2:.4g} um2",
                allowed=f"about {placed} such clusters, {SPACING_RADII:g} radii apart",
                next_step="lower density_per_um2, fraction_clustered or radius_nm, or raise points_per_cluster",
            )
        candidates = inside.uniform(rng, max(2 * (n - placed), 1000))
        tried += len(candidates)
        if taken is not None:
            candidates = candidates[~taken(candidates)]
        placed = _add(candidates, spacing, placed, cells.low_nm, cells.size_nm, cells.first, cells.following,
                      cells.centres_nm)  # fmt: skip
    return cells


@njit(cache=True)
def nearest_squared(
    x: float, y: float, z: float, low: FloatArray, size: float, first: Indices, following: Indices, centres: FloatArray
) -> float:
    """Squared distance to the nearest centre in the cells around a point, infinite where there is none."""
    nearest = np.inf
    i, j, k = int((x - low[0]) / size), int((y - low[1]) / size), int((z - low[2]) / size)
    for a in range(max(i - 1, 0), min(i + 2, first.shape[0])):
        for b in range(max(j - 1, 0), min(j + 2, first.shape[1])):
            for c in range(max(k - 1, 0), min(k + 2, first.shape[2])):
                other = first[a, b, c]
                while other >= 0:
                    dx, dy, dz = x - centres[other, 0], y - centres[other, 1], z - centres[other, 2]
                    nearest = min(nearest, dx * dx + dy * dy + dz * dz)
                    other = following[other]
    return nearest


@njit(cache=True)
def _add(
    candidates: FloatArray,
    spacing: float,
    placed: int,
    low: FloatArray,
    size: float,
    first: Indices,
    following: Indices,
    centres: FloatArray,
) -> int:
    """Accept candidates one after the other where no earlier centre is too close; return how many there are now."""
    for candidate in range(len(candidates)):
        if placed == len(centres):
            break
        x, y, z = candidates[candidate]
        if nearest_squared(x, y, z, low, size, first, following, centres) < spacing * spacing:
            continue
        centres[placed] = candidates[candidate]
        i, j, k = int((x - low[0]) / size), int((y - low[1]) / size), int((z - low[2]) / size)
        following[placed] = first[i, j, k]
        first[i, j, k] = placed
        placed += 1
    return placed


@njit(cache=True, parallel=True)
def _covered(
    points: FloatArray,
    radius: float,
    low: FloatArray,
    size: float,
    first: Indices,
    following: Indices,
    centres: FloatArray,
) -> NDArray[np.bool_]:
    covered = np.empty(len(points), np.bool_)
    for row in prange(len(points)):
        x, y, z = points[row]
        covered[row] = nearest_squared(x, y, z, low, size, first, following, centres) < radius * radius
    return covered


def outside(
    rng: np.random.Generator,
    slab: Slab,
    n: int,
    cells: CellList,
    radius_nm: float,
    taken: Callable[[FloatArray], NDArray[np.bool_]] | None = None,
) -> FloatArray:
    """Draw `n` points `(n, 3)` uniformly in the slab, outside of all clusters and of what is `taken`, nm."""
    drawn = slab.uniform(rng, n)
    if not len(cells.centres_nm) and taken is None:
        return drawn
    free = np.empty((0, 3))
    while True:
        covered = _covered(drawn, radius_nm, cells.low_nm, cells.size_nm, cells.first, cells.following,
                           cells.centres_nm)  # fmt: skip
        if taken is not None:
            covered |= taken(drawn)
        free = np.concatenate([free, drawn[~covered]])
        if len(free) >= n:
            return free[:n]
        drawn = slab.uniform(rng, max(2 * (n - len(free)), 1000))


def around(
    rng: np.random.Generator, n: int, radius_nm: float, *, shape: Literal["disc", "gaussian"], dims: int
) -> FloatArray:
    """Draw `n` positions relative to a cluster's centre, `(n, 3)` with z = 0 in 2D, nm.

    `disc` is uniform in the disc or sphere: the distance from the centre is R u^(1/dims), its mean 2/3 R in 2D and
    3/4 R in 3D. `gaussian` has the same mean squared distance, R^2 dims / (dims + 2), spread over the axes.
    """
    offsets = np.zeros((n, 3))
    if shape == "gaussian":
        offsets[:, :dims] = rng.normal(0.0, radius_nm / np.sqrt(dims + 2), (n, dims))
        return offsets
    direction = rng.normal(size=(n, dims))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    offsets[:, :dims] = direction * (radius_nm * rng.random((n, 1)) ** (1 / dims))
    return offsets
