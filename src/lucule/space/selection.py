"""The k nearest of some candidates, in order: most of the time of a search for many neighbours goes here.

The loops are written so that compilers turn them into vector code on any processor: no branches on the data, and
lengths rounded up to whole blocks with padding that does no harm.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lucule.space.sorting import sort_stretch

BLOCK: Final = 16
_LARGE_BUCKET: Final = 16
_LARGEST_DISTANCE: Final = np.float32(3e38)
_LARGEST_KEY: Final = np.int64(2**63 - 1)


class Work(NamedTuple):
    """Space for one answer: what lies near the query, and the same sorted."""

    near: NDArray[np.float32]
    near_sorted: NDArray[np.float32]
    near_spare: NDArray[np.float32]
    keys: NDArray[np.int64]
    keys_sorted: NDArray[np.int64]
    keys_spare: NDArray[np.int64]
    buckets: NDArray[np.uint32]
    heads: NDArray[np.uint32]


@njit(cache=True)
def work_for(capacity: int, with_keys: bool) -> Work:
    """Space for up to `capacity` candidates."""
    size = whole_blocks(capacity) + BLOCK
    keys = size if with_keys else 0
    return Work(
        np.zeros(size, np.float32),
        np.empty(size, np.float32),
        np.empty(size, np.float32),
        np.empty(keys, np.int64),
        np.empty(keys, np.int64),
        np.empty(keys, np.int64),
        np.empty(size, np.uint32),
        np.empty(size, np.uint32),
    )


@njit(cache=True, inline="always")
def whole_blocks(size: int) -> int:
    """`size` rounded up to whole blocks."""
    return (size + BLOCK - 1) // BLOCK * BLOCK


@njit(cache=True)
def count_up_to(values: NDArray[np.float32], size: int, limit: np.float32) -> int:
    """How many of the first `size` values are at most `limit`."""
    count = np.uint32(0)
    for i in range(size):
        count += np.uint32(values[i] <= limit)
    return int(count)


@njit(cache=True)
def nearest_distances(
    squared: NDArray[np.float32],
    count: int,
    limit: np.float32,
    k: int,
    work: Work,
    distances: NDArray[np.float32],
    slot: int,
) -> None:
    """Write the k smallest distances after the very smallest, which is that of the point itself or of an identical one.

    More than k of the first `count` squared distances are at most `limit`.
    """
    near = work.near
    size = _keep_distances(squared, count, limit, near)
    _take_roots(near, size, limit)
    _sort(near, size, np.sqrt(limit), work, work.near_sorted, work.near_spare, _LARGEST_DISTANCE)
    for i in range(k):
        distances[slot, i] = work.near_sorted[i + 2]


@njit(cache=True)
def nearest_keys(
    squared: NDArray[np.float32],
    rows: NDArray[np.int32],
    count: int,
    own_row: int,
    limit: np.float32,
    k: int,
    work: Work,
    distances: NDArray[np.float32],
    indices: NDArray[np.int32],
    slot: int,
) -> None:
    """Write the k smallest distances and the rows that have them, by distance and then row; `own_row` is left out."""
    near, keys = work.near, work.keys
    size = _keep_both(squared, rows, count, own_row, limit, near, keys)
    _take_roots(near, size, limit)
    # the bits of distances from 0 up are integers in the same order
    bits = near.view(np.int32)
    for i in range(size):
        keys[i] |= np.int64(bits[i]) << 32
    _sort(keys, size, np.sqrt(limit), work, work.keys_sorted, work.keys_spare, _LARGEST_KEY)
    for i in range(k):
        bits[i] = np.int32(work.keys_sorted[i + 1] >> 32)
        indices[slot, i] = np.int32(work.keys_sorted[i + 1])
    for i in range(k):
        distances[slot, i] = near[i]


@njit(cache=True)
def _keep_distances(squared: NDArray[np.float32], count: int, limit: np.float32, near: NDArray[np.float32]) -> int:
    """Copy the squared distances up to `limit`; returns their number."""
    size = 0
    for i in range(count):
        near[size] = squared[i]
        size += bool(squared[i] <= limit)
    return size


@njit(cache=True)
def _keep_both(
    squared: NDArray[np.float32],
    rows: NDArray[np.int32],
    count: int,
    own_row: int,
    limit: np.float32,
    near: NDArray[np.float32],
    keys: NDArray[np.int64],
) -> int:
    """Copy squared distances and rows, but for `own_row`; returns their number."""
    size = 0
    for i in range(count):
        near[size] = squared[i]
        keys[size] = rows[i]
        size += bool((squared[i] <= limit) & (rows[i] != own_row))
    return size


@njit(cache=True)
def _take_roots(values: NDArray[np.float32], size: int, largest: np.float32) -> None:
    """Roots of the first `size` values, padded to whole blocks with that of the largest."""
    values[size : whole_blocks(size)] = largest
    for i in range(whole_blocks(size)):
        values[i] = np.sqrt(values[i])


@njit(cache=True)
def _sort(
    keys: NDArray[Any],
    size: int,
    longest: np.float32,
    work: Work,
    output: NDArray[Any],
    spare: NDArray[Any],
    largest_key: Any,
) -> None:
    """Sort the first `size` keys into `output[1:size + 1]`; they rise with `work.near`, all in 0 to `longest`.

    One pass drops the keys into as many buckets as there are keys, which leaves them almost sorted; a few rounds of
    exchanges between neighbours finish. Buckets that overflow nevertheless are sorted on their own.
    """
    buckets, heads = work.buckets, work.heads
    _assign_buckets(work.near, size, longest, buckets)
    heads[: size + 1] = 0
    for i in range(size):
        heads[buckets[i]] += np.uint32(1)
    position = np.uint32(1)
    rounds = np.uint32(0)
    for b in range(size + 1):
        held = heads[b]
        heads[b] = position
        position += held
        rounds = max(rounds, held)
    for i in range(size):
        b = buckets[i]
        output[heads[b]] = keys[i]
        heads[b] += np.uint32(1)
    if rounds > _LARGE_BUCKET:
        rounds = np.uint32(_LARGE_BUCKET)
        start = np.uint32(1)
        for b in range(size + 1):
            # by now heads point one past the end of their bucket
            if heads[b] - start > _LARGE_BUCKET:
                sort_stretch(output, int(start), int(heads[b]))
            start = heads[b]
    _exchange(output, spare, size, int(rounds), largest_key)


@njit(cache=True)
def _assign_buckets(
    distances: NDArray[np.float32], size: int, longest: np.float32, buckets: NDArray[np.uint32]
) -> None:
    """Give each distance one of `size + 1` buckets, in order and so that about one falls into each.

    In an even plane the squares of the distances are even; where points cluster, most are small. So three stretches of
    the squares are cut into as many buckets as they hold points.
    """
    outer = longest * longest
    middle, inner = outer * np.float32(1 / 16), outer * np.float32(1 / 256)
    in_inner, in_middle = np.uint32(0), np.uint32(0)
    for i in range(whole_blocks(size)):
        square = distances[i] * distances[i]
        in_inner += np.uint32(square < inner)
        in_middle += np.uint32(square < middle)
    first_middle, first_outer = np.float32(in_inner), np.float32(in_middle)
    per_inner = _buckets_per_width(first_middle, inner)
    per_middle = _buckets_per_width(first_outer - first_middle, middle - inner)
    per_outer = _buckets_per_width(np.float32(size) - first_outer, outer - middle)
    for i in range(whole_blocks(size)):
        square = distances[i] * distances[i]
        near = square * per_inner
        between = first_middle + (square - inner) * per_middle
        far = first_outer + (square - middle) * per_outer
        buckets[i] = np.uint32(np.int32(near if square < inner else between if square < middle else far))


@njit(cache=True)
def _buckets_per_width(count: np.float32, width: np.float32) -> np.float32:
    # a little less, so that rounding cannot lead beyond the last bucket
    return count / width * np.float32(0.9999) if width > 0 else np.float32(0.0)


@njit(cache=True)
def _exchange(values: NDArray[Any], spare: NDArray[Any], size: int, rounds: int, largest: Any) -> None:
    """Sort `values[1:size + 1]` by odd-even transposition; no run out of order is longer than `rounds`."""
    length = whole_blocks(size)
    values[0] = 0
    spare[0] = 0
    values[size + 1 : length + 2] = largest
    spare[length + 1] = largest
    for _ in range((rounds + 1) // 2):
        for i in range(1, length + 1):
            lower, upper = min(values[i], values[i + 1]), max(values[i - 1], values[i])
            spare[i] = lower if i & 1 else upper
        for i in range(1, length + 1):
            lower, upper = min(spare[i], spare[i + 1]), max(spare[i - 1], spare[i])
            values[i] = upper if i & 1 else lower
