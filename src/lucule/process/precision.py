"""Localization precision from the data themselves, beside the precision that the table claims.

A molecule that is on in two consecutive frames is localized twice; the distance of the two tells the precision without
any model of camera or PSF (NeNA: Endesfelder et al. 2014, Histochem Cell Biol 141:629).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from lucule.core import Localizations
from lucule.process.series import in_order
from lucule.space.threads import share

Floats = NDArray[np.float64]

FEWEST_PAIRS: Final = 100
_LEAST_NM: Final = 0.01
_SHARED: Final = "n_shared"
# where the precision is not known at all, partners are first looked for this far
_FIRST_REACH_NM: Final = 250.0
# the histogram ends at this many times the precision: the pairs of one molecule end at 5, the rest tells the background
_REACH: Final = 9.0
_BINS: Final = 60
_BLOCKS: Final = 40
_RESAMPLES: Final = 60


@dataclass(frozen=True, slots=True)
class Precision:
    """Localization precision, 1 sigma, along one axis of the plane.

    Attributes
    ----------
    nena_nm, nena_nm_interval
        From pairs in consecutive frames, with the 95 % interval of resampled stretches of the movie.
    pairs
        Estimated number of pairs of one molecule each.
    reported_nm
        Median of `x_err` and `y_err`.
    ratio, ratio_interval
        True errors over reported ones, from the same pairs: 1 when the table is right, 1.2 when errors are 20 % larger
        than it says.
    axial_nm, axial_ratio
        The same for z, from the pairs that are near in the plane.
    distances_nm, counts, fitted
        Histogram of the distances to the nearest localization in the next frame, and the curve through it.
    reasons
        Why a value is missing: quantity -> sentence.
    """

    nena_nm: float | None
    nena_nm_interval: tuple[float, float] | None
    pairs: int
    reported_nm: float | None
    ratio: float | None
    ratio_interval: tuple[float, float] | None
    axial_nm: float | None
    axial_ratio: float | None
    distances_nm: Floats
    counts: Floats
    fitted: Floats
    reasons: dict[str, str]

    @property
    def best_nm(self) -> float | None:
        """What the data say where they say it to within a quarter, or else what the table says."""
        if self.nena_nm is None or self.nena_nm_interval is None:
            return self.reported_nm
        low, high = self.nena_nm_interval
        sure = high - low < 0.5 * self.nena_nm
        return self.nena_nm if sure or self.reported_nm is None else self.reported_nm

    def table(self) -> pl.DataFrame:
        """The histogram and its fit."""
        return pl.DataFrame({"distance_nm": self.distances_nm, "counts": self.counts, "fitted": self.fitted})

    def summary(self) -> dict[str, Any]:
        """All numbers by name, with the reasons of those that are missing."""
        return {
            "nena_nm": self.nena_nm,
            "nena_nm_interval": self.nena_nm_interval,
            "nena_pairs": self.pairs,
            "reported_precision_nm": self.reported_nm,
            "true_over_reported_precision": self.ratio,
            "true_over_reported_precision_interval": self.ratio_interval,
            "axial_precision_nm": self.axial_nm,
            "true_over_reported_axial_precision": self.axial_ratio,
        }


def precision(locs: Localizations, *, seed: int = 1) -> Precision:
    """Estimate the localization precision from molecules that are on in two consecutive frames.

    Each localization is paired with the nearest one in the next frame. The distances are those of one molecule,
    distributed as r / (2 s^2) exp(-r^2 / (4 s^2)), and of neighbours, described by a line and a broad Gaussian as in
    the paper; all amplitudes and widths are fitted together. For the comparison with `x_err` and `y_err`, distances are
    divided by the error that the table gives for them, and the same curve is fitted.

    Parameters
    ----------
    locs
        Needs `frame`; channels and fields of view are kept apart. Rows must not be linked yet. Where places in
        neighbouring frames were found together (`n_shared`) pairs tell nothing, and only what is reported is given.
    seed
        Of the resampling.

    Returns
    -------
    Precision
        With `reasons` where something could not be estimated.

    Raises
    ------
    ColumnError
        There is no column `frame`.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> spots = np.repeat(rng.uniform(0, 20_000, (2000, 2)), 2, axis=0) + rng.normal(0, 8, (4000, 2))
    >>> frame = (np.repeat(np.arange(2000) % 500, 2) * 2 + np.tile([0, 1], 2000))
    >>> found = precision(Localizations({"frame": frame, "x": spots[:, 0], "y": spots[:, 1]}))
    >>> abs(found.nena_nm - 8) < 0.5
    True
    """
    reasons: dict[str, str] = {}
    reported = _reported(locs)
    series = in_order(locs, "The precision")
    if reported is None:
        reasons["reported_precision_nm"] = "the table has no columns x_err and y_err"
    if _SHARED in locs and (locs[_SHARED] > 1).any():
        reasons["nena_nm"] = (
            "positions in neighbouring frames were found together, so that their distance does not tell how precise "
            "each is; the reported errors count"
        )
        return _untold(reported, reasons)
    first, second, distance = _pairs(locs, series, _FIRST_REACH_NM)
    block = _blocks_of(series.time[first]) if len(first) else np.empty(0, np.int64)
    first, second = series.order[first], series.order[second]
    start = reported or (max(float(np.percentile(distance, 30)), _LEAST_NM) if len(distance) else 10.0)
    fit, interval = None, None
    for _ in range(3):  # the reach follows the width
        reach = min(_REACH * start, _FIRST_REACH_NM)
        histogram = _histograms(distance, block, reach)
        fit = _fit(histogram.sum(axis=0), reach)
        if fit is None or abs(fit.sigma / start - 1) < 0.15:
            break
        start = fit.sigma
    if fit is None:
        reasons["nena_nm"] = (
            f"only {len(distance):,} localizations have a neighbour within {_FIRST_REACH_NM:.0f} nm in the next frame "
            "and these show no peak of molecules seen twice: linked tables and molecules that are on for one frame "
            "only give none"
        )
        return _untold(reported, reasons)
    rng = np.random.default_rng(seed)
    interval = _resampled(histogram, reach, rng)
    ratio, ratio_interval = _ratio(locs, first, second, distance, block, rng)
    if ratio is None and reported is not None:
        reasons["true_over_reported_precision"] = "the reported errors and the distances of pairs have no common scale"
    axial, axial_ratio = _axial(locs, first, second, distance < 2.5 * fit.sigma)
    edges = np.linspace(0, reach, _BINS + 1)
    return Precision(
        fit.sigma, interval, round(fit.pairs), reported, ratio, ratio_interval, axial, axial_ratio,
        (edges[1:] + edges[:-1]) / 2, histogram.sum(axis=0), fit.curve, reasons,
    )  # fmt: skip


def _untold(reported: float | None, reasons: dict[str, str]) -> Precision:
    """All that is known where pairs tell nothing."""
    empty = np.empty(0)
    reasons = reasons | {"true_over_reported_precision": "there are no pairs to compare"}
    return Precision(None, None, 0, reported, None, None, None, None, empty, empty, empty, reasons)


def _reported(locs: Localizations) -> float | None:
    if "x_err" not in locs or "y_err" not in locs:
        return None
    errors = np.concatenate([locs["x_err"], locs["y_err"]])
    errors = errors[np.isfinite(errors) & (errors > 0)]
    return float(np.median(errors)) if len(errors) else None


def _pairs(locs: Localizations, series: Any, reach: float) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Nearest localization in the next frame: sorted rows of both, and their distance."""
    xy = locs.xy()[series.order]
    partner = np.full(len(xy), -1, np.int64)
    distance = np.zeros(len(xy))
    starts = np.flatnonzero(np.diff(series.time, prepend=-2))
    ends = np.append(starts, len(xy))

    def work(low: int, high: int) -> None:
        _nearest_in_next(xy[:, 0], xy[:, 1], series.time, ends, low, high, reach, partner, distance)

    share(work, len(starts), least=16, most=1 << 16)
    first = np.flatnonzero(partner >= 0)
    return first, partner[first], distance[first]


