"""How molecules switch, and how many there are when each is counted several times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from lucule.core import ColumnError, InputError, Localizations
from lucule.space import NeighbourGrid

_FEWEST: Final = 20
_MOST: Final = 200_000
_RESAMPLES: Final = 200


@dataclass(frozen=True, slots=True)
class Blinking:
    """Statistics of a linked table; intervals are 95 %.

    Attributes
    ----------
    events
        Blinks, rows of the table.
    on_frames, on_frames_interval
        Mean length of a blink, first to last frame.
    photons_per_event
        Median, NaN without photons.
    off_frames
        Median dark time between blinks of the same place.
    events_per_molecule, events_per_molecule_interval
        Mean number of blinks of a molecule, 1 + Q / 2 for a number that is geometrically distributed (a molecule that
        bleaches with the same probability after each blink); None where the data do not tell.
    molecules
        Blinks over blinks per molecule.
    reason
        Why the last three are missing.
    """

    events: int
    on_frames: float
    on_frames_interval: tuple[float, float]
    photons_per_event: float
    off_frames: float | None
    events_per_molecule: float | None
    events_per_molecule_interval: tuple[float, float] | None
    molecules: float | None
    reason: str | None

    def summary(self) -> dict[str, Any]:
        """All numbers by name."""
        found = {
            "events": self.events,
            "on_frames": self.on_frames,
            "on_frames_interval": self.on_frames_interval,
            "photons_per_event": self.photons_per_event,
            "off_frames": self.off_frames,
            "events_per_molecule": self.events_per_molecule,
            "events_per_molecule_interval": self.events_per_molecule_interval,
            "molecules": self.molecules,
        }
        return found | ({"molecules_reason": self.reason} if self.reason else {})


def blinking(
    linked: Localizations, *, radius_nm: float | None = None, events_per_molecule: float | None = None, seed: int = 1
) -> Blinking:
    """Switching statistics, and a count of molecules corrected for repeated blinks.

    Blinks of one molecule lie within a few precisions of each other. Those found within the radius beyond what the ring
    from there to twice the radius lets one expect are repeats. Molecules that stand within the radius of each other are
    taken for one, so that dense structures seem to blink more; a calibration (`events_per_molecule`) avoids that.

    Parameters
    ----------
    linked
        Result of `link`.
    radius_nm
        Reach of repeats; None: 4.3 times the median error of the table.
    events_per_molecule
        From a calibration, for example of single molecules on glass.
    seed
        Of the resampling.

    Raises
    ------
    ColumnError
        The table was not linked.
    InputError
        The calibration is below 1.
    """
    if "n_frames" not in linked or "frame" not in linked or "last_frame" not in linked:
        raise ColumnError("The table was not linked", received=f"columns {', '.join(linked.columns)}",
                          next_step="lucule correct link FILE --out LINKED.parquet")  # fmt: skip
    if events_per_molecule is not None and not 1 <= events_per_molecule < np.inf:
        raise InputError("Blinks per molecule cannot be used", received=events_per_molecule, allowed="1 or more")
    length = linked["last_frame"].astype(np.int64) - linked["frame"].astype(np.int64) + 1
    n = len(linked)
    rng = np.random.default_rng(seed)
    mean = float(length.mean()) if n else float("nan")
    half = float(1.96 * length.std() / np.sqrt(n)) if n else float("nan")
    light = float(np.nanmedian(linked["photons"])) if n and "photons" in linked else float("nan")
    off, per, interval, reason = None, events_per_molecule, None, None
    if per is None:
        off, per, interval, reason = _repeats(linked, radius_nm, rng)
    return Blinking(n, mean, (mean - half, mean + half), light, off, per, interval, n / per if per else None, reason)


def _repeats(
    linked: Localizations, radius_nm: float | None, rng: np.random.Generator
) -> tuple[float | None, float | None, tuple[float, float] | None, str | None]:
    if radius_nm is None:
        if "x_err" not in linked or not np.isfinite(linked["x_err"]).any():
            return None, None, None, "neither a radius is given nor errors are known"
        radius_nm = 4.3 * float(np.nanmedian(linked["x_err"]))
    if len(linked) < _FEWEST:
        return None, None, None, f"there are only {len(linked)} blinks"
    points = linked.xy()
    low, high = points.min(axis=0), points.max(axis=0)
    middle = np.flatnonzero(((points >= low + 2 * radius_nm) & (points <= high - 2 * radius_nm)).all(axis=1))
    if len(middle) < _FEWEST:
        return None, None, None, "the field is too small for the radius"
    grid = NeighbourGrid(points)
    near, wide = grid.count_within(radius_nm)[middle], grid.count_within(2 * radius_nm)[middle]
    # the ring has three times the area of the circle
    excess = near - (wide - near) / 3
    drawn = [float(excess[rng.integers(0, len(excess), len(excess))].mean()) for _ in range(_RESAMPLES)]
    repeats = float(excess.mean())
    if repeats <= 0:
        return None, 1.0, (1.0, 1.0 + max(0.0, float(np.percentile(drawn, 97.5))) / 2), None
    low_q, high_q = (float(q) for q in np.percentile(drawn, (2.5, 97.5)))
    off = _dark(linked, grid, radius_nm, middle, rng)
    return off, 1 + repeats / 2, (1 + max(low_q, 0) / 2, 1 + high_q / 2), None


def _dark(
    linked: Localizations, grid: NeighbourGrid, radius: float, rows: Any, rng: np.random.Generator
) -> float | None:
    """Median time from the end of a blink to the next beginning at the same place."""
    if len(rows) > _MOST:
        rows = np.sort(rng.choice(rows, _MOST, replace=False))
    distance, other = grid.neighbours(min(32, max(len(linked) - 1, 1)), rows)
    begin, end = linked["frame"].astype(np.int64), linked["last_frame"].astype(np.int64)
    dark = begin[np.maximum(other, 0)] - end[rows][:, None] - 1
    dark = np.where((distance <= radius) & (other >= 0) & (dark >= 0), dark, np.iinfo(np.int64).max).min(axis=1)
    seen = dark[dark < np.iinfo(np.int64).max]
    return float(np.median(seen)) if len(seen) >= _FEWEST else None


def dwell_table(linked: Localizations) -> pl.DataFrame:
    """Histogram of the lengths of blinks: frames, number of blinks.

    Raises
    ------
    ColumnError
        The table was not linked.
    """
    if "last_frame" not in linked or "frame" not in linked:
        raise ColumnError("The table was not linked", next_step="link it first")
    length = linked["last_frame"].astype(np.int64) - linked["frame"].astype(np.int64) + 1
    frames, number = np.unique(length, return_counts=True)
    return pl.DataFrame({"on_frames": frames, "blinks": number})
