"""The centre line of an axon: a smoothing spline with the distance along it as coordinate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.interpolate import BSpline
from scipy.linalg import cho_factor, cho_solve

Floats = NDArray[np.float64]

STEP_NM: Final = 20.0
KNOT_NM: Final = 300.0
_BIN_NM: Final = 100.0
_ROUNDS: Final = 4
# pieces of the line that are looked at or passed over together
_BLOCK: Final = 16
DEGREE: Final = 3
# molecules of one antibody lie together, which cross-validation takes for a bend: never softer than some 1.5 um
_PENALTIES: Final = np.logspace(4, 8, 9)
_CALM: Final = np.array([1e3])


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """A centre line as points at equal steps of `STEP_NM` nm.

    Attributes
    ----------
    points_nm
        `(n, 2)`, nm.
    """

    points_nm: Floats

    @property
    def length_nm(self) -> float:
        """Length along the line."""
        return STEP_NM * (len(self.points_nm) - 1)

    @property
    def tangents(self) -> Floats:
        """`(n, 2)` unit vectors along the line."""
        along = np.gradient(self.points_nm, axis=0)
        unit: Floats = along / np.linalg.norm(along, axis=1, keepdims=True)
        return unit

    @property
    def smallest_radius_nm(self) -> float:
        """Radius of its sharpest bend."""
        angle = np.unwrap(np.arctan2(*self.tangents.T[::-1]))
        turn = np.abs(np.gradient(angle, STEP_NM)).max()
        return float(1 / max(turn, 1e-9))

    def coordinates(self, xy_nm: Floats) -> tuple[Floats, Floats]:
        """Distance along the line and distance from it (positive to the right of its direction), nm, each `(n,)`.

        Beyond its ends the line goes straight on.

        Examples
        --------
        >>> line = Course(np.column_stack([np.arange(0, 1001, 20.0), np.zeros(51)]))
        >>> along, away = line.coordinates(np.array([[505.0, 30.0], [-15.0, 0.0]]))
        >>> along.round(6).tolist(), away.round(6).tolist()
        ([505.0, -15.0], [30.0, 0.0])
        """
        return _projected(self.points_nm, np.ascontiguousarray(xy_nm, np.float64))


@njit(cache=True, nogil=True)
def _projected(line: Floats, xy: Floats) -> tuple[Floats, Floats]:
    along, away = np.empty(len(xy)), np.empty(len(xy))
    last = len(line) - 2
    blocks = last // _BLOCK + 1
    gap = np.empty(blocks)
    for i in range(len(xy)):
        nearest = 0
        for block in range(blocks):
            middle = min(block * _BLOCK + _BLOCK // 2, last)
            gap[block] = np.hypot(xy[i, 0] - line[middle, 0], xy[i, 1] - line[middle, 1]) - _BLOCK * STEP_NM
            if gap[block] < gap[nearest]:
                nearest = block
        least = np.inf
        # the nearest first, so that most others are passed over
        for turn in range(-1, blocks):
            block = nearest if turn < 0 else turn
            if turn == nearest or (gap[block] > 0 and gap[block] ** 2 > least):
                continue
            for k in range(block * _BLOCK, min((block + 1) * _BLOCK, last + 1)):
                x, y = xy[i, 0] - line[k, 0], xy[i, 1] - line[k, 1]
                dx, dy = line[k + 1, 0] - line[k, 0], line[k + 1, 1] - line[k, 1]
                length = dx * dx + dy * dy
                part = (x * dx + y * dy) / length
                if k > 0:
                    part = max(part, 0.0)
                if k < last:
                    part = min(part, 1.0)
                distance = (x - part * dx) ** 2 + (y - part * dy) ** 2
                if distance < least:
                    least = distance
                    along[i] = STEP_NM * (k + part)
                    away[i] = np.sqrt(distance) * (1.0 if dx * y >= dy * x else -1.0)
    return along, away


def through(points_nm: Floats) -> Course:
    """A line through points `(n, 2)` in their order, at equal steps."""
    along = np.concatenate([[0.0], np.linalg.norm(np.diff(points_nm, axis=0), axis=1).cumsum()])
    fine = np.linspace(0, along[-1], max(int(along[-1] / STEP_NM), 2) + 1)
    return resampled(np.column_stack([np.interp(fine, along, points_nm[:, axis]) for axis in range(2)]))


def fitted(first: Course, xy_nm: Floats, half_width_nm: float) -> Course:
    """Fit the line to the molecules within `half_width_nm` of it.

    How far the middles of short pieces of the axon lie beside the line, weighted with their molecules, is fitted with a
    cubic spline whose bending is held down as far as cross-validation allows; the line is moved there, a few times.
    So a bend that the line has already costs nothing, and arcs are not cut short.

    Parameters
    ----------
    first
        Where to begin.
    xy_nm
        `(n, 2)` molecules.
    """
    line = _calmed(first)
    for _ in range(_ROUNDS):
        along, away = line.coordinates(xy_nm)
        near = (np.abs(away) < half_width_nm) & (along >= 0) & (along <= line.length_nm)
        piece = (along[near] / _BIN_NM).astype(np.int64)
        count = np.bincount(piece)
        used = count > 0
        if used.sum() < DEGREE + 2:
            return line
        places = np.bincount(piece, along[near])[used] / count[used]
        beside = np.bincount(piece, away[near])[used] / count[used]
        spline = _smoothed(places, beside[:, None], count[used].astype(np.float64), line.length_nm, _PENALTIES)
        # where nothing lies beyond, a spline may curl
        steps = STEP_NM * np.arange(len(line.points_nm))
        kept = (steps >= places[0] - _BIN_NM) & (steps <= places[-1] + _BIN_NM)
        across = np.column_stack([-line.tangents[:, 1], line.tangents[:, 0]])
        line = resampled((line.points_nm + spline(np.clip(steps, places[0], places[-1])) * across)[kept])
    return line


def _calmed(line: Course) -> Course:
    """Without the small wiggles of a line that was followed from pixel to pixel."""
    steps: Floats = STEP_NM * np.arange(len(line.points_nm), dtype=np.float64)
    spline = _smoothed(steps, line.points_nm, np.ones(len(steps)), line.length_nm, _CALM)
    return resampled(spline(steps))


def _smoothed(places: Floats, values: Floats, weights: Floats, length: float, penalties: Floats) -> BSpline:
    """Penalized cubic spline for `(n, k)` values; of the penalties the one that cross-validation prefers."""
    knots = spline_knots(length)
    design = BSpline.design_matrix(np.clip(places, 0, length), knots, DEGREE).toarray()
    change = np.diff(np.eye(design.shape[1]), 3, axis=0)
    bend = np.diff(np.eye(design.shape[1]), 2, axis=0)
    gram, target = design.T @ (weights[:, None] * design), design.T @ (weights[:, None] * values)
    best, chosen = np.inf, target
    scale = np.trace(gram) / design.shape[1]
    for penalty in scale * penalties:
        # a little against bending itself keeps the line straight where there is nothing to follow
        factor = cho_factor(gram + penalty * change.T @ change + 1e-2 * scale * bend.T @ bend)
        coefficients = cho_solve(factor, target)
        freedom = np.trace(cho_solve(factor, gram))
        residual = float((weights[:, None] * (values - design @ coefficients) ** 2).sum())
        score = residual / max(len(places) - freedom, 0.5) ** 2
        if score < best:
            best, chosen = score, coefficients
    return BSpline(knots, chosen, DEGREE)


def spline_knots(length: float) -> Floats:
    """Knots at equal steps, beyond both ends too: so third differences of coefficients vanish for parabolas."""
    pieces = max(int(length / KNOT_NM), 2)
    # a little more, so that rounding leaves no place outside
    step = (1 + 1e-9) * length / pieces
    knots: Floats = step * np.arange(-DEGREE, pieces + DEGREE + 1, dtype=np.float64)
    return knots


def resampled(points: Floats) -> Course:
    """At equal steps along the line, from points that are close already."""
    along = np.concatenate([[0.0], np.linalg.norm(np.diff(points, axis=0), axis=1).cumsum()])
    steps = np.arange(0, along[-1] + 1e-6, STEP_NM)
    return Course(np.column_stack([np.interp(steps, along, points[:, axis]) for axis in range(2)]))
