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

from lucule.space import NeighbourGrid, threads
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
_FEWEST_MOLECULES: Final = 2.0
# localizations of one molecule lie so far from each other at most, as its linkers and errors allow
_SPREAD_NM: Final = 60.0
# of a line that is no longer than a molecule is spread nothing tells its molecules apart
_MOST_BY_CHANCE: Final = 0.9
# ends of a line are looked for at places so far from each other, nm
_STEP_NM: Final = 20.0
_FARTHEST_NM: Final = 2000.0
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

    def log_density(self, length: Floats) -> Floats:
        """Of lengths, up to a constant."""
        logs = np.log(np.maximum(length, 1.0))
        return np.asarray(-0.5 * ((logs - self.middle) / self.spread) ** 2 - logs)


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
    company = NeighbourGrid(points).count_within(_SPREAD_NM) if len(points) else np.empty(0, np.int32)
    for _ in range(_ROUNDS):
        each = members(number)
        found = threads.each(lambda k, each=each: _located(points, variance, each[k], settings), len(each))
        lengths = _lengths([one.coordinates(points[rows]) for one, rows in zip(found, each, strict=True) if one])
        if lengths is None:
            break
        usual = usual_background(points, number)
        seen = _as_often(company, number >= 0)
        before = np.count_nonzero(number >= 0)
        for k, one in enumerate(found):
            if one is not None:
                added, likely = _joining(one, points, variance, number, k, usual, seen, lengths)
                better = likely > chance[added]
                number[added[better]], chance[added[better]] = k, likely[better]
        if np.count_nonzero(number >= 0) == before:
            break
    return number, chance


def _as_often(company: NDArray[np.int32], inside: NDArray[np.bool_]) -> Floats:
    """How much likelier localizations with so many others beside them are in double lines than in the background.

    Molecules blink and carry several dyes; what was seen once is mostly background. How much so the table itself tells.
    """
    kind = np.floor(np.log2(company + 1.0)).astype(np.int64)
    kinds = int(kind.max(initial=0)) + 1
    within, outside = (np.bincount(kind[part], minlength=kinds) + 1.0 for part in (inside, ~inside))
    return np.asarray((within / within.sum() / (outside / outside.sum()))[kind])


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
    one: _Located, points: Floats, variance: Floats, number: NDArray[np.int32], k: int, usual: float,
    seen: Floats, lengths: _Lengths,
) -> tuple[NDArray[np.int64], Floats]:  # fmt: skip
    """Rows that are in no double line and probably on the lines of double line `k`, and how probably."""
    near = np.flatnonzero(nearby(points, number, k))
    mine = number[near] == k
    u, v = one.coordinates(points[near])
    low, high = float(v[mine].min()), float(v[mine].max())
    several = molecules(u[mine], v[mine])
    if several < _FEWEST_MOLECULES:
        return near[:0], np.empty(0)
    width = np.sqrt(np.exp(2 * one.fitted.theta[LOG_WIDTH]) + variance[near])
    odds = over_background(u, v, width, float(one.fitted.theta[HALF]), mine, usual) * one.across(u, v, variance[near])
    odds *= seen[near]
    outside = np.flatnonzero((v < low) | (v > high))
    odds[outside] = _beyond(odds[outside], v[outside], low, high, several, lengths)
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
    each = count / molecules(u[mine], v[mine])
    off = np.abs(np.abs(u) - half) > _OFF * width
    around = (np.abs(u) < _BESIDE_NM) & (v > low - _BEYOND_NM) & (v < high + _BEYOND_NM)
    area = 2 * _BESIDE_NM * (high - low + 2 * _BEYOND_NM)
    background = (np.count_nonzero(around & off & ~mine) + each) / (area + each / usual)
    return float(count / max(high - low, _SHORTEST_NM) / background)


