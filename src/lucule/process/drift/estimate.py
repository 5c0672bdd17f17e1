"""Estimate the drift of a table and take it off: which method, how long the segments, and how sure the result."""

from __future__ import annotations

import logging
from typing import Annotated, Final, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from lucule.core import Config, InputError, Localizations, WorkError, step
from lucule.process.drift import correlation, entropy, intersection
from lucule.process.drift.curve import DriftCurve, shifted
from lucule.process.drift.fiducials import Fiducials, find_fiducials, paths
from lucule.process.drift.segments import Segments, cut
from lucule.process.drift.smoothing import pace, smoothed, uncertainty
from lucule.process.precision import precision
from lucule.process.series import in_order

_log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
Method = Literal["auto", "fiducials", "rcc", "aim", "entropy"]
METHODS: Final = ("auto", "fiducials", "rcc", "aim", "entropy")

FEWEST: Final = 300
# more localizations than these tell nothing new; whole squares of the field are left out, so that neighbours stay
_MOST: Final = 2_000_000
_SQUARE_NM: Final = 2000.0
# up to here short segments matter, and the entropy is fast enough to solve for them
_ENTROPY_MOST: Final = 150_000
_KNOTS_ENTROPY: Final = 400
_KNOTS_AIM: Final = 400
_KNOTS_FIDUCIALS: Final = 2000
_BEADS_AGREE_NM: Final = 10.0
_UNKNOWN_PRECISION_NM: Final = 12.0
_RESAMPLES: Final = 3
_CHECKED_PARTS: Final = 6
_FEWEST_FRAMES: Final = 10
_RESAMPLE_SQUARE_NM: Final = 1000.0


class DriftSettings(Config):
    """How drift is estimated; the defaults need no change.

    Attributes
    ----------
    method
        `fiducials`: beads are followed. `rcc`: pictures of segments are cross-correlated, all pairs. `aim`: segments
        are shifted until most localizations meet others. `entropy`: starting from that, all pairs of localizations at
        once, short segments. `auto`: by the data, see `why` of the curve.
    localizations_per_segment
        None: 500 for `aim`, 100 for `entropy`, a twentieth of the table for `rcc`.
    cell_nm
        Intersection distance of `aim` and pixel of `rcc`; None: 2.5 and 4 times the precision.
    reach_nm
        Largest drift from one segment to the next for `aim`, over the whole movie for `rcc`; None: 3 cells, 1000 nm.
    rounds
        Rounds of `aim`: the first compares with what came before, the others with all other segments.
    resample
        Whether to estimate the error by resampling; takes about twice the time.
    """

    method: Method = "auto"
    localizations_per_segment: Annotated[float, Field(ge=5, allow_inf_nan=False)] | None = None
    cell_nm: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    reach_nm: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    rounds: Annotated[int, Field(ge=1, le=20)] = intersection.ROUNDS
    resample: bool = True


class _Data(NamedTuple):
    """Sorted rows that take part: frames, positions, errors, and the typical precision along each axis."""

    frame: NDArray[np.int64]
    points: NDArray[np.float32]
    errors: NDArray[np.float32]
    sigma: Floats


@step
def correct_drift(
    locs: Localizations,
    *,
    settings: DriftSettings = DriftSettings(),  # noqa: B008 (frozen)
    seed: int = 1,
    curve: DriftCurve | None = None,
) -> Localizations:
    """Estimate the drift and take it off; the mean position over the movie stays.

    Parameters
    ----------
    locs
        Needs `frame`; z is corrected where there is one.
    settings
        Method and its parameters.
    seed
        Of the resampling.
    curve
        What `estimate_drift` gave for the same table, settings and seed, where it is at hand already.

    Returns
    -------
    Localizations
        The same rows, moved. `estimate_drift` gives the curve, `apply_drift` applies one.

    Raises
    ------
    ColumnError
        There is no column `frame`.
    InputError
        There are too few localizations or frames to follow anything.
    WorkError
        The method found nothing to go by.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> frame = np.sort(rng.integers(0, 3000, 30_000))
    >>> xy = rng.uniform(0, 10_000, (400, 2))[rng.integers(0, 400, 30_000)] + rng.normal(0, 8, (30_000, 2))
    >>> xy[:, 0] += 0.05 * frame
    >>> still = correct_drift(Localizations({"frame": frame, "x": xy[:, 0], "y": xy[:, 1]}))
    >>> left = np.polyfit(frame, still["x"] - xy[:, 0] + 0.05 * frame, 1)[0] * 3000
    >>> bool(abs(left) < 3)
    True
    """
    return shifted(locs, curve or estimate_drift(locs, settings=settings, seed=seed))


