"""Tables of CAML (Williamson et al., Nat Commun 2020): delimited text that a JSON file beside it describes.

The JSON (`AAA Data Descriptions.json`) names the delimiter, the ending of the tables, and columns by number from 0:
`xCol`, `yCol`, `zCol`, `ClusMembershipIDCol`, `LabelIDCol`, `ChanIDCol`, `UIDCol`. Tables have one line of names;
positions are nm, times `DataScale` where that is given. Cluster 0 means unclustered and becomes -1. There are no
frames. A JSON describes all tables of its folder with that ending; one that is of another known format is read as that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import polars as pl

from lucule.core import FormatError
from lucule.io._columns import Field
from lucule.io._fields import accept
from lucule.io._head import read_head
from lucule.io._text import Layout, layout
from lucule.io._text_format import inspect_table, read_table
from lucule.io.format import Contents, Format, Reading, ReadOptions

_KEYS: Final = {"xCol", "yCol", "InputFileDelimiter", "InputFileExt"}
_TARGETS: Final = {
    "xCol": "x",
    "yCol": "y",
    "zCol": "z",
    "ClusMembershipIDCol": "cluster",
    "LabelIDCol": "label",
    "ChanIDCol": "channel",
}


def _sniff(path: Path, head: bytes) -> bool:  # noqa: ARG001
    return _description(path) is not None


def _read(path: Path, options: ReadOptions) -> Reading:
    about, shape = _open(path, options)
    reading = read_table(path, shape, _fields(path, about, shape), options, vendor={"caml": dict(about)})
    if "cluster" not in reading.data.columns:
        return reading
    numbers = pl.col("cluster")
    return Reading(reading.data.with_columns(pl.when(numbers > 0).then(numbers).otherwise(-1)), reading.meta)


def _inspect(path: Path, options: ReadOptions) -> Contents:
    about, shape = _open(path, options)
    return inspect_table(path, shape, _fields(path, about, shape), options, metadata={"caml": dict(about)})


def _open(path: Path, options: ReadOptions) -> tuple[Mapping[str, Any], Layout]:
    accept(path, options, "columns")
    about = _description(path)
    if about is None:
        raise FormatError(
            f"{path} has no description by CAML",
            allowed=f"a JSON file beside it with {', '.join(sorted(_KEYS))}",
            next_step="name the columns instead: --map x=... --map y=... --unit nm",
        )
    shape = layout(read_head(path), about["InputFileDelimiter"])
    return about, replace(shape, has_header=True)


def _fields(path: Path, about: Mapping[str, Any], shape: Layout) -> tuple[Field, ...]:
    scale = about.get("DataScale", 1)
    fields = []
    for key, to in _TARGETS.items():
        column = about.get(key)
        if column is None:
            continue
        if not isinstance(column, int) or not 0 <= column < len(shape.names):
            raise FormatError(
                f"{path}: CAML's description names a column that the table lacks",
                received=f"{key}: {column}",
                allowed=f"0 to {len(shape.names) - 1}",
            )
        factor = float(scale) if to in ("x", "y", "z") else 1.0
        fields.append(Field(to, shape.names[column], "nm" if to in ("x", "y", "z") else "", factor=factor))
    return tuple(fields)


def _description(path: Path) -> Mapping[str, Any] | None:
    """The first JSON beside `path` that describes tables with its ending."""
    ending = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    for candidate in sorted(path.parent.glob("*.json")):
        status = candidate.stat()
        about = _parse(candidate, status.st_mtime_ns, status.st_size)
        if about is not None and ending.removesuffix(".gz") == about["InputFileExt"]:
            return about
    return None


@lru_cache(maxsize=256)  # a folder of tables shares one description, and may hold hundreds of regions as JSON
def _parse(candidate: Path, changed: int, size: int) -> Mapping[str, Any] | None:  # noqa: ARG001
    if size > 65_536:
        return None
    try:
        about = json.loads(candidate.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        return None
    return about if isinstance(about, dict) and about.keys() >= _KEYS else None


FORMAT: Final = Format(
    name="caml",
    title="CAML table with JSON",
    extensions=(".tsv",),
    sniff=_sniff,
    read=_read,
    inspect=_inspect,
    notes="columns by number from a JSON beside the table; cluster 0 becomes -1; no frames",
)
