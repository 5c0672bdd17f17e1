"""Drift by minimising the entropy of the corrected table, for all segments at once.

Cnossen et al. 2021, Opt Express 29:27961 (DME): the drift is right when each localization lies as likely as possible in
the density that all others draw, each with its precision. Here the bound is improved by expectation and maximisation:
with the probabilities fixed with which pairs are the same place, the best drift of all segments solves one linear system,
which no step size and no order of the segments enters. A random walk whose pace is taken from the data joins segments that
follow each other, so that segments may be short.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import get_num_threads, njit
from numpy.typing import NDArray

from lucule.process.drift.segments import Segments

Floats = NDArray[np.float64]

_REACH_SIGMAS: Final = 3.5
_MOST_PARTNERS: Final = 24
_MOST_PAIRS: Final = 3_000_000
_ITERATIONS: Final = 8
_CONVERGED_NM: Final = 0.05


def minimise(
    points: NDArray[np.float32],
    errors: NDArray[np.float32],
    segments: Segments,
    start: Floats,
    *,
    pace_nm: Floats,
    iterations: int = _ITERATIONS,
) -> Floats:
    """Drift of each segment, `(k, d)` nm, with mean 0.

    Parameters
    ----------
    points
        `(n, d)` in nm, sorted by time.
    errors
        Precision of each row, `(n, d)`.
    segments
        Of the rows.
    start
        A drift that is right to within a few precisions, `(k, d)`.
    pace_nm
        Standard deviation of the drift from one segment to the next, `(d,)`.
    """
    k, d = start.shape
    drift = start - start.mean(axis=0)
    first, second = _pairs(points - drift[segments.of].astype(np.float32), errors, segments.of)
    if not len(first):
        return drift
    walk = np.zeros((d, k, k))
    gap = np.diff(segments.middle)
    stiff = np.median(gap) / np.maximum(gap, 1e-9)
    for axis in range(d):
        weight = stiff / pace_nm[axis] ** 2
        i = np.arange(k - 1)
        np.add.at(walk[axis], (i, i), weight)
        np.add.at(walk[axis], (i + 1, i + 1), weight)
        walk[axis][i, i + 1] -= weight
        walk[axis][i + 1, i] -= weight
    threads = get_num_threads()
    cuts = np.linspace(0, len(first), threads + 1).astype(np.int64)
    likeness = np.empty(len(first), np.float32)
    precise = errors.astype(np.float32)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(threads) as pool:
        for _ in range(iterations):
            moved = drift.astype(np.float32)
            totals = list(pool.map(
                lambda t: _likeness(points, precise, segments.of, moved, first, second, likeness, cuts[t], cuts[t + 1]),
                range(threads),
            ))  # fmt: skip
            # a localization is always as likely as its own place says
            total = sum(totals) + (0.5**d / np.prod(precise, axis=1)).astype(np.float64)
            parts = list(pool.map(
                lambda t: _system(points, precise, segments.of, first, second, likeness, total, k, cuts[t], cuts[t + 1]),
                range(threads),
            ))  # fmt: skip
            matrix, right = sum(p[0] for p in parts) + walk, sum(p[1] for p in parts)
            found = np.column_stack([_solve(matrix[axis], right[axis]) for axis in range(d)])
            step = found - found.mean(axis=0) - drift
            drift = drift + step
            if np.sqrt(np.mean(step**2)) < _CONVERGED_NM:
                break
    return drift


def _solve(matrix: Floats, right: Floats) -> Floats:
    from scipy.linalg import cho_factor, cho_solve

    # the common shift is free: it is held by a weak spring
    held = matrix + np.eye(len(matrix)) * (1e-6 * np.trace(matrix) / len(matrix) + 1e-12)
    solution: Floats = cho_solve(cho_factor(held, lower=True, overwrite_a=True), right)
    return solution


def _pairs(
    points: NDArray[np.float32], errors: NDArray[np.float32], segment: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Pairs of rows of different segments that may be one place; of dense ones a part, drawn by a hash."""
    lateral = float(np.median(errors[:, 0]))
    reach = _REACH_SIGMAS * np.sqrt(2) * lateral
    cell = np.floor((points[:, :2] - points[:, :2].min(axis=0)) / reach).astype(np.int64)
    width = int(cell[:, 1].max()) + 3
    key = (cell[:, 0] + 1) * width + cell[:, 1] + 1
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    cells, starts = np.unique(ordered, return_index=True)
    ends = np.append(starts[1:], len(order))
    near = np.ascontiguousarray(points[order])
    of = segment[order]
    counts = np.zeros(len(order), np.int32)
    nothing = np.empty(0, np.int32)
    _visit(near, of, cells, starts, ends, width, reach, counts, 0.0, nothing, nothing)
    total = int(np.minimum(counts, _MOST_PARTNERS).sum())
    # fewer partners each where the table is large
    most = _MOST_PARTNERS * min(1.0, _MOST_PAIRS / max(total / 2, 1))
    room = int(np.minimum(counts, most).sum() * 0.75) + 1024
    first, second = np.empty(room, np.int32), np.empty(room, np.int32)
    number = _visit(near, of, cells, starts, ends, width, reach, counts, most, first, second)
    return order[first[:number]].astype(np.int32), order[second[:number]].astype(np.int32)