@step
def apply_drift(locs: Localizations, curve: DriftCurve) -> Localizations:
    """Take a known drift off the positions; frames without a knot are interpolated.

    Raises
    ------
    ColumnError
        There is no column `frame`.
    """
    return shifted(locs, curve)


def estimate_drift(
    locs: Localizations,
    *,
    settings: DriftSettings = DriftSettings(),  # noqa: B008 (frozen)
    seed: int = 1,
) -> DriftCurve:
    """Estimate how far the sample moved during the movie. Parameters and errors are those of `correct_drift`."""
    if "frame" in locs and len(locs) < FEWEST:
        raise InputError(
            "There are too few localizations to follow a drift", received=len(locs), allowed=f"{FEWEST} or more",
            next_step="leave the drift uncorrected",
        )  # fmt: skip
    if "frame" in locs and int(locs["frame"].max()) - int(locs["frame"].min()) < _FEWEST_FRAMES:
        raise InputError(
            "There is too little time to follow a drift",
            received=f"frames {locs['frame'].min()} to {locs['frame'].max()}",
            allowed=f"more than {_FEWEST_FRAMES}", next_step="leave the drift uncorrected",
        )  # fmt: skip
    for name in ("field", "channel"):
        if name in locs and locs[name].min() != locs[name].max():
            _log.warning(
                "All values of %s are taken to drift together; correct them one by one where they do not.", name
            )
    data = _prepared(locs)
    beads: Fiducials | None = None
    method, why = settings.method, "as asked"
    if method in ("auto", "fiducials"):
        beads = find_fiducials(data.frame, data.points, precision_nm=float(data.sigma[0]))
        if method == "fiducials" and not beads.count:
            raise WorkError(
                "There is no fiducial", received="no chain of localizations in 80 % of the frames",
                next_step="use --method auto, aim or rcc",
            )  # fmt: skip
    if method == "auto":
        method, why = _choose(data, beads)
    if method == "fiducials" and beads is not None:
        return _from_fiducials(data, beads, why)
    return _from_structure(_part_of(data), method, why, settings, seed)


def _prepared(locs: Localizations) -> _Data:
    order = in_order(locs, "Drift correction").order
    frame = locs["frame"].astype(np.int64)[order]
    if len(frame) and np.any(np.diff(frame) < 0):  # several channels or fields
        again = np.argsort(frame, kind="stable")
        order, frame = order[again], frame[again]
    points = (locs.xyz() if locs.is_3d else locs.xy())[order]
    found = precision(locs)
    lateral = found.best_nm or _UNKNOWN_PRECISION_NM
    axial = found.axial_nm or 2.5 * lateral
    sigma = np.array([lateral, lateral, axial])[: points.shape[1]]
    errors = np.empty(points.shape, np.float32)
    for axis, name in enumerate(("x_err", "y_err", "z_err")[: points.shape[1]]):
        errors[:, axis] = sigma[axis]
        if name in locs:
            known = locs[name][order]
            scale = (found.ratio if axis < 2 else found.axial_ratio) or 1.0
            errors[:, axis] = np.where(np.isfinite(known) & (known > 0), known * np.float32(scale), sigma[axis])
    # a table that claims to be exact must not make pairs infinitely selective
    np.maximum(errors, np.float32(0.2) * sigma.astype(np.float32), out=errors)
    return _Data(frame, points, errors, sigma)