@njit(cache=True, nogil=True)
def _nearest_in_next(
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    time: NDArray[np.int64],
    ends: NDArray[np.int64],
    low: int,
    high: int,
    reach: float,
    partner: NDArray[np.int64],
    distance: Floats,
) -> None:
    for frame in range(low, high):
        if frame + 2 >= len(ends) or time[ends[frame + 1]] != time[ends[frame]] + 1:
            continue
        j = ends[frame + 1]
        for i in range(ends[frame], ends[frame + 1]):
            while j < ends[frame + 2] and x[j] < x[i] - reach:
                j += 1
            best = reach * reach
            k = j
            while k < ends[frame + 2] and x[k] <= x[i] + reach:
                squared = (x[k] - x[i]) ** 2 + (y[k] - y[i]) ** 2
                if squared < best:
                    best = squared
                    partner[i] = k
                k += 1
            distance[i] = np.sqrt(best)


def _blocks_of(time: NDArray[np.int64]) -> NDArray[np.int64]:
    """Stretches of the movie with as many pairs each."""
    return np.minimum(np.arange(len(time)) * _BLOCKS // max(len(time), 1), _BLOCKS - 1)


def _histograms(distance: Floats, block: NDArray[np.int64], reach: float) -> Floats:
    near = distance < reach
    bins = np.minimum((distance[near] * (_BINS / reach)).astype(np.int64), _BINS - 1)
    flat = np.bincount(block[near] * _BINS + bins, minlength=_BLOCKS * _BINS)
    return flat.reshape(_BLOCKS, _BINS).astype(np.float64)


@dataclass(frozen=True, slots=True)
class _Fit:
    sigma: float
    pairs: float
    curve: Floats
    values: Floats


def _model(values: Floats, r: Floats, reach: float) -> Floats:
    """Counts in bins around r: pairs of one molecule, a broad shell of its neighbours, and far ones.

    The shell stays beyond five precisions, or it could stand for the pairs themselves.
    """
    sigma, pairs, near, centre, width, line = values
    bin_nm = reach / len(r)
    same = pairs * bin_nm * r / (2 * sigma**2) * np.exp(-(r**2) / (4 * sigma**2))
    # times r, so that the shell of neighbours leaves the origin to the pairs
    shell = near * bin_nm * r / reach**2 * np.exp(-((r - centre) ** 2) / (2 * width**2))
    result: Floats = same + shell + line * bin_nm * r / reach**2
    return result


def _fit(counts: Floats, reach: float, start: Floats | None = None) -> _Fit | None:
    """Fit the histogram: least squares of square roots, which have the same noise in every bin."""
    from scipy.optimize import least_squares

    total = counts.sum()
    if total < FEWEST_PAIRS:
        return None
    r: Floats = (np.arange(len(counts), dtype=np.float64) + 0.5) * (reach / len(counts))
    seen = 2 * np.sqrt(counts + 0.375)

    def residual(values: Floats) -> Floats:
        result: Floats = 2 * np.sqrt(np.maximum(_model(values, r, reach), 0) + 0.375) - seen
        return result

    low = np.array([reach / 60, 0.0, 0.0, 0.55 * reach, 0.15 * reach, 0.0])
    high = np.array([reach / 3, 1.5 * total, 50 * total, 1.1 * reach, 0.35 * reach, 50 * total])
    starts = [start] if start is not None else [
        np.array([reach * part, share_ * total, 0.1 * total, 0.8 * reach, 0.25 * reach, 0.2 * total])
        for part, share_ in ((1 / 9, 0.7), (1 / 20, 0.5), (1 / 5, 0.5))
    ]  # fmt: skip
    scale = np.array([reach / 10, total, total, reach / 2, reach / 2, total])
    fits = [least_squares(residual, np.clip(s, low * 1.001, high * 0.999), bounds=(low, high), x_scale=scale)
            for s in starts]  # fmt: skip
    best = min(fits, key=lambda fit: fit.cost)
    sigma, pairs = float(best.x[0]), float(best.x[1])
    # a peak that is no more than the noise of what lies under it is none
    under = _model(best.x * np.array([1, 0, 1, 1, 1, 1]), r, reach)
    core = r < 3 * sigma
    peak = float(_model(best.x, r, reach)[core].sum() - under[core].sum())
    if peak < 5 * np.sqrt(counts[core].sum()) or sigma > 0.99 * high[0]:
        return None
    return _Fit(sigma, pairs, _model(best.x, r, reach), best.x)


def _resampled(histogram: Floats, reach: float, rng: np.random.Generator) -> tuple[float, float] | None:
    whole = _fit(histogram.sum(axis=0), reach)
    if whole is None:
        return None
    found = []
    for _ in range(_RESAMPLES):
        again = _fit(histogram[rng.integers(0, len(histogram), len(histogram))].sum(axis=0), reach, whole.values)
        if again is not None:
            found.append(again.sigma)
    if len(found) < _RESAMPLES // 2:
        return None
    low, high = np.percentile(found, (2.5, 97.5))
    return float(low), float(high)


def _ratio(
    locs: Localizations,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    distance: Floats,
    block: NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[float | None, tuple[float, float] | None]:
    """True over reported errors: the fit of distances in units of the error that the table gives for them."""
    if "x_err" not in locs or "y_err" not in locs:
        return None, None
    squares = [locs[name][rows].astype(np.float64) ** 2 for name in ("x_err", "y_err") for rows in (first, second)]
    variance: Floats = np.sum(squares, axis=0)
    known = np.isfinite(variance) & (variance > 0)
    # with a variance of 2 in the plane, a table that is right gives sigma = 1
    scaled = distance[known] / np.sqrt(variance[known] / 4)
    histogram = _histograms(scaled, block[known], _REACH)
    fit = _fit(histogram.sum(axis=0), _REACH)
    if fit is None:
        return None, None
    return fit.sigma, _resampled(histogram, _REACH, rng)


def _axial(
    locs: Localizations, first: NDArray[np.int64], second: NDArray[np.int64], same: NDArray[np.bool_]
) -> tuple[float | None, float | None]:
    """Precision in z: the middle half of the differences, which strangers hardly move."""
    if not locs.is_3d or same.sum() < FEWEST_PAIRS:
        return None, None
    first, second = first[same], second[same]
    difference = locs["z"][first].astype(np.float64) - locs["z"][second]
    sigma = float(np.median(np.abs(difference))) * 1.4826 / np.sqrt(2)
    if "z_err" not in locs:
        return sigma, None
    variance = locs["z_err"][first].astype(np.float64) ** 2 + locs["z_err"][second].astype(np.float64) ** 2
    known = np.isfinite(variance) & (variance > 0)
    if known.sum() < FEWEST_PAIRS:
        return sigma, None
    return sigma, float(np.median(np.abs(difference[known]) / np.sqrt(variance[known]))) * 1.4826
