"""Selecting and sorting short arrays of distances: most of the time of a search for many neighbours goes here.

The loops are written so that compilers turn them into vector code on any processor: no branches on the data, and lengths
rounded up to `BLOCK` with padding that does no harm.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

BLOCK: Final = 64
# larger than any squared distance, and finite so that arithmetic on it stays defined
HUGE: Final = np.float32(3e38)
_LARGE_BUCKET: Final = 16


class Sorter(NamedTuple):
    """Space for sorting."""

    buckets: NDArray[np.uint32]
    heads: NDArray[np.uint32]


@njit(cache=True)
def sorter(capacity: int) -> Sorter:
    """Space for sorting up to `capacity` values."""
    return Sorter(np.empty(capacity + BLOCK, np.uint32), np.empty(capacity + BLOCK + 1, np.uint32))


@njit(cache=True, inline="always")
def whole_blocks(size: int) -> int:
    """`size` rounded up to whole blocks."""
    return (size + BLOCK - 1) // BLOCK * BLOCK


@njit(cache=True)
def select(values: NDArray[np.float32], size: int, rank: int) -> np.float32:
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


@njit(cache=True)
def count_up_to(values: NDArray[np.float32], size: int, limit: np.float32) -> int:
    """How many of the first `size` values are at most `limit`."""
    count = np.uint32(0)
    for i in range(size):
        count += np.uint32(values[i] <= limit)
    return int(count)


@njit(cache=True)
def sort_by_distance(
    keys: NDArray[Any],
    distances: NDArray[np.float32],
    size: int,
    longest: np.float32,
    space: Sorter,
    output: NDArray[Any],
    spare: NDArray[Any],
    last: Any,
) -> None:
    """Sort the first `size` keys into `output[1:size + 1]`; they rise with `distances`, all in 0 to `longest`.

    No key is below 0 or above `last`.

    Distances from a point spread fairly evenly, so one pass that drops them into as many buckets as there are values
    leaves them almost sorted, and a few rounds of exchanges between neighbours finish. Buckets that overflow, as they do
    in very uneven data, are sorted on their own.
    """
    buckets, heads = space.buckets, space.heads
    _drop(distances, size, longest, buckets)
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
                output[start : heads[b]].sort()
            start = heads[b]
    _exchange(output, spare, size, rounds, last)


@njit(cache=True)
def _drop(distances: NDArray[np.float32], size: int, longest: np.float32, buckets: NDArray[np.uint32]) -> None:
    """Give each distance one of `size + 1` buckets, so that about one falls into each."""
    # The square of the distance is even in a plane. Where points cluster, most of them are near: three stretches of the
    # squares get buckets by how many points they hold.
    middle, inner = longest * longest * np.float32(1 / 16), longest * longest * np.float32(1 / 256)
    outer = middle * np.float32(16)
    in_inner, in_middle = 0, 0
    for i in range(size):
        square = distances[i] * distances[i]
        in_inner += square < inner
        in_middle += square < middle
    scale_inner = _per_bucket(in_inner, inner)
    scale_middle = _per_bucket(in_middle - in_inner, middle - inner)
    scale_outer = _per_bucket(size - in_middle, outer - middle)
    for i in range(whole_blocks(size)):
        square = distances[i] * distances[i]
        near = square * scale_inner
        between = np.float32(in_inner) + (square - inner) * scale_middle
        far = np.float32(in_middle) + (square - middle) * scale_outer
        bucket = near if square < inner else between if square < middle else far
        buckets[i] = np.uint32(np.int32(bucket))


@njit(cache=True)
def _per_bucket(count: int, width: np.float32) -> np.float32:
    return np.float32(count) / width * np.float32(0.99999) if width > 0 else np.float32(0.0)


@njit(cache=True)
def _exchange(values: NDArray[Any], spare: NDArray[Any], size: int, rounds: int, last: Any) -> None:
    """Sort `values[1:size + 1]`, of which none is more than `rounds` places away, by odd-even transposition."""
    length = whole_blocks(size)
    values[0] = 0
    spare[0] = 0
    values[size + 1 : length + 2] = last
    spare[length + 1] = last
    for _ in range((rounds + 1) // 2):
        for i in range(1, length + 1):
            up, down = min(values[i], values[i + 1]), max(values[i - 1], values[i])
            spare[i] = up if i & 1 else down
        for i in range(1, length + 1):
            up, down = min(spare[i], spare[i + 1]), max(spare[i - 1], spare[i])
            values[i] = down if i & 1 else up
