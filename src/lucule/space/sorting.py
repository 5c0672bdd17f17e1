"""Sorting a stretch of an array in few instructions: numba's own sort takes much longer to compile."""

from __future__ import annotations

from typing import Any

from numba import njit
from numpy.typing import NDArray


@njit(cache=True)
def sort_stretch(values: NDArray[Any], start: int, stop: int) -> None:
    """Sort `values[start:stop]` in place, by Shell's method; stretches in order cost one look."""
    falls = 0
    for i in range(start + 1, stop):
        falls += values[i] < values[i - 1]
    if falls == 0:
        return
    step = 1
    while step < (stop - start) // 2:
        step = (9 * step + 4) // 4
    while step > 0:
        for i in range(start + step, stop):
            value = values[i]
            j = i
            while j >= start + step and values[j - step] > value:
                values[j] = values[j - step]
                j -= step
            values[j] = value
        step = 4 * step // 9
