"""From affinities of neighbours to clusters: agglomeration with average linkage.

Two groups are joined when the mean log-odds of all neighbour pairs between them speak for one cluster, the surest pair
of groups first. Single wrong affinities are outvoted, touching clusters are kept apart by the pairs that span them, and
the number of clusters follows. Log-odds of pairs between which members leave a gap are lowered: the more, the more the
gap stands out from the distances around them.
"""

from __future__ import annotations

import itertools
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lucule.cluster.gaps import Gaps, excess, find_gaps
from lucule.core import InputError

USUAL_GAP: Final = 2.0
"""A gap up to so many usual steps says nothing; beyond it log-odds fall by the logarithm of what is more."""
_EMPTY: Final = -1


def partition(
    neighbours: NDArray[np.int32],
    log_odds: NDArray[np.float32],
    members: NDArray[np.bool_],
    *,
    min_points: int = 3,
    gaps: Gaps | None = None,
) -> NDArray[np.int32]:
    """Give every point its cluster.

    Parameters
    ----------
    neighbours
        Rows of the neighbours of each point, `(n, k)`; -1 where there is none.
    log_odds
        Log-odds that point and neighbour are of one cluster, `(n, k)`.
    members
        Which points may be in a cluster, `(n,)`.
    min_points
        Smaller clusters are dropped.
    gaps
        The gaps between members; None: they do not matter.

    Returns
    -------
    cluster
        `(n,)`, counted from 0 in the order of their first points; -1 = none.

    Raises
    ------
    InputError
        The shapes do not fit.

    Notes
    -----
    Average linkage for signed graphs as in Bailoni et al., "GASP, a generalized framework for agglomerative clustering
    of signed graphs" (2022). The result does not depend on the order of the rows, except for exact ties.

    Examples
    --------
    >>> neighbours = np.array([[1], [0], [3], [2], [-1]], np.int32)
    >>> sure = np.full((5, 1), 3, np.float32)
    >>> partition(neighbours, sure, np.ones(5, bool), min_points=2).tolist()
    [0, 0, 1, 1, -1]
    """
    n = len(members)
    if neighbours.shape != log_odds.shape or len(neighbours) != n:
        raise InputError(
            "Neighbours, log-odds and members do not fit together",
            received=f"{neighbours.shape}, {log_odds.shape}, {members.shape}",
        )
    gaps = gaps or find_gaps(n)
    root = np.full(n, -1, np.int32)
    # what no pair holds together is separate work: bounded memory, and small groups are fast
    part = _parts(neighbours, log_odds, members)
    order = np.argsort(part, kind="stable").astype(np.int32)
    order = order[np.searchsorted(part[order], 0) :]
    bounds = np.flatnonzero(np.diff(part[order], prepend=-1, append=n + 1))
    place = np.empty(n, np.int32)
    for first, last in itertools.pairwise(bounds):
        rows = order[first:last]
        if len(rows) >= min_points:
            place[rows] = np.arange(len(rows), dtype=np.int32)
            u, v, weight = _edges(rows, place, part, neighbours, log_odds, gaps)
            root[rows] = rows[_agglomerate(len(rows), u, v, weight)]
    return _numbered(root, min_points)


def _numbered(root: NDArray[np.int32], min_points: int) -> NDArray[np.int32]:
    inside = np.flatnonzero(root >= 0)
    _, first, member, count = np.unique(root[inside], return_index=True, return_inverse=True, return_counts=True)
    kept = count >= min_points
    number = np.full(len(first), -1, np.int32)
    by_first = np.argsort(first)
    number[by_first[kept[by_first]]] = np.arange(kept.sum())
    cluster = np.full(len(root), -1, np.int32)
    cluster[inside] = number[member]
    return cluster


