"""Nearest neighbours within groups of points."""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from lucule.core import InputError
from lucule.space.grid import NeighbourGrid
from lucule.space.points import as_float32
from lucule.space.threads import share

# comparing all pairs of a group up to this size is faster than building a tree for it
_SMALL_GROUP: Final = 512


def nearest_in_group(points: ArrayLike, group: ArrayLike) -> NDArray[np.float32]:
    """Distance from every point to the nearest other point of its group.

    Parameters
    ----------
    points
        Positions `(n, 2)` or `(n, 3)`, nm.
    group
        `(n,)` whole numbers, equal for points of one group.

    Returns
    -------
    distances
        `(n,)`, nm; infinite for a point alone in its group.

    Raises
    ------
    InputError
        The points cannot be used, or `group` is not one whole number per point.

    Examples
    --------
    >>> nearest_in_group([[0.0, 0.0], [1.0, 0.0], [5.0, 0.0], [7.0, 0.0]], [3, 8, 3, 8])
    array([5., 6., 5., 6.], dtype=float32)
    """
    places = as_float32(points)
    groups = np.asarray(group)
    if groups.shape != (len(places),) or groups.dtype.kind not in "iu":
        raise InputError(
            "The groups cannot be used",
            received=f"{groups.dtype} of shape {groups.shape}",
            allowed=f"whole numbers of shape ({len(places)},)",
        )
    order = np.argsort(groups, kind="stable")
    edges = groups[order][1:] != groups[order][:-1]
    starts = np.concatenate([np.zeros(min(len(places), 1), np.int64), np.flatnonzero(edges) + 1, [len(places)]])
    ordered = places[order]
    found = np.full(len(places), np.inf, np.float32)
    small = np.diff(starts) <= _SMALL_GROUP
    share(partial(_nearest_by_pairs, ordered, starts, small, found), len(small), least=64, most=4096)
    for start, stop in zip(starts[:-1][~small], starts[1:][~small], strict=True):
        found[start:stop] = NeighbourGrid(ordered[start:stop]).distances(1)[:, 0]
    result = np.empty(len(places), np.float32)
    result[order] = found
    return result


@njit(cache=True, nogil=True)
def _nearest_by_pairs(
    points: NDArray[np.float32],
    starts: NDArray[np.int64],
    small: NDArray[np.bool_],
    found: NDArray[np.float32],
    first: int,
    last: int,
) -> None:
    """Fill `found` for those groups from `first` to before `last` that are `small`."""
    for g in range(first, last):
        if not small[g]:
            continue
        for i in range(starts[g], starts[g + 1]):
            nearest = np.float32(np.inf)
            for j in range(starts[g], starts[g + 1]):
                squared = np.float32(0.0)
                for axis in range(points.shape[1]):
                    step = points[i, axis] - points[j, axis]
                    squared += step * step
                if j != i:
                    nearest = min(nearest, squared)
            found[i] = np.sqrt(nearest)
