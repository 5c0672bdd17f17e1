"""lucule's own Parquet: table, metadata and history in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl

from lucule.core import COLUMNS, Localizations, parquet
from lucule.io._fields import accept
from lucule.io.format import Contents, FileColumn, Format, Reading, ReadOptions


def _sniff(path: Path, head: bytes) -> bool:  # noqa: ARG001
    return parquet.read_meta(path) is not None


def _read(path: Path, options: ReadOptions) -> Reading:
    accept(path, options)
    locs = Localizations.load(path)
    return Reading(locs.data, locs.meta)


def _inspect(path: Path, options: ReadOptions) -> Contents:
    accept(path, options)
    table = Localizations.lazy(path)
    names = table.frame.collect_schema().names()
    units = {name: COLUMNS[name].unit for name in names if name in COLUMNS}
    described = tuple(FileColumn(name, units.get(name, ""), name) for name in names)
    rows = int(pl.scan_parquet(path).select(pl.len()).collect().item())
    return Contents(described, rows, table.meta.model_dump(mode="json", exclude_defaults=True))


def _write(locs: Localizations, path: Path) -> None:
    locs.save(path)


FORMAT: Final = Format(
    name="lucule",
    title="lucule Parquet",
    extensions=(".parquet",),
    sniff=_sniff,
    read=_read,
    inspect=_inspect,
    write=_write,
    notes="keeps everything: all columns, metadata, history",
)
