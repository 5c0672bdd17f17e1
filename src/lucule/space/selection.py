"""Selecting and sorting short arrays of distances: most of the time of a search for many neighbours goes here.

Distances from a point spread fairly evenly between zero and the farthest, so one pass that drops them into about as
many buckets as there are values leaves them almost sorted, and insertion sort finishes. Buckets that overflow, as in
very uneven data, are sorted first.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

_LARGE_BUCKET: Final = 24


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
    count = 0
    for i in range(size):
        count += values[i] <= limit
    return count


class Sorter(NamedTuple):
    """Space for sorting."""

    buckets: NDArray[np.int32]
    heads: NDArray[np.int32]


@njit(cache=True)
def sorter(capacity: int) -> Sorter:
    """Space for sorting up to `capacity` values."""
    return Sorter(np.empty(capacity, np.int32), np.empty(capacity + 1, np.int32))


@njit(cache=True)
def sort_by_distance(
    keys: NDArray[Any],
    distances: NDArray[np.float32],
    size: int,
    longest: np.float32,
    space: Sorter,
    output: NDArray[Any],
) -> None:
    """Sort the first `size` keys into `output`; they rise with `distances`, all of which lie in 0 to `longest`."""
    buckets, heads = space.buckets, space.heads
    scale = np.float32(size) / longest * np.float32(0.999999) if longest > 0 else np.float32(0.0)
    for i in range(size):
        buckets[i] = np.int32(distances[i] * scale)
    heads[: size + 1] = 0
    for i in range(size):
        heads[buckets[i]] += 1
    position = np.int32(0)
    largest = np.int32(0)
    for b in range(size + 1):
        held = heads[b]
        heads[b] = position
        position += held
        largest = max(largest, held)
    for i in range(size):
        b = buckets[i]
        output[heads[b]] = keys[i]
        heads[b] += 1
    if largest > _LARGE_BUCKET:
        start = 0
        for b in range(size + 1):
            # by now heads point one past the end of their bucket
            if heads[b] - start > _LARGE_BUCKET:
                output[start : heads[b]].sort()
            start = heads[b]
    for i in range(1, size):
        key = output[i]
        j = i
        while j > 0 and output[j - 1] > key:
            output[j] = output[j - 1]
            j -= 1
        output[j] = key
