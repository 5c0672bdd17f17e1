"""Fibres among clusters: where they run, how points lie on them, which points they cover.

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
from lucule.simulate.curves import Curve, worm_like_chain
from lucule.simulate.outlines import FloatArray

TRIES_PER_FIBRE: Final = 200
# points of an axis per fibre radius: the covered area is then right to within 1 %
_STEPS_PER_RADIUS: Final = 4


@dataclass(frozen=True, slots=True, eq=False)
class Fibres:
    """Fibres of one radius; `cells` holds closely spaced points of their axes."""

    curves: tuple[Curve, ...]
    radius_nm: float
    cells: CellList

    def near(self, points: FloatArray, distance_nm: float) -> NDArray[np.bool_]:
        """Tell which of the points `(n, 3)`, nm, lie within `distance_nm` (at most `reach_nm`) of an axis."""
        if not self.curves:
            return np.zeros(len(points), np.bool_)
        cells = self.cells
        return _near(points, distance_nm, cells.low_nm, cells.size_nm, cells.first, cells.following, cells.centres_nm)

    def covered(self, points: FloatArray) -> NDArray[np.bool_]:
        """Tell which of the points `(n, 3)`, nm, lie on a fibre."""
        return self.near(points, self.radius_nm)

    def draw(self, rng: np.random.Generator, n: int, *, dims: int) -> tuple[FloatArray, NDArray[np.int32]]:
        """Draw `n` points `(n, 3)`, nm, uniformly along all fibres, and the fibre of each, `(n,)`.

        In 2D they are uniform over the width, in 3D over the cross-section.
        """
        which = np.sort(rng.integers(0, len(self.curves), n).astype(np.int32))
        along, across, angle = rng.random(n), rng.random(n), rng.uniform(0, 2 * np.pi, n)
        points = np.empty((n, 3))
        for number, curve in enumerate(self.curves):
            of = which == number
            if dims == 3:
                points[of] = curve.around(along[of] * curve.length_nm, angle[of], self.radius_nm * np.sqrt(across[of]))[
                    0
                ]
                continue
            position, tangent, _, _ = curve.at(along[of] * curve.length_nm)
            sideways = np.column_stack([-tangent[:, 1], tangent[:, 0], np.zeros(of.sum())])
            points[of] = position + (2 * across[of, None] - 1) * self.radius_nm * sideways
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
    """Draw `n` fibres that lie wholly inside the slab; `reach_nm` is the largest distance ever asked for.

    Raises
    ------
    InputError
        A fibre of this length does not fit into the outline.
    """
    inside = slab.shrunk(radius_nm)
    curves: list[Curve] = []
    for _ in range(TRIES_PER_FIBRE * n):
        if len(curves) == n or inside.outline.area_um2 == 0:
            break
        angle = rng.uniform(0, 2 * np.pi)
        curve = worm_like_chain(
            rng, length_nm, persistence_nm, start_nm=inside.uniform(rng, 1)[0],
            direction=np.array([np.cos(angle), np.sin(angle), 0.0]), z_nm=inside.z_nm,
        )  # fmt: skip
        if inside.outline.contains(curve.points_nm[:, :2]).all():
            curves.append(curve)
    if len(curves) < n:
        raise InputError(
            "The fibres do not fit into the field",
            received=f"{n} fibres of {length_nm / 1000:g} um in {slab.outline.area_um2:.4g} um2",
            next_step="lower fibre_length_um or fibre_radius_nm, or raise the size of the cell",
        )
    return Fibres(tuple(curves), radius_nm, _axes(slab, curves, radius_nm, max(reach_nm, radius_nm)))


def _axes(slab: Slab, curves: list[Curve], radius_nm: float, reach_nm: float) -> CellList:
    """Sort points of the axes into cells of at least `reach_nm`."""
    step = radius_nm / _STEPS_PER_RADIUS
    points = [c.at(np.linspace(0, c.length_nm, int(c.length_nm / step) + 2))[0] for c in curves]
    axes = np.concatenate(points) if points else np.empty((0, 3))
    x_min, y_min, x_max, y_max = slab.outline.bounds_nm
    z_min, z_max = slab.z_nm or (0.0, 0.0)
    low, high = np.array([x_min, y_min, z_min]), np.array([x_max, y_max, z_max])
    shape = tuple(int((b - a) / reach_nm) + 1 for a, b in zip(low, high, strict=True))
    cells = CellList(low, reach_nm, np.full(shape, -1, np.int32), np.full(len(axes), -1, np.int32), axes)
    _fill(axes, low, reach_nm, cells.first, cells.following)
    return cells


@njit(cache=True, nogil=True)
def _fill(
    points: FloatArray, low: FloatArray, size: float, first: NDArray[np.int32], following: NDArray[np.int32]
) -> None:
    for row in range(len(points)):
        i, j, k = (
            int((points[row, 0] - low[0]) / size),
            int((points[row, 1] - low[1]) / size),
            int((points[row, 2] - low[2]) / size),
        )
        following[row] = first[i, j, k]
        first[i, j, k] = row


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