def _choose(data: _Data, beads: Fiducials | None) -> tuple[Method, str]:
    n, span = len(data.frame), int(data.frame[-1] - data.frame[0]) + 1
    if beads is not None and beads.count >= 2 and beads.spread_nm <= max(_BEADS_AGREE_NM, 3 * float(data.sigma[0])):
        return "fiducials", f"{beads.count} beads are there in 80 % of the frames and agree to {beads.spread_nm:.1f} nm"
    no_beads = "there are no beads" if beads is None or not beads.count else (
        "there is a single bead" if beads.count == 1 else f"beads differ by {beads.spread_nm:.0f} nm"
    )  # fmt: skip
    if n <= _ENTROPY_MOST:
        return "entropy", (
            f"{no_beads}, and {n:,} localizations in {span:,} frames are few enough to compare all neighbours at once, "
            "in short segments"
        )
    return "aim", f"{no_beads}, and {n:,} localizations give many segments that each meet the others"


def _part_of(data: _Data) -> _Data:
    """At most two million rows: whole squares of the field, drawn by a hash of their place."""
    n = len(data.frame)
    if n <= _MOST:
        return data
    drawn = _square_number(data.points, _SQUARE_NM)
    kept = drawn < _MOST / n
    if kept.sum() < _MOST / 4:  # few large squares: rows by lot
        kept = np.random.default_rng(0).random(n) < _MOST / n
    return _Data(data.frame[kept], data.points[kept], data.errors[kept], data.sigma)


def _square_number(points: NDArray[np.float32], side_nm: float, seed: int = 0) -> Floats:
    """A number from 0 to 1 for each row, the same within a square of the field."""
    cell = np.floor(points[:, :2] / side_nm).astype(np.int64)
    mixed = cell[:, 0] * 0x9E3779B1 + cell[:, 1] * 0x85EBCA77 + seed * 0xC2B2AE3D
    mixed = (mixed ^ (mixed >> 15)) * 0x2C1B3C6D & 0xFFFFFFFF
    mixed = (mixed ^ (mixed >> 13)) * 0x297A2D39 & 0xFFFFFFFF
    result: Floats = ((mixed ^ (mixed >> 16)) & 0xFFFFFF) / float(1 << 24)
    return result


def _from_structure(data: _Data, method: Method, why: str, settings: DriftSettings, seed: int) -> DriftCurve:
    warnings: list[str] = []
    coarse = _segments(data, settings, "rcc" if method == "rcc" else "aim")
    cell = (
        np.clip(2.5 * data.sigma, 8.0, 120.0)
        if settings.cell_nm is None
        else settings.cell_nm * data.sigma / data.sigma[0]
    )
    if method == "rcc":
        drift, error = _by_correlation(data, coarse, settings)
        walk, _ = pace(drift)
        error = uncertainty(coarse.middle, pace_nm=walk, noise_nm=error)
        if data.points.shape[1] == 3:
            start = np.column_stack([drift, np.zeros(len(drift))])
            drift = intersection.intersect(data.points, coarse, cell_nm=cell, start=start, only="depth", reach=6)
            walk, noise = pace(drift[:, 2:])
            depth = uncertainty(coarse.middle, pace_nm=walk, noise_nm=np.broadcast_to(noise, (len(drift), 1)))
            error = np.column_stack([error, depth])
        return DriftCurve(coarse.middle, drift, error, method, f"{why}; {len(coarse.middle)} segments")
    reach = 3 if settings.reach_nm is None else int(np.clip(np.ceil(settings.reach_nm / cell[0]), 2, 50))
    drift = intersection.intersect(data.points, coarse, cell_nm=cell, rounds=settings.rounds, reach=reach)
    if _ran_away(drift, cell, reach) or _is_displaced(data, coarse, drift, cell):
        drift, note = _from_far(data, coarse, cell, settings)
        warnings.append(note)
    walk, noise = pace(drift)
    drift = smoothed(drift, coarse.middle, pace_nm=walk, noise_nm=noise)
    segments = coarse
    if method == "entropy":
        segments = _segments(data, settings, "entropy")
        start = DriftCurve(coarse.middle, drift, drift * 0, method, why).at(segments.middle)
        walk = walk * np.sqrt(np.median(np.diff(segments.middle)) / np.median(np.diff(coarse.middle)))
        drift = entropy.minimise(data.points, data.errors, segments, start, pace_nm=walk)
    error = np.full_like(drift, np.nan)
    if settings.resample:
        error = _resampled(data, segments, drift, method, cell, walk, seed)
    if np.isfinite(error[:, :2]).any():  # where all lies at one place, there are no two halves of the field
        lateral, extent = float(np.sqrt(np.nanmean(error[:, :2] ** 2))), float(np.std(drift[:, :2]))
        if lateral > 3 * float(data.sigma[0]) or (lateral > 2.0 and lateral > 2 * extent):
            warnings.append(
                f"The drift is uncertain by {lateral:.0f} nm, which is hardly better than none: too few molecules come "
                "back in different parts of the movie. Look at the picture before and after."
            )
    return DriftCurve(segments.middle, drift, error, method, f"{why}; {len(segments.middle)} segments", tuple(warnings))


