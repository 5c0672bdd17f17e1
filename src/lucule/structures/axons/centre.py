"""The middle of an axon from molecules on its surface, and how sure its length is.

Seen from above, molecules on a tube crowd along its two edges, which tell its middle far better than the mean of all
molecules does. On a bend that counts: a line that runs d too far outside an arc of radius R is too long by d / R, and
so is every period measured along it. How steadily the axon bends is told by the molecules, too: all that they allow is
averaged by its probability, and what is left open becomes the error of the length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
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
# how far beside the likeliest course others are looked for, and with how many molecules there is no need to, nm
_TRIED_NM: Final = 60.0
_MOST: Final = 1000
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


@dataclass(frozen=True, slots=True, eq=False)
class Centred:
    """A centre line.

    Attributes
    ----------
    course, half_width_nm
        The line, and how far from it molecules of the axon lie, nm.
    length_error
        Standard error of its length, as a fraction; NaN with fewer than 8 molecules, where nothing is changed.
    """

    course: Course
    half_width_nm: float
    length_error: float


def averaged(starts: list[Course], xy_nm: Floats, half_width_nm: float) -> Centred:
    """The middle of the tube from several starts, averaged by their probability.

    Few labels may leave several courses about as likely, of which one is longer than another: so bends and offsets of
    the likeliest are tried, too. Courses are compared on the molecules that are near all of them.

    Parameters
    ----------
    starts
        Courses that may be close to the middle; the first is taken where too few molecules tell.
    xy_nm, half_width_nm
        As for `centred`.
    """
    found = [centred(start, xy_nm, half_width_nm) for start in starts]
    if len(xy_nm) > _MOST or math.isnan(found[0].length_error):
        return found[0]
    best = found[int(np.argmax(_log_chances(found, xy_nm, half_width_nm)[0]))]
    from_end = np.linspace(-1, 1, len(best.course.points_nm))
    for pattern in (np.ones(len(from_end)), 1.5 * from_end**2 - 0.5):
        for way in (-1, 1):
            start = _beside(best.course, way * _TRIED_NM * pattern)
            found.append(centred(start, xy_nm, half_width_nm))
    found = [each for each in found if math.isfinite(each.length_error)]
    evidence, spans = _log_chances(found, xy_nm, half_width_nm)
    chance = np.exp(evidence - logsumexp(evidence))
    best = found[int(np.argmax(chance))]
    offsets = np.array([_offset(best.course, each.course) for each in found])
    off = np.log(spans) - chance @ np.log(spans)
    variance = chance @ (np.array([each.length_error for each in found]) ** 2 + off**2)
    return replace(best, course=_beside(best.course, chance @ offsets), length_error=math.sqrt(variance))


def _log_chances(found: list[Centred], xy: Floats, half_width: float) -> tuple[Floats, Floats]:
    """Log likelihood of each line for the molecules near all of them, and the length on which these lie."""
    reach = _REACH * half_width
    places = [each.course.coordinates(xy) for each in found]
    common = np.ones(len(xy), np.bool_)
    for (along, away), each in zip(places, found, strict=True):
        common &= (np.abs(away) < reach) & (along >= 0) & (along <= each.course.length_nm)
    if np.count_nonzero(common) < _FEWEST:
        return np.where(np.arange(len(found)) == 0, 0.0, -np.inf), np.ones(len(found))
    weights = labels(xy[common])
    evidence, spans = [], []
    for (along, away), each in zip(places, found, strict=True):
        profile = _profile(away[common], weights, reach, _SHARPER_NM[-1])
        fit = _shift(each.course, along[common], away[common], weights, profile)[2]
        spans.append(float(np.ptp(along[common])))
        evidence.append(fit - float(weights.sum()) * math.log(spans[-1]))
    return np.array(evidence), np.array(spans)


def _beside(line: Course, away: Floats) -> Course:
    """The line moved sideways by a distance at each of its points, nm."""
    across = np.column_stack([-line.tangents[:, 1], line.tangents[:, 0]])
    return resampled(line.points_nm + away[:, None] * across)


def _offset(line: Course, other: Course) -> Floats:
    """How far the other line lies beside each point of the first; beyond its ends as far as there, nm."""
    along, away = line.coordinates(other.points_nm)
    order = np.argsort(along)
    steps = STEP_NM * np.arange(len(line.points_nm))
    return np.asarray(np.interp(steps, along[order], away[order]))


def centred(course: Course, xy_nm: Floats, half_width_nm: float) -> Centred:
    """The course moved to the middle of the tube of its molecules.

    Parameters
    ----------
    course
        Close to the middle already.
    xy_nm
        `(n, 2)` molecules; those farther from the course than 1.5 times `half_width_nm` do not count.

    Examples
    --------
    >>> angle, along = 2.4 * np.arange(500.0), np.linspace(0, 4000, 500)
    >>> tube = np.column_stack([along, 200 * np.cos(angle)])
    >>> guess = Course(np.column_stack([np.arange(0, 4001, 20.0), np.full(201, 30.0)]))
    >>> found = centred(guess, tube, 260.0)
    >>> bool(np.abs(found.course.points_nm[:, 1]).max() < 5), bool(200 < found.half_width_nm < 300)
    (True, True)
    >>> bool(found.length_error < 0.001)
    True
    """
    line, width, error = course, half_width_nm, np.nan
    reach = _REACH * half_width_nm
    for least_blur in _SHARPER_NM:
        along, away = line.coordinates(xy_nm)
        near = (np.abs(away) < reach) & (along >= 0) & (along <= line.length_nm)
        if np.count_nonzero(near) < _FEWEST:
            return Centred(course, half_width_nm, np.nan)
        along, away = along[near], away[near]
        weights = labels(xy_nm[near])
        profile = _profile(away, weights, reach, least_blur)
        shift, error, _ = _shift(line, along, away, weights, profile)
        line, width = _beside(line, shift), profile.half_width
    return Centred(line, width, error)


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


def _shift(
    line: Course, along: Floats, away: Floats, weights: Floats, profile: _Profile
) -> tuple[Floats, float, float]:
    """How far the middle lies beside the line at each of its points, relative error of the length, log evidence."""
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
    scale = 0.5 * np.linalg.slogdet(change @ change.T)[1]
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
        evidence.append(fit - cost + scale - rank * np.log(unsteady) - np.log(np.diag(factor[0])).sum())
        shifts.append(everywhere @ values)
        longer.append(lengthening @ values)
        variances.append(lengthening @ cho_solve(factor, lengthening))
    total = float(logsumexp(evidence))
    chance = np.exp(np.array(evidence) - total)
    mean = chance @ np.array(longer)
    variance = chance @ (np.array(variances) + (np.array(longer) - mean) ** 2)
    return chance @ np.array(shifts), float(np.sqrt(variance) / length), total - math.log(len(evidence))


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
