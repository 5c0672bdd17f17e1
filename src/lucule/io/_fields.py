"""From the fields of a binary file to the columns of a table, and back: what all binary formats share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.core import COLUMNS, ColumnError, FormatError, InputError, Localizations
from lucule.io.format import ReadOptions, pixel_size

# given for a whole batch of files, hence accepted where a file does not need it
_ALWAYS_ACCEPTED: Final = ("pixel_size_nm",)


def assign(
    path: Path, available: Iterable[str], known: Mapping[str, str | None], options: ReadOptions
) -> list[tuple[str, str]]:
    """Pairs (field of the file, column of the table), in the order of the file.

    `known` gives the column that a field becomes, or None for fields that are not read. What the user assigns
    (`options.columns`) wins; fields that nobody knows are kept under their own name.

    Raises
    ------
    ColumnError
        The user names a field that the file does not have.

    Examples
    --------
    >>> assign(Path("a.hdf5"), ["x", "bg", "q"], {"x": "x", "bg": "background"}, ReadOptions())
    [('x', 'x'), ('bg', 'background'), ('q', 'q')]
    >>> assign(Path("a.hdf5"), ["x", "u"], {"x": "x"}, ReadOptions(columns={"x": "u"}))
    [('x', 'x_in_file'), ('u', 'x')]
    """
    names = list(available)
    if missing := [field for field in options.columns.values() if field not in names]:
        raise ColumnError(
            f"{path} has no column {' and no column '.join(missing)}", allowed=", ".join(names) or "(none)"
        )
    pairs: list[tuple[str, str]] = []
    for name in names:
        chosen = [column for column, field in options.columns.items() if field == name]
        if chosen:
            pairs.extend((name, column) for column in chosen)
            continue
        column = known.get(name, name)
        if column is None:
            continue
        # a field that merely shares its name with a column of lucule, or that the user replaced
        if column in options.columns or (name not in known and name in COLUMNS):
            column = f"{name}_in_file" if name in COLUMNS else name
        pairs.append((name, column))
    return pairs


def accept(path: Path, options: ReadOptions, *used: str) -> None:
    """Refuse options that this format has no use for, instead of ignoring them.

    Raises
    ------
    InputError
        An option was given that is not among `used`.
    """
    for option in fields(options):
        value = getattr(options, option.name)
        if value is None or value == {} or option.name in used or option.name in _ALWAYS_ACCEPTED:
            continue
        raise InputError(
            f"{path} is of a format for which {option.name} has no meaning",
            received=f"{option.name} = {value}",
            next_step=f"leave {option.name} out",
        )


def numeric_columns(locs: Localizations, title: str) -> dict[str, pl.Series]:
    """The columns of a table, all of them numbers or truth values without gaps.

    Raises
    ------
    ColumnError
        A column holds text or empty values, which `title` cannot hold.
    """
    columns = {}
    for series in locs.data.get_columns():
        if not (series.dtype.is_numeric() or series.dtype == pl.Boolean):
            raise ColumnError(
                f"{title} cannot hold column {series.name}",
                received=f"{series.dtype} values",
                allowed="numbers",
                next_step=f"leave the column out: Localizations(locs.data.drop({series.name!r}), locs.meta)",
            )
        if series.null_count():
            if not series.dtype.is_float():
                raise ColumnError(
                    f"{title} cannot hold the {series.null_count()} empty values of column {series.name}",
                    allowed="a number in every row",
                )
            series = series.fill_null(float("nan"))
        columns[series.name] = series
    return columns


_NM: Final = {"angstrom": 0.1, "nm": 1.0, "um": 1e3, "mm": 1e6, "m": 1e9}
# lucule's lengths and the axis of the pixel size that scales them; z has no pixels
_LENGTHS: Final = {
    **dict.fromkeys(("x", "x_err", "sigma_x"), 0),
    **dict.fromkeys(("y", "y_err", "sigma_y"), 1),
    **dict.fromkeys(("z", "z_err"), None),
}


def lengths_to_nm(
    path: Path, columns: Mapping[str, NDArray[Any]], units: Mapping[str, str], options: ReadOptions
) -> dict[str, NDArray[Any]]:
    """Columns with every length in nm, for formats that may write the unit of each column.

    lucule's own lengths are nm where the file gives no unit, or `options.unit`; other columns are scaled when their
    unit is a length.

    Raises
    ------
    FormatError
        A position or precision is in an unknown unit.
    InputError
        It is in pixels, and their size is not known.
    """
    converted = {}
    for column, values in columns.items():
        unit = (options.unit if column in _LENGTHS else None) or units.get(column) or "nm" * (column in _LENGTHS)
        factor = _NM.get(unit)
        axis = _LENGTHS.get(column)
        if axis is not None and unit in ("px", "pixel", "pixels"):
            factor = pixel_size(path, options)[axis]
        if factor is None and column in _LENGTHS:
            raise FormatError(
                f"{path} gives {column} in a unit that is not understood",
                received=unit,
                allowed=f"{', '.join(_NM)}{', px' if axis is not None else ''}",
                next_step="name the unit of positions and precisions, for example --unit nm",
            )
        if factor is not None and factor != 1.0:
            # positions keep double precision until their origin is known
            scaled = values.astype(np.float64) * factor
            converted[column] = scaled if column in ("x", "y", "z") else scaled.astype(np.float32)
        else:
            converted[column] = values
    return converted
