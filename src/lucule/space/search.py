"""Exact k nearest neighbours, for groups of adjacent points at a time.

The points of a group share one gathering of candidates. Let the ball around a centre c that just holds k + 1 points
have the radius R. The k nearest neighbours of a point q then lie within R + 2 |q - c| of c, and nearly always within
R + |q - c|. Candidates are gathered to a little more than the latter, first around a group of some hundred points and
among these around each small group of about thirty; a point whose k-th neighbour turns out not to lie safely inside is
searched again among the candidates of the larger group, or alone. R of one group bounds that of the next,
R' <= R + |c' - c|, so the tree is asked for it only where the densities change.

Distances come from float32 differences without contraction or reassociation, so each is the same number whatever the
candidates around it, and no result depends on groups or threads.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lucule.space.selection import BLOCK, Work, count_up_to, nearest_distances, nearest_keys, whole_blocks, work_for
from lucule.space.threads import share
from lucule.space.tree import LEAF_SIZE, Tree, box_distance_squared, is_one_place, level_of, node_start

_STACK: Final = 64
# levels above the leaves on which the two kinds of group lie
_GROUP: Final = 4
_SMALL_GROUP: Final = 1
# candidates reach beyond R by this much of the largest |q - c|; below 2, some points must be searched again
_GROUP_MARGIN: Final = np.float32(1.2)
_SMALL_GROUP_MARGIN: Final = np.float32(1.5)
# more than the rounding of a few operations in float32
_ABOVE: Final = np.float32(1.000002)
_TINY: Final = np.float32(1e-12)
# farther than any candidate, while its square is still a float32
_FAR: Final = np.float32(1e19)
_INFINITE: Final = np.float32(np.inf)


class Gathered(NamedTuple):
    """Candidates, with their squared distances from the place that was asked last."""

    coordinates: NDArray[np.float32]
    rows: NDArray[np.int32]
    squared: NDArray[np.float32]
    chosen: NDArray[np.int32]


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

    def answer(first: int, last: int) -> None:
        _nearest_between(tree, positions, slots, first, last, k, distances, indices)

    share(answer, positions.size, least=512, most=4096)


@njit(cache=True, nogil=True)
def _nearest_between(
    tree: Tree,
    positions: NDArray[np.int32],
    slots: NDArray[np.int32],
    begin: int,
    last: int,
    k: int,
    distances: NDArray[np.float32],
    indices: NDArray[np.int32],
) -> None:
    """Answer for `positions[begin:last]`."""
    dims, n = tree.coordinates.shape
    held = k + 1  # the ball around a point holds its k neighbours and itself
    capacity = min(8 * held + 2048, n)
    group, small_group = _space_for(capacity, dims), _space_for(capacity, dims)
    work = work_for(capacity, indices.shape[0] > 0)
    found = np.empty(3 * held + LEAF_SIZE, np.float32)
    centre, last_centre = np.zeros(dims, np.float32), np.zeros(dims, np.float32)
    radius = _INFINITE
    while begin < last:
        end = _end_of_node(tree, positions, begin, last, max(tree.depth - _GROUP, 0))
        count = -1
        while count < 0:
            spread = _centre_of(tree, positions, begin, end, centre)
            bound = radius + _distance(centre, last_centre)
            if bound < 2 * radius:
                count = _gather(tree, centre, bound + _GROUP_MARGIN * spread, held, group)
            if count < 0:
                bound = search_radius(tree, centre, held, found)
                count = _gather(tree, centre, bound + _GROUP_MARGIN * spread, held, group)
            if count < 0:
                # too uneven around here for so large a group
                if end - begin == 1:
                    break
                end = (begin + end) // 2
        if count < 0:
            _nearest_alone(tree, positions[begin], slots[begin], bound, k, distances, indices)
        else:
            reach = bound + _GROUP_MARGIN * spread
            radius = _radius_holding(group.squared, count, held, bound, dims)
            last_centre[:] = centre
            _nearest_in_group(
                tree,
                positions,
                slots,
                begin,
                end,
                k,
                centre,
                radius,
                reach,
                count,
                group,
                small_group,
                work,
                distances,
                indices,
            )
        begin = end


@njit(cache=True)
def _nearest_in_group(
    tree: Tree,
    positions: NDArray[np.int32],
    slots: NDArray[np.int32],
    begin: int,
    last: int,
    k: int,
    centre: NDArray[np.float32],
    radius: np.float32,
    group_reach: np.float32,
    count: int,
    group: Gathered,
    small_group: Gathered,
    work: Work,
    distances: NDArray[np.float32],
    indices: NDArray[np.int32],
) -> None:
    """Answer for `positions[begin:last]`, whose `count` candidates are all points within `group_reach` of `centre`."""
    dims = centre.size
    middle, place = np.empty(dims, np.float32), np.empty(dims, np.float32)
    while begin < last:
        end = _end_of_node(tree, positions, begin, last, max(tree.depth - _SMALL_GROUP, 0))
        spread = _centre_of(tree, positions, begin, end, middle)
        away = _distance(middle, centre)
        _squared_distances(middle, group, count)
        ball = _radius_holding(group.squared, count, k + 1, radius + away, dims)
        reach = min(ball + _SMALL_GROUP_MARGIN * spread, group_reach - away)
        inside = _copy_within(group, count, reach, small_group) if reach >= ball else 0
        guess = ball
        for i in range(begin, end):
            _copy_place(tree, positions[i], place)
            row = tree.order[positions[i]]
            aside = _distance(place, middle)
            most = ball + aside
            if inside > 0:
                guess = _answer(place, row, slots[i], small_group, inside, guess, most, k, work, distances, indices)
            if inside == 0 or guess * _ABOVE > reach - aside:
                guess = _answer(place, row, slots[i], group, count, guess, most, k, work, distances, indices)
                if guess * _ABOVE > group_reach - _distance(place, centre):
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
    place = np.empty(dims, np.float32)
    _copy_place(tree, position, place)
    capacity = 4 * (k + 1) + 256
    around = _space_for(capacity, dims)
    count = _gather(tree, place, bound, k + 1, around)
    while count < 0:
        # many points at the very same distance
        capacity *= 2
        around = _space_for(capacity, dims)
        count = _gather(tree, place, bound, k + 1, around)
    work = work_for(capacity, indices.shape[0] > 0)
    _answer(place, tree.order[position], slot, around, count, bound, bound, k, work, distances, indices)


@njit(cache=True)
def _answer(
    place: NDArray[np.float32],
    row: int,
    slot: int,
    candidates: Gathered,
    count: int,
    guess: np.float32,
    most: np.float32,
    k: int,
    work: Work,
    distances: NDArray[np.float32],
    indices: NDArray[np.int32],
) -> np.float32:
    """Write the k nearest among the candidates; returns the distance of the last, which is about `guess`.

    At least k + 1 candidates, or all that are known, lie within `most`.
    """
    _squared_distances(place, candidates, whole_blocks(count))
    limit = _limit_holding(candidates.squared, whole_blocks(count), k + 1, guess, most, place.size)
    # squares that differ may have the same root, and then the row decides which comes first
    limit = limit * _ABOVE + _TINY * _TINY
    if indices.shape[0] == 0:
        nearest_distances(candidates.squared, count, limit, k, work, distances, slot)
    else:
        nearest_keys(candidates.squared, candidates.rows, count, row, limit, k, work, distances, indices, slot)
    return np.float32(distances[slot, k - 1])


@njit(cache=True)
def _space_for(capacity: int, dims: int) -> Gathered:
    size = whole_blocks(capacity) + BLOCK
    return Gathered(
        np.empty((dims, size), np.float32),
        np.empty(size, np.int32),
        np.empty(size, np.float32),
        np.empty(size, np.int32),
    )


@njit(cache=True)
def _end_of_node(tree: Tree, positions: NDArray[np.int32], begin: int, last: int, level: int) -> int:
    """One past the last of the queries, up to `last`, that lie in the same node of `level` as `positions[begin]`."""
    n = tree.order.size
    node = (((positions[begin] + 1) << level) - 1) // n + (1 << level)
    stop = node_start(node + 1, level, n)
    end = begin + 1
    while end < last and positions[end] < stop:
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
    farthest = np.float32(0.0)
    for i in range(begin, end):
        total = np.float32(0.0)
        for axis in range(centre.size):
            step = tree.coordinates[axis, positions[i]] - centre[axis]
            total += step * step
        farthest = max(farthest, total)
    return np.float32(np.sqrt(farthest))


@njit(cache=True)
def _copy_place(tree: Tree, position: int, place: NDArray[np.float32]) -> None:
    for axis in range(place.size):
        place[axis] = tree.coordinates[axis, position]


@njit(cache=True)
def _distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> np.float32:
    total = np.float32(0.0)
    for axis in range(a.size):
        total += (a[axis] - b[axis]) * (a[axis] - b[axis])
    return np.float32(np.sqrt(total))


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
def _gather(tree: Tree, centre: NDArray[np.float32], radius: np.float32, held: int, around: Gathered) -> int:
    """Collect the leaves that come within `radius` of `centre`; returns the number of points, or -1 if too many.

    Of many identical points only the `held` with the lowest rows are taken. Pads to whole blocks, and leaves the
    squared distances from the centre.
    """
    dims, n = tree.coordinates.shape
    leaves = 1 << tree.depth
    capacity = around.rows.size - BLOCK
    limit = (radius * _ABOVE + _TINY) ** 2
    stack = np.empty(_STACK, np.int64)
    stack[0] = 1
    top, count = 1, 0
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
        start = node_start(node, level, n)
        size = node_start(node + 1, level, n) - start
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
    """Copy the candidates within `radius` of the place asked last, padded to whole blocks; returns their number."""
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
def _radius_holding(squared: NDArray[np.float32], count: int, held: int, bound: np.float32, dims: int) -> np.float32:
    """A radius, at most about `bound`, that holds at least `held` of the candidates, and few more."""
    low, high = np.float32(0.0), bound * _ABOVE
    inside = count_up_to(squared, count, high * high)
    for _ in range(8):
        if inside <= held + held // 8:
            break
        trial = high * np.sqrt(_squared_growth(1.06, held, inside, dims))
        if not low < trial < high:
            trial = np.float32(0.5) * (low + high)
        found = count_up_to(squared, count, trial * trial)
        if found >= held:
            high, inside = trial, found
        else:
            low = trial
    return high


@njit(cache=True)
def _limit_holding(
    squared: NDArray[np.float32], count: int, held: int, guess: np.float32, most: np.float32, dims: int
) -> np.float32:
    """A squared distance, at most that of `most`, within which at least `held` candidates lie, and few more."""
    low, high = np.float32(0.0), most * most * _ABOVE + _TINY * _TINY
    limit = min(guess * guess, high)
    for _ in range(6):
        found = count_up_to(squared, count, limit)
        if found < held:
            low = limit
        else:
            high = limit
            if found <= held + held // 4 + 4:
                break
        limit *= _squared_growth(1.1, held, found, dims)
        if not low < limit < high:
            limit = np.float32(0.5) * (low + high)
    return high


@njit(cache=True)
def _squared_growth(aim: float, held: int, found: int, dims: int) -> np.float32:
    """By what to multiply a squared radius that holds `found` points, for `aim` times `held` if density is even."""
    ratio = np.float32(min(aim * held / max(found, 1), 4.0))
    return ratio if dims == 2 else ratio ** np.float32(2 / 3)


@njit(cache=True)
def search_radius(tree: Tree, place: NDArray[np.float32], held: int, found: NDArray[np.float32]) -> np.float32:
    """Radius of the ball around `place` that just holds `held` points; `found` is space for 3 held + LEAF_SIZE."""
    dims, n = tree.coordinates.shape
    leaves = 1 << tree.depth
    nodes, nearest_possible = np.empty(_STACK, np.int64), np.empty(_STACK, np.float32)
    nodes[0], nearest_possible[0] = 1, np.float32(0.0)
    top = 1
    size = int(np.int64(0))  # a literal 0 would make numba compile what it is passed to twice
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
        start = node_start(node, level, n)
        stop = node_start(node + 1, level, n)
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
            limit = _select(found, size, held - 1)
            size = held
    return np.float32(np.sqrt(_select(found, size, held - 1)) * _ABOVE)


@njit(cache=True)
def _select(values: NDArray[np.float32], size: int, rank: int) -> np.float32:
    """The value of `rank` (from 0) among the first `size`; these are reordered, the lower ones to the front."""
    low, high = 0, size - 1
    while low < high:
        a, b, c = values[low], values[(low + high) >> 1], values[high]
        pivot = max(min(a, b), min(max(a, b), c))
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if rank <= j:
            high = j
        elif rank >= i:
            low = i
        else:
            break
    return np.float32(values[rank])
