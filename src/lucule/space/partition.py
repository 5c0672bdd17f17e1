"""Splitting points at the one of a given rank along an axis, in place."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

_SAMPLES: Final = 31
_BLOCK: Final = 64
_LONG: Final = 1024


@njit(cache=True)
def split_at(
    coordinates: NDArray[np.float32], order: NDArray[np.int32], axis: int, start: int, stop: int, middle: int
) -> None:
    """Reorder positions `start` to `stop` so that along `axis` none before `middle` is above any from `middle` on."""
    key = coordinates[axis]
    low, high = start, stop - 1
    while low < high:
        pivot = _pivot(key, low, high, middle)
        left, right = low, high
        if high - low > _LONG:
            left, right = _exchange_blocks(coordinates, order, axis, left, right, pivot)
        while left <= right:
            while key[left] < pivot:
                left += 1
            while key[right] > pivot:
                right -= 1
            if left <= right:
                _swap(coordinates, order, left, right)
                left += 1
                right -= 1
        if middle <= right:
            high = right
        elif middle >= left:
            low = left
        else:
            return


@njit(cache=True)
def _exchange_blocks(
    coordinates: NDArray[np.float32], order: NDArray[np.int32], axis: int, left: int, right: int, pivot: np.float32
) -> tuple[int, int]:
    """Bring low values to the left and high ones to the right, and return what is left over between them.

    The points to exchange are listed for a block at a time on both sides, without a branch that depends on the values:
    half of such branches would be guessed wrongly, which costs more than all the rest (Edelkamp and Weiss 2016).
    """
    key = coordinates[axis]
    from_left, from_right = np.empty(_BLOCK, np.int64), np.empty(_BLOCK, np.int64)
    listed_left = listed_right = done_left = done_right = 0
    while right - left > 2 * _BLOCK:
        if listed_left == done_left:
            listed_left = done_left = 0
            for i in range(_BLOCK):
                from_left[listed_left] = left + i
                listed_left += bool(key[left + i] >= pivot)
        if listed_right == done_right:
            listed_right = done_right = 0
            for i in range(_BLOCK):
                from_right[listed_right] = right - i
                listed_right += bool(key[right - i] <= pivot)
        pairs = min(listed_left - done_left, listed_right - done_right)
        for i in range(pairs):
            _swap(coordinates, order, from_left[done_left + i], from_right[done_right + i])
        done_left += pairs
        done_right += pairs
        if listed_left == done_left:
            left += _BLOCK
        if listed_right == done_right:
            right -= _BLOCK
    return left, right


@njit(cache=True, inline="always")
def _swap(coordinates: NDArray[np.float32], order: NDArray[np.int32], i: int, j: int) -> None:
    for a in range(coordinates.shape[0]):
        coordinates[a, i], coordinates[a, j] = coordinates[a, j], coordinates[a, i]
    order[i], order[j] = order[j], order[i]


@njit(cache=True)
def _pivot(key: NDArray[np.float32], low: int, high: int, middle: int) -> np.float32:
    """A value close to the one that belongs at `middle`, from a sorted sample."""
    size = high - low + 1
    if size < 4 * _SAMPLES:
        a, b, c = key[low], key[low + size // 2], key[high]
        return np.float32(max(min(a, b), min(max(a, b), c)))
    sample = np.empty(_SAMPLES, np.float32)
    step = size // _SAMPLES
    for s in range(_SAMPLES):
        # scattered within its stretch, so that no regular input meets the same ranks every time
        value = key[low + s * step + (s * 2654435761 + size) % step]
        i = s
        while i > 0 and sample[i - 1] > value:
            sample[i] = sample[i - 1]
            i -= 1
        sample[i] = value
    return np.float32(sample[(middle - low) * _SAMPLES // size])