@njit(cache=True, nogil=True)
def _visit(
    points: NDArray[np.float32],
    segment: NDArray[np.int64],
    cells: NDArray[np.int64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    width: int,
    reach: float,
    counts: NDArray[np.int32],
    most: float,
    first: NDArray[np.int32],
    second: NDArray[np.int32],
) -> int:
    """Count partners (most = 0), or write down pairs until there is no room."""
    number = 0
    for c in range(len(cells)):
        for step in range(5):  # this cell, and half of those around
            other = cells[c] + (0 if step == 0 else 1 if step == 1 else width - 3 + step)
            o = c if step == 0 else np.searchsorted(cells, other)
            if o >= len(cells) or cells[o] != other:
                continue
            for i in range(starts[c], ends[c]):
                for j in range(i + 1 if step == 0 else starts[o], ends[o]):
                    if segment[i] == segment[j]:
                        continue
                    dx, dy = points[i, 0] - points[j, 0], points[i, 1] - points[j, 1]
                    if dx * dx + dy * dy > reach * reach:
                        continue
                    if most == 0.0:
                        counts[i] += 1
                        counts[j] += 1
                        continue
                    mixed = (np.uint64(i) * np.uint64(0x9E3779B97F4A7C15)) ^ (np.uint64(j) * np.uint64(0xC2B2AE3D27D4EB4F))
                    mixed ^= mixed >> np.uint64(29)
                    mixed *= np.uint64(0xBF58476D1CE4E5B9)
                    drawn = float(mixed >> np.uint64(11)) / 9007199254740992.0
                    if drawn * max(counts[i], counts[j]) < most:
                        if number == len(first):
                            return number
                        first[number], second[number] = i, j
                        number += 1
    return number


@njit(cache=True, nogil=True, fastmath=True)
def _likeness(
    points: NDArray[np.float32],
    errors: NDArray[np.float32],
    segment: NDArray[np.int64],
    drift: NDArray[np.float32],
    first: NDArray[np.int32],
    second: NDArray[np.int32],
    likeness: NDArray[np.float32],
    low: int,
    high: int,
) -> Floats:
    """How likely each pair is one place, and the sum over the partners of each row."""
    total = np.zeros(len(points))
    d = points.shape[1]
    for p in range(low, high):
        i, j = first[p], second[p]
        si, sj = segment[i], segment[j]
        exponent = np.float32(0.0)
        scale = np.float32(1.0)
        for axis in range(d):
            variance = errors[i, axis] ** 2 + errors[j, axis] ** 2
            gap = (points[i, axis] - drift[si, axis]) - (points[j, axis] - drift[sj, axis])
            exponent += gap * gap / variance
            # the peak of a normal density, without the constant; that of a row with itself is 1 / (2 error)
            scale *= np.float32(0.70710678) / np.sqrt(variance)
        value = scale * np.exp(np.float32(-0.5) * exponent)
        likeness[p] = value
        total[i] += value
        total[j] += value
    return total


@njit(cache=True, nogil=True)
def _system(
    points: NDArray[np.float32],
    errors: NDArray[np.float32],
    segment: NDArray[np.int64],
    first: NDArray[np.int32],
    second: NDArray[np.int32],
    likeness: NDArray[np.float32],
    total: Floats,
    k: int,
    low: int,
    high: int,
) -> tuple[Floats, Floats]:
    """Normal equations of the drift of all segments."""
    d = points.shape[1]
    matrix = np.zeros((d, k, k))
    right = np.zeros((d, k))
    for p in range(low, high):
        i, j = first[p], second[p]
        share = 0.5 * likeness[p] * (1 / total[i] + 1 / total[j])
        if share < 1e-4:
            continue
        a, b = segment[i], segment[j]
        for axis in range(d):
            weight = share / (errors[i, axis] ** 2 + errors[j, axis] ** 2)
            pull = weight * (points[i, axis] - points[j, axis])
            matrix[axis, a, a] += weight
            matrix[axis, b, b] += weight
            matrix[axis, a, b] -= weight
            matrix[axis, b, a] -= weight
            right[axis, a] += pull
            right[axis, b] -= pull
    return matrix, right
