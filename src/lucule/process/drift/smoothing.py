"""What is drift and what is error in a sequence of measured shifts, told apart by their statistics."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_LEAST_PACE_NM: Final = 0.02
_SLOW: Final = 31


def pace(drift: Floats) -> tuple[Floats, Floats]:
    """Standard deviation of the true step from one segment to the next, and of the error of a segment, `(d,)` each.

    Squared differences over m segments grow as m w^2 + 2 e^2 for a random walk of pace w with errors e; both are read off
    m = 1 and m = 4, after what changes slowly was taken off. The slow part counts as drift, too.
    """
    from scipy.ndimage import uniform_filter1d

    steps = np.diff(drift, axis=0)
    if len(steps) < 8:
        size = np.sqrt(np.mean(steps**2, axis=0)) if len(steps) else np.ones(drift.shape[1])
        return np.maximum(size, 1.0), np.zeros(drift.shape[1])
    fast = drift - uniform_filter1d(drift, min(_SLOW, len(drift) // 2), axis=0, mode="nearest")
    one, four = (np.mean((fast[m:] - fast[:-m]) ** 2, axis=0) for m in (1, 4))
    walk = np.maximum((four - one) / 3, 0)
    noise = np.maximum((one - walk) / 2, 0)
    true = np.mean(steps**2, axis=0) - 2 * noise
    return np.sqrt(np.maximum(true, _LEAST_PACE_NM**2)), np.sqrt(noise)


def smoothed(drift: Floats, middle: Floats, *, pace_nm: Floats, noise_nm: Floats) -> Floats:
    """The most likely random walk behind shifts that were measured with errors (Kalman smoother, solved at once)."""
    from scipy.linalg import solveh_banded

    if len(drift) < 4:
        return drift
    gap = np.diff(middle)
    result = drift.copy()
    for axis in range(drift.shape[1]):
        if noise_nm[axis] <= 0:
            continue
        stiff = noise_nm[axis] ** 2 / (pace_nm[axis] ** 2 * gap / np.median(gap))
        band = np.zeros((2, len(drift)))
        band[1] = 1.0
        band[1, :-1] += stiff
        band[1, 1:] += stiff
        band[0, 1:] = -stiff
        result[:, axis] = solveh_banded(band, drift[:, axis])
    smooth: Floats = result - result.mean(axis=0)
    return smooth


def uncertainty(middle: Floats, *, pace_nm: Floats, noise_nm: Floats) -> Floats:
    """Standard error of the smoothed drift in the middle of each segment, `(k, d)`.

    Errors of the segments are damped by their neighbours, and the walk within a segment, whose mean is what is measured,
    adds a twelfth of its step. `noise_nm` is `(k, d)`.
    """
    result = np.empty_like(noise_nm)
    k = len(middle)
    gap = np.diff(middle)
    for axis in range(noise_nm.shape[1]):
        step = np.append(gap, gap[-1:] if k > 1 else 1.0) / (np.median(gap) if k > 1 else 1.0) * pace_nm[axis] ** 2
        precision = np.diag(1 / np.maximum(noise_nm[:, axis], 1e-3) ** 2)
        if k > 1:
            i = np.arange(k - 1)
            precision[i, i] += 1 / step[:-1]
            precision[i + 1, i + 1] += 1 / step[:-1]
            precision[i, i + 1] -= 1 / step[:-1]
            precision[i + 1, i] -= 1 / step[:-1]
        result[:, axis] = np.sqrt(np.diag(np.linalg.inv(precision)) + step / 12)
    return result
