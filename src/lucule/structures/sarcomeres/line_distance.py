"""The distance of the two lines of a sarcomere: maximum likelihood with an interval that counts molecules, not blinks.

Every localization counts with its own error; axis, bend, divergence, width, share of each line and background are
estimated with the distance. Localizations of one dye, and dyes of one epitope, repeat the same error, so that
the usual interval would be far too narrow. Here scores are summed over blocks of each line before their variance is
taken (the sandwich of Liang and Zeger 1986), and the interval is that of Student's t for the number of blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lucule.core import InputError
from lucule.structures.sarcomeres.bias import lost
from lucule.structures.sarcomeres.climb import bounds, climb, scan
from lucule.structures.sarcomeres.intervals import Fitted, LineSettings, before, covariance_of, hessian_of, places
from lucule.structures.sarcomeres.likelihood import (
    BEND,
    DIVERGENCE,
    HALF,
    LOG_WIDTH,
    LOGIT_BACKGROUND,
    LOGIT_SHARE,
    MIDDLE,
    PARAMETERS,
    SLOPE,
    Floats,
    linker_nodes,
)

FEWEST: Final = 30
_FEWEST_BLOCKS: Final = 4
_STARTS_NM: Final = (30.0, 45.0, 60.0, 80.0, 100.0, 125.0, 155.0, 190.0, 230.0)
_BANDS_NM: Final = (70.0, 140.0)
_LOOKED_AT: Final = 600
_BEGUN_WITH: Final = 1500
# ratios of the variances along and across, up to which other directions are tried
_ROUND: Final = 2.0
_LONG: Final = 9.0
_TURNS: Final = 8


@dataclass(frozen=True, slots=True, eq=False)
class LineFit:
    """Two lines, as they fit best.

    Attributes
    ----------
    distance_nm, interval_nm, error_nm
        Distance in the middle of the lines, its interval and standard error.
    origin_nm, direction
        Middle of the lines, and the unit vector across them (u, along the myofibril).
    theta, scale_nm
        Parameters as in `lucule.structures.sarcomeres.likelihood`, and the length that stands for t = 1.
    width_nm
        Standard deviation of a line without the localization error.
    bend_per_um
        Curvature of the middle line, 1/um.
    divergence_deg, divergence_interval_deg
        Angle between the lines; positive where they diverge towards +v.
    share
        Fraction of the line localizations on the line at +u.
    background
        Fraction of localizations on neither line.
    localizations, blocks
        How many were used, and over how many blocks their scores were summed.
    reason
        Why there is no distance; None where there is one.
    """

    distance_nm: float
    interval_nm: tuple[float, float]
    error_nm: float
    origin_nm: tuple[float, float]
    direction: tuple[float, float]
    theta: Floats
    scale_nm: float
    width_nm: float
    bend_per_um: float
    divergence_deg: float
    divergence_interval_deg: tuple[float, float]
    share: float
    background: float
    localizations: int
    blocks: int
    reason: str | None = None

    def coordinates(self, xy: NDArray[Any]) -> tuple[Floats, Floats]:
        """Distance (nm) from the curved middle line along the myofibril, and place along the lines, `(n,)` each."""
        u, v = straight(xy, self.origin_nm, self.direction)
        t = v / self.scale_nm
        return u - (self.theta[MIDDLE] + self.theta[SLOPE] * t + self.theta[BEND] * t * t), v

    def across(self, u: Floats, v: Floats, variance: Floats, settings: LineSettings) -> Floats:
        """Density of both lines for each nm across, at places from `coordinates` with the variance of each, `(n,)`."""
        total = self.width_nm**2 + variance
        apart = self.theta[HALF] + self.theta[DIVERGENCE] * v / self.scale_nm
        lines = np.zeros(len(u))
        for outwards, chance in zip(*linker_nodes(settings.linker_nm, settings.linker), strict=True):
            for side, share in ((-1, 1 - self.share), (1, self.share)):
                away = u - side * (apart + outwards)
                lines += chance * share * np.exp(-0.5 * away**2 / total) / np.sqrt(2 * np.pi * total)
        return lines


def straight(xy: NDArray[Any], origin_nm: tuple[float, float], direction: tuple[float, float]) -> tuple[Floats, Floats]:
    """Coordinates along a direction and across it (to its left where y points down)."""
    x, y = (np.asarray(xy[:, i], np.float64) - origin_nm[i] for i in (0, 1))
    return x * direction[0] + y * direction[1], x * direction[1] - y * direction[0]


def line_distance(
    xy: NDArray[Any],
    error_nm: NDArray[Any] | float | None = None,
    *,
    settings: LineSettings | None = None,
    groups: NDArray[Any] | None = None,
) -> LineFit:
    """Fit two lines to the localizations of one sarcomere.

    Parameters
    ----------
    xy
        `(n, 2)` nm, the localizations of one double line.
    error_nm
        `(n,)` localization error of each, nm, one for all, or None for that of `settings`.
    groups
        `(n,)` numbers of molecules or epitopes, where they are known: the interval then counts these.

    Returns
    -------
    LineFit
        With `reason` and a distance that is not a number where two lines cannot be told apart.

    Raises
    ------
    InputError
        Shapes do not fit.

    Notes
    -----
    Varga et al. 2023 fit a curve to the histogram of distances from the symmetry axis and correct it for precision and
    labels; `lucule.structures.sarcomeres.baselines` has that fit.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> xy = np.column_stack([rng.choice([-60, 60], 4000), rng.uniform(-700, 700, 4000)]) + rng.normal(0, 10, (4000, 2))
    >>> fit = line_distance(xy, 10.0)
    >>> abs(fit.distance_nm - 120) < 2, fit.interval_nm[0] < 120 < fit.interval_nm[1]
    (True, True)
    """
    settings = settings or LineSettings()
    points, variance = checked(xy, error_nm, settings)
    if len(points) < FEWEST:
        return _none(points, f"only {len(points)} localizations; {FEWEST} are needed")
    fitted = best_fit(points, variance, settings)
    if fitted is None:
        return _none(points, "no fit of two lines converged")
    return _finish(fitted, settings, None if groups is None else np.asarray(groups))


def width_losses(
    xy: NDArray[Any], error_nm: NDArray[Any] | float | None, widths_nm: Sequence[float], settings: LineSettings
) -> Floats:
    """How badly lines of given widths describe one sarcomere, `(w,)`; nan where no two lines fit.

    Negative logarithm of the likelihood, as if every place along the lines were one localization, with the
    `width_spread` of the settings around each width.
    """
    points, variance = checked(xy, error_nm, settings)
    found = np.full(len(widths_nm), np.nan)
    first = best_fit(points, variance, settings) if len(points) >= FEWEST else None
    if first is None:
        return found
    for number, width in enumerate(widths_nm):
        fitted = _fit(points, variance, first.origin, first.direction, settings.replace(width_nm=width))
        if fitted is not None:
            found[number] = fitted.value * places(fitted.t * fitted.scale, fitted.variance)
    return found


def checked(xy: NDArray[Any], error_nm: NDArray[Any] | float | None, settings: LineSettings) -> tuple[Floats, Floats]:
    """Positions `(n, 2)` and the variance of each, `(n,)`."""
    points = np.asarray(xy, np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise InputError("Localizations of a line must be (n, 2)", received=str(points.shape))
    given = np.asarray(settings.error_nm if error_nm is None else error_nm, np.float64)
    errors = np.broadcast_to(given, (len(points),))
    return points, np.where(np.isfinite(errors) & (errors > 0), errors, settings.error_nm) ** 2


def best_fit(points: Floats, variance: Floats, settings: LineSettings) -> Fitted | None:
    """The best fit over all directions in which the myofibril may point."""
    fits = [_fit(points, variance, origin, direction, settings) for origin, direction in _axes(points)]
    return min((fit for fit in fits if fit is not None), key=lambda fit: fit.value, default=None)


def _axes(points: Floats) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Where the middle is and where the myofibril may point: across the long side; along it where both are alike."""
    centre = np.median(points, axis=0)
    values, vectors = np.linalg.eigh(np.cov((points - centre).T))
    origin = (float(centre[0]), float(centre[1]))
    across = [vectors[:, 0]]
    if values[1] < _ROUND * max(values[0], 1e-9):  # as wide as long: the lines may run anywhere
        turns = np.arange(1, _TURNS) * np.pi / _TURNS
        across += [np.cos(a) * vectors[:, 0] + np.sin(a) * vectors[:, 1] for a in turns]
    elif values[1] < _LONG * max(values[0], 1e-9):
        across.append(vectors[:, 1])
    return [(origin, (float(a[0]), float(a[1]))) for a in across]


