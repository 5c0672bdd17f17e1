"""Our own estimate of a period: the likelihood of rings whose phase wanders, against molecules without a period.

Where molecules are along the axon says nothing by itself: rings may be missing, bright or faint. So each stretch of
the axon is given the density it has, and the likelihood asks only where, within a period, its molecules are. Against
molecules anywhere this is a likelihood ratio. Clusters at random places can follow a wandering phase by chance; how
often, is asked of the same molecules after each stretch of a period has been moved at random as a whole, which keeps
clusters and density and destroys the order from stretch to stretch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from scipy.optimize import minimize
from scipy.special import logsumexp

from lucule.core import Config, InputError
from lucule.structures.axons import kernels

Floats = NDArray[np.float64]

FEWEST_MOLECULES: Final = 12
FEWEST_PERIODS: Final = 4
# standard deviation of a spacing, width of a ring (both in periods) and fraction in no ring, from neat to untidy
_SHAPES: Final = ((0.04, 0.09, 0.3), (0.06, 0.15, 0.5))
_COARSE_STATES: Final = 32
_FINE_STATES: Final = 96
# so many molecules of a stretch tell rings from what has no period
_STRETCH_NM: Final = 200.0
_MOST_IN_STRETCH: Final = 4
# distance, in periods, over which the rings still know each other's phase
_MEMORY: Final = 30
_LARGEST_SD: Final = 0.1
# two halves differ, in standard errors and as a fraction of the period
_DIFFERENT: Final = 4.0
_LEAST_DIFFERENCE: Final = 0.03
_DRAWS_OF_HALF: Final = 60
# standard deviations of a spacing, in periods, over which the interval is averaged: few rings tell too small a one
_SPREADS: Final = (0.015, 0.03, 0.05, 0.08)
_WIDTHS: Final = (0.02, 0.25)
_BACKGROUNDS: Final = (0.02, 0.95)


class PeriodSettings(Config):
    """How a period is looked for.

    Attributes
    ----------
    shortest_nm, longest_nm
        Range of periods that are looked at, nm.
    significance
        Largest probability at which molecules without a period would look as periodic as these.
    rearrangements
        Random rearrangements of the molecules from which that probability is told.
    draws
        Courses of the rings that are drawn for the interval.
    seed
        Of the random numbers.
    """

    shortest_nm: Annotated[float, Field(gt=20, allow_inf_nan=False)] = 140.0
    longest_nm: Annotated[float, Field(lt=2000, allow_inf_nan=False)] = 300.0
    significance: Annotated[float, Field(gt=0, lt=1)] = 0.02
    rearrangements: Annotated[int, Field(ge=19)] = 49
    draws: Annotated[int, Field(ge=50)] = 400
    seed: Annotated[int, Field(ge=0)] = 1


@dataclass(frozen=True, slots=True, eq=False)
class Period:
    """What is known of the period of one axon.

    Attributes
    ----------
    period_nm, period_nm_interval
        Mean distance between neighbouring rings of the axon, with its 95 % interval, nm; None where there is no period.
    reason
        Why there is none.
    p_value
        Probability that molecules without a period look as periodic; NaN where that was not asked.
    evidence
        For a period, in standard deviations above what is usual without one.
    spacing_sd_nm, ring_width_nm
        Standard deviation of single spacings, and of molecules around their ring, nm.
    in_rings
        Fraction of the molecules that are in rings.
    rings_nm
        Places of the rings along the axon, nm, missing ones included.
    molecules
        How many there are.
    periods_nm, log_ratio
        Log likelihood ratio against no period for all periods looked at.
    remark
        What the number alone does not say: two periods in one axon.
    """

    period_nm: float | None
    period_nm_interval: tuple[float, float] | None
    reason: str | None
    p_value: float
    molecules: int
    evidence: float = -math.inf
    spacing_sd_nm: float = math.nan
    ring_width_nm: float = math.nan
    in_rings: float = math.nan
    rings_nm: Floats = field(default_factory=lambda: np.empty(0))
    periods_nm: Floats = field(default_factory=lambda: np.empty(0))
    log_ratio: Floats = field(default_factory=lambda: np.empty(0))
    remark: str | None = None


@dataclass(frozen=True, slots=True)
class _Fit:
    period: float
    spacing_sd: float
    width: float
    background: float

    def tables(self) -> tuple[Floats, float, Floats]:
        """What the kernels need besides the period: moves, fraction in rings, profile."""
        moves = kernels.kicks(self.spacing_sd / self.period * _FINE_STATES)
        return moves, 1 - self.background, kernels.profile(self.period, self.width, self.background, _FINE_STATES)


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """Mean spacings that the molecules allow and the spread of the spacings in each; places of the rings; nm."""

    means: Floats
    spreads: Floats
    rings: Floats


def period(
    along_nm: ArrayLike,
    *,
    length_error: float = 0.0,
    labels: float | None = None,
    settings: PeriodSettings = PeriodSettings(),  # noqa: B008 (frozen)
) -> Period:
    """Measure the period of molecules along an axon.

    Parameters
    ----------
    along_nm
        `(n,)` positions along the axon, nm, in any order; one for each molecule, since repeated localizations of one
        molecule would count as evidence.
    length_error
        Standard error of all distances along the axon, as a fraction: what is not known of its course.
    labels
        How many labels the molecules are, if they are not independent of one another: it widens the interval.
    settings
        Range of periods, and how sure one must be.

    Raises
    ------
    InputError
        A position or the error is not a number, the range is empty, or labels are none or more than molecules.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> rings = 190.0 * np.arange(25) + rng.normal(0, 8, 25).cumsum()
    >>> found = period(np.repeat(rings, 12) + rng.normal(0, 12, 300))
    >>> bool(abs(found.period_nm - (rings[-1] - rings[0]) / 24) < 1)
    True
    """
    along = np.sort(np.asarray(along_nm, np.float64).reshape(-1))
    if not np.isfinite(along).all():
        raise InputError("A position along the axon is not a number", received=f"{(~np.isfinite(along)).sum()} of them")
    if not 0 <= length_error < math.inf:
        raise InputError("The error of the length cannot be used", received=length_error, allowed="0 or more")
    if labels is not None and not (0 < labels <= len(along) or labels == len(along)):
        raise InputError("The number of labels cannot be used", received=labels, allowed=f"above 0, to {len(along)}")
    if settings.shortest_nm >= settings.longest_nm:
        raise InputError(
            "The range of periods is empty",
            received=f"{settings.shortest_nm:g} to {settings.longest_nm:g} nm",
            allowed="shortest_nm below longest_nm",
        )
    if len(along) < FEWEST_MOLECULES:
        reason = f"only {len(along)} molecules; at least {FEWEST_MOLECULES} are needed"
        return Period(None, None, reason, math.nan, len(along))
    along = along - along[0]
    fewest = FEWEST_PERIODS * settings.shortest_nm
    if along[-1] < fewest:
        reason = f"too short: {along[-1]:.0f} nm; at least {fewest:.0f} nm are needed"
        return Period(None, None, reason, math.nan, len(along))
    rng = np.random.default_rng(settings.seed)
    periods = grid(along[-1], settings.shortest_nm, settings.longest_nm)
    ratios = _scans(along, periods)
    fit = _best(along, periods, ratios, settings)
    p_value, evidence = _chance(along, fit, periods, settings, rng)
    shape = (fit.spacing_sd / fit.period, fit.width / fit.period, fit.background)
    profile = kernels.scan(along, periods, *shape, _COARSE_STATES)
    common: dict[str, Any] = {
        "p_value": p_value,
        "evidence": evidence,
        "molecules": len(along),
        "periods_nm": periods,
        "log_ratio": profile,
    }
    if p_value > settings.significance:
        reason = f"molecules without a period look as periodic as these with a probability of {p_value:.2g}"
        return Period(None, None, reason, **common)
    drawn = _courses(along, fit, settings, rng, settings.draws)
    middle = float(np.median(drawn.means))
    low, high = np.percentile(_blurred(drawn, along, fit, labels or len(along), length_error, rng), (2.5, 97.5))
    return Period(
        middle, (float(low), float(high)), None,
        remark=_two_periods(along, settings, rng),
        spacing_sd_nm=fit.spacing_sd, ring_width_nm=fit.width, in_rings=1 - fit.background, rings_nm=drawn.rings,
        **common,
    )  # fmt: skip


def grid(length_nm: float, shortest_nm: float, longest_nm: float) -> Floats:
    """Periods so close that neighbouring ones differ by a third of a turn at most over what the rings remember.

    Examples
    --------
    >>> len(grid(2000.0, 140.0, 300.0)), len(grid(50_000.0, 140.0, 300.0))
    (25, 50)
    """
    reach = min(length_nm, _MEMORY * shortest_nm)
    turns = np.arange(reach / longest_nm, reach / shortest_nm, 0.33)
    periods: Floats = np.sort(reach / np.append(turns, reach / shortest_nm))
    return periods


def _scans(along: Floats, periods: Floats) -> Floats:
    return np.array([kernels.scan(along, periods, *shape, _COARSE_STATES) for shape in _SHAPES])


def _evidence(along: Floats, periods: Floats) -> float:
    """Log ratio, averaged over periods and shapes, of molecules thinned where they crowd.

    Molecules of one ring or cluster are seen or missing together, and say little more than one: where it is. Were each
    to count, that clusters are narrow would outweigh how they follow each other, which alone tells rings from clusters.
    So every stretch of the length of a period counts as a few molecules at most.
    """
    crowd = np.searchsorted(along, along + _STRETCH_NM / 2) - np.searchsorted(along, along - _STRETCH_NM / 2)
    counted = np.floor(np.cumsum(np.minimum(1.0, _MOST_IN_STRETCH / crowd)) + 0.5)
    kept = along[np.diff(counted, prepend=0) > 0]
    ratios = _scans(kept - kept[0], periods)
    return float(logsumexp(ratios) - math.log(ratios.size))


def _log_ratios(along: Floats, periods: Floats, fit: _Fit) -> Floats:
    """Of other periods, with the rest as in `fit`."""
    nothing = np.empty((0, 2 * _FINE_STATES))
    tables = fit.tables()
    return np.array([kernels.forward(along, value, *tables, nothing) for value in periods])


def _best(along: Floats, periods: Floats, ratios: Floats, settings: PeriodSettings) -> _Fit:
    """The maximum of the likelihood over period, spread of the spacings, width and background."""
    shape, at = np.unravel_index(int(ratios.argmax()), ratios.shape)
    start = (periods[at], *_SHAPES[shape])
    low = np.array([settings.shortest_nm, 0.004, _WIDTHS[0], _BACKGROUNDS[0]])
    high = np.array([settings.longest_nm, _LARGEST_SD, _WIDTHS[1], _BACKGROUNDS[1]])
    nothing = np.empty((0, 2 * _FINE_STATES))

    def inside(values: Floats) -> Floats:
        return np.clip(np.exp(values), low, high)

    def cost(values: Floats) -> float:
        p, sd, width, background = inside(values)
        shape_ = kernels.profile(1.0, width, background, _FINE_STATES)
        ratio = kernels.forward(along, p, kernels.kicks(sd * _FINE_STATES), 1 - background, shape_, nothing)
        return float(-ratio + 1e3 * np.abs(values - np.log(inside(values))).sum())

    first = np.log(start)
    spread = np.array([0.3 * start[0] / along[-1], 0.4, 0.4, 0.4])
    simplex = np.vstack([first, first + np.diag(spread)])
    options = {"initial_simplex": simplex, "xatol": 1e-3, "fatol": 1e-2, "maxfev": 200}
    found = minimize(cost, first, method="Nelder-Mead", options=options)
    p, sd, width, background = inside(found.x)
    return _Fit(float(p), float(sd * p), float(width * p), float(background))


def _chance(
    along: Floats, fit: _Fit, periods: Floats, settings: PeriodSettings, rng: np.random.Generator
) -> tuple[float, float]:
    """Probability of such evidence without a period, and how many standard deviations it is above what is usual then.

    Rearranging ends early where the probability is large (Besag and Clifford).
    """
    evidence = _evidence(along, periods)
    course = _smoothed(along, fit)
    ring = np.rint((along - course) / fit.period).astype(np.int64)
    ring -= ring.min()
    enough = math.ceil(2 * settings.significance * settings.rearrangements) + 1
    without: list[float] = []
    exceeding = 0
    while len(without) < settings.rearrangements and exceeding < enough:
        moved = along + (rng.random(ring.max() + 1)[ring] - 0.5) * fit.period
        without.append(_evidence(np.sort(moved), periods))
        exceeding += without[-1] >= evidence
    early = exceeding >= enough
    p_value = exceeding / len(without) if early else (exceeding + 1) / (len(without) + 1)
    return p_value, (evidence - float(np.mean(without))) / max(float(np.std(without)), 1e-6)


def _smoothed(along: Floats, fit: _Fit) -> Floats:
    """Offset of the rings at each molecule, one likely course."""
    courses, step = _drawn(along, fit, 1, np.random.default_rng(0))
    return np.asarray(np.interp(along, step * np.arange(courses.shape[1]), courses[0]))


def _drawn(along: Floats, fit: _Fit, number: int, rng: np.random.Generator) -> tuple[Floats, float]:
    """Courses of the offset `(number, steps)`, nm, drawn given the molecules, and the length of a step, nm."""
    step = fit.period / kernels.STEPS
    steps = int(along[-1] / step) + 1
    kept = np.empty((steps, 2 * _FINE_STATES))
    moves, in_rings, shape = fit.tables()
    kernels.forward(along, fit.period, moves, in_rings, shape, kept)
    crowd = kernels.crowding(along, fit.period, steps)
    table = kernels.pulled(moves, in_rings, crowd.max(), _FINE_STATES)
    courses = np.array([kernels.backward(kept, table, crowd, rng.random(steps)) for _ in range(number)])
    return courses * (fit.period / _FINE_STATES), step


def _courses(along: Floats, fit: _Fit, settings: PeriodSettings, rng: np.random.Generator, number: int) -> _Drawn:
    """Mean spacings that the molecules allow, and the places of the rings."""
    reach = along[-1]
    near = fit.period / (1 + np.linspace(-3, 3, 21) * fit.period / reach)
    near = near[(near > settings.shortest_nm) & (near < settings.longest_nm)]
    fits = [replace(fit, spacing_sd=part * fit.period) for part in _SPREADS]
    weight = np.concatenate([_log_ratios(along, near, each) for each in fits])
    chosen = rng.choice(len(weight), number, p=np.exp(weight - logsumexp(weight)))
    means, spreads = [], []
    for index, times in zip(*np.unique(chosen, return_counts=True), strict=True):
        here = replace(fits[index // len(near)], period=float(near[index % len(near)]))
        courses, step = _drawn(along, here, int(times), rng)
        ends = courses[:, -1] - courses[:, 0]
        means.append(here.period * reach / (reach - ends))
        spreads.append(np.full(times, here.spacing_sd))
    courses, step = _drawn(along, fit, 50, rng)
    start = courses[:, :1] / fit.period
    courses -= fit.period * np.round(start - start[0])
    places = step * np.arange(courses.shape[1])
    turns = (places - np.median(courses, axis=0)) / fit.period
    whole = np.arange(math.ceil(turns.min()), math.floor(turns.max()) + 1)
    rings: Floats = np.interp(whole, np.maximum.accumulate(turns), places)
    pulled = 2 * _outwards(fit, len(along) / len(rings)) / max(len(rings) - 1, 1)
    return _Drawn(np.concatenate(means) - pulled, np.concatenate(spreads), rings)


def _outwards(fit: _Fit, molecules: float) -> float:
    """How far the likelihood pulls an outermost ring of so many molecules outwards, nm.

    It counts each spacing by its length for every molecule beside it, lest crowded rings be pushed together. Rings
    between two spacings are pulled both ways; the outermost are held by their molecules and by the next ring.
    """
    return (1 - fit.background) * molecules / fit.period / _hold(fit, molecules)


def _hold(fit: _Fit, molecules: float) -> float:
    """How firmly so many molecules and the next ring hold an outermost ring: 1 over the variance of its place."""
    shape = kernels.profile(fit.period, fit.width, fit.background, _FINE_STATES)
    slope = (np.roll(shape, -1) - np.roll(shape, 1)) * len(shape) / (2 * fit.period)
    held = molecules * float(np.mean(slope**2 / shape))
    return held + 1 / (fit.spacing_sd**2 + 1 / held)


def _blurred(
    drawn: _Drawn, along: Floats, fit: _Fit, labels: float, length_error: float, rng: np.random.Generator
) -> Floats:
    """Mean spacings with what else is not known: the length of the axon, and rings beyond the outermost that show.

    And where the outermost are: the courses are drawn as if every molecule told it anew, not every label.
    """
    means, rings = drawn.means, drawn.rings
    spacings = max(len(rings) - 1, 1)
    place = np.searchsorted(along, rings)
    gap = np.minimum(
        np.abs(rings - along[np.minimum(place, len(along) - 1)]), np.abs(rings - along[np.maximum(place - 1, 0)])
    )
    seen = (np.count_nonzero(gap < fit.period / 4) + 1) / (len(rings) + 1)
    beyond = rng.geometric(min(seen, 1.0), (2, len(means))).sum(axis=0) - 2
    unseen_sd = drawn.spreads * np.sqrt(beyond / (spacings * (spacings + beyond)))
    place_variance = 1 / _hold(fit, labels / len(rings)) - 1 / _hold(fit, len(along) / len(rings))
    stretch = 1 + length_error * rng.normal(size=len(means))
    sd = np.sqrt(unseen_sd**2 + 2 * place_variance / spacings**2)
    blurred: Floats = means * stretch + sd * rng.normal(size=len(means))
    return blurred


def _two_periods(along: Floats, settings: PeriodSettings, rng: np.random.Generator) -> str | None:
    """What to say where both halves of an axon differ by more than spacings that vary can explain."""
    middle = along[-1] / 2
    halves = [along[along < middle], along[along >= middle] - along[along >= middle][0]]
    if any(len(half) < 2 * FEWEST_MOLECULES or half[-1] < 2 * FEWEST_PERIODS * settings.longest_nm for half in halves):
        return None
    grids = [grid(half[-1], settings.shortest_nm, settings.longest_nm) for half in halves]
    scans = [_scans(half, periods) for half, periods in zip(halves, grids, strict=True)]
    likely = [periods[ratios.max(axis=0).argmax()] for periods, ratios in zip(grids, scans, strict=True)]
    if abs(likely[0] - likely[1]) < _LEAST_DIFFERENCE * sum(likely) / 2:
        return None
    means, errors = [], []
    for half, periods, ratios in zip(halves, grids, scans, strict=True):
        fit = _best(half, periods, ratios, settings)
        drawn = _courses(half, fit, settings, rng, _DRAWS_OF_HALF)
        means.append(float(np.median(drawn.means)))
        errors.append(math.hypot(float(drawn.means.std()), fit.spacing_sd / math.sqrt(max(len(drawn.rings), 1))))
    if abs(means[0] - means[1]) < max(_DIFFERENT * math.hypot(*errors), _LEAST_DIFFERENCE * sum(means) / 2):
        return None
    return f"two periods: {means[0]:.1f} nm in the first half and {means[1]:.1f} nm in the second"
