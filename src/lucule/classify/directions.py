"""In which directions the neighbours of a localization lie, whatever its orientation (Varga et al. 2023)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

BINS: Final = 30
_PEAK: Final = 12
"""Bin around -pi/6, where the largest value is put."""


def directions(
    points: NDArray[np.float32], rows: NDArray[np.integer[Any]], indices: NDArray[np.int32]
) -> NDArray[np.float32]:
    """Histograms of the directions of the neighbours: 30 bins of 12 degrees, smoothed over 3, turned to one peak.

    Parameters
    ----------
    points
        `(n, 2)`, nm.
    rows
        `(m,)`, rows of the localizations.
    indices
        `(m, k)`, rows of their neighbours, -1 where one is missing, as `NeighbourGrid.neighbours` gives them.

    Returns
    -------
    histograms
        `(m, 30)` float32: fractions of the neighbours, from -pi on, with the largest in the bin around -pi/6. What lies
        at the same place has no direction and does not count.

    Notes
    -----
    Varga et al. 2023, Calculation of feature vectors.

    Examples
    --------
    >>> points = np.array([[0, 0], [0, 5], [0, 9], [3, 0]], np.float32)
    >>> found = directions(points, np.array([0]), np.array([[1, 2, 3]], np.int32))
    >>> int(found.argmax()), round(float(found.sum()), 4)
    (12, 1.0)
    """
    return np.asarray(
        _directions(np.ascontiguousarray(points[:, :2], np.float32), np.asarray(rows, np.int64), indices), np.float32
    )


@njit(cache=True, parallel=True, nogil=True)
def _directions(
    points: NDArray[np.float32], rows: NDArray[np.int64], indices: NDArray[np.int32]
) -> NDArray[np.float32]:
    found = np.zeros((rows.size, BINS), np.float32)
    for i in prange(rows.size):
        counts = np.zeros(BINS, np.float32)
        total = 0
        for j in indices[i]:
            if j < 0:
                continue
            dx, dy = points[j, 0] - points[rows[i], 0], points[j, 1] - points[rows[i], 1]
            if dx == 0 and dy == 0:
                continue
            angle = np.arctan2(dy, dx)
            counts[min(int((angle + np.pi) / (2 * np.pi) * BINS), BINS - 1)] += 1
            total += 1
        if total == 0:
            continue
        largest, at = np.float32(-1), 0
        smooth = np.empty(BINS, np.float32)
        for b in range(BINS):
            smooth[b] = (counts[b - 1] + counts[b] + counts[(b + 1) % BINS]) / (3 * total)
            if smooth[b] > largest:
                largest, at = smooth[b], b
        for b in range(BINS):
            found[i, (b - at + _PEAK) % BINS] = smooth[b]
    return found
