"""How wide a gap lies between two members.

Among all ways from one member to another over other members there is one whose longest step is shortest; that step is
the gap between the two. Within a cluster it is about as long as the distances to the nearest members, however long or
bent the cluster is; between clusters it is the empty space.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lucule.space import NeighbourGrid, spanning_tree

NEIGHBOUR: Final = 6
"""The distance to this member is the usual step at a place; a pair of blinks or a loose point does not change it."""
ERRORS: Final = 2.0
"""No usual step is shorter than so many localization errors: blinks of one molecule lie as close as these."""
_SMALLEST_NM: Final = 0.5

Floats = NDArray[np.float32]


class Gaps(NamedTuple):
    """From which the gap between any two members follows.

    Members hang below one another in such a way that steps grow on the way up: the last step before two ways up meet is
    the longest between their beginnings.

    Attributes
    ----------
    above
        The member above each, `(n,)`; itself where there is none, and for points that are no members.
    step_nm
        Longest step to what is above and beside it, nm, `(n,)`; infinite where nothing is.
    usual_nm
        Distance to the sixth nearest member, or two localization errors where that is more, nm, `(n,)`; infinite where
        there are fewer members.
    """

    above: NDArray[np.int32]
    step_nm: Floats
    usual_nm: Floats


def find_gaps(n: int, patterns: Iterable[tuple[NDArray[np.int64], Floats, Floats]] = ()) -> Gaps:
    """Find the gaps between members that belong to the same pattern, among `n` points.

    Parameters
    ----------
    patterns
        The members of each: their rows `(m,)`, positions `(m, 2)` or `(m, 3)` and errors `(m,)`, nm; an error of 0 is
        unknown. Without any, no gap is known.
    """
    gaps = Gaps(np.arange(n, dtype=np.int32), np.full(n, np.inf, np.float32), np.full(n, np.inf, np.float32))
    for rows, points, error_nm in patterns:
        if len(points) <= NEIGHBOUR:
            continue
        usual = np.empty(len(points), np.float32)
        for some, distances in NeighbourGrid(points).batches(NEIGHBOUR):
            usual[some] = distances[:, -1] + np.float32(_SMALLEST_NM)
        usual = np.maximum(usual, np.float32(ERRORS) * np.nan_to_num(error_nm, posinf=0))
        above, step = _hang(len(points), *spanning_tree(points, usual))
        gaps.above[rows], gaps.step_nm[rows], gaps.usual_nm[rows] = rows[above], step, usual
    return gaps


@njit(cache=True, nogil=True)
def excess(gaps: Gaps, i: int, j: int) -> float:
    """How many times the gap between two members is wider than the larger of their usual steps; 0 where unknown.

    Steps are lengthened to the usual ones at their ends, so that the number is 1 or more where it is known.
    """
    usual = max(gaps.usual_nm[i], gaps.usual_nm[j])
    widest = np.float32(0.0)
    while i != j:
        if gaps.step_nm[i] > gaps.step_nm[j]:
            i, j = j, i
        widest = gaps.step_nm[i]
        if widest == np.inf:  # no way leads from one to the other
            return 0.0
        i = gaps.above[i]
    return widest / usual


@njit(cache=True, nogil=True)
def _hang(n, first, second, length):  # type: ignore[no-untyped-def]
    """Join the ends of the edges, shortest first, the smaller tree below the larger: no way up is longer than log n."""
    above = np.arange(n).astype(np.int32)
    step = np.full(n, np.inf, np.float32)
    size = np.ones(n, np.int32)
    for e in range(len(first)):
        a, b = first[e], second[e]
        while above[a] != a:
            a = above[a]
        while above[b] != b:
            b = above[b]
        if size[a] < size[b]:
            a, b = b, a
        above[b], step[b] = a, length[e]
        size[a] += size[b]
    return above, step
