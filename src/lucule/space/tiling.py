"""Cutting a table into tiles with a margin of neighbours."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lucule.core import InputError, Localizations
from lucule.space.points import require_points


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """One square of the plane.

    Attributes
    ----------
    inside
        Rows of the points in the tile, ascending. Every point is inside exactly one tile.
    halo
        Rows of the points outside it that lie up to the halo width away, ascending.
    bounds
        (x_min, y_min, x_max, y_max) in nm; the lower bounds belong to the tile, the upper ones to the next.
    """

    inside: NDArray[np.int64]
    halo: NDArray[np.int64]
    bounds: tuple[float, float, float, float]


def tiles(points: ArrayLike | Localizations, size_nm: float, halo_nm: float = 0.0) -> Iterator[Tile]:
    """Cut points into square tiles over x and y, and find the neighbours around each tile.

    The tiles lie on multiples of `size_nm`, whatever the points. Tiles without a point inside are left out. The memory
    used is a few integers per point.

    Parameters
    ----------
    points
        A table, or positions `(n, 2)` or `(n, 3)` in nm; z plays no part.
    size_nm
        Side of a tile, nm.
    halo_nm
        Width of the margin, nm.

    Yields
    ------
    tile
        Row by row (y), and within a row by x.

    Raises
    ------
    InputError
        A size is not positive, a halo negative, or a position not finite.

    Examples
    --------
    >>> for tile in tiles([[10.0, 10.0], [90.0, 10.0], [110.0, 10.0]], size_nm=100.0, halo_nm=15.0):
    ...     print(tile.inside, tile.halo, tile.bounds)
    [0 1] [2] (0.0, 0.0, 100.0, 100.0)
    [2] [1] (100.0, 0.0, 200.0, 100.0)
    """
    xy = points.xy() if isinstance(points, Localizations) else require_points(points)[:, :2]
    if not (math.isfinite(size_nm) and size_nm > 0):
        raise InputError("The tile size cannot be used", received=f"{size_nm} nm", allowed="more than 0 nm")
    if not (math.isfinite(halo_nm) and halo_nm >= 0):
        raise InputError("The halo cannot be used", received=f"{halo_nm} nm", allowed="0 nm or more")
    return _Tiling(xy, float(size_nm), float(halo_nm)).tiles()


class _Tiling:
    """Rows sorted by tile, tiles by line (y) and then column (x)."""

    def __init__(self, xy: NDArray[Any], size: float, halo: float) -> None:
        self.xy, self.size, self.halo = xy, size, halo
        # one more than the halo covers, for points that lie on its very edge
        self.margin = math.floor(halo / size) + 1
        column, line = (_multiples(xy[:, axis], size) for axis in (0, 1))
        # this sort is stable, so rows stay ascending within a tile
        self.rows = np.lexsort((column, line))
        column, line = column[self.rows], line[self.rows]
        new = np.ones(len(xy), bool)
        new[1:] = (column[1:] != column[:-1]) | (line[1:] != line[:-1])
        starts = np.flatnonzero(new)
        self.edges = np.append(starts, len(xy))
        self.column, self.line = column[starts], line[starts]

    def tiles(self) -> Iterator[Tile]:
        for t, (column, line) in enumerate(zip(self.column.tolist(), self.line.tolist(), strict=True)):
            bounds = (column * self.size, line * self.size, (column + 1) * self.size, (line + 1) * self.size)
            yield Tile(self.rows[self.edges[t] : self.edges[t + 1]], self._halo(t, bounds), bounds)

    def _halo(self, t: int, bounds: tuple[float, float, float, float]) -> NDArray[np.int64]:
        if self.halo == 0:
            return np.empty(0, np.int64)
        near = np.concatenate([self.rows[run] for run in self._runs_around(t)])
        x, y = self.xy[near, 0].astype(np.float64), self.xy[near, 1].astype(np.float64)
        x_min, y_min, x_max, y_max = bounds
        dx = np.maximum(np.maximum(x_min - x, x - x_max), 0.0)
        dy = np.maximum(np.maximum(y_min - y, y - y_max), 0.0)
        return np.sort(near[np.hypot(dx, dy) <= self.halo])

    def _runs_around(self, t: int) -> Iterator[slice]:
        """Runs of `rows` in the tiles within the margin of tile t, itself left out."""
        column, line = self.column[t], self.line[t]
        first, last = np.searchsorted(self.line, [line - self.margin, line + self.margin + 1])
        for occupied in np.unique(self.line[first:last]):
            start, stop = np.searchsorted(self.line, [occupied, occupied + 1])
            left, right = start + np.searchsorted(
                self.column[start:stop], [column - self.margin, column + self.margin + 1]
            )
            if occupied == line:
                yield slice(self.edges[left], self.edges[t])
                left = t + 1
            yield slice(self.edges[left], self.edges[right])


def _multiples(values: NDArray[Any], size: float) -> NDArray[np.int64]:
    """The i for which i size <= value < (i + 1) size, as computed: division alone can round across an edge."""
    exact = values.astype(np.float64)
    i = np.floor(exact / size)
    i -= exact < i * size
    i += exact >= (i + 1) * size
    return i.astype(np.int64)
