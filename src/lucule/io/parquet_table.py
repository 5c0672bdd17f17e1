"""Parquet written by other programs: any table with positions.

Columns named as lucule names them are taken as such, in nm unless `unit` says otherwise; a note records that the file
itself names no unit. Others are named with `columns`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl

from lucule.core import COLUMNS, FormatError, Meta
from lucule.io import _columns as columns
from lucule.io._columns import Field
from lucule.io._fields import accept
from lucule.io._guess import guess
from lucule.io._text import split_unit
from lucule.io.format import Contents, Format, Reading, ReadOptions


def _sniff(path: Path, head: bytes) -> bool:  # noqa: ARG001
    return True  # lucule's own come before


def _read(path: Path, options: ReadOptions) -> Reading:
    accept(path, options, "columns", "unit")
    names = _names(path)
    assigned = columns.assign(names, _fields(path, names, options), options, path)
    try:
        data = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise FormatError(f"{path} is a damaged Parquet file: {str(error).splitlines()[0]}") from None
    table, notes = columns.convert(data, assigned)
    if not options.unit and any(found.to == "x" and not _says_unit(found.column) for found in assigned):
        notes.append("the file names no unit; its positions were taken as nm")
    vendor = {"notes": notes} if notes else {}
    return Reading(table, Meta(pixel_size_nm=options.pixel_size_nm, vendor=vendor))


def _inspect(path: Path, options: ReadOptions) -> Contents:
    accept(path, options, "columns", "unit")
    names = _names(path)
    assigned = columns.assign(names, _fields(path, names, options), options, path, stored_pixel_size=(1.0, 1.0))
    rows = int(pl.scan_parquet(path).select(pl.len()).collect().item())
    return Contents(columns.describe(names, assigned), rows, {})


def _names(path: Path) -> list[str]:
    try:
        return pl.scan_parquet(path).collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise FormatError(f"{path} is a damaged Parquet file: {str(error).splitlines()[0]}") from None


def _fields(path: Path, names: list[str], options: ReadOptions) -> tuple[Field, ...]:
    own = tuple(Field(name, name, "nm" if columns.is_length(name) else "") for name in COLUMNS if name in names)
    fields = own or tuple(field for field in guess(names) if field.unit or not columns.is_length(field.targets[0]))
    if not {"x", "y"} <= {to for field in fields for to in field.targets} | set(options.columns):
        raise FormatError(
            f"{path} is Parquet without columns x and y",
            received=", ".join(names),
            next_step=f"name them: lucule convert {path} --map x=COLUMN --map y=COLUMN --unit nm --out OUT.parquet",
        )
    return fields


def _says_unit(column: str) -> bool:
    return bool(split_unit(column)[1]) or column.lower().endswith(("nm", "um", "px"))


FORMAT: Final = Format(
    name="parquet",
    title="Parquet of other programs",
    extensions=(".parquet",),
    sniff=_sniff,
    read=_read,
    inspect=_inspect,
    notes="columns x, y, ... as lucule names them, in nm, or by --map and --unit",
)
