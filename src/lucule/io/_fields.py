"""From the fields of a binary file to the columns of a table, and back: what all binary formats share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Final

import polars as pl

from lucule.core import COLUMNS, ColumnError, InputError, Localizations
from lucule.io.format import ReadOptions

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
            f"{path.name} has no column {' and no column '.join(missing)}", allowed=", ".join(names) or "(none)"
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
            f"{path.name} is of a format for which {option.name} has no meaning",
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
