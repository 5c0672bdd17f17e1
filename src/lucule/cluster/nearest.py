"""How far each cluster is from the nearest other: centre to centre, and edge to edge."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lucule.space import NeighbourGrid

_CANDIDATES: Final = 24

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def centre_distances(centre: Floats, pattern: Indices) -> Floats:
    """Distance from each centre to the nearest other of its pattern, `(m,)`, nm; NaN for the only one.

    Parameters
    ----------
    centre
        `(m, d)`, nm.
    pattern
        `(m,)`: clusters of different patterns (fields, channels) do not see each other.

    Examples
    --------
    >>> centre_distances(np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]]), np.array([0, 0, 1])).tolist()
    [5.0, 5.0, nan]
    """
    result = np.full(len(centre), np.nan)
    for rows in _of_each(pattern):
        if len(rows) > 1:
            _, near = NeighbourGrid(centre[rows].astype(np.float32)).neighbours(1)
            # the grid is float32; the distance itself need not be
            result[rows] = np.linalg.norm(centre[rows] - centre[rows[near[:, 0]]], axis=1)
    return result


def outline_distances(shapes: NDArray[Any], pattern: Indices) -> Floats:
    """Distance from each outline to the nearest other of its pattern, `(m,)`, nm; NaN where there is no outline.

    The nearest is the one whose corners are nearest (arcs have many), the distance that between the outlines. Outlines
    that touch or overlap have the distance 0.
    """
    import shapely

    result = np.full(len(shapes), np.nan)
    outlined = np.flatnonzero(~shapely.is_missing(shapes))
    corners, owner = shapely.get_coordinates(shapes[outlined], return_index=True)
    starts = np.searchsorted(owner, np.arange(len(outlined) + 1))
    for rows in _of_each(pattern[outlined]):
        if len(rows) > 1:
            own = shapes[outlined[rows]]
            first, second = shapely.STRtree(own).query(own, predicate="intersects")
            apart = np.ones(len(rows), dtype=bool)
            apart[first[first != second]] = False
            _, other = _nearest_sets(corners, starts, rows, np.zeros(len(outlined)), apart)
            result[outlined[rows]] = np.where(apart, shapely.distance(own, shapes[outlined[other]]), 0.0)
    return result


def solid_distances(places: Floats, starts: Indices, margin_nm: Floats, pattern: Indices) -> Floats:
    """Distance from each solid to the nearest other of its pattern, `(m,)`, nm; NaN where there is no solid.

    Two solids are as far apart as their nearest localizations, less the margins by which they reach beyond them, and
    not less than 0.

    Parameters
    ----------
    places, starts
        Cluster i has the places `starts[i]` to `starts[i + 1]`, `(p, 3)`, nm.
    margin_nm
        `(m,)`; NaN where there is no solid.
    pattern
        `(m,)`, as for `centre_distances`.
    """
    result = np.full(len(margin_nm), np.nan)
    solid = np.isfinite(margin_nm)
    for rows in _of_each(pattern, solid):
        if len(rows) > 1:
            gaps, _ = _nearest_sets(places, starts, rows, margin_nm, np.ones(len(rows), dtype=bool))
            result[rows] = np.maximum(gaps, 0.0)
    return result


def _nearest_sets(
    points: Floats, starts: Indices, rows: Indices, margin: Floats, wanted: NDArray[np.bool_]
) -> tuple[Floats, Indices]:
    """Of those of the sets `rows` of points that are wanted, the gap to the nearest other, and which that is."""
    count = np.diff(starts)[rows]
    inner = np.arange(count.sum()) + np.repeat(starts[rows] - np.cumsum(count) + count, count)
    # within each set by y, so that only a band of it needs to be looked at
    inner = inner[np.lexsort((points[inner, 1], np.repeat(np.arange(len(rows)), count)))]
    own = np.ascontiguousarray(points[inner])
    first = np.concatenate([[0], np.cumsum(count)])
    centre = np.add.reduceat(own, first[:-1], axis=0) / count[:, None]
    from_centre = np.linalg.norm(own - np.repeat(centre, count, axis=0), axis=1)
    extent = np.maximum.reduceat(from_centre, first[:-1]) + margin[rows]
    _, near = NeighbourGrid(centre.astype(np.float32)).neighbours(min(len(rows) - 1, _CANDIDATES))
    gap, other = _gaps(own, first, centre, extent, margin[rows], near.astype(np.int64), wanted)
    return gap, rows[other]


def _of_each(pattern: Indices, chosen: NDArray[np.bool_] | None = None) -> list[Indices]:
    rows = np.arange(len(pattern)) if chosen is None else np.flatnonzero(chosen)
    order = rows[np.argsort(pattern[rows], kind="stable")]
    return list(np.split(order, np.flatnonzero(np.diff(pattern[order])) + 1))


@njit(cache=True, nogil=True)
def _gaps(
    points: Floats,
    starts: Indices,
    centre: Floats,
    extent: Floats,
    margin: Floats,
    near: Indices,
    wanted: NDArray[np.bool_],
) -> tuple[Floats, Indices]:
    """Smallest distance between two sets of points, less both margins, for each wanted set, and to which it is.

    Sets are tried in the order of their centres; those that cannot be nearer than the nearest so far are left out, and
    so are all once two overlap. Where the candidates in `near` do not settle it, all are tried.
    """
    m = len(centre)
    largest = extent.max()
    gap = np.full(m, np.inf)
    nearest = np.zeros(m, np.int64)
    for i in range(m):
        if not wanted[i]:
            continue
        settled = near.shape[1] == m - 1
        for position in range(near.shape[1] + m):
            if gap[i] <= 0 or (position == near.shape[1] and settled):
                break
            candidate = position < near.shape[1]
            other = near[i, position] if candidate else position - near.shape[1]
            apart = np.sqrt(((centre[i] - centre[other]) ** 2).sum())
            if candidate and apart - extent[i] - largest >= gap[i]:
                settled = True
                break
            if other != i and apart - extent[i] - extent[other] < gap[i]:
                margins = margin[i] + margin[other]
                found = _closest(points, starts, i, other, gap[i] + margins) - margins
                if found < gap[i]:
                    gap[i], nearest[i] = found, other
    return gap, nearest


@njit(cache=True, nogil=True)
def _closest(points: Floats, starts: Indices, first: int, second: int, limit: float) -> float:
    """Smallest distance between the points of two sets; `limit` where it is not smaller."""
    if starts[first + 1] - starts[first] > starts[second + 1] - starts[second]:
        first, second = second, first
    squared = limit * limit
    low, high = starts[second], starts[second + 1]
    for p in range(starts[first], starts[first + 1]):
        middle = low + np.searchsorted(points[low:high, 1], points[p, 1])
        for q in range(middle, high):
            if (points[q, 1] - points[p, 1]) ** 2 >= squared:
                break
            squared = min(squared, _squared(points[p], points[q]))
        for q in range(middle - 1, low - 1, -1):
            if (points[q, 1] - points[p, 1]) ** 2 >= squared:
                break
            squared = min(squared, _squared(points[p], points[q]))
    return np.sqrt(squared)


@njit(cache=True, nogil=True)
def _squared(a: Floats, b: Floats) -> float:
    total = 0.0
    for axis in range(len(a)):
        total += (a[axis] - b[axis]) ** 2
    return total
