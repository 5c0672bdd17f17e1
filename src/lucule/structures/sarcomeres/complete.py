"""What else lies on double lines that were found: two lines are fitted to each, and ask every localization near them.

Where few molecules are left, the labels of a network end too early: it sees a molecule beyond a gap as background. Two
fitted lines know better. A localization belongs to them where it is more likely on one of the lines than background:
by how many there are of both, how far it lies from the lines, how well these are known there, and, beyond the
outermost molecule, how likely lines go on for so long without one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from lucule.space import threads
from lucule.structures.sarcomeres.filters import members
from lucule.structures.sarcomeres.intervals import Fitted, LineSettings, hessian_of, places
from lucule.structures.sarcomeres.likelihood import (
    BEND,
    DIVERGENCE,
    HALF,
    LOG_WIDTH,
    LOGIT_SHARE,
    MIDDLE,
    PARAMETERS,
    SLOPE,
    Floats,
)
from lucule.structures.sarcomeres.line_distance import FEWEST, best_fit, checked, straight

_ROUNDS: Final = 2
# localizations that place the lines well enough
_LOCATED_BY: Final = 600
# a fit that rests on fewer molecules can be laid through anything
_FEWEST_PLACES: Final = 3
_PLACE_NM: Final = 40.0
# localizations of one molecule lie so far from each other at most, as its linkers and errors allow
_SPREAD_NM: Final = 80.0
# part of the places of both lines from which on molecules are many
_TAKEN: Final = 0.7
# around the found part of the lines: where background is counted, and how far away anything is looked at, nm
_BESIDE_NM: Final = 600.0
_BEYOND_NM: Final = 300.0
_WINDOW_NM: Final = 1500.0
# lines are alike in a table, which tells how long; of few it is not known: as in the training, 0.5 to 1.7 um
_FEWEST_LENGTHS: Final = 4
_LENGTH_NM: Final = 1000.0
_LENGTH_SPREAD: Final = 0.35
_LEAST_SPREAD: Final = 0.15
_MAD_OF_SD: Final = 0.6745
_SHORTEST_NM: Final = 200.0
_OFF: Final = 4.0


@dataclass(frozen=True, slots=True)
class _Lengths:
    """Lengths of the lines of a table, nm: mean and standard deviation of their logarithms."""

    middle: float
    spread: float

    def reaching(self, length: float, known: float) -> float:
        """Probability that lines which are as long as `known` are as long as `length`."""
        further, until = ((math.log(max(nm, 1.0)) - self.middle) / self.spread for nm in (length, known))
        return float(np.exp(log_ndtr(-further) - log_ndtr(-until)))


@dataclass(frozen=True, slots=True, eq=False)
class _Located:
    """A fit and the covariance of its parameters `(8, 8)`, counting places along the lines and not localizations."""

    fitted: Fitted
    covariance: Floats

    def coordinates(self, xy: Floats) -> tuple[Floats, Floats]:
        """Distance from the middle line and place along the lines, nm."""
        u, v = straight(xy, self.fitted.origin, self.fitted.direction)
        theta, t = self.fitted.theta, v / self.fitted.scale
        return u - (theta[MIDDLE] + theta[SLOPE] * t + theta[BEND] * t * t), v

    def across(self, u: Floats, v: Floats, variance: Floats) -> Floats:
        """Density of the lines at localizations, for each nm across; less sure where the lines are less well known."""
        theta, t = self.fitted.theta, v / self.fitted.scale
        share = 1 / (1 + np.exp(-theta[LOGIT_SHARE]))
        where = [MIDDLE, SLOPE, BEND, HALF, DIVERGENCE]
        known = self.covariance[np.ix_(where, where)]
        density = np.zeros(len(u))
        for side, part in ((-1.0, 1 - share), (1.0, share)):
            slopes = np.column_stack([np.ones_like(t), t, t * t, np.full_like(t, side), side * t])
            total = np.exp(2 * theta[LOG_WIDTH]) + variance + np.einsum("ni,ij,nj->n", slopes, known, slopes)
            for outwards, chance in zip(self.fitted.nodes, self.fitted.shares, strict=True):
                away = u - side * (theta[HALF] + theta[DIVERGENCE] * t + outwards)
                density += part * chance * np.exp(-0.5 * away**2 / total) / np.sqrt(2 * np.pi * total)
        return density


def complete(
    xy: NDArray[Any],
    error_nm: NDArray[Any] | float | None,
    number: NDArray[np.int32],
    settings: LineSettings | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Give localizations in no double line to the one on whose lines they probably lie.

    Parameters
    ----------
    xy
        `(n, 2)` nm.
    error_nm
        `(n,)` localization error, nm, one for all, or None for that of `settings`.
    number
        `(n,)` double line of each, -1 for none.
    settings
        What is known beforehand about two lines.

    Returns
    -------
    number
        `(n,)`; those that have one keep it.
    chance
        `(n,)`, how likely each of those that were added is on a line; 0 for all others.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> places = np.column_stack([np.tile([-60.0, 60.0], 10), np.linspace(-600, 600, 20)])
    >>> xy = places.repeat(15, axis=0) + rng.normal(0, 10, (300, 2))
    >>> known = np.where(np.abs(xy[:, 1]) < 400, 0, -1).astype(np.int32)
    >>> number, chance = complete(xy, 10.0, known)
    >>> bool((known < 0).mean() > 0.3), bool((number < 0).mean() < 0.1)
    (True, True)
    """
    settings = settings or LineSettings()
    points, variance = checked(xy, error_nm, settings)
    number, chance = np.array(number, np.int32, copy=True), np.zeros(len(points), np.float32)
    for _ in range(_ROUNDS):
        each = members(number)
        found = threads.each(lambda k, each=each: _located(points, variance, each[k], settings), len(each))
        lengths = _lengths([one.coordinates(points[rows])[1] for one, rows in zip(found, each, strict=True) if one])
        if lengths is None:
            break
        usual = usual_background(points, number)
        before = np.count_nonzero(number >= 0)
        for k, one in enumerate(found):
            if one is not None:
                added, likely = _joining(one, points, variance, number, k, usual, lengths)
                better = likely > chance[added]
                number[added[better]], chance[added[better]] = k, likely[better]
        if np.count_nonzero(number >= 0) == before:
            break
    return number, chance


