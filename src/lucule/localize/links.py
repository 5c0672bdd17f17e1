"""The same molecule in consecutive frames: which emitters belong together, and who hears whom."""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

# chi squared of three differences that 1 % of true pairs exceed
_GATE: Final = 11.34
# errors of the PSF and of the stage from one frame to the next, which no predicted error knows
_STILL_NM: Final = 5.0


def link(starts: Integers, xyz: Floats, precision: Floats) -> Integers:
    """Link emitters of consecutive frames that agree within their errors and are each other's nearest.

    Parameters
    ----------
    starts
        First emitter of each frame, and their number at the end, `(frames + 1,)`.
    xyz
        Places in nm, `(n, 3)`.
    precision
        Inverse covariances of the places in nm^-2, `(n, 3, 3)`.

    Returns
    -------
    The emitter of the next frame that is the same molecule, or -1, `(n,)`.

    Examples
    --------
    >>> xyz = np.array([[0.0, 0, 0], [500, 0, 0], [10, 0, 0]])
    >>> link(np.array([0, 2, 3]), xyz, np.tile(np.eye(3) / 10**2, (3, 1, 1))).tolist()
    [2, -1, -1]
    """
    covariance = np.linalg.inv(precision) + 0.5 * _STILL_NM**2 * np.eye(3)
    return _link(starts, np.ascontiguousarray(xyz, np.float64), covariance)


@njit(cache=True)
def _link(starts: Integers, xyz: Floats, covariance: Floats) -> Integers:
    after = np.full(len(xyz), -1, np.int64)
    forth, back = np.full(len(xyz), -1, np.int64), np.full(len(xyz), -1, np.int64)
    apart_forth, apart_back = np.full(len(xyz), _GATE), np.full(len(xyz), _GATE)
    for frame in range(len(starts) - 2):
        for i in range(starts[frame], starts[frame + 1]):
            for j in range(starts[frame + 1], starts[frame + 2]):
                apart = _apart(xyz[i] - xyz[j], covariance[i], covariance[j])
                if apart < apart_forth[i]:
                    apart_forth[i], forth[i] = apart, j
                if apart < apart_back[j]:
                    apart_back[j], back[j] = apart, i
    for i in range(len(xyz)):
        if forth[i] >= 0 and back[forth[i]] == i:
            after[i] = forth[i]
    return after


@njit(cache=True)
def _apart(d: Floats, one: Floats, other: Floats) -> float:
    """Squared distance in standard deviations; no more than a lower limit where one axis alone is beyond the gate."""
    for k in range(3):
        if d[k] ** 2 > _GATE * (one[k, k] + other[k, k]):
            return np.inf
    return float(d @ np.linalg.solve(one + other, d))


@njit(cache=True)
def around(after: Integers, reach: int) -> Integers:
    """Linked emitters up to `reach` frames before and after each, -1 where there is none, `(n, 2 * reach)`.

    Examples
    --------
    >>> around(np.array([1, 2, 3, -1]), 2).tolist()
    [[1, 2, -1, -1], [2, 3, 0, -1], [3, -1, 1, 0], [-1, -1, 2, 1]]
    """
    n = len(after)
    before = np.full(n, -1, np.int64)
    for i in range(n):
        if after[i] >= 0:
            before[after[i]] = i
    seen = np.full((n, 2 * reach), -1, np.int64)
    for i in range(n):
        forth = back = i
        for k in range(reach):
            forth = after[forth] if forth >= 0 else -1
            back = before[back] if back >= 0 else -1
            seen[i, k], seen[i, reach + k] = forth, back
    return seen
