"""Resolution over the field, and over the movie: where the picture is sharp, and whether more frames would help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

import numpy as np
import polars as pl
from pydantic import Field

from lucule.core import InputError, Localizations
from lucule.process.frc.correlation import FEWEST, FrcSettings, frc
from lucule.process.frc.curve import crossing, curve_of
from lucule.process.frc.spectra import rings
from lucule.process.frc.splits import draw_halves, unit_of

_MAP_REPEATS: Final = 4
_COURSE_REPEATS: Final = 5


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """Resolution against the length of the movie.

    Attributes
    ----------
    frames, localizations
        What was used, ascending; the last is everything.
    frc_nm, low_nm, high_nm
        Resolution and its interval; NaN where the halves did not agree yet.
    gain_percent
        By how many percent the last doubling of the movie has improved the resolution; None where it is not known.
    """

    frames: np.ndarray[Any, np.dtype[np.int64]]
    localizations: np.ndarray[Any, np.dtype[np.int64]]
    frc_nm: np.ndarray[Any, np.dtype[np.float64]]
    low_nm: np.ndarray[Any, np.dtype[np.float64]]
    high_nm: np.ndarray[Any, np.dtype[np.float64]]
    gain_percent: float | None

    def is_enough(self, gain_percent: float = 5.0) -> bool:
        """The rule to stop by: the last doubling of the movie has gained less than `gain_percent`."""
        return self.gain_percent is not None and self.gain_percent < gain_percent

    def table(self) -> pl.DataFrame:
        """One row for each length."""
        return pl.DataFrame(
            {"frames": self.frames, "localizations": self.localizations, "frc_nm": self.frc_nm,
             "low_nm": self.low_nm, "high_nm": self.high_nm}
        ).fill_nan(None)  # fmt: skip


def frc_course(
    locs: Localizations,
    *,
    points: Annotated[int, Field(ge=2)] = 6,
    settings: FrcSettings = FrcSettings(repeats=_COURSE_REPEATS),  # noqa: B008 (frozen)
    precision_nm: float | None = None,
    seed: int = 1,
) -> Course:
    """Fourier ring correlation of the first frames of a movie, for lengths that grow by a factor of 2 to the half.

    Parameters
    ----------
    locs
        With `frame` or `event`.
    points
        Lengths looked at, 2 or more; the shortest is 2 ** (-(points - 1) / 2) of the movie.
    settings, precision_nm, seed
        As for `frc`.

    Raises
    ------
    InputError
        There is no time in the table, or too little data.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> spots = rng.uniform(0, 4000, (500, 2)).repeat(20, axis=0)
    >>> xy = spots + rng.normal(0, 10, spots.shape)
    >>> course = frc_course(Localizations({"frame": rng.permutation(10_000), "x": xy[:, 0], "y": xy[:, 1]}), points=3)
    >>> course.frames.tolist()
    [5000, 7071, 10000]
    """
    unit = unit_of(locs)
    if unit == "row":
        raise InputError("The table tells no time", next_step="a course over the movie needs a column frame or event")
    if points < 2:
        raise InputError("The number of lengths cannot be used", received=points, allowed="2 or more")
    time = locs["frame"].astype(np.int64) if unit == "frame" else np.unique(locs["event"], return_inverse=True)[1]
    time = time - time.min()
    span = int(time.max()) + 1
    lengths = [round(span * 2 ** (-step / 2)) for step in range(points - 1, -1, -1)]
    rows: list[tuple[int, float, float, float]] = []
    whole = frc(locs, settings=settings, precision_nm=precision_nm, compare=False, seed=seed)
    fixed = settings.replace(pixel_nm=whole.pixel_nm)  # the same pictures for every length
    for length in lengths:
        part = locs if length == span else Localizations(locs.data.filter(pl.Series(time < length)), locs.meta)
        if len(part) < FEWEST or length < 40:
            rows.append((len(part), np.nan, np.nan, np.nan))
            continue
        found = whole if length == span else frc(part, settings=fixed, precision_nm=precision_nm, compare=False, seed=seed)
        low, high = found.interval_nm or (np.nan, np.nan)
        rows.append((len(part), np.nan if found.resolution_nm is None else found.resolution_nm, low, high))
    counts, values, low_nm, high_nm = (np.array(column) for column in zip(*rows, strict=True))
    gain = None
    if points >= 3 and np.isfinite(values[[-3, -1]]).all():
        gain = float(100 * (1 - values[-1] / values[-3]))
    return Course(np.array(lengths), counts, values, low_nm, high_nm, gain)


def frc_map(
    locs: Localizations,
    *,
    tile_nm: float | None = None,
    settings: FrcSettings = FrcSettings(repeats=_MAP_REPEATS),  # noqa: B008 (frozen)
    precision_nm: float | None = None,
    seed: int = 1,
) -> pl.DataFrame:
    """Fourier ring correlation of each part of the field.

    Parameters
    ----------
    tile_nm
        Side of a part; None: 60 times the resolution of the whole, 1 um at least.
    locs, settings, precision_nm, seed
        As for `frc`.

    Returns
    -------
    table
        `x` and `y` of the lower corners and `side_nm`, all nm, `localizations`, and `frc_nm` (null where the halves do
        not agree); parts with hardly any localizations are left out.

    Raises
    ------
    InputError
        As `frc`; or the side is less than 32 pixels.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> spots = rng.uniform(0, 4000, (500, 2)).repeat(20, axis=0)
    >>> xy = spots + rng.normal(0, 10, spots.shape)
    >>> table = frc_map(Localizations({"frame": rng.permutation(10_000), "x": xy[:, 0], "y": xy[:, 1]}), tile_nm=2000)
    >>> table.height, table["frc_nm"].null_count()
    (4, 0)
    """
    whole = frc(locs, settings=settings, precision_nm=precision_nm, compare=False, seed=seed)
    side = tile_nm or max(1000.0, 60 * (whole.resolution_nm or 50.0))
    pixels = 2 * round(side / whole.pixel_nm / 2)
    if pixels < 32:
        raise InputError("The parts of the map are too small", received=f"{side:g} nm",
                         allowed=f"{32 * whole.pixel_nm:.3g} nm or more")  # fmt: skip
    halves = draw_halves(locs, whole.split, repeats=settings.repeats, blocks=settings.blocks, seed=seed)
    made = rings(locs.xy(), halves, pixel_nm=side / pixels, shape=(pixels, pixels))
    found = []
    for tile in range(len(made.rows)):
        one = type(made)(
            made.cross[[tile]], made.first[[tile]], made.second[[tile]], made.samples, made.frequency,
            made.tiles[[tile]], made.rows[[tile]], made.weight,
        )  # fmt: skip
        found.append(crossing(curve_of(one), settings.threshold).resolution_nm)
    return pl.DataFrame(
        {"x": made.tiles[:, 0], "y": made.tiles[:, 1], "side_nm": np.full(len(found), side),
         "localizations": made.rows, "frc_nm": pl.Series(found, dtype=pl.Float64)}
    )  # fmt: skip