def _located(points: Floats, variance: Floats, rows: NDArray[np.int64], settings: LineSettings) -> _Located | None:
    """Two lines through some of the localizations of a double line; None where they do not tell any."""
    some = rows[:: max(len(rows) // _LOCATED_BY, 1)]
    if len(some) < FEWEST:
        return None
    fitted = best_fit(points[some], variance[some], settings)
    if fitted is None:
        return None
    repeats = len(fitted.u) / places(fitted.t * fitted.scale, fitted.variance)
    covariance = np.zeros((PARAMETERS, PARAMETERS))
    inverse = np.linalg.pinv(hessian_of(fitted, settings), rcond=1e-10)
    covariance[np.ix_(fitted.free, fitted.free)] = repeats * inverse
    return _Located(fitted, covariance)


def _joining(
    one: _Located, points: Floats, variance: Floats, number: NDArray[np.int32], k: int, usual: float, lengths: _Lengths,
) -> tuple[NDArray[np.int64], Floats]:  # fmt: skip
    """Rows that are in no double line and probably on the lines of double line `k`, and how probably."""
    near = np.flatnonzero(nearby(points, number, k))
    mine = number[near] == k
    u, v = one.coordinates(points[near])
    low, high = float(v[mine].min()), float(v[mine].max())
    several = _places(u[mine], v[mine])
    if several < _FEWEST_PLACES:
        return near[:0], np.empty(0)
    width = np.sqrt(np.exp(2 * one.fitted.theta[LOG_WIDTH]) + variance[near])
    length = max(high - low, _SHORTEST_NM)
    density = over_background(u, v, width, float(one.fitted.theta[HALF]), mine, usual)
    odds = density * one.across(u, v, variance[near])
    rate, free = _going_on(v[mine], several / length)
    inside = (v >= low) & (v <= high)
    odds[~inside] = np.minimum(odds[~inside], _outwards(odds, v, low, high, rate, free, lengths)[~inside])
    joins = ~mine & (odds > 1)
    return near[joins], odds[joins] / (1 + odds[joins])


def nearby(xy: Floats, number: NDArray[np.int32], k: int) -> NDArray[np.bool_]:
    """What lies in a window around double line `k` and is in no other one, `(n,)`."""
    centre = xy[number == k].mean(axis=0)
    # axis by axis: `all` over rows of two takes five times as long
    inside: NDArray[np.bool_] = (number < 0) | (number == k)
    for axis in range(2):
        inside &= np.abs(xy[:, axis] - centre[axis]) < _WINDOW_NM
    return inside


def usual_background(xy: Floats, number: NDArray[np.int32]) -> float:
    """How many localizations in no double line there are for each nm2 of a table."""
    area = float(np.ptp(xy, axis=0).prod()) if len(xy) else 0.0
    return max(np.count_nonzero(number < 0), 1) / max(area, 1.0)


def over_background(u: Floats, v: Floats, width: Floats, half: float, mine: NDArray[np.bool_], usual: float) -> float:
    """Localizations of a double line for each nm of its length, over the background for each nm2 around it.

    Times the density across the lines this is how much likelier localizations are on the lines than background.

    Parameters
    ----------
    u, v
        Distance from the middle line and place along the lines, nm, of a double line and what lies around it.
    width
        Standard deviation of a line with the localization error, nm.
    half
        Half of the line distance, nm.
    mine
        What is in the double line.
    usual
        What `usual_background` gives: where there is no background it counts as one molecule.
    """
    low, high, count = float(v[mine].min()), float(v[mine].max()), np.count_nonzero(mine)
    each = count / max(_places(u[mine], v[mine]), 1)
    off = np.abs(np.abs(u) - half) > _OFF * width
    around = (np.abs(u) < _BESIDE_NM) & (v > low - _BEYOND_NM) & (v < high + _BEYOND_NM)
    area = 2 * _BESIDE_NM * (high - low + 2 * _BEYOND_NM)
    background = (np.count_nonzero(around & off & ~mine) + each) / (area + each / usual)
    return float(count / max(high - low, _SHORTEST_NM) / background)


def _outwards(odds: Floats, v: Floats, low: float, high: float, rate: float, free: float, lengths: _Lengths) -> Floats:
    """Odds beyond both ends: whether lines go on for so long is asked of the gap and of the lengths in the table."""
    result = np.zeros(len(v))
    ends = {1.0: high, -1.0: -low}
    for side, start in tuple(ends.items()):
        for i in np.argsort(side * v):
            place = side * float(v[i])
            if place <= start:
                continue
            gap = math.exp(-rate * max(place - ends[side] - free, 0.0))
            goes = gap * lengths.reaching(place + ends[-side], ends[side] + ends[-side])
            # where lines go on the gap was chance; where they have ended what is here is background
            result[i] = odds[i] * goes / (goes + 1 - goes / gap) if goes > 0 else 0.0
            if result[i] > 1:
                ends[side] = place
    return result


def _lengths(places_of: list[Floats]) -> _Lengths | None:
    """What the places along found lines, nm, tell of the lengths in a table; None without any line.

    Lines go on beyond their outermost molecules by as much as these lie apart, at either end.
    """
    if not places_of:
        return None
    if len(places_of) < _FEWEST_LENGTHS:
        return _Lengths(math.log(_LENGTH_NM), _LENGTH_SPREAD)
    logs = []
    for v in places_of:
        there = len(np.unique(np.floor(v / _PLACE_NM)))
        logs.append(math.log(max(float(np.ptp(v)), _SHORTEST_NM) * (there + 1) / max(there - 1, 1)))
    middle = float(np.median(logs))
    spread = float(np.median(np.abs(np.array(logs) - middle))) / _MAD_OF_SD
    return _Lengths(middle, float(np.clip(spread, _LEAST_SPREAD, _LENGTH_SPREAD)))


def _going_on(v: Floats, places_per_nm: float) -> tuple[float, float]:
    """How likely lines have their next molecule, for each nm, and after which gap that begins to count.

    Where molecules are few their localizations still lie together, in several places, and are no evidence of others:
    what tells is gaps wider than one molecule is spread. Lines whose places are nearly all taken have no such gaps.
    """
    if places_per_nm * _PLACE_NM / 2 > _TAKEN:
        return places_per_nm, 0.0
    beyond = np.diff(np.sort(v)) - _SPREAD_NM
    beyond = beyond[beyond > 0]
    return min(float((len(beyond) + 1) / (beyond.sum() + _SPREAD_NM)), places_per_nm), _SPREAD_NM


def _places(u: Floats, v: Floats) -> int:
    """About how many molecules there are on both lines."""
    return len(np.unique(np.column_stack([u > 0, np.floor(v / _PLACE_NM)]), axis=0))
