"""rapidSTORM text (Wolter et al., Nature Methods 2012): one line of XML that names the fields, then rows.

`Position-k-0` carries its unit, `ImageNumber-0-0` counts from 0. `Amplitude-0-0` and `LocalBackground-0-0` are A/D
counts, not photons, and stay vendor columns. A file of tracks nests the localizations of each track behind its mean;
they are read, with the number of the track as `event` (`table="tracks"` reads the means instead).

The limits that the header gives for a position are multiples of the pixel size, one pixel fewer than the image has
(8442 nm = 63 x 134 nm, 32716.5 nm = 255 x 128.3 nm in the files at hand), so the origin is taken to be the centre of
pixel (0, 0): with `pixel_size_nm` half a pixel is added. Without it nothing is, and a note says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import numpy as np
import polars as pl

from lucule.core import FormatError, InputError
from lucule.io._columns import Field, is_length_unit
from lucule.io._fields import accept
from lucule.io._head import HEAD_BYTES, read_head
from lucule.io._text import Layout, layout, raw_bytes
from lucule.io._text_format import inspect_table, read_table, to_corner
from lucule.io.format import Contents, Format, Reading, ReadOptions, Unit

_FIELDS: Final = {
    "position-0-0": "x",
    "position-1-0": "y",
    "position-2-0": "z",
    "position-0-0-uncertainty": "x_err",
    "position-1-0-uncertainty": "y_err",
    "position-2-0-uncertainty": "z_err",
}


@dataclass(frozen=True, slots=True)
class _Column:
    """A `<field>` of the header."""

    name: str
    unit: str
    details: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Header:
    """The fields of a row and, in a file of tracks, those of each localization nested in it."""

    outer: tuple[_Column, ...]
    inner: tuple[_Column, ...]


def _sniff(path: Path, head: bytes) -> bool:  # noqa: ARG001
    return re.match(rb"(\xef\xbb\xbf)?#\s*<localizations[ >]", head) is not None


def _read(path: Path, options: ReadOptions) -> Reading:
    accept(path, options, "columns", "unit", "table")
    header = _header(path, read_head(path))
    nested = bool(header.inner)
    if options.table is not None and (not nested or options.table not in ("tracks", "localizations")):
        raise InputError(
            f"{path} has no table of that name",
            received=options.table,
            allowed="localizations, tracks" if nested else "it is not a file of tracks; leave the table out",
        )
    data: pl.DataFrame | None = None
    if not nested:
        columns = header.outer
        shape = _shape(read_head(path), columns)
    else:
        tracks = options.table == "tracks"
        columns = header.outer if tracks else header.inner
        data = _tracks(path, header, tracks=tracks)
        shape = layout(read_head(path), " ").with_names(data.columns)
    reading = read_table(
        path, shape, _fields(columns, options), options, data=data, vendor={"rapidstorm": _about(columns)}
    )
    return to_corner(reading, options, 0.5, "the centre of pixel (0, 0)")


def _inspect(path: Path, options: ReadOptions) -> Contents:
    accept(path, options, "columns", "unit", "table")
    head = read_head(path)
    header = _header(path, head)
    columns = header.inner if header.inner and options.table != "tracks" else header.outer
    contents = inspect_table(
        path, _shape(head, columns), _fields(columns, options), options, metadata={"rapidstorm": _about(columns)}
    )
    return replace(contents, rows=None) if columns is header.inner else contents


def _header(path: Path, head: bytes) -> _Header:
    line = head.lstrip(b"\xef\xbb\xbf").split(b"\n", 1)[0].decode("utf-8", errors="replace").lstrip("# \t").rstrip()
    try:
        root = ET.fromstring(line)  # noqa: S314 (expat refuses external entities)
    except ET.ParseError:
        cut = " (it is longer than 64 KiB)" if len(head) >= HEAD_BYTES and b"\n" not in head else ""
        raise FormatError(f"{path}: the header of rapidSTORM is damaged{cut}", received=line[:80]) from None
    nested = root.find("localizations")
    inner = () if nested is None else tuple(_column(field) for field in nested.findall("field"))
    return _Header(tuple(_column(field) for field in root.findall("field")), inner)


def _column(field: ET.Element) -> _Column:
    details = dict(field.attrib)
    return _Column(details.pop("identifier", "unnamed"), details.pop("unit", ""), details)


def _shape(head: bytes, columns: tuple[_Column, ...]) -> Layout:
    """The layout of the rows; the names come from the header, not from the text itself."""
    return replace(layout(head, " ").with_names([column.name for column in columns]), surplus=0)


def _fields(columns: tuple[_Column, ...], options: ReadOptions) -> tuple[Field, ...]:
    fields = [Field("frame", "imagenumber-0-0"), Field("event", "track"), Field("n_frames", "localizations")]
    for column in columns:
        if to := _FIELDS.get(column.name.lower()):
            unit: Unit | str = column.unit if is_length_unit(column.unit) else options.unit or ""
            fields.append(Field(to, column.name.lower(), unit))
    return tuple(fields)


def _about(columns: tuple[_Column, ...]) -> dict[str, Any]:
    return {column.name: {"unit": column.unit} | column.details for column in columns}


def _tracks(path: Path, header: _Header, *, tracks: bool) -> pl.DataFrame:
    """Rows of a file of tracks: `outer fields, count, count x inner fields` in each line."""
    outer, inner = len(header.outer), len(header.inner)
    means: list[np.ndarray[Any, np.dtype[np.float64]]] = []
    parts: list[np.ndarray[Any, np.dtype[np.float64]]] = []
    for number, line in enumerate(raw_bytes(path).splitlines(), start=1):
        if not line.strip() or line.startswith(b"#"):
            continue
        try:
            values = np.array(line.split(), dtype=np.float64)
        except ValueError:
            raise FormatError(f"{path}: line {number} holds something that is not a number") from None
        count = int(values[outer]) if len(values) > outer else 0
        if len(values) != outer + 1 + count * inner:
            raise FormatError(
                f"{path}: line {number} is incomplete, or the file was cut off",
                received=f"{len(values)} numbers",
                allowed=f"{outer + 1} and {inner} for each localization of the track",
                next_step="export or copy the file again",
            )
        means.append(values[: outer + 1])
        parts.append(values[outer + 1 :].reshape(count, inner))
    if tracks:
        names = [*(column.name for column in header.outer), "localizations"]
        return pl.DataFrame(np.array(means).reshape(len(means), outer + 1), schema=dict.fromkeys(names, pl.Float64))
    rows = np.concatenate(parts) if parts else np.empty((0, inner))
    table = pl.DataFrame(rows, schema=dict.fromkeys((column.name for column in header.inner), pl.Float64))
    counts = [len(part) for part in parts]
    return table.with_columns(pl.Series("track", np.repeat(np.arange(len(counts)), counts), pl.UInt32))


FORMAT: Final = Format(
    name="rapidstorm",
    title="rapidSTORM text",
    extensions=(".txt",),
    sniff=_sniff,
    read=_read,
    inspect=_inspect,
    notes="frames from 0; amplitudes are counts and stay vendor columns; half a pixel is added when its size is known",
)
