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

from lucule.space.selection import BLOCK, HUGE, Sorter, count_up_to, select, sort_by_distance, sorter, whole_blocks
from lucule.space.tree import LEAF_SIZE, Tree, is_one_place, level_of, node_start

_CHUNK: Final = 512
_STACK: Final = 64
_LEAF_LIFT: Final = 1
_LIFT: Final = 4
_GROUP_REACH: Final = np.float32(1.2)
_REACH: Final = np.float32(1.5)
# rounding of a float32 distance is below 3e-7 of it
_ABOVE: Final = np.float32(1.000002)
_TINY: Final = np.float32(1e-12)
# its square is still a float32
_FAR: Final = np.float32(1e19)
_INFINITE: Final = np.float32(np.inf)
_LAST_KEY: Final = np.int64(2**63 - 1)


class Gathered(NamedTuple):
    """Points collected around a centre, with their squared distances from it."""

    coordinates: NDArray[np.float32]
    rows: NDArray[np.int32]
    squared: NDArray[np.float32]
    chosen: NDArray[np.int32]


class Work(NamedTuple):
    """Space for one answer: what lies near the query, before and after sorting."""

    near: NDArray[np.float32]
    near_sorted: NDArray[np.float32]
    near_spare: NDArray[np.float32]
    keys: NDArray[np.int64]
    keys_sorted: NDArray[np.int64]
    keys_spare: NDArray[np.int64]
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
    capacity = 8 * held + 2048
    around_group, around_leaf = _space_for(capacity, dims), _space_for(capacity, dims)
    work = _work_for(capacity, indices.shape[0] > 0)
    found = np.empty(3 * held + LEAF_SIZE, np.float32)
    centre, previous, middle = np.zeros(dims, np.float32), np.zeros(dims, np.float32), np.zeros(dims, np.float32)
    radius = _INFINITE
    begin = 0
    while begin < positions.size:
        end = _end_of_node(tree, positions, begin, max(tree.depth - _LIFT, 0))
        count = -1
        while count < 0:
            spread = _centre_of(tree, positions, begin, end, centre)
            bound = radius + _distance(centre, previous)
            if bound < 2 * radius:
                count = _gather(tree, centre, bound + _GROUP_REACH * spread, held, around_group)
            if count < 0:
                bound = search_radius(tree, centre, held, found)
                count = _gather(tree, centre, bound + _GROUP_REACH * spread, held, around_group)
            if count < 0:
                if end - begin == 1:
                    break
                end = (begin + end) // 2
        if count < 0:
            _nearest_alone(tree, positions[begin], slots[begin], bound, k, distances, indices)
            begin = end
            continue
        group_reach = bound + _GROUP_REACH * spread
        radius = _smallest_holding(around_group.squared, count, held, bound, dims)
        previous[:] = centre
        while begin < end:
            leaf_end = min(_end_of_node(tree, positions, begin, max(tree.depth - _LEAF_LIFT, 0)), end)
            spread = _centre_of(tree, positions, begin, leaf_end, middle)
            away = _distance(middle, centre)
            _squared_distances(middle, around_group, count)
            guess = _smallest_holding(around_group.squared, count, held, radius + away, dims)
            reach = min(guess + _REACH * spread, group_reach - away)
            inside = _copy_within(around_group, count, reach, around_leaf)
            if inside < held:
                reach = np.float32(0.0)
            for i in range(begin, leaf_end):
                place = tree.coordinates[:, positions[i]]
                if inside >= held:
                    guess = _answer(
                        tree, positions[i], slots[i], around_leaf, inside, guess, k, work, distances, indices
                    )
                if not guess * _ABOVE < reach - _distance(place, middle):
                    guess = _answer(
                        tree, positions[i], slots[i], around_group, count, guess, k, work, distances, indices
                    )
                    if not guess * _ABOVE < group_reach - _distance(place, centre):
                        _nearest_alone(tree, positions[i], slots[i], guess, k, distances, indices)
            begin = leaf_end


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
    place = tree.coordinates[:, position].copy()
    capacity = 4 * (k + 1) + 256
    count = -1
    while count < 0:
        capacity *= 2
        around = _space_for(capacity, dims)
        count = _gather(tree, place, bound, k + 1, around)
    work = _work_for(capacity, indices.shape[0] > 0)
    count = _copy_within(around, count, bound, around)
    _answer(tree, position, slot, around, count, bound, k, work, distances, indices)


@njit(cache=True)
def _space_for(capacity: int, dims: int) -> Gathered:
    blocks = capacity + BLOCK
    return Gathered(
        np.empty((dims, blocks), np.float32),
        np.empty(blocks, np.int32),
        np.empty(blocks, np.float32),
        np.empty(blocks, np.int32),
    )


@njit(cache=True)
def _work_for(capacity: int, with_keys: bool) -> Work:
    size = capacity + BLOCK + 2
    keys = size if with_keys else 0
    return Work(
        np.empty(size, np.float32),
        np.empty(size, np.float32),
        np.empty(size, np.float32),
        np.empty(keys, np.int64),
        np.empty(keys, np.int64),
        np.empty(keys, np.int64),
        sorter(capacity),
    )


