"""Fourier ring and shell correlation of a table: to what detail two halves of the data agree.

Nieuwenhuizen et al. 2013, Nat Methods 10:557; Banterle et al. 2013, J Struct Biol 183:363.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from lucule.core import Config, InputError, Localizations
from lucule.process.frc.curve import (
    USABLE_BAND,
    Crossing,
    Curve,
    Threshold,
    crossing,
    curve_of,
    decay,
    repeats_of,
    returns_above,
    spurious,
)
from lucule.process.frc.spectra import Rings, rings
from lucule.process.frc.splits import Split, draw_halves, unit_of

Floats = NDArray[np.float64]

FEWEST: Final = 50
_LEAST_PIXEL_NM: Final = 0.25
_MOST_TILES: Final = 64
_TRIAL_TILES: Final = 6
_MOST_VOLUMES: Final = 8
_VOLUME_PX: Final = 128
_VOLUME_REPEATS: Final = 3
_RANDOM_REPEATS: Final = 3
# halves by time and by lot that differ by more than this part are worth a word
_NOTABLE: Final = 0.05
_FAR_COARSER: Final = 1.5


class FrcSettings(Config):
    """How a Fourier correlation is made; the defaults need no change.

    Attributes
    ----------
    split
        `blocks`: stretches of time go to one half or the other, `random`: single localizations do (biased by
        blinking), `halves`: before and after the middle of the movie (shows drift).
    threshold
        `1/7` or `half-bit`.
    repeats
        Splits drawn; their mean is the value, and their middle 95 % the interval.
    blocks
        Stretches of time, at most.
    pixel_nm
        Pixel of the pictures; None: fine enough for the detail that is found.
    tile_px
        Side of the tiles into which the field is cut, pixels.
    """

    split: Split = "blocks"
    threshold: Threshold = "1/7"
    repeats: Annotated[int, Field(ge=1, le=1000)] = 12
    blocks: Annotated[int, Field(ge=10, le=100_000)] = 200
    pixel_nm: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    tile_px: Annotated[int, Field(ge=64, le=8192, multiple_of=2)] = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Frc:
    """Result of a Fourier ring correlation (shell correlation where `dims` is 3).

    Attributes
    ----------
    resolution_nm, interval_nm, reason
        Where the mean curve crosses the threshold, the middle 95 % of single splits; or why there is no crossing.
    half_bit_nm
        The same for the threshold of half a bit.
    corrected_nm, corrected_reason
        Without the agreement that repeated localizations of one molecule add.
    repeats_per_localization
        Q, how many further localizations of the same molecule each has in other stretches of time; None: not seen.
    random_nm, random_interval_nm
        What a random draw of single localizations gives, for comparison; None when not made.
    curve, corrected_curve
        The mean correlations.
    split, pixel_nm, tiles, dims
        How it was made.
    warnings
        What the reader should know.
    """

    resolution_nm: float | None
    interval_nm: tuple[float, float] | None
    reason: str | None
    half_bit_nm: float | None
    corrected_nm: float | None
    corrected_reason: str | None
    repeats_per_localization: float | None
    random_nm: float | None
    random_interval_nm: tuple[float, float] | None
    curve: Curve
    corrected_curve: Curve | None
    threshold: Threshold
    split: Split
    pixel_nm: float
    tiles: int
    dims: int
    warnings: tuple[str, ...]

    def table(self) -> pl.DataFrame:
        """The curve: frequency, correlation, smoothed, thresholds, and corrected where known."""
        table = self.curve.table()
        if self.corrected_curve is not None:
            table = table.with_columns(corrected=self.corrected_curve.smooth)
        return table

    def summary(self) -> dict[str, Any]:
        """All numbers by name; a missing one has its reason beside it."""
        name = "frc" if self.dims == 2 else "fsc"
        found: dict[str, Any] = {f"{name}_nm": self.resolution_nm, f"{name}_nm_interval": self.interval_nm}
        if self.reason:
            found[f"{name}_nm_reason"] = self.reason
        found |= {f"{name}_half_bit_nm": self.half_bit_nm, f"{name}_corrected_nm": self.corrected_nm}
        if self.corrected_reason:
            found[f"{name}_corrected_nm_reason"] = self.corrected_reason
        return found | {
            f"{name}_repeats_per_localization": self.repeats_per_localization,
            f"{name}_random_split_nm": self.random_nm,
            f"{name}_random_split_nm_interval": self.random_interval_nm,
            f"{name}_split": self.split,
        }


def frc(
    locs: Localizations,
    *,
    settings: FrcSettings = FrcSettings(),  # noqa: B008 (frozen)
    precision_nm: float | None = None,
    error_scale: float = 1.0,
    compare: bool = True,
    seed: int = 1,
) -> Frc:
    """Fourier ring correlation of the positions in the plane.

    Parameters
    ----------
    locs
        `frame` (or `event`, for MINFLUX traces) tells the time; without both, rows are halved by lot, and a warning
        says so.
    settings
        Split, threshold, repeats, pixel.
    precision_nm
        Localization precision, for the first guess of the pixel and for the correction where there is no `x_err`.
    error_scale
        True over reported errors, as `precision` finds it.
    compare
        Whether to draw random splits of single localizations, too, and warn where they differ.
    seed
        Of the splits.

    Raises
    ------
    InputError
        There are fewer than 50 localizations, or the table is too short for the split.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> spots = rng.uniform(0, 4000, (500, 2)).repeat(20, axis=0)
    >>> xy = spots + rng.normal(0, 10, spots.shape)
    >>> found = frc(Localizations({"frame": rng.permutation(10_000), "x": xy[:, 0], "y": xy[:, 1]}))
    >>> 25 < found.resolution_nm < 45
    True
    """
    return _correlate(locs, locs.xy(), settings, precision_nm, error_scale, compare=compare, seed=seed)


def fsc(
    locs: Localizations,
    *,
    settings: FrcSettings = FrcSettings(repeats=_VOLUME_REPEATS),  # noqa: B008 (frozen)
    precision_nm: float | None = None,
    error_scale: float = 1.0,
    compare: bool = False,
    seed: int = 1,
) -> Frc:
    """Fourier shell correlation in 3D: the same with shells of all directions, over the 8 fullest tiles at most.

    Parameters, result and errors are those of `frc`; a table without depth is an InputError.
    """
    if not locs.is_3d:
        raise InputError("A shell correlation needs positions in z", next_step="use the ring correlation")
    z = locs["z"]
    low, high = np.quantile(z, (0.005, 0.995))
    inside = (z >= low) & (z <= high)
    kept = Localizations(locs.data.filter(pl.Series(inside)), locs.meta)
    return _correlate(kept, kept.xyz(), settings, precision_nm, error_scale, compare=compare, seed=seed)


def _correlate(
    locs: Localizations,
    points: NDArray[np.float32],
    settings: FrcSettings,
    precision_nm: float | None,
    error_scale: float,
    *,
    compare: bool,
    seed: int,
) -> Frc:
    if len(locs) < FEWEST:
        raise InputError(
            "There are too few localizations for a Fourier correlation", received=len(locs), allowed=f"{FEWEST} or more"
        )
    warnings: list[str] = []
    split = settings.split
    if unit_of(locs) == "row" and split != "random":
        split = "random"
        warnings.append(
            "There is neither frame nor event, so the halves are drawn by lot: if a molecule has several rows, the "
            "Fourier correlation looks better than it is."
        )
    errors = _errors(locs, precision_nm, error_scale)
    pixel = settings.pixel_nm or _pixel(locs, points, settings.replace(split=split), errors, seed)
    tiles: dict[str, Any] = {"pixel_nm": pixel, "shape": _shape(points, pixel, settings), "most_tiles": _most(points)}
    made = rings(points, draw_halves(locs, split, repeats=settings.repeats, blocks=settings.blocks, seed=seed), **tiles)
    curve = curve_of(made)
    crossed = crossing(curve, settings.threshold)
    interval = _interval([crossing(curve_of(made, splits=slice(i, i + 1)), settings.threshold)
                          for i in range(made.cross.shape[1])])  # fmt: skip
    if crossed.resolution_nm is not None:
        again = returns_above(curve, crossed.resolution_nm, settings.threshold)
        if again is not None:
            warnings.append(
                f"The correlation rises above the threshold again at {again:.3g} nm: the structure has a period, and "
                "the first crossing is reported."
            )
    repeats, corrected, corrected_curve = _corrected(made, errors, settings.threshold)
    found, without = crossed.resolution_nm, corrected.resolution_nm
    if repeats and found and without and without > _FAR_COARSER * found:
        warnings.append(
            f"Corrected for {repeats:.2g} repeats of each localization the resolution would be {without:.3g} nm, "
            f"not {found:.3g}: either molecules repeat that often, or fine structure was taken for repeats. The table "
            "alone does not tell which."
        )
    by_lot: Crossing | None = None
    by_lot_interval = None
    if compare and split != "random" and crossed.resolution_nm is not None:
        halves = draw_halves(locs, "random", repeats=min(_RANDOM_REPEATS, settings.repeats), blocks=2, seed=seed)
        lot = rings(points, halves, **tiles)
        by_lot = crossing(curve_of(lot), settings.threshold)
        by_lot_interval = _interval(
            [crossing(curve_of(lot, splits=slice(i, i + 1)), settings.threshold) for i in range(len(halves))]
        )
        warnings += _differ(crossed, by_lot)
    return Frc(
        crossed.resolution_nm, interval, crossed.reason,
        crossing(curve, "half-bit").resolution_nm,
        corrected.resolution_nm, corrected.reason, repeats,
        by_lot.resolution_nm if by_lot else None, by_lot_interval,
        curve, corrected_curve, settings.threshold, split, pixel, len(made.rows), points.shape[1], tuple(warnings),
    )  # fmt: skip


def _errors(locs: Localizations, precision_nm: float | None, scale: float) -> Floats | None:
    """Errors of the localizations, nm; a single number where the table has none."""
    if "x_err" in locs and "y_err" in locs:
        errors = np.sqrt((locs["x_err"].astype(np.float64) ** 2 + locs["y_err"].astype(np.float64) ** 2) / 2)
        errors = errors[np.isfinite(errors) & (errors > 0)]
        if len(errors):
            return errors * scale
    return None if precision_nm is None else np.array([precision_nm])


def _pixel(
    locs: Localizations, points: NDArray[np.float32], settings: FrcSettings, errors: Floats | None, seed: int
) -> float:
    """A pixel that is fine enough: first as large as the precision, then smaller until a trial crosses well inside."""
    extent = float(np.ptp(points[:, :2], axis=0).max())
    guess = float(np.median(errors)) if errors is not None else extent / 2000
    pixel = float(np.clip(guess, 2 * _LEAST_PIXEL_NM, 20.0))
    half = draw_halves(locs, settings.split, repeats=1, blocks=settings.blocks, seed=seed)
    while pixel / 2 >= _LEAST_PIXEL_NM:
        curve = curve_of(
            rings(points, half, pixel_nm=pixel, shape=_shape(points, pixel, settings), most_tiles=_TRIAL_TILES)
        )
        found = crossing(curve, settings.threshold).resolution_nm
        beyond = found is None and curve.smooth[-1] > curve.threshold(settings.threshold)[-1]
        if not beyond and (found is None or 2 * pixel <= USABLE_BAND * found):
            break
        pixel /= 2
    return pixel


def _shape(points: NDArray[np.float32], pixel: float, settings: FrcSettings) -> tuple[int, ...]:
    """Pixels of a tile: that of the settings, or the whole field where it is smaller."""
    from scipy.fft import next_fast_len

    extent = np.ptp(points, axis=0).astype(np.float64)
    flat = points.shape[1] == 2
    lateral = int(np.clip(np.ceil(extent[:2].max() / pixel) + 1, 32, settings.tile_px if flat else _VOLUME_PX))
    sides = [lateral, lateral] if flat else [lateral, lateral, max(int(np.ceil(extent[2] / pixel)) + 1, 8)]
    return tuple(2 * next_fast_len((side + 1) // 2, real=True) for side in sides)


def _most(points: NDArray[np.float32]) -> int:
    return _MOST_TILES if points.shape[1] == 2 else _MOST_VOLUMES


def _interval(found: Sequence[Crossing]) -> tuple[float, float] | None:
    values = [c.resolution_nm for c in found if c.resolution_nm is not None]
    if len(values) < max(3, len(found) // 2):
        return None
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def _corrected(made: Rings, errors: Floats | None, threshold: Threshold) -> tuple[float | None, Crossing, Curve | None]:
    if errors is None:
        return None, Crossing(None, "the precision is not known"), None
    falls = decay(made.frequency, errors)
    repeats = repeats_of(made, falls)
    if repeats is None:
        return None, Crossing(None, "noise hides how often molecules repeat"), None
    curve = curve_of(made, spurious(made, falls, repeats))
    found = crossing(curve, threshold)
    if found.resolution_nm is None and repeats > 0:
        found = Crossing(None, f"without the repeats of molecules (Q = {repeats:.2g}) {found.reason}")
    return repeats, found, curve


def _differ(blocks: Crossing, lot: Crossing) -> list[str]:
    if blocks.resolution_nm is None or lot.resolution_nm is None:
        return []
    if lot.resolution_nm > (1 - _NOTABLE) * blocks.resolution_nm:
        return []
    percent = 100 * (1 - lot.resolution_nm / blocks.resolution_nm)
    return [
        f"A random split of single localizations would give {lot.resolution_nm:.3g} nm, {percent:.0f} % better than "
        f"the {blocks.resolution_nm:.3g} nm of stretches of time: frames of one blink are in both halves. Trust these."
    ]
