"""How an input table is read, filtered and checked: the same for every workflow and command."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from lucule import io, process
from lucule.core import Config, InputError, Localizations, Region


class ReadSettings(Config):
    """How to read a table; the defaults need no change for a file in a known format.

    Attributes
    ----------
    format
        Name of the format, where it is not recognised.
    columns
        lucule column -> column of the file.
    unit
        Unit of the positions in the file.
    pixel_size_nm
        Size of a camera pixel in nm, where the file needs it.
    drop_invalid
        Leave out rows whose position is not a number.
    filter
        Condition on the columns, such as `photons > 500 & x_err < 25`; only rows that fulfil it are used.
    """

    format: str | None = None
    columns: dict[str, str] = {}
    unit: Literal["nm", "um", "m", "px"] | None = None
    pixel_size_nm: float | None = None
    drop_invalid: bool = False
    filter: str | None = None


def region_of(path: Path, settings: ReadSettings, locs: Localizations) -> Region:
    """Read a region; its pixels have the size that `settings` give, or else that of the table."""
    return io.regions.read(path, pixel_size_nm=settings.pixel_size_nm or locs.meta.pixel_size_nm)


def read_table(path: Path, settings: ReadSettings) -> Localizations:
    """Read `path` as `settings` say; a table without rows is an error.

    Raises
    ------
    InputError
        The file cannot be read, or it (or what the filter leaves of it) is empty.
    """
    locs = io.read(
        path,
        format=settings.format,
        columns=settings.columns or None,
        unit=settings.unit,
        pixel_size_nm=settings.pixel_size_nm,
        drop_invalid=settings.drop_invalid,
    )
    if not len(locs):
        raise InputError(f"{path.name} holds no localizations", received="a table without rows")
    if settings.filter is None:
        return locs
    kept = locs.filter(settings.filter)
    if not len(kept):
        raise InputError(f"No localization of {path.name} fulfils the condition", received=settings.filter)
    return kept


def check(locs: Localizations) -> list[str]:
    """What a reader of the results must know about the table first: one sentence each."""
    warnings = list(io.suspicions(locs))
    drift = process.drift_hint(locs)
    if drift is not None and drift.is_notable:
        warnings.append(
            f"The sample seems to drift: {drift.length_nm:.0f} nm between the first and the last quarter of the frames "
            f"(x {drift.x_nm:+.0f}, y {drift.y_nm:+.0f} nm). Correct the drift before trusting sizes below that."
        )
    return warnings
