"""The columns of a localization table: names, types, units, meaning.

This is the one place where they are written down; documentation, readers and checks take them from here. All lengths
are nm, on every axis. Columns not listed here are kept under the name that the vendor gave them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from lucule.core.errors import ColumnError


@dataclass(frozen=True, slots=True)
class Column:
    """One column: name, stored type, unit and meaning."""

    name: str
    dtype: pl.DataType
    unit: str
    meaning: str


def _columns(*rows: tuple[str, type[pl.DataType], str, str]) -> dict[str, Column]:
    return {name: Column(name, dtype(), unit, meaning) for name, dtype, unit, meaning in rows}


COLUMNS: Final = _columns(
    ("frame", pl.UInt32, "", "camera frame, counted from 0"),
    ("x", pl.Float32, "nm", "position to the right, from the outer corner of pixel (0, 0)"),
    ("y", pl.Float32, "nm", "position downwards, from the outer corner of pixel (0, 0)"),
    ("z", pl.Float32, "nm", "position upwards, 0 = focus"),
    ("photons", pl.Float32, "photons", "detected photons"),
    ("background", pl.Float32, "photons/pixel", "background photons per pixel"),
    ("x_err", pl.Float32, "nm", "localization precision in x, 1 sigma"),
    ("y_err", pl.Float32, "nm", "localization precision in y, 1 sigma"),
    ("z_err", pl.Float32, "nm", "localization precision in z, 1 sigma"),
    ("sigma_x", pl.Float32, "nm", "width of the PSF in x, 1 sigma"),
    ("sigma_y", pl.Float32, "nm", "width of the PSF in y, 1 sigma"),
    ("p", pl.Float32, "", "detection probability, 0 to 1"),
    ("channel", pl.UInt8, "", "colour channel, counted from 0"),
    ("event", pl.UInt32, "", "blinking event to which the localization belongs"),
    ("n_frames", pl.UInt16, "frames", "frames linked into this localization"),
    ("n_shared", pl.UInt16, "frames", "frames that have a say in the position; shared with rows of the same molecule"),
    ("label", pl.UInt8, "", "class given by a classifier; 0 = not clustered"),
    ("p_label", pl.Float32, "", "probability of the label, 0 to 1"),
    ("cluster", pl.Int32, "", "cluster to which the localization belongs, -1 = none"),
    ("field", pl.UInt16, "", "field of view, counted from 0"),
)
REQUIRED: Final = ("x", "y")
POSITIONS: Final = ("x", "y", "z")
# float32 resolves 0.06 nm up to this distance from the origin; positions beyond it are stored relative to an origin
LARGEST_POSITION_NM: Final = 1e6


def conform(data: pl.DataFrame) -> tuple[pl.DataFrame, tuple[float, float, float]]:
    """Bring a table to the schema: known columns first and in their types, one chunk, positions finite and small.

    Returns the table and the origin (x, y, z) in nm that was subtracted from the positions; it is (0, 0, 0) unless
    positions are too large for float32.

    Raises
    ------
    ColumnError
        A position column is missing, or a known column holds text, missing integers, values outside its type, or
        positions that are not finite.
    """
    missing = [name for name in REQUIRED if name not in data.columns]
    if missing:
        raise ColumnError(
            f"The table has no column {' and no column '.join(missing)}",
            received=f"columns {', '.join(data.columns) or '(none)'}",
            next_step="name the columns that hold the position, for example --map x=PosX --map y=PosY",
        )
    origin = [0.0, 0.0, 0.0]
    series = []
    for name, column in COLUMNS.items():
        if name not in data.columns:
            continue
        values = data[name]
        if name in POSITIONS:
            values, origin[POSITIONS.index(name)] = _position(values)
        series.append(_cast(values, column))
    extra = [data[name] for name in data.columns if name not in COLUMNS]
    return pl.DataFrame(series + extra).rechunk(), (origin[0], origin[1], origin[2])


def _position(values: pl.Series) -> tuple[pl.Series, float]:
    if not len(values):
        return values.cast(pl.Float32), 0.0
    if not values.dtype.is_numeric():
        raise _not_numeric(values, COLUMNS[values.name])
    invalid = (values.is_null() | ~values.cast(pl.Float64).is_finite()) if values.dtype.is_float() else values.is_null()
    if count := int(invalid.sum()):
        first = ", ".join(str(row + 1) for row in invalid.arg_true().head(3))
        raise ColumnError(
            f"Column {values.name} holds {count} values that are not finite numbers",
            received=f"NaN, infinite or empty in row {first}{', ...' if count > 3 else ''} (of {len(values)})",
            allowed="a finite position in nm in every row",
            next_step="remove these rows, for example with: lucule convert FILE --drop-invalid --out CLEAN.parquet",
        )
    if values.dtype == pl.Float32:
        return values, 0.0
    low, high = float(values.min()), float(values.max())  # type: ignore[arg-type]
    if max(abs(low), abs(high)) <= LARGEST_POSITION_NM:
        return values, 0.0
    if high - low > 2**26:
        raise ColumnError(
            f"Column {values.name} spans {high - low:.4g} nm, which no field of view does",
            allowed=f"a span of up to {2**26 / 1e6:.0f} mm",
            next_step="check the unit; positions are in nm",
        )
    origin = float(np.floor(low / 1000.0) * 1000.0)
    return values.cast(pl.Float64) - origin, origin


def _cast(values: pl.Series, column: Column) -> pl.Series:
    if values.dtype == column.dtype and not values.null_count():
        return values
    if not len(values):
        return values.cast(column.dtype)
    if not (values.dtype.is_numeric() or values.dtype in (pl.Boolean, pl.Null)):
        raise _not_numeric(values, column)
    if column.dtype.is_float():
        return values.cast(column.dtype).fill_null(float("nan"))
    if values.dtype.is_float():  # several programs write frame numbers as 1.0, 2.0, ...
        if (values.is_null() | ~values.is_finite()).any() or (values != values.round(0)).any():
            raise ColumnError(f"Column {column.name} must hold whole numbers", received="fractions or empty values")
    elif values.null_count():
        raise ColumnError(f"Column {column.name} must hold whole numbers", received=f"{values.null_count()} empty")
    try:
        return values.cast(column.dtype, strict=True)
    except pl.exceptions.InvalidOperationError:
        limits = np.iinfo(str(column.dtype).lower())
        raise ColumnError(
            f"Column {column.name} is out of range",
            received=f"{values.min()!s} to {values.max()!s}",
            allowed=f"{limits.min} to {limits.max}",
        ) from None


def _not_numeric(values: pl.Series, column: Column) -> ColumnError:
    example = values.drop_nulls().head(1).to_list()
    unit = f" in {column.unit}" if column.unit else ""
    return ColumnError(
        f"Column {column.name} must hold numbers{unit}",
        received=f"{values.dtype} values such as {example[0]!r}" if example else f"an empty {values.dtype} column",
    )
