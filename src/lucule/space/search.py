"""Exact k nearest neighbours, for groups of adjacent points at a time.

The points of a group share one gathering of candidates. Let the ball around a centre c that just holds k + 1 points
have the radius R. The k nearest neighbours of a point q then lie within R + 2 |q - c| of c, and nearly always within
R + |q - c|. Candidates are gathered to a little more than the latter, and a point whose k-th neighbour turns out not to
lie safely inside is searched again alone. R of one group bounds that of the next, R' <= R + |c' - c|, so the tree is
asked for it only where the densities change.

Distances come from float32 differences without contraction or reassociation, so each is the same number whatever the
candidates around it, and no result depends on groups or threads.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from lucule.space.selection import Sorter, count_up_to, select, sort_by_distance, sorter
from lucule.space.tree import LEAF_SIZE, Tree, is_one_place, level_of, node_start

_CHUNK: Final = 512
_STACK: Final = 64
_REACH: Final = np.float32(1.2)
# rounding of a float32 distance is below 3e-7 of it
_ABOVE: Final = np.float32(1.000002)
_TINY: Final = np.float32(1e-18)
_INFINITE: Final = np.float32(np.inf)


class Candidates(NamedTuple):
    """Points gathered around a group, and space for what is computed from them."""

    coordinates: NDArray[np.float32]
    rows: NDArray[np.int32]
    squared: NDArray[np.float32]
    near: NDArray[np.float32]
    keys: NDArray[np.uint64]
    sorted_near: NDArray[np.float32]
    sorted_keys: NDArray[np.uint64]
    sorter: Sorter


@njit(cache=True, parallel=True, nogil=True)
def nearest(
    tree: Tree,
    positions: NDArray[np.int32],
    slots: NDArray[np.int32],
    k: int,
    distances: NDArray[np.float32],
    indices: NDArray[np.int32],
) -> None:
    """Put the k nearest neighbours of tree position `positions[i]` into row `slots[i]` of `distances` and `indices`.

    `positions` ascend; `k` is below the number of points. With `indices` of zero rows only distances are found.
    """
    for chunk in prange((positions.size + _CHUNK - 1) // _CHUNK):
        first = chunk * _CHUNK
        last = min(first + _CHUNK, positions.size)
        _nearest_in_chunk(tree, positions[first:last], slots[first:last], k, distances, indices)


@njit(cache=True)
def _nearest_in_chunk(
    tree: Tree,
    positions: NDArray[np.int32],
    slots: NDArray[np.int32],
    k: int,
    distances: NDArray[np.float32],
    indices: NDArray[np.int32],
) -> None:
    dims = tree.coordinates.shape[0]
    held = k + 1  # the ball around a point holds its k neighbours and itself
    candidates = _space_for(8 * held + 1024, dims)
    searched = np.empty(3 * held + LEAF_SIZE, np.float32)
    centre, previous = np.zeros(dims, np.float32), np.zeros(dims, np.float32)
    radius = _INFINITE
    begin = 0
    while begin < positions.size:
        end = _group_end(tree, positions, begin)
        count = -1
        while count < 0:
            spread = _centre_of(tree, positions, begin, end, centre)
            bound = radius + _distance(centre, previous)
            if bound < 2 * radius:
                count = _gather(tree, centre, bound + _REACH * spread, held, candidates)
            if count < 0:
                bound = search_radius(tree, centre, held, searched)
                count = _gather(tree, centre, bound + _REACH * spread, held, candidates)
            if count < 0:
                if end - begin == 1:
                    break
                end = (begin + end) // 2
        if count < 0:
            _nearest_alone(tree, positions[begin], slots[begin], bound, k, distances, indices)
        else:
            radius = _smallest_holding(candidates.squared, count, held, bound, dims)
            reach = radius + _REACH * spread
            count = _keep_within(candidates, count, reach)
            previous[:] = centre
            guess = radius
            for i in range(begin, end):
                guess = _answer(tree, positions[i], slots[i], candidates, count, guess, k, distances, indices)
                if not guess * _ABOVE < reach - _distance_to(tree, positions[i], centre):
                    _nearest_alone(tree, positions[i], slots[i], guess, k, distances, indices)
        begin = end


@njit(cache=True)
def _nearest_alone(
    tree: Tree,
    position: int,
    slot: int,
    bound: np.float32,
    k: int,
    distances: NDArray[np.float32],
    indices: NDArray[np.int32],
) -> None:
    """Search for one point, of which it is known that `k` others lie within `bound`."""
    dims = tree.coordinates.shape[0]
    capacity = 4 * (k + 1) + 256
    count = -1
    while count < 0:
        capacity *= 2
        candidates = _space_for(capacity, dims)
        count = _gather(tree, tree.coordinates[:, position].copy(), bound, k + 1, candidates)
    _answer(tree, position, slot, candidates, count, bound, k, distances, indices)


@njit(cache=True)
def _space_for(capacity: int, dims: int) -> Candidates:
    return Candidates(
        np.empty((dims, capacity), np.float32),
        np.empty(capacity, np.int32),
        np.empty(capacity, np.float32),
        np.empty(capacity, np.float32),
        np.empty(capacity, np.uint64),
        np.empty(capacity, np.float32),
        np.empty(capacity, np.uint64),
        sorter(capacity),
    )


@njit(cache=True)
def _group_end(tree: Tree, positions: NDArray[np.int32], begin: int) -> int:
    """One past the last of the queries that lie in the same leaf as `positions[begin]`."""
    n = tree.order.size
    leaf = (((positions[begin] + 1) << tree.depth) - 1) // n + (1 << tree.depth)
    stop = node_start(leaf + 1, tree.depth, n)
    end = begin + 1
    while end < positions.size and positions[end] < stop:
        end += 1
    return end


@njit(cache=True)
def _centre_of(
    tree: Tree, positions: NDArray[np.int32], begin: int, end: int, centre: NDArray[np.float32]
) -> np.float32:
    """Set `centre` to the middle of the box around the queries; returns the largest distance from it."""
    for axis in range(centre.size):
        values = tree.coordinates[axis]
        low = high = values[positions[begin]]
        for i in range(begin + 1, end):
            low = min(low, values[positions[i]])
            high = max(high, values[positions[i]])
        centre[axis] = low + np.float32(0.5) * (high - low)
    spread = np.float32(0.0)
    for i in range(begin, end):
        spread = max(spread, _distance_to(tree, positions[i], centre))
    return spread


@njit(cache=True)
def _distance_to(tree: Tree, position: int, place: NDArray[np.float32]) -> np.float32:
    total = np.float32(0.0)
    for axis in range(place.size):
        step = tree.coordinates[axis, position] - place[axis]
        total += step * step
    return np.float32(np.sqrt(total))


@njit(cache=True)
def _distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> np.float32:
    total = np.float32(0.0)
    for axis in range(a.size):
        total += (a[axis] - b[axis]) * (a[axis] - b[axis])
    return np.float32(np.sqrt(total))


@njit(cache=True)
def box_distance_squared(box: NDArray[np.float32], place: NDArray[np.float32]) -> np.float32:
    """Squared distance of a place from a box; never above the computed one of any point inside it."""
    total = np.float32(0.0)
    for axis in range(place.size):
        step = max(box[0, axis] - place[axis], place[axis] - box[1, axis], np.float32(0.0))
        total += step * step
    return total


@njit(cache=True)
def _gather(tree: Tree, centre: NDArray[np.float32], radius: np.float32, held: int, candidates: Candidates) -> int:
    """Collect the points within `radius` of `centre`; returns their number, or -1 where they are too many.

    Of many identical points only the `held` with the lowest rows are taken.
    """
    dims, n = tree.coordinates.shape
    leaves = 1 << tree.depth
    capacity = candidates.rows.size
    limit = (radius * _ABOVE + _TINY) ** 2
    stack = np.empty(_STACK, np.int64)
    stack[0] = 1
    top = 1
    count = 0
    while top > 0:
        top -= 1
        node = int(stack[top])
        box = tree.boxes[node]
        if box_distance_squared(box, centre) > limit:
            continue
        single = is_one_place(box)
        if node < leaves and not single:
            stack[top] = 2 * node + 1
            stack[top + 1] = 2 * node
            top += 2
            continue
        level = tree.depth if node >= leaves else level_of(node)
        start, stop = node_start(node, level, n), node_start(node + 1, level, n)
        if single:
            stop = start + min(stop - start, held)
        if count + stop - start > capacity:
            return -1
        for i in range(start, stop):
            total = np.float32(0.0)
            for axis in range(dims):
                value = tree.coordinates[axis, i]
                candidates.coordinates[axis, count] = value
                total += (value - centre[axis]) * (value - centre[axis])
            candidates.rows[count] = tree.order[i]
            candidates.squared[count] = total
            count += bool(total <= limit)
    return count


@njit(cache=True)
def _keep_within(candidates: Candidates, count: int, radius: np.float32) -> int:
    limit = (radius * _ABOVE + _TINY) ** 2
    kept = 0
    for i in range(count):
        for axis in range(candidates.coordinates.shape[0]):
            candidates.coordinates[axis, kept] = candidates.coordinates[axis, i]
        candidates.rows[kept] = candidates.rows[i]
        kept += candidates.squared[i] <= limit
    return kept


@njit(cache=True)
def _smallest_holding(squared: NDArray[np.float32], count: int, held: int, bound: np.float32, dims: int) -> np.float32:
    """A radius at most `bound` that holds at least `held` of the distances, and few more."""
    low, high = np.float32(0.0), bound * _ABOVE
    inside = count_up_to(squared, count, high * high)
    for _ in range(8):
        if inside <= held + held // 8:
            break
        # the number inside grows with a power between 1 (a line) and dims; aim a little high
        trial = high * (np.float32(1.06 * held) / np.float32(inside)) ** np.float32(1 / dims)
        if not low < trial < high:
            trial = np.float32(0.5) * (low + high)
        found = count_up_to(squared, count, trial * trial)
        if found >= held:
            high, inside = trial, found
        else:
            low = trial
    return high


@njit(cache=True)
def _answer(
    tree: Tree,
    position: int,
    slot: int,
    candidates: Candidates,
    count: int,
    guess: np.float32,
    k: int,
    distances: NDArray[np.float32],
    indices: NDArray[np.int32],
) -> np.float32:
    """Write the k nearest among the candidates; returns the distance of the last. `guess` is about that distance."""
    dims = tree.coordinates.shape[0]
    squared = candidates.squared
    _squared_distances(tree, position, candidates, count)
    limit = _limit_holding(squared, count, k + 1, guess * guess, dims)
    # distances that differ only before the root is taken are equal afterwards, and then the row decides
    limit = limit * _ABOVE + _TINY * _TINY
    near = candidates.near
    size = 0
    if indices.shape[0] == 0:
        for i in range(count):
            near[size] = squared[i]
            size += squared[i] <= limit
        _roots(near, size)
        sort_by_distance(near, near, size, np.sqrt(limit), candidates.sorter, candidates.sorted_near)
        # the first is the point itself, or an identical one
        for i in range(k):
            distances[slot, i] = candidates.sorted_near[i + 1]
    else:
        own = tree.order[position]
        keys = candidates.keys
        for i in range(count):
            near[size] = squared[i]
            keys[size] = np.uint64(candidates.rows[i])
            size += (squared[i] <= limit) & (candidates.rows[i] != own)
        _roots(near, size)
        bits = near.view(np.uint32)
        for i in range(size):
            keys[i] |= np.uint64(bits[i]) << np.uint64(32)
        sort_by_distance(keys, near, size, np.sqrt(limit), candidates.sorter, candidates.sorted_keys)
        for i in range(k):
            key = candidates.sorted_keys[i]
            bits[i] = np.uint32(key >> np.uint64(32))
            distances[slot, i] = near[i]
            indices[slot, i] = np.int32(key & np.uint64(0xFFFFFFFF))
    return np.float32(distances[slot, k - 1])


@njit(cache=True)
def _squared_distances(tree: Tree, position: int, candidates: Candidates, count: int) -> None:
    x, y = candidates.coordinates[0], candidates.coordinates[1]
    squared = candidates.squared
    qx, qy = tree.coordinates[0, position], tree.coordinates[1, position]
    if tree.coordinates.shape[0] == 2:
        for i in range(count):
            squared[i] = (x[i] - qx) * (x[i] - qx) + (y[i] - qy) * (y[i] - qy)
    else:
        z, qz = candidates.coordinates[2], tree.coordinates[2, position]
        for i in range(count):
            squared[i] = (x[i] - qx) * (x[i] - qx) + (y[i] - qy) * (y[i] - qy) + (z[i] - qz) * (z[i] - qz)


@njit(cache=True)
def _limit_holding(squared: NDArray[np.float32], count: int, held: int, guess: np.float32, dims: int) -> np.float32:
    """A squared distance within which at least `held` of the candidates lie, and few more."""
    low, high = np.float32(0.0), _INFINITE
    limit = guess
    for _ in range(6):
        found = count_up_to(squared, count, limit)
        if found < held:
            low = limit
        else:
            high = limit
            if found <= held + held // 4 + 4:
                break
        ratio = np.float32(1.1 * held) / np.float32(max(found, 1))
        limit *= min(ratio, np.float32(4.0)) ** np.float32(2 / dims)
        if not low < limit < high:
            limit = np.float32(0.5) * (low + high) if high < _INFINITE else np.float32(2.0) * low
    return high


@njit(cache=True)
def _roots(values: NDArray[np.float32], size: int) -> None:
    for i in range(size):
        values[i] = np.sqrt(values[i])


@njit(cache=True)
def search_radius(tree: Tree, place: NDArray[np.float32], held: int, found: NDArray[np.float32]) -> np.float32:
    """Radius of the ball around `place` that just holds `held` points; `found` is space for 3 held + LEAF_SIZE."""
    dims, n = tree.coordinates.shape
    leaves = 1 << tree.depth
    nodes, nearest_possible = np.empty(_STACK, np.int64), np.empty(_STACK, np.float32)
    nodes[0], nearest_possible[0] = 1, np.float32(0.0)
    top, size = 1, 0
    limit = _INFINITE
    while top > 0:
        top -= 1
        node = int(nodes[top])
        if nearest_possible[top] > limit:
            continue
        single = is_one_place(tree.boxes[node])
        if node < leaves and not single:
            left, right = 2 * node, 2 * node + 1
            to_left = box_distance_squared(tree.boxes[left], place)
            to_right = box_distance_squared(tree.boxes[right], place)
            if to_left < to_right:
                left, right, to_left, to_right = right, left, to_right, to_left
            nodes[top], nearest_possible[top] = left, to_left
            nodes[top + 1], nearest_possible[top + 1] = right, to_right
            top += 2
            continue
        level = tree.depth if node >= leaves else level_of(node)
        start, stop = node_start(node, level, n), node_start(node + 1, level, n)
        if single:
            stop = start + min(stop - start, held)
        for i in range(start, stop):
            total = np.float32(0.0)
            for axis in range(dims):
                step = tree.coordinates[axis, i] - place[axis]
                total += step * step
            found[size] = total
            size += bool(total <= limit)
        if size >= 2 * held:
            limit = select(found, size, held - 1)
            size = held
    return np.float32(np.sqrt(select(found, size, held - 1)) * _ABOVE)
