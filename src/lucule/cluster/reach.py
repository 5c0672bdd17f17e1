"""How far each clustered localization reaches towards others of its cluster.

The paper (Williamson et al. 2020, Methods) lets every clustered localization walk along its own neighbours, nearest
first, and puts them into one cluster until the first neighbour that is not clustered. Taken literally, one wrong label
inside a cluster cuts it, and where no localization happens to lie between two clusters they become one. The reach kept
here is read from the data, not from a setting; it is the smallest of three lengths.

`majority`
    The walk goes on as long as it gains: it ends where the clustered neighbours passed outnumber the others the most.
    A single wrong label within a cluster no longer ends it; the background around a cluster still does.
`spacing`
    The distance within which 9 clustered neighbours are expected at the local density of clustered localizations,
    which is read from the 4th nearest one. Two clusters with an empty gap between them stay apart when the gap is
    wider than that. 9 is far above the mean number of neighbours at which random points connect (4.5 in 2D, 2.7 in
    3D), so that clusters do not fall apart by chance. Four neighbours are what a cluster of 5 localizations, the
    smallest of the paper, can give.
`gap`
    For clusters of 3 or 4, whose 4th neighbour lies elsewhere: when the 3rd or 4th neighbour is more than 2.5 times as
    far as the one before it, the reach ends before it. Close triples occur by chance inside larger clusters too, so the
    gap counts only when that neighbour does not reach across it either.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lucule.core import Task
from lucule.space import NeighbourGrid

DENSITY_NEIGHBOURS: Final = 4
EXPECTED_WITHIN_REACH: Final = 9.0
WALK_NEIGHBOURS: Final = 20
GAP_RATIO: Final = 2.5
_BATCH: Final = 1_000_000

Lengths = NDArray[np.float32]
Indices = NDArray[np.int32]


def nearest_members(members: NDArray[np.float32]) -> tuple[Lengths, Indices]:
    """Distances to the 4 nearest others of distinct positions `(n, d)`, and which they are, `(n, 4)` each."""
    return NeighbourGrid(members).neighbours(DENSITY_NEIGHBOURS)


def reach(
    members: NDArray[np.float32], near: tuple[Lengths, Indices], others: NDArray[np.float32], task: Task
) -> Lengths:
    """Reach of each clustered position, nm.

    Parameters
    ----------
    members
        Distinct positions of clustered localizations, `(n, d)`, nm.
    near
        What `nearest_members` gives for them.
    others
        Distinct positions of all others, `(m, d)`, nm.
    task
        Advanced by the number of members done.

    Returns
    -------
    reach
        `(n,)`, above 0, infinite for a member alone in the field.
    """
    distances, indices = near
    reaches = spacing(distances, len(members), members.shape[1])
    everything = NeighbourGrid(np.concatenate([members, others]))
    for start in range(0, len(members), _BATCH):
        rows = np.arange(start, min(start + _BATCH, len(members)))
        walk = everything.neighbours(WALK_NEIGHBOURS, rows)
        reaches[rows] = np.minimum(reaches[rows], majority(*walk, len(members)))
        task.advance(len(rows))
    # a member at the very place of another class reaches nothing, yet it is a place of its own
    return np.maximum(gap(distances, indices, reaches), np.finfo(np.float32).tiny)


def spacing(distances: Lengths, n: int, dims: int) -> Lengths:
    """Distance within which 9 neighbours are expected at the density that the 4th nearest shows.

    Parameters
    ----------
    distances
        To the 4 nearest members, `(n, 4)`, infinite where there are fewer.

    Returns
    -------
    spacing
        `(n,)`
    """
    k = min(DENSITY_NEIGHBOURS, n - 1)
    if k < 1:
        return np.full(n, np.inf, np.float32)
    return distances[:, k - 1] * np.float32((EXPECTED_WITHIN_REACH / k) ** (1 / dims))


@njit(cache=True, nogil=True)
def majority(distances: Lengths, indices: Indices, n_members: int) -> Lengths:
    """Distance to the neighbour after the walk along which clustered neighbours outnumber the others the most.

    Parameters
    ----------
    distances, indices
        Neighbours of each point, nearest first, `(n, k)`; -1 where there are no more.
    n_members
        Neighbours with a lower index are clustered.

    Returns
    -------
    reach
        `(n,)`; infinite where the walk is still gaining at its last neighbour.
    """
    n, k = distances.shape
    result = np.empty(n, np.float32)
    for i in range(n):
        lead, best, end = 0, 0, 0
        for j in range(k):
            if indices[i, j] < 0:
                break
            lead += 1 if indices[i, j] < n_members else -1
            if lead > best:
                best, end = lead, j + 1
        result[i] = distances[i, end] if end < k else np.inf
    return result


@njit(cache=True, nogil=True)
def gap(distances: Lengths, indices: Indices, reaches: Lengths) -> Lengths:
    """Shorten `reaches` where a wide gap follows the 2nd or 3rd neighbour and nothing reaches across it.

    Parameters
    ----------
    distances, indices
        The 4 nearest members of each member, `(n, 4)`; infinite and -1 where there are fewer.
    """
    n, k = distances.shape
    beyond = np.full(n, -1, np.int32)
    shortened = reaches.copy()
    for i in range(n):
        for j in range(2, k):
            if indices[i, j] >= 0 and distances[i, j] > GAP_RATIO * distances[i, j - 1]:
                beyond[i] = j
                shortened[i] = min(reaches[i], distances[i, j])
                break
    result = shortened.copy()
    for i in range(n):
        j = beyond[i]
        if j >= 0 and shortened[indices[i, j]] > distances[i, j]:
            result[i] = reaches[i]
    return result
