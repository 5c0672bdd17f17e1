"""How far each cluster is from the nearest other: centre to centre, and edge to edge."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lucule.cluster.members import Members
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

    Outlines that touch or overlap have the distance 0.
    """
    import shapely

    result = np.full(len(shapes), np.nan)
    for rows in _of_each(pattern, ~shapely.is_missing(shapes)):
        if len(rows) > 1:
            tree = shapely.STRtree(shapes[rows])
            (own, _), distance = tree.query_nearest(shapes[rows], exclusive=True, return_distance=True)
            result[rows[own]] = distance
    return result


def solid_distances(members: Members, centre: Floats, margin_nm: Floats, pattern: Indices) -> Floats:
    """Distance from each solid to the nearest other of its pattern, `(m,)`, nm; NaN where there is no solid.

    Two solids are as far apart as their nearest localizations, less the margins by which they reach beyond them, and
    not less than 0.

    Parameters
    ----------
    members
        The m clusters.
    centre
        `(m, 3)`, nm.
    margin_nm
        `(m,)`; NaN where there is no solid.
    pattern
        `(m,)`, as for `centre_distances`.
    """
    result = np.full(len(members), np.nan)
    if not len(members):
        return result
    offset = members.places - np.repeat(centre, members.n_places, axis=0)
    extent = np.maximum.reduceat(np.linalg.norm(offset, axis=1), members.place_starts[:-1]) + margin_nm
    for rows in _of_each(pattern, np.isfinite(margin_nm)):
        if len(rows) > 1:
            own = centre[rows]
            k = min(len(rows) - 1, _CANDIDATES)
            _, near = NeighbourGrid(own.astype(np.float32)).neighbours(k)
            gaps = _gaps(
                members.places, members.place_starts, rows, own, extent[rows], margin_nm[rows], near.astype(np.int64)
            )
            result[rows] = np.maximum(gaps, 0.0)
    return result


def _of_each(pattern: Indices, chosen: NDArray[np.bool_] | None = None) -> list[Indices]:
    rows = np.arange(len(pattern)) if chosen is None else np.flatnonzero(chosen)
    order = rows[np.argsort(pattern[rows], kind="stable")]
    return list(np.split(order, np.flatnonzero(np.diff(pattern[order])) + 1))


@njit(cache=True, nogil=True)
def _gaps(
    places: Floats, starts: Indices, rows: Indices, centre: Floats, extent: Floats, margin: Floats, near: Indices
) -> Floats:
    """Smallest distance between two clusters, less both margins, for each of `rows`.

    Clusters are tried in the order of their centres; those that cannot be nearer than the nearest so far are left out.
    Where the candidates in `near` do not settle it, all are tried.
    """
    largest = extent.max()
    result = np.empty(len(rows))
    for i in range(len(rows)):
        best = np.inf
        settled = False
        for other in near[i]:
            apart = np.sqrt(((centre[i] - centre[other]) ** 2).sum())
            if apart - extent[i] - largest >= best:
                settled = True
                break
            if apart - extent[i] - extent[other] < best:
                best = min(best, _closest(places, starts, rows[i], rows[other]) - margin[i] - margin[other])
        if not settled and near.shape[1] < len(rows) - 1:
            for other in range(len(rows)):
                apart = np.sqrt(((centre[i] - centre[other]) ** 2).sum())
                if other != i and apart - extent[i] - extent[other] < best:
                    best = min(best, _closest(places, starts, rows[i], rows[other]) - margin[i] - margin[other])
        result[i] = best
    return result


@njit(cache=True, nogil=True)
def _closest(places: Floats, starts: Indices, first: int, second: int) -> float:
    squared = np.inf
    for p in range(starts[first], starts[first + 1]):
        for q in range(starts[second], starts[second + 1]):
            dx, dy, dz = places[p, 0] - places[q, 0], places[p, 1] - places[q, 1], places[p, 2] - places[q, 2]
            squared = min(squared, dx * dx + dy * dy + dz * dz)
    return np.sqrt(squared)