def _beyond(odds: Floats, v: Floats, low: float, high: float, several: float, lengths: _Lengths) -> Floats:
    """Odds of what lies beyond both ends: all places of the two ends are weighed with all molecules out there.

    The longer lines go on, the less likely they have as few molecules as were seen within the found part; how often
    lines are so long tells the table; and every molecule out there that lies on the lines speaks for ends beyond it.
    """
    part = odds / (1 + odds)
    said = np.log1p(odds) / np.maximum(_nearby_sum(v, part), 1.0)
    further = [np.ceil(np.maximum(low - v, 0) / _STEP_NM), np.ceil(np.maximum(v - high, 0) / _STEP_NM)]
    steps = [at.astype(np.int64) for at in further]
    evidence = [np.cumsum(np.bincount(at, np.where(at > 0, said, 0), int(_FARTHEST_NM / _STEP_NM))) for at in steps]
    longer = _STEP_NM * np.add.outer(*(np.arange(len(each), dtype=np.float64) for each in evidence))
    known = max(high - low, _SHORTEST_NM)
    log_chance = lengths.log_density(known + longer) - several * np.log1p(longer / known) + np.add.outer(*evidence)
    chance = np.exp(log_chance - log_chance.max())
    chance /= chance.sum()
    reaching = [np.cumsum(chance.sum(axis=1 - axis)[::-1])[::-1] for axis in range(2)]
    goes = np.where(steps[0] > 0, reaching[0][steps[0]], reaching[1][steps[1]])
    return np.asarray(goes * part / np.maximum(1 - goes * part, 1e-12))


def _nearby_sum(v: Floats, values: Floats) -> Floats:
    """Sum of `values` over all places that one molecule could be seen at."""
    order = np.argsort(v)
    total = np.concatenate([[0.0], np.cumsum(values[order])])
    first = np.searchsorted(v[order], v - _SPREAD_NM, "left")
    last = np.searchsorted(v[order], v + _SPREAD_NM, "right")
    return np.asarray(total[last] - total[first])


def _lengths(places_of: list[tuple[Floats, Floats]]) -> _Lengths | None:
    """What the places along found lines, nm, tell of the lengths in a table; None without any line.

    Lines go on beyond their outermost molecules by as much as these lie apart, at either end.
    """
    if not places_of:
        return None
    if len(places_of) < _FEWEST_LENGTHS:
        return _Lengths(math.log(_LENGTH_NM), _LENGTH_SPREAD)
    logs = []
    for u, v in places_of:
        there = molecules(u, v)
        logs.append(math.log(max(float(np.ptp(v)), _SHORTEST_NM) * (there + 1) / max(there - 1, 1)))
    middle = float(np.median(logs))
    spread = float(np.median(np.abs(np.array(logs) - middle))) / _MAD_OF_SD
    return _Lengths(middle, float(np.clip(spread, _LEAST_SPREAD, _LENGTH_SPREAD)))


def molecules(u: Floats, v: Floats) -> float:
    """About how many molecules the localizations of two lines are, from 1.

    Localizations of one molecule lie within its linkers and errors; there are more so near than a little further
    along the line, where all are of other molecules.

    Parameters
    ----------
    u, v
        `(n,)` distance from the middle line and place along the lines, nm.
    """
    low, high = float(v.min()), float(v.max())
    return sum(_molecules(np.sort(v[side]), low, high) for side in (u < 0, u >= 0) if side.any())


def _molecules(v: Floats, low: float, high: float) -> float:
    """Of one line, from sorted places."""
    counts, lengths = [], []
    for reach in (_SPREAD_NM, 2 * _SPREAD_NM):
        counts.append(np.searchsorted(v, v + reach, "right") - np.searchsorted(v, v - reach, "left"))
        lengths.append(np.minimum(v + reach, high) - np.maximum(v - reach, low))
    near, further = float(counts[0].mean()), float((counts[1] - counts[0]).mean())
    inside, around = float(lengths[0].mean()), float((lengths[1] - lengths[0]).mean())
    # what is of other molecules is told by what lies around, or by the whole line: molecules may keep a distance
    by_chance = min(inside / max(high - low, 1.0), _MOST_BY_CHANCE)
    same = max(near - further * inside / max(around, 1.0), (near - len(v) * by_chance) / (1 - by_chance))
    return len(v) / min(max(same, 1.0), len(v))