@njit(cache=True)
def _end_of_node(tree: Tree, positions: NDArray[np.int32], begin: int, level: int) -> int:
    """One past the last of the queries that lie in the same node of `level` as `positions[begin]`."""
    n = tree.order.size
    node = (((positions[begin] + 1) << level) - 1) // n + (1 << level)
    stop = node_start(node + 1, level, n)
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
        spread = max(spread, _distance(tree.coordinates[:, positions[i]], centre))
    return spread


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
def _gather(tree: Tree, centre: NDArray[np.float32], radius: np.float32, held: int, around: Gathered) -> int:
    """Collect the leaves that lie within `radius` of `centre`; returns the number of points, or -1 if too many.

    Of many identical points only the `held` with the lowest rows are taken. Also finds the squared distances from the
    centre.
    """
    dims, n = tree.coordinates.shape
    leaves = 1 << tree.depth
    capacity = around.rows.size - BLOCK
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
        start, size = node_start(node, level, n), node_start(node + 1, level, n) - node_start(node, level, n)
        if single:
            size = min(size, held)
        if count + size > capacity:
            return -1
        for axis in range(dims):
            for i in range(size):
                around.coordinates[axis, count + i] = tree.coordinates[axis, start + i]
        for i in range(size):
            around.rows[count + i] = tree.order[start + i]
        count += size
    around.coordinates[:, count : whole_blocks(count)] = _FAR
    _squared_distances(centre, around, count)
    return count


@njit(cache=True)
def _copy_within(source: Gathered, count: int, radius: np.float32, target: Gathered) -> int:
    """Copy what lies within `radius` of the centre, and pad it to whole blocks; source and target may be the same."""
    limit = (radius * _ABOVE + _TINY) ** 2
    chosen = target.chosen
    kept = 0
    for i in range(count):
        chosen[kept] = i
        kept += bool(source.squared[i] <= limit)
    for axis in range(source.coordinates.shape[0]):
        values, copies = source.coordinates[axis], target.coordinates[axis]
        for i in range(kept):
            copies[i] = values[np.uint32(chosen[i])]
        copies[kept : whole_blocks(kept)] = _FAR
    for i in range(kept):
        target.rows[i] = source.rows[np.uint32(chosen[i])]
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
    candidates: Gathered,
    count: int,
    guess: np.float32,
    k: int,
    work: Work,
    distances: NDArray[np.float32],
    indices: NDArray[np.int32],
) -> np.float32:
    """Write the k nearest among the candidates; returns the distance of the last. `guess` is about that distance."""
    dims = tree.coordinates.shape[0]
    squared, near = candidates.squared, work.near
    _squared_distances(tree.coordinates[:, position], candidates, whole_blocks(count))
    limit = _limit_holding(squared, whole_blocks(count), k + 1, guess * guess, dims)
    # distances that differ only before the root is taken are equal afterwards, and then the row decides
    limit = limit * _ABOVE + _TINY * _TINY
    size = 0
    if indices.shape[0] == 0:
        for i in range(count):
            near[size] = squared[i]
            size += bool(squared[i] <= limit)
        _roots(near, size)
        output = work.near_sorted
        sort_by_distance(near, near, size, np.sqrt(limit), work.sorter, output, work.near_spare, HUGE)
        # the first is the point itself, or an identical one
        for i in range(k):
            distances[slot, i] = output[i + 2]
    else:
        own = tree.order[position]
        keys, sorted_keys = work.keys, work.keys_sorted
        for i in range(count):
            near[size] = squared[i]
            keys[size] = candidates.rows[i]
            size += bool((squared[i] <= limit) & (candidates.rows[i] != own))
        _roots(near, size)
        bits = near.view(np.int32)
        for i in range(size):
            keys[i] |= np.int64(bits[i]) << 32
        sort_by_distance(keys, near, size, np.sqrt(limit), work.sorter, sorted_keys, work.keys_spare, _LAST_KEY)
        for i in range(k):
            bits[i] = np.int32(sorted_keys[i + 1] >> 32)
            indices[slot, i] = np.int32(sorted_keys[i + 1])
        for i in range(k):
            distances[slot, i] = near[i]
    return np.float32(distances[slot, k - 1])


@njit(cache=True)
def _squared_distances(place: NDArray[np.float32], around: Gathered, count: int) -> None:
    x, y = around.coordinates[0], around.coordinates[1]
    squared = around.squared
    px, py = place[0], place[1]
    if place.size == 2:
        for i in range(count):
            squared[i] = (x[i] - px) * (x[i] - px) + (y[i] - py) * (y[i] - py)
    else:
        z, pz = around.coordinates[2], place[2]
        for i in range(count):
            squared[i] = (x[i] - px) * (x[i] - px) + (y[i] - py) * (y[i] - py) + (z[i] - pz) * (z[i] - pz)


@njit(cache=True)
def _limit_holding(squared: NDArray[np.float32], count: int, held: int, guess: np.float32, dims: int) -> np.float32:
    """A squared distance within which at least `held` of the candidates lie, and few more."""
    low, high = np.float32(0.0), HUGE
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
            limit = np.float32(0.5) * (low + high) if high < HUGE else np.float32(2.0) * low
    return high


@njit(cache=True)
def _roots(values: NDArray[np.float32], size: int) -> None:
    for i in range(whole_blocks(size)):
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