def _segments(data: _Data, settings: DriftSettings, method: str) -> Segments:
    n = len(data.frame)
    wanted, most = {"rcc": (max(n / 20, 50.0), 24), "aim": (min(500.0, max(n / 30, 25.0)), _KNOTS_AIM),
                    "entropy": (min(100.0, max(n / 60, 10.0)), _KNOTS_ENTROPY)}[method]  # fmt: skip
    return cut(data.frame, localizations=settings.localizations_per_segment or wanted, most=most)


def _by_correlation(data: _Data, segments: Segments, settings: DriftSettings) -> tuple[Floats, Floats]:
    pixel = settings.cell_nm or float(np.clip(4 * data.sigma[0], 10.0, 60.0))
    return correlation.correlate(data.points[:, :2], segments, pixel_nm=pixel, reach_nm=settings.reach_nm or 1000.0)


def _ran_away(drift: Floats, cell: Floats, reach: int) -> bool:
    """Whether steps come near to the largest that the search allows."""
    return bool((np.abs(np.diff(drift, axis=0)) > 0.8 * reach * cell).any())


def _is_displaced(data: _Data, segments: Segments, drift: Floats, cell: Floats) -> bool:
    """Whether pictures of sixths of the corrected movie are still displaced: a jump was missed."""
    points = data.points[:, :2] - drift[segments.of, :2].astype(np.float32)
    try:
        sixths = cut(data.frame, localizations=len(data.frame) / _CHECKED_PARTS)
        left, error = correlation.correlate(
            points, sixths, pixel_nm=float(np.clip(4 * data.sigma[0], 10.0, 60.0)), reach_nm=1000.0
        )
    except (InputError, WorkError):
        return False  # too different to tell
    return bool((np.abs(left) > 1.5 * cell[0] + 5 * error).any())


def _from_far(data: _Data, segments: Segments, cell: Floats, settings: DriftSettings) -> tuple[Floats, str]:
    """Start again from pictures of longer segments, which see far."""
    far = _segments(data, settings.replace(localizations_per_segment=None), "rcc")
    try:
        coarse, _ = _by_correlation(data, far, settings.replace(cell_nm=None))
    except WorkError as error:
        raise WorkError(
            "The drift moves further from one segment to the next than is searched, and pictures of longer segments do "
            f"not resemble each other either ({error.received})",
            next_step="use --set reach_nm=... for a wider search, or fiducials",
        ) from None
    start = np.zeros((len(segments.middle), data.points.shape[1]))
    start[:, :2] = DriftCurve(far.middle, coarse, coarse * 0, "rcc", "").at(segments.middle)
    found = intersection.intersect(data.points, segments, cell_nm=cell, start=start, reach=4)
    return found, "Segments did not settle one by one; the search started from correlations of longer ones."


