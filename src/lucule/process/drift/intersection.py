"""Drift by adaptive intersection maximisation, with a reference from which each segment is left out.

Ma et al. 2024, Sci Adv 10:eadm7765: a segment is shifted until most of its localizations fall onto localizations of a
reference. In the published second round the reference is the whole table, the segment included, so that it agrees best
with itself where it is. Here the segment is taken out of the reference first.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lucule.process.drift.segments import Segments

Floats = NDArray[np.float64]

# cells of the reference along x, y and z; positions beyond are folded back, so that memory is always the same
_PLANE_BITS: Final = (12, 12, 0)
_SPACE_BITS: Final = (10, 10, 4)
ROUNDS: Final = 2


def intersect(
    points: NDArray[np.float32],
    segments: Segments,
    *,
    cell_nm: Floats,
    reach: int = 3,
    rounds: int = ROUNDS,
    start: Floats | None = None,
    only: Literal["plane", "depth"] | None = None,
    leave_one_out: bool = True,
) -> Floats:
    """Drift of each segment, `(k, d)` nm, with mean 0.

    Parameters
    ----------
    points
        Sorted by time, `(n, 2)` or `(n, 3)`.
    segments
        Of the rows.
    cell_nm
        Intersection distance along each axis: about three times the precision.
    reach
        Largest step from one segment to the next, in cells.
    rounds
        1: each segment is compared with those before it only; more: with all others.
    start
        Drift to start with, `(k, d)`; 0 by default. With it, the first round compares with all others, too.
    only
        Leave depth, or the plane, as `start` has it.
    leave_one_out
        Whether a segment is taken out of the reference before it is compared with it. Only tests say no.
    """
    d = points.shape[1]
    k = len(segments.middle)
    drift = np.zeros((k, d)) if start is None else start.copy()
    scaled = np.ascontiguousarray(points / cell_nm.astype(np.float32), np.float32)
    drift /= cell_nm
    passes = {2: _PLANE_BITS} if only != "depth" else {}
    if d == 3 and only != "plane":
        passes[3] = _SPACE_BITS
    for axes, bits in passes.items():
        reference = np.zeros(1 << sum(bits), np.uint16)
        shifts = np.array(bits)
        if start is None or (only == "depth" and axes == 3):
            _first_round(scaled, segments.starts, drift, reference, shifts, axes, reach)
        else:
            for i in range(k):
                _add(scaled, segments.starts[i], segments.starts[i + 1], drift[i], reference, shifts, axes, 1)
        for _ in range(rounds - (start is None or only == "depth")):
            _next_round(scaled, segments.starts, drift, reference, shifts, axes, reach, leave_one_out)
    drift *= cell_nm
    result: Floats = drift - drift.mean(axis=0)
    return result


@njit(cache=True, nogil=True, inline="always")
def _index(
    points: NDArray[np.float32], row: int, shift: Floats, bits: NDArray[np.int64], axes: int, dx: int, dy: int, dz: int
) -> int:
    ix = (int(np.floor(points[row, 0] - shift[0])) + dx) & ((1 << bits[0]) - 1)
    iy = (int(np.floor(points[row, 1] - shift[1])) + dy) & ((1 << bits[1]) - 1)
    index = (ix << bits[1]) | iy
    if axes == 3:
        iz = (int(np.floor(points[row, 2] - shift[2])) + dz) & ((1 << bits[2]) - 1)
        index = (index << bits[2]) | iz
    return index


@njit(cache=True, nogil=True)
def _add(
    points: NDArray[np.float32],
    first: int,
    end: int,
    shift: Floats,
    reference: NDArray[np.uint16],
    bits: NDArray[np.int64],
    axes: int,
    sign: int,
) -> None:
    for row in range(first, end):
        index = _index(points, row, shift, bits, axes, 0, 0, 0)
        # saturated cells never come back to a true count, so they must be out of reach
        reference[index] = reference[index] + 1 if sign > 0 else reference[index] - 1


@njit(cache=True, nogil=True)
def _settle(
    points: NDArray[np.float32],
    first: int,
    end: int,
    shift: Floats,
    reference: NDArray[np.uint16],
    bits: NDArray[np.int64],
    axes: int,
    reach: int,
) -> None:
    """Move `shift` to where the segment meets most of the reference: the centre of the peak of counts over shifts."""
    low, high = (0, 2) if axes == 2 else (2, 3)
    size = 2 * reach + 1
    counts = np.empty((size, size) if axes == 2 else (size, 1))
    for iteration in range(4):
        counts[:] = 0.0
        for row in range(first, end):
            if axes == 2:
                for i in range(size):
                    for j in range(size):
                        # the square root lets no bead decide alone
                        counts[i, j] += np.sqrt(reference[_index(points, row, shift, bits, axes, i - reach, j - reach, 0)])
            else:
                for i in range(size):
                    counts[i, 0] += np.sqrt(reference[_index(points, row, shift, bits, axes, 0, 0, i - reach)])
        best, bi, bj = -1.0, 0, 0
        total = 0.0
        for i in range(counts.shape[0]):
            for j in range(counts.shape[1]):
                total += counts[i, j]
                if counts[i, j] > best:
                    best, bi, bj = counts[i, j], i, j
        if best <= 0:
            return
        # the centre of what rises above the half between peak and border, around the peak
        floor = 0.0
        border = 0
        for i in range(counts.shape[0]):
            for j in range(counts.shape[1]):
                edge = i == 0 or i == size - 1 or (axes == 2 and (j == 0 or j == size - 1))
                if edge:
                    floor += counts[i, j]
                    border += 1
        floor = min(floor / border, best)
        si = sj = weight = 0.0
        for i in range(max(bi - 2, 0), min(bi + 3, counts.shape[0])):
            for j in range(max(bj - 2, 0), min(bj + 3, counts.shape[1])):
                w = max(counts[i, j] - floor - 0.25 * (best - floor), 0.0)
                si += w * i
                sj += w * j
                weight += w
        if weight <= 0:
            return
        # a shift of the cells by +1 means that the segment lies one cell too low
        step_i = si / weight - reach
        step_j = sj / weight - reach if axes == 2 else 0.0
        shift[low] -= step_i
        if high - low == 2:
            shift[low + 1] -= step_j
        if abs(step_i) < 0.01 and abs(step_j) < 0.01:
            return


@njit(cache=True, nogil=True)
def _first_round(
    points: NDArray[np.float32],
    starts: NDArray[np.int64],
    drift: Floats,
    reference: NDArray[np.uint16],
    bits: NDArray[np.int64],
    axes: int,
    reach: int,
) -> None:
    """Each segment against all those before it, from where the last one was."""
    low = 0 if axes == 2 else 2
    _add(points, starts[0], starts[1], drift[0], reference, bits, axes, 1)
    for k in range(1, len(starts) - 1):
        for axis in range(low, axes):
            drift[k, axis] = drift[k - 1, axis]
        _settle(points, starts[k], starts[k + 1], drift[k], reference, bits, axes, reach)
        _add(points, starts[k], starts[k + 1], drift[k], reference, bits, axes, 1)


@njit(cache=True, nogil=True)
def _next_round(
    points: NDArray[np.float32],
    starts: NDArray[np.int64],
    drift: Floats,
    reference: NDArray[np.uint16],
    bits: NDArray[np.int64],
    axes: int,
    reach: int,
    leave_one_out: bool,
) -> None:
    """Each segment against all others, in the order of time, each at once at its new place."""
    for k in range(len(starts) - 1):
        before = drift[k].copy()
        if leave_one_out:
            _add(points, starts[k], starts[k + 1], before, reference, bits, axes, -1)
        _settle(points, starts[k], starts[k + 1], drift[k], reference, bits, axes, reach)
        if not leave_one_out:
            _add(points, starts[k], starts[k + 1], before, reference, bits, axes, -1)
        _add(points, starts[k], starts[k + 1], drift[k], reference, bits, axes, 1)