@njit(cache=True, nogil=True)
def _parts(neighbours, log_odds, members):  # type: ignore[no-untyped-def]
    """Connected components over the pairs that speak for one cluster: a row of each, -1 for no member."""
    n, k = neighbours.shape
    parent = np.arange(n).astype(np.int32)
    for i in range(n):
        if not members[i]:
            continue
        for slot in range(k):
            j = neighbours[i, slot]
            if j < 0 or not members[j] or log_odds[i, slot] <= 0:
                continue
            a, b = i, j
            while parent[a] != a:
                parent[a] = parent[parent[a]]
                a = parent[a]
            while parent[b] != b:
                parent[b] = parent[parent[b]]
                b = parent[b]
            if a < b:
                parent[b] = a
            elif b < a:
                parent[a] = b
    for i in range(n):
        if members[i]:
            a = i
            while parent[a] != a:
                a = parent[a]
            parent[i] = a
    for i in range(n):
        if not members[i]:
            parent[i] = -1
    return parent


@njit(cache=True, nogil=True)
def _edges(rows, place, part, neighbours, log_odds, gaps):  # type: ignore[no-untyped-def]
    """Pairs within a part, each direction for itself: places of both points, and the log-odds less those of a gap."""
    k = neighbours.shape[1]
    u = np.empty(len(rows) * k, np.int32)
    v = np.empty(len(rows) * k, np.int32)
    weight = np.empty(len(rows) * k, np.float64)
    used = 0
    for i in range(len(rows)):
        row = rows[i]
        for slot in range(k):
            j = neighbours[row, slot]
            if j >= 0 and j != row and part[j] == part[row]:
                u[used], v[used] = i, place[j]
                weight[used] = log_odds[row, slot] - np.log(max(excess(gaps, row, j) / USUAL_GAP, 1.0))
                used += 1
    return u[:used], v[:used], weight[:used]


@njit(cache=True, nogil=True)
def _find(keys, mask, a, b):  # type: ignore[no-untyped-def]
    """Slot of the pair in the hash table, or of the free place where it belongs."""
    low, high = (a, b) if a < b else (b, a)
    key = (np.int64(low) << 32) | np.int64(high)
    slot = (key * np.int64(-7046029254386353131)) >> 17 & mask
    while keys[slot] != _EMPTY and keys[slot] != key:
        slot = (slot + 1) & mask
    return slot, key


@njit(cache=True, nogil=True)
def _empty_table(pairs):  # type: ignore[no-untyped-def]
    """A hash table for so many pairs: their keys, sums and numbers of log-odds."""
    capacity = 16
    while capacity < 2 * pairs:
        capacity *= 2
    return np.full(capacity, _EMPTY, np.int64), np.zeros(capacity), np.zeros(capacity)


@njit(cache=True, nogil=True)
def _larger_table(keys, total, count, pairs):  # type: ignore[no-untyped-def]
    """The table with room for so many pairs and what of it still counts, and how many those are."""
    new_keys, new_total, new_count = _empty_table(pairs)
    mask = np.int64(len(new_keys) - 1)
    filled = 0
    for old in range(len(keys)):
        if count[old] > 0:
            slot, _ = _find(new_keys, mask, np.int32(keys[old] >> 32), np.int32(keys[old] & 0xFFFFFFFF))
            new_keys[slot], new_total[slot], new_count[slot] = keys[old], total[old], count[old]
            filled += 1
    return new_keys, new_total, new_count, filled


@njit(cache=True, nogil=True)
def _push(heap_score, heap_pair, size, score, pair):  # type: ignore[no-untyped-def]
    child = size
    while child > 0:
        above = (child - 1) >> 1
        if heap_score[above] > score or (heap_score[above] == score and heap_pair[above] <= pair):
            break
        heap_score[child], heap_pair[child] = heap_score[above], heap_pair[above]
        child = above
    heap_score[child], heap_pair[child] = score, pair
    return size + 1


