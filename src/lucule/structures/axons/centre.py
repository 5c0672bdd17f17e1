"""The middle of an axon from molecules on its surface, and how sure its length is.

Seen from above, molecules on a tube crowd along its two edges, which tell its middle far better than the mean of all
molecules does. On a bend that counts: a line that runs d too far outside an arc of radius R is too long by d / R, and
so is every period measured along it. How steadily the axon bends is told by the molecules, too: all that they allow is
averaged by its probability, and what is left open becomes the error of the length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial import cKDTree
from scipy.special import logsumexp

from lucule.structures.axons.course import DEGREE, STEP_NM, Course, resampled, spline_knots

Floats = NDArray[np.float64]

# least blur of the wall in each round, nm: from the mean of the molecules to the edges, lest one edge be the middle
_SHARPER_NM: Final = (40.0, 18.0, 12.0)
_SCORINGS: Final = 10
_FEWEST: Final = 8
# dyes of one antibody do not tell the middle independently of one another; so far from each other they lie
_GROUP_NM: Final = 60.0
_TABLE_NM: Final = 2.0
_ANGLES: Final = 24
# molecules that count, and what the axon is wide: half widths from outside, blurs beyond the wall, limits in nm
_REACH: Final = 1.5
_BEYOND_WALL: Final = 2.5
_HALF_WIDTHS_NM: Final = (150.0, 800.0)
# radius of the tube as a part of the reach, blur of its wall in nm, fraction of molecules anywhere
_RADII: Final = np.linspace(0.1, 0.8, 21)
_BLURS_NM: Final = (12.0, 18.0, 27.0, 40.0, 60.0, 100.0)
_ANYWHERE: Final = (0.02, 0.1, 0.25, 0.5)
# s.d. of the third differences of the spline, nm: from an arc to bends that change within a micrometre
_UNSTEADY_NM: Final = np.logspace(-1.75, 1.25, 9)


@dataclass(frozen=True, slots=True, eq=False)
class _Profile:
    """Log density of the distance from the middle on a grid of `_TABLE_NM`, its slope, the information; half width."""

    places: Floats
    log_density: Floats
    slope: Floats
    information: float
    half_width: float


def centred(course: Course, xy_nm: Floats, half_width_nm: float) -> tuple[Course, float, float]:
    """The course moved to the middle of the tube of its molecules; half width, nm; relative error of the length.

    Parameters
    ----------
    course
        Close to the middle already.
    xy_nm
        `(n, 2)` molecules; those farther from the course than 1.5 times `half_width_nm` do not count.

    Returns
    -------
    course, half_width_nm, length_error
        The error is one standard deviation, as a fraction of the length; NaN with fewer than 8 molecules, where nothing
        is changed.

    Examples
    --------
    >>> angle, along = 2.4 * np.arange(500.0), np.linspace(0, 4000, 500)
    >>> tube = np.column_stack([along, 200 * np.cos(angle)])
    >>> guess = Course(np.column_stack([np.arange(0, 4001, 20.0), np.full(201, 30.0)]))
    >>> line, half_width, error = centred(guess, tube, 260.0)
    >>> bool(np.abs(line.points_nm[:, 1]).max() < 5), bool(200 < half_width < 300), bool(error < 0.001)
    (True, True, True)
    """
    line, width, error = course, half_width_nm, np.nan
    reach = _REACH * half_width_nm
    for least_blur in _SHARPER_NM:
        along, away = line.coordinates(xy_nm)
        near = (np.abs(away) < reach) & (along >= 0) & (along <= line.length_nm)
        if np.count_nonzero(near) < _FEWEST:
            return course, half_width_nm, np.nan
        along, away = along[near], away[near]
        weights = labels(xy_nm[near])
        profile = _profile(away, weights, reach, least_blur)
        shift, error = _shift(line, along, away, weights, profile)
        across = np.column_stack([-line.tangents[:, 1], line.tangents[:, 0]])
        line, width = resampled(line.points_nm + shift[:, None] * across), profile.half_width
    return line, width, error


def labels(xy_nm: Floats) -> Floats:
    """What part of a label each molecule `(n, 2)` is: those within 60 nm count as one, less those of other labels.

    How many others there are is told by a ring of the same area around.

    Examples
    --------
    >>> labels(np.array([[0.0, 0.0], [10.0, 0.0], [900.0, 0.0]])).tolist()
    [0.5, 0.5, 1.0]
    """
    tree = cKDTree(xy_nm)
    within, twice = (tree.query_ball_point(xy_nm, math.sqrt(k) * _GROUP_NM, return_length=True) for k in (1, 2))
    parts: Floats = 1.0 / np.maximum(2.0 * within - twice, 1.0)
    return parts


def _shift(line: Course, along: Floats, away: Floats, weights: Floats, profile: _Profile) -> tuple[Floats, float]:
    """How far the middle lies beside the line at each of its points, and the relative error of the length."""
    length = line.length_nm
    steps = STEP_NM * np.arange(len(line.points_nm))
    knots = spline_knots(length)
    design = BSpline.design_matrix(along, knots, DEGREE).toarray()
    everywhere = BSpline.design_matrix(steps, knots, DEGREE).toarray()
    # bends that the line has count as bends, or they would be free in the next round
    curvature = _curvature(line)
    drawn_out = np.cumsum(np.cumsum(curvature)) * STEP_NM**2
    has = np.linalg.lstsq(everywhere, drawn_out, rcond=None)[0]
    change = np.diff(np.eye(design.shape[1]), 3, axis=0)
    roughness, rank = change.T @ change, len(change)
    gram = profile.information * design.T @ (weights[:, None] * design)
    lengthening = -STEP_NM * curvature @ everywhere

    evidence, shifts, longer, variances = [], [], [], []
    for unsteady in _UNSTEADY_NM:
        penalty = roughness / unsteady**2
        factor = cho_factor(gram + penalty + 1e-9 * np.eye(len(gram)))
        values = np.zeros(len(gram))
        for _ in range(_SCORINGS):
            slope = np.interp(away - design @ values, profile.places, profile.slope)
            values = values + cho_solve(factor, -design.T @ (weights * slope) - penalty @ (values + has))
        fit = weights @ np.interp(away - design @ values, profile.places, profile.log_density)
        cost = 0.5 * (values + has) @ penalty @ (values + has)
        evidence.append(fit - cost - rank * np.log(unsteady) - np.log(np.diag(factor[0])).sum())
        shifts.append(everywhere @ values)
        longer.append(lengthening @ values)
        variances.append(lengthening @ cho_solve(factor, lengthening))
    chance = np.exp(np.array(evidence) - logsumexp(evidence))
    mean = chance @ np.array(longer)
    variance = chance @ (np.array(variances) + (np.array(longer) - mean) ** 2)
    return chance @ np.array(shifts), float(np.sqrt(variance) / length)


def _curvature(line: Course) -> Floats:
    """Turn of the direction along the line, 1/nm; positive to the side that `across` points to."""
    angle = np.unwrap(np.arctan2(line.tangents[:, 1], line.tangents[:, 0]))
    turn: Floats = np.gradient(angle, STEP_NM)
    return turn


def _profile(away: Floats, weights: Floats, reach: float, least_blur: float) -> _Profile:
    """The tube that fits best: its radius, the blur of its wall and the fraction of molecules anywhere."""
    # moved by the reach, all are still in the table
    places: Floats = np.arange(-2 * reach, 2 * reach + _TABLE_NM, _TABLE_NM)
    counts = np.bincount(((away + 2 * reach) / _TABLE_NM + 0.5).astype(np.int64), weights, minlength=len(places))
    used = np.flatnonzero(counts)
    cosines = np.cos(np.pi * (np.arange(_ANGLES) + 0.5) / _ANGLES)
    best, chosen, width = -np.inf, np.empty(0), 0.0
    for radius in _RADII * reach:
        distance = places[:, None] - radius * cosines
        for blur in (blur for blur in _BLURS_NM if blur >= least_blur):
            # the steps between so few angles must not show
            sharp = max(blur, 0.7 * radius * np.pi / _ANGLES)
            tube = np.exp(-0.5 * (distance / sharp) ** 2).mean(axis=1) / (np.sqrt(2 * np.pi) * sharp)
            for anywhere in _ANYWHERE:
                density = (1 - anywhere) * tube + anywhere / (2 * reach)
                fit = float(counts[used] @ np.log(density[used]))
                if fit > best:
                    best, chosen, width = fit, density, radius + _BEYOND_WALL * blur
    slope = np.gradient(np.log(chosen), _TABLE_NM)
    inside = np.abs(places) < reach
    information = float((slope[inside] ** 2 * chosen[inside]).sum() / chosen[inside].sum())
    return _Profile(places, np.log(chosen), slope, information, float(np.clip(width, *_HALF_WIDTHS_NM)))