def _resampled(
    data: _Data, segments: Segments, drift: Floats, method: Method, cell: Floats, walk: Floats, seed: int
) -> Floats:
    """Standard error of each knot: halves of the field, each followed alone, differ by twice that of the whole."""
    from concurrent.futures import ThreadPoolExecutor

    from numba import get_num_threads

    rng = np.random.default_rng(seed)
    side = min(_RESAMPLE_SQUARE_NM, float(np.ptp(data.points[:, :2], axis=0).max()) / 8 + 1)

    def of(rows: NDArray[np.bool_]) -> Floats:
        which = segments.of[rows]
        starts = np.searchsorted(which, np.arange(len(segments.middle) + 1))
        part = Segments(which, segments.middle, starts)
        points = data.points[rows]
        if method == "entropy":
            # each segment by itself: what neighbours lend it is counted below
            return entropy.minimise(points, data.errors[rows], part, drift, pace_nm=1000 * walk, iterations=5)
        return intersection.intersect(points, part, cell_nm=cell, start=drift, rounds=1, reach=2)

    splits = [
        _square_number(data.points, side, int(s)) < 0.5
        for s in rng.integers(1, 1 << 30, 2 if method == "entropy" else _RESAMPLES)
    ]
    jobs = [half for split in splits for half in (split, ~split) if 0 < split.sum() < len(split)]
    if not jobs:
        return np.full_like(drift, np.nan)
    # the entropy shares its own work among threads
    with ThreadPoolExecutor(1 if method == "entropy" else get_num_threads()) as pool:
        found = list(pool.map(of, jobs))
    squared = [np.square((a - b) / 2) for a, b in zip(found[::2], found[1::2], strict=True)]
    return uncertainty(segments.middle, pace_nm=walk, noise_nm=_even(np.mean(squared, axis=0)))


def _even(squared: Floats) -> Floats:
    """Standard errors that change slowly from knot to knot."""
    from scipy.ndimage import uniform_filter1d

    width = max(5, len(squared) // 20)
    result: Floats = np.sqrt(np.maximum(uniform_filter1d(squared, width, axis=0, mode="nearest"), 1e-6))
    return result


def _from_fiducials(data: _Data, beads: Fiducials, why: str) -> DriftCurve:
    at = np.arange(data.frame[0], data.frame[-1] + 1)
    path = paths(data.frame[beads.rows], data.points[beads.rows], beads.bead, at)
    width = max(1, len(at) // _KNOTS_FIDUCIALS)
    starts = np.arange(0, len(at), width)
    sizes = np.diff(np.append(starts, len(at)))
    middle = np.add.reduceat(at.astype(np.float64), starts) / sizes
    knots = np.add.reduceat(path, starts, axis=1) / sizes[:, None]
    drift = np.mean(knots, axis=0)
    walk, noise = pace(drift)
    smooth = smoothed(drift, middle, pace_nm=walk, noise_nm=noise)
    warnings = []
    if beads.count >= 2:
        # beads stand for each other: the error of their mean
        each = np.array([smoothed(k, middle, pace_nm=walk, noise_nm=noise * np.sqrt(beads.count)) for k in knots])
        error = _even(np.var(each, axis=0, ddof=1) / beads.count)
    else:
        error = np.broadcast_to(np.maximum(noise, 1e-3), drift.shape).copy()
        warnings.append("There is a single bead: nothing tells whether it moved by itself.")
    return DriftCurve(middle, smooth - smooth.mean(axis=0), error, "fiducials", why, tuple(warnings))


def read_curve(table: pl.DataFrame) -> DriftCurve:
    """A drift curve from its table, as `DriftCurve.table` writes it or with columns frame, x_nm, y_nm and perhaps z_nm.

    Raises
    ------
    InputError
        A column is missing.
    """
    axes = [axis for axis in "xyz" if f"{axis}_nm" in table.columns]
    if "frame" not in table.columns or axes[:2] != ["x", "y"] or not table.height:
        raise InputError("This is no drift curve", received=", ".join(table.columns), allowed="frame, x_nm, y_nm, z_nm")
    table = table.sort("frame")
    nm = np.column_stack([table[f"{axis}_nm"].to_numpy().astype(np.float64) for axis in axes])
    return DriftCurve(
        table["frame"].to_numpy().astype(np.float64), nm, np.full_like(nm, np.nan), "given", "read from a file"
    )