@njit(cache=True, nogil=True)
def _pop(heap_score, heap_pair, size):  # type: ignore[no-untyped-def]
    size -= 1
    score, pair = heap_score[size], heap_pair[size]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and (
            heap_score[child + 1] > heap_score[child]
            or (heap_score[child + 1] == heap_score[child] and heap_pair[child + 1] < heap_pair[child])
        ):
            child += 1
        if score > heap_score[child] or (score == heap_score[child] and pair <= heap_pair[child]):
            break
        heap_score[place], heap_pair[place] = heap_score[child], heap_pair[child]
        place = child
    heap_score[place], heap_pair[place] = score, pair
    return size


@njit(cache=True, nogil=True)
def _agglomerate(n, u, v, weight):  # type: ignore[no-untyped-def]
    """Group `(n,)` of each point of a part, named by one of its points."""
    edges = len(u)
    keys, total, count = _empty_table(edges)
    mask = np.int64(len(keys) - 1)
    filled = 0

    # linked lists of the neighbours of each group
    head, tail, degree = np.full(n, -1, np.int32), np.full(n, -1, np.int32), np.zeros(n, np.int32)
    who, following = np.empty(2 * edges, np.int32), np.empty(2 * edges, np.int32)
    links = 0
    for e in range(edges):
        slot, key = _find(keys, mask, u[e], v[e])
        if keys[slot] == _EMPTY:
            keys[slot] = key
            filled += 1
            for a, b in ((u[e], v[e]), (v[e], u[e])):
                who[links], following[links] = b, head[a]
                if head[a] < 0:
                    tail[a] = links
                head[a] = links
                degree[a] += 1
                links += 1
        total[slot] += weight[e]
        count[slot] += 1

    room = 2 * edges + 16
    heap_score, heap_pair = np.empty(room), np.empty(room, np.int64)
    size = 0
    for slot in range(len(keys)):
        if keys[slot] != _EMPTY and total[slot] > 0:
            size = _push(heap_score, heap_pair, size, total[slot] / count[slot], keys[slot])

    parent = np.arange(n).astype(np.int32)
    while size > 0:
        score, key = heap_score[0], heap_pair[0]
        size = _pop(heap_score, heap_pair, size)
        a, b = np.int32(key >> 32), np.int32(key & 0xFFFFFFFF)
        if parent[a] != a or parent[b] != b:
            continue
        slot, _ = _find(keys, mask, a, b)
        if total[slot] / count[slot] != score:
            continue  # has changed since; the new score is in the heap as well
        if degree[a] < degree[b]:
            a, b = b, a
        parent[b] = a
        if 4 * (filled + degree[b]) > 3 * len(keys):
            keys, total, count, filled = _larger_table(keys, total, count, filled + degree[b])
            mask = np.int64(len(keys) - 1)
        link = head[b]
        while link >= 0:
            c = who[link]
            while parent[c] != c:
                c = parent[c]
            if c != a and c != b:
                old, _ = _find(keys, mask, b, c)
                if count[old] > 0:
                    new, new_key = _find(keys, mask, a, c)
                    if keys[new] == _EMPTY:
                        keys[new] = new_key
                        filled += 1
                    total[new] += total[old]
                    count[new] += count[old]
                    count[old], total[old] = 0, 0
                    if total[new] > 0:
                        if size == room:
                            room *= 2
                            heap_score = np.concatenate((heap_score, np.empty(room - size)))
                            heap_pair = np.concatenate((heap_pair, np.empty(room - size, np.int64)))
                        size = _push(heap_score, heap_pair, size, total[new] / count[new], new_key)
            link = following[link]
        if head[b] >= 0:  # the neighbours of b are now neighbours of a
            if head[a] < 0:
                head[a] = head[b]
            else:
                following[tail[a]] = head[b]
            tail[a] = tail[b]
            degree[a] += degree[b]
    group = np.empty(n, np.int32)
    for i in range(n):
        a = i
        while parent[a] != a:
            a = parent[a]
        group[i] = a
    return group