def _fit(
    points: Floats,
    variance: Floats,
    origin: tuple[float, float],
    direction: tuple[float, float],
    settings: LineSettings,
) -> Fitted | None:
    u, v = straight(points, origin, direction)
    middle_v = float(np.median(v))
    origin = (origin[0] + middle_v * direction[1], origin[1] - middle_v * direction[0])
    v = v - middle_v
    rows = np.flatnonzero(np.abs(u) <= settings.reach_nm)
    if len(rows) < FEWEST:
        return None
    u, v, variance = u[rows], v[rows], variance[rows]
    scale = max(float(np.quantile(np.abs(v), 0.95)), 50.0)
    t = v / scale
    window = 2 * settings.reach_nm
    nodes, shares = linker_nodes(settings.linker_nm, settings.linker)
    free = np.array(
        [MIDDLE, SLOPE, *([BEND] if settings.bend else []), HALF, *([DIVERGENCE] if settings.divergence else []),
         LOG_WIDTH, LOGIT_SHARE, LOGIT_BACKGROUND]
    )  # fmt: skip
    # localizations repeat each other: what was known before weighs as if there were only as many as places
    known = *bounds(settings.reach_nm), *before(settings), places(v, variance)
    lines = nodes, shares, window
    # which of the maxima is the highest shows in some of the localizations; only that one is climbed with all of them
    few = np.arange(0, len(u), max(len(u) // _BEGUN_WITH, 1))
    some = u[few], t[few], variance[few]
    tried = [climb(start, free, *known, *some, *lines) for start in _starts(some[0], some[2], *lines, known[2])]
    value, theta = min(tried, key=lambda one: one[0])
    if len(few) < len(u):
        value, theta = climb(theta, free, *known, u, t, variance, *lines)
    value = value * len(u) / len(points) + math.log(window) * (1 - len(u) / len(points))
    return Fitted(value, theta, free, u, t, variance, rows, scale, window, nodes, shares, origin, direction)


def _starts(
    u: Floats, variance: Floats, nodes: Floats, shares: Floats, window: float, expected: Floats
) -> list[Floats]:
    """The best place of two lines for near, medium and far ones: the likelihood has a maximum for each."""
    some = np.linspace(0, len(u) - 1, min(len(u), _LOOKED_AT)).astype(np.int64)
    centre, start = float(np.median(u)), np.zeros(PARAMETERS)
    start[[LOG_WIDTH, LOGIT_BACKGROUND]] = expected[[LOG_WIDTH, LOGIT_BACKGROUND]]
    distances, middles = np.array(_STARTS_NM), centre + np.arange(-120.0, 121.0, 20.0)
    losses = scan(start, distances / 2, middles, u[some], variance[some] + 15.0**2, nodes, shares, window)
    bands = np.searchsorted(_BANDS_NM, distances)
    starts = []
    for band in range(len(_BANDS_NM) + 1):
        inside = np.flatnonzero(bands == band)
        half, middle = np.unravel_index(losses[inside].argmin(), (len(inside), len(middles)))
        start[[MIDDLE, HALF]] = middles[middle], distances[inside[half]] / 2
        starts.append(start.copy())
    return starts


def _finish(fitted: Fitted, settings: LineSettings, groups: NDArray[Any] | None) -> LineFit:
    """The interval, from scores that are summed over what repeats the same error."""
    from scipy.special import stdtrit

    free = fitted.free
    hessian = hessian_of(fitted, settings)
    covariance, blocks = covariance_of(fitted, hessian, groups)
    theta = fitted.theta.copy()
    where = {int(parameter): i for i, parameter in enumerate(free)}
    error = 2 * math.sqrt(max(covariance[where[HALF], where[HALF]], 0.0))
    reason = _doubt(fitted, 2 * float(theta[HALF]), error, blocks)
    if reason is None:
        # a correction that is larger than the error would rest on a fit that is none
        theta[HALF] += np.clip(lost(fitted, hessian), -error / 2, error / 2)
    distance = 2 * float(theta[HALF])
    times = float(stdtrit(max(blocks - 2, 1), 0.5 + settings.confidence / 2))
    opening, opening_error = 0.0, 0.0
    if DIVERGENCE in where:
        opening = math.degrees(2 * float(theta[DIVERGENCE]) / fitted.scale)
        spread = math.sqrt(max(covariance[where[DIVERGENCE], where[DIVERGENCE]], 0.0))
        opening_error = math.degrees(2 * spread / fitted.scale)
    return LineFit(
        distance_nm=math.nan if reason else distance,
        interval_nm=(math.nan, math.nan) if reason else (max(distance - times * error, 0.0), distance + times * error),
        error_nm=math.nan if reason else error,
        origin_nm=fitted.origin,
        direction=fitted.direction,
        theta=theta,
        scale_nm=fitted.scale,
        width_nm=float(np.exp(theta[LOG_WIDTH])),
        bend_per_um=1000 * 2 * float(theta[BEND]) / fitted.scale**2,
        divergence_deg=opening,
        divergence_interval_deg=(opening - times * opening_error, opening + times * opening_error),
        share=float(1 / (1 + np.exp(-theta[LOGIT_SHARE]))),
        background=float(1 / (1 + np.exp(-theta[LOGIT_BACKGROUND]))),
        localizations=len(fitted.u),
        blocks=blocks,
        reason=reason,
    )


def _doubt(fitted: Fitted, distance: float, error: float, blocks: int) -> str | None:
    """Why the distance of a fit means nothing; None where it does."""
    share = 1 / (1 + math.exp(-float(fitted.theta[LOGIT_SHARE])))
    if blocks < _FEWEST_BLOCKS:
        return f"too few molecules: localizations in {blocks} places along the lines"
    if not 0.1 < share < 0.9:
        return f"a single line: {100 * max(share, 1 - share):.0f} % of the localizations on one side"
    if not np.isfinite(error) or distance < 2 * error or distance < 5:
        return f"two lines cannot be told apart ({distance:.0f} nm, standard error {error:.0f} nm)"
    return None


def _none(points: Floats, reason: str) -> LineFit:
    centre = np.median(points, axis=0) if len(points) else np.zeros(2)
    nan = math.nan
    middle = (float(centre[0]), float(centre[1]))
    return LineFit(nan, (nan, nan), nan, middle, (1.0, 0.0), np.zeros(PARAMETERS), 1.0, nan, nan, nan, (nan, nan), nan,
                   nan, len(points), 0, reason)  # fmt: skip
