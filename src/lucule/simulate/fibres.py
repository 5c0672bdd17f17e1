"""Fibres among clusters in the plane: where they run, how points lie on them, which points they cover.

A fibre is a worm-like chain with a width. Fibres may cross each other; round clusters keep clear of them, and
localizations outside of both never fall onto one, so that every localization has one true class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lucule.core import InputError
from lucule.simulate.clusters import CellList, Slab, nearest_squared
from lucule.simulate.outlines import FloatArray

TRIES_PER_FIBRE: Final = 200
STEP_NM: Final = 20.0
# points of an axis per fibre radius: the covered area is then right to within 1 %
_POINTS_PER_RADIUS: Final = 4


@dataclass(frozen=True, slots=True, eq=False)
class Fibres:
    """Fibres of one length and radius; `axes_nm` is `(n, m, 2)`, `cells` holds closely spaced points of the axes."""

    axes_nm: FloatArray
    radius_nm: float
    cells: CellList

    def near(self, points: FloatArray, distance_nm: float) -> NDArray[np.bool_]:
        """Tell which of the points `(n, 3)`, nm, lie within `distance_nm` (at most a cell's size) of an axis."""
        cells = self.cells
        return _near(points, distance_nm, cells.low_nm, cells.size_nm, cells.first, cells.following, cells.centres_nm)

    def covered(self, points: FloatArray) -> NDArray[np.bool_]:
        """Tell which of the points `(n, 3)`, nm, lie on a fibre."""
        return self.near(points, self.radius_nm)

    def draw(self, rng: np.random.Generator, n: int) -> tuple[FloatArray, NDArray[np.int32]]:
        """Draw `n` points `(n, 3)` with z = 0, nm, uniformly along and across all fibres, and the fibre of each."""
        which = rng.integers(0, len(self.axes_nm), n).astype(np.int32)
        place = rng.random(n) * (self.axes_nm.shape[1] - 1)
        before = place.astype(np.int64)
        start, end = self.axes_nm[which, before], self.axes_nm[which, before + 1]
        along = (end - start) / np.linalg.norm(end - start, axis=1, keepdims=True)
        across = rng.uniform(-self.radius_nm, self.radius_nm, n)
        points = np.zeros((n, 3))
        points[:, :2] = start + (end - start) * (place - before)[:, None]
        points[:, :2] += across[:, None] * np.column_stack([-along[:, 1], along[:, 0]])
        return points, which


def place_fibres(
    rng: np.random.Generator,
    slab: Slab,
    n: int,
    *,
    radius_nm: float,
    length_nm: float,
    persistence_nm: float,
    reach_nm: float,
) -> Fibres:
    """Draw `n` fibres that lie wholly inside the outline; `reach_nm` is the largest distance ever asked for.

    Raises
    ------
    InputError
        A fibre of this length does not fit into the outline.
    """
    inside = slab.outline.shrunk(radius_nm)
    found: list[FloatArray] = []
    tried = placed = 0
    while placed < n and tried < TRIES_PER_FIBRE * n and inside.area_um2 > 0:
        starts = inside.uniform(rng, 2 * (n - placed) + 8)
        chains = _chains(rng, starts, length_nm, persistence_nm)
        whole = inside.contains(chains.reshape(-1, 2)).reshape(chains.shape[:2]).all(axis=1)
        found.append(chains[whole][: n - placed])
        tried, placed = tried + len(starts), placed + len(found[-1])
    if placed < n:
        raise InputError(
            "The fibres do not fit into the field",
            received=f"{n} fibres of {length_nm / 1000:g} um in {slab.outline.area_um2:.4g} um2",
            next_step="lower fibre_length_um or fibre_radius_nm, or raise the size of the cell",
        )
    axes = np.concatenate(found)
    return Fibres(axes, radius_nm, _cells(slab, axes, radius_nm, max(reach_nm, radius_nm)))


def _chains(rng: np.random.Generator, starts: FloatArray, length_nm: float, persistence_nm: float) -> FloatArray:
    """Worm-like chains in the plane, `(n, m, 2)`: their direction is lost as exp(-s / (2 P))."""
    steps = max(int(np.ceil(length_nm / STEP_NM)), 2)
    step = length_nm / steps
    turns = rng.normal(0.0, np.sqrt(step / persistence_nm), (len(starts), steps))
    turns[:, 0] = rng.uniform(0, 2 * np.pi, len(starts))
    angle = turns.cumsum(axis=1)
    path = step * np.stack([np.cos(angle), np.sin(angle)], axis=2).cumsum(axis=1)
    return np.asarray(starts[:, None] + np.concatenate([np.zeros((len(starts), 1, 2)), path], axis=1))


def _cells(slab: Slab, axes: FloatArray, radius_nm: float, reach_nm: float) -> CellList:
    """Sort closely spaced points of the axes into cells of at least `reach_nm`."""
    between = max(int(np.ceil(STEP_NM * _POINTS_PER_RADIUS / radius_nm)), 1)
    fraction = (np.arange(between) / between)[:, None]
    start, end = axes[:, :-1, None], axes[:, 1:, None]
    plane = np.concatenate([(start + (end - start) * fraction).reshape(-1, 2), axes[:, -1]])
    points = np.column_stack([plane, np.zeros(len(plane))])
    x_min, y_min, x_max, y_max = slab.outline.bounds_nm
    low = np.array([x_min, y_min, 0.0])
    shape = int((x_max - x_min) / reach_nm) + 1, int((y_max - y_min) / reach_nm) + 1, 1
    cells = CellList(low, reach_nm, np.full(shape, -1, np.int32), np.full(len(points), -1, np.int32), points)
    _fill(points, low, reach_nm, cells.first, cells.following)
    return cells


@njit(cache=True, nogil=True)
def _fill(
    points: FloatArray, low: FloatArray, size: float, first: NDArray[np.int32], following: NDArray[np.int32]
) -> None:
    for row in range(len(points)):
        i, j = int((points[row, 0] - low[0]) / size), int((points[row, 1] - low[1]) / size)
        following[row] = first[i, j, 0]
        first[i, j, 0] = row


@njit(cache=True, nogil=True)
def _near(
    points: FloatArray,
    distance: float,
    low: FloatArray,
    size: float,
    first: NDArray[np.int32],
    following: NDArray[np.int32],
    centres: FloatArray,
) -> NDArray[np.bool_]:
    near = np.empty(len(points), np.bool_)
    for row in range(len(points)):
        x, y, z = points[row]
        near[row] = nearest_squared(x, y, z, low, size, first, following, centres) < distance * distance
    return near
