"""`.smlm` 0.2: a zip with `manifest.json` and tables of binary rows.

The manifest gives each column its type, shape, unit and, for each table, an offset to add (SMLM file format,
specification 0.2.0). Lengths are nm unless a unit says otherwise. The specification leaves open where frames and
positions start; they are taken as they are, except for files of ThunderSTORM, whose frames start at 1.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.core import COLUMNS, ColumnError, FormatError, InputError, Localizations, package_version
from lucule.core.files import atomic_path
from lucule.io import _own
from lucule.io._documents import plain
from lucule.io._fields import accept, assign, lengths_to_nm, numeric_columns
from lucule.io.format import Contents, FileColumn, Format, Reading, ReadOptions
from lucule.io.locan import PROPERTIES

BLOCK_ROWS: Final = 1_000_000
MANIFEST: Final = "manifest.json"
# header -> column, beside Locan's properties; what lucule writes for columns without a header of their own is the same
NAMES: Final = {
    **PROPERTIES,
    **{name: name for name in ("x", "y", "z", "frame", "channel", "cluster")},
    **{f"{axis}_precision": f"{axis}_err" for axis in "xyz"},
    "uncertainty_xy": "x_err",
    "sigma": "sigma_x",
    "sigma1": "sigma_x",
    "sigma2": "sigma_y",
    "detections": "n_frames",
}
# headers that are photons when their unit says so, and otherwise perhaps camera counts
_PHOTONS: Final = {
    "intensity": "photons",
    "photons": "photons",
    "background": "background",
    "local_background": "background",
    "offset": "background",
}
_HEADERS: Final = {"photons": "intensity", **{f"{axis}_err": f"{axis}_precision" for axis in "xyz"}}
_WRITTEN_UNITS: Final = {"frame": "frame", "photons": "photon", "background": "photon"}
_LARGEST_VECTOR: Final = 16  # longer ones are image patches, which are not read


@dataclass(frozen=True)
class _Table:
    """One table of a file: where its bytes lie and what they mean."""

    name: str
    channel: str
    rows: int
    headers: list[str]
    dtype: np.dtype[Any]
    units: list[str]
    offsets: dict[str, float]
    note: dict[str, Any] = field(default_factory=dict)

    @property
    def known(self) -> dict[str, str | None]:
        """Header -> column."""
        if self.note:
            return _own.columns_of(self.note)
        in_photons = {
            header: _PHOTONS[header]
            for header, unit in zip(self.headers, self.units, strict=True)
            if header in _PHOTONS and unit.startswith("photon")
        }
        known: dict[str, str | None] = {**NAMES, **in_photons}
        return known

    @property
    def fields(self) -> dict[str, tuple[str, int | None]]:
        """Column-like fields: name -> header and, for short vectors, the place in it."""
        fields: dict[str, tuple[str, int | None]] = {}
        for header in self.headers:
            width = int(np.prod(self.dtype[header].shape))
            if not self.dtype[header].shape:
                fields[header] = (header, None)
            elif width <= _LARGEST_VECTOR:
                fields |= {f"{header}_{place}": (header, place) for place in range(width)}
        return fields


def _sniff(path: Path, head: bytes) -> bool:  # noqa: ARG001
    with _opened(path) as archive:
        return MANIFEST in archive.namelist()


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise FormatError(
            f"{path} is a damaged or incomplete zip file", received=str(error), next_step="copy the file again"
        ) from None


def _manifest(path: Path, archive: zipfile.ZipFile) -> dict[str, Any]:
    try:
        manifest = json.loads(archive.read(MANIFEST))
        version = str(manifest["format_version"])
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path}: {MANIFEST} is not a usable manifest", received=repr(error)) from None
    if not version.startswith("0.2"):
        raise FormatError(f"{path} is of an unsupported version of .smlm", received=version, allowed="0.2")
    return dict(manifest)


def _tables(path: Path, manifest: dict[str, Any], options: ReadOptions) -> list[_Table]:
    """The tables to read: all, or the one that the user names by file or channel."""
    try:
        tables = [
            _table(info, manifest["formats"][info["format"]], manifest)
            for info in manifest["files"]
            if info.get("type") == "table"
        ]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise FormatError(f"{path}: {MANIFEST} describes a table wrongly", received=repr(error)) from None
    chosen = [table for table in tables if options.table in (None, table.name, table.channel)]
    if not chosen:
        raise InputError(
            f"{path} holds no {'such ' if tables else ''}table",
            received=options.table,
            allowed=", ".join(table.name for table in tables) or None,
        )
    return chosen


def _table(info: dict[str, Any], form: dict[str, Any], manifest: dict[str, Any]) -> _Table:
    if form.get("mode") != "binary":
        raise FormatError(
            f"Table {info['name']} is text inside a zip",
            received=f"mode {form.get('mode')}",
            allowed="binary",
            next_step="unzip the file and read the text table",
        )
    headers = [str(header) for header in form["headers"]]
    types = [
        (header, np.dtype(dtype).newbyteorder("<"), _shape(shape))
        for header, dtype, shape in zip(headers, form["dtype"], form["shape"], strict=True)
    ]
    units = [str(unit) for unit in form.get("units", [""] * len(headers))]
    offsets = {str(header): float(value) for header, value in (info.get("offset") or {}).items()}
    note = manifest.get(_own.KEY)
    return _Table(
        name=str(info["name"]),
        channel=str(info.get("channel", "")),
        rows=int(info["rows"]),
        headers=headers,
        dtype=np.dtype(types),
        units=units if len(units) == len(headers) else [""] * len(headers),
        offsets={header: value for header, value in offsets.items() if value},
        note=note if isinstance(note, dict) else {},
    )


def _shape(shape: Any) -> tuple[int, ...]:
    sizes = tuple(int(size) for size in (shape if isinstance(shape, list) else [shape]))
    return () if sizes == (1,) else sizes


def _read(path: Path, options: ReadOptions) -> Reading:
    accept(path, options, "columns", "unit", "table")
    with _opened(path) as archive:
        manifest = _manifest(path, archive)
        tables = _tables(path, manifest, options)
        frames = [_data(path, archive, table, options) for table in tables]
    if differing := [table.name for table, data in zip(tables, frames, strict=True) if data.schema != frames[0].schema]:
        raise ColumnError(
            f"{path} holds tables with different columns",
            received=f"{tables[0].name} and {', '.join(differing)}",
            next_step="read one of them, for example --table " + tables[0].name,
        )
    data = pl.concat(_numbered(tables, frames))
    note = tables[0].note
    about = {key: manifest[key] for key in manifest if key not in ("formats", "files", _own.KEY)}
    meta = _own.meta_of(note, path)
    if not note or options.pixel_size_nm:
        meta = meta.model_copy(update={"pixel_size_nm": options.pixel_size_nm})
    if not note:
        about["tables"] = [{"name": table.name, "channel": table.channel, "rows": table.rows} for table in tables]
        meta = meta.model_copy(update={"vendor": {"smlm": plain(about)}})
    return Reading(data, meta)


def _data(path: Path, archive: zipfile.ZipFile, table: _Table, options: ReadOptions) -> pl.DataFrame:
    fields = table.fields
    pairs = assign(path, fields, table.known, options)
    columns = _columns(path, archive, table, {column: fields[name] for name, column in pairs})
    units = dict(zip(table.headers, table.units, strict=True))
    columns = lengths_to_nm(path, columns, {column: units[fields[name][0]] for name, column in pairs}, options)
    for both, other in (("x_err", "y_err"), ("sigma_x", "sigma_y")):
        if both in columns and other not in columns and not table.note:
            columns[other] = columns[both]
    if "frame" in columns and table.name.lower().startswith("thunderstorm"):
        columns["frame"] = columns["frame"] - 1
    dtypes = table.note.get("dtypes", {})
    return pl.DataFrame(
        [
            pl.Series(column, values.astype(dtypes[column]) if column in dtypes else values)
            for column, values in columns.items()
        ]
    )


def _columns(
    path: Path, archive: zipfile.ZipFile, table: _Table, wanted: dict[str, tuple[str, int | None]]
) -> dict[str, NDArray[Any]]:
    """Read the rows block by block, so that they and the columns are never both in memory as a whole."""
    if table.name not in archive.namelist():
        raise FormatError(f"{path} lacks a table that its manifest lists", received=table.name)
    stored = archive.getinfo(table.name).file_size
    if stored != table.rows * table.dtype.itemsize:
        raise FormatError(
            f"{path}: table {table.name} is not as long as its manifest says",
            received=f"{stored:,} bytes",
            allowed=f"{table.rows:,} rows of {table.dtype.itemsize} bytes",
        )
    columns = {
        column: np.empty(
            table.rows, np.float64 if header in table.offsets else table.dtype[header].base.newbyteorder("=")
        )
        for column, (header, _) in wanted.items()
    }
    with archive.open(table.name) as stream:
        for start in range(0, table.rows, BLOCK_ROWS):
            count = min(BLOCK_ROWS, table.rows - start)
            block = np.frombuffer(stream.read(count * table.dtype.itemsize), table.dtype)
            for column, (header, place) in wanted.items():
                values = block[header] if place is None else block[header].reshape(count, -1)[:, place]
                columns[column][start : start + count] = values
    for column, (header, _) in wanted.items():
        if header in table.offsets:
            columns[column] += table.offsets[header]
    return columns


def _numbered(tables: list[_Table], frames: list[pl.DataFrame]) -> list[pl.DataFrame]:
    """Several tables are colour channels, or several fields of one channel."""
    if len(tables) == 1:
        return frames
    channels = list(dict.fromkeys(table.channel for table in tables))
    numbered = []
    for index, (table, data) in enumerate(zip(tables, frames, strict=True)):
        numbers = {"channel": channels.index(table.channel)}
        if len(channels) < len(tables):
            numbers["field"] = [other.channel for other in tables[:index]].count(table.channel)
        numbered.append(
            data.with_columns(pl.lit(number).alias(name) for name, number in numbers.items() if name not in data)
        )
    return numbered


def _inspect(path: Path, options: ReadOptions) -> Contents:
    with _opened(path) as archive:
        manifest = _manifest(path, archive)
    tables = _tables(path, manifest, options)
    first = tables[0]
    units = dict(zip(first.headers, first.units, strict=True))
    becomes = dict(assign(path, first.fields, first.known, options))
    columns = tuple(FileColumn(name, units[header], becomes.get(name)) for name, (header, _) in first.fields.items())
    used = {header for header, _ in first.fields.values()}
    patches = tuple(FileColumn(header, units[header], None) for header in first.headers if header not in used)
    about = {key: manifest[key] for key in ("name", "description", "date", "author") if manifest.get(key)}
    return Contents(columns + patches, sum(table.rows for table in tables), about)


def _write(locs: Localizations, path: Path) -> None:
    columns = numeric_columns(locs, "A .smlm file")
    names = _own.field_names(
        columns, {"photons": "intensity", **{f"{axis}_err": f"{axis}_precision" for axis in "xyz"}}
    )
    dtypes = {column: _storable(series) for column, series in columns.items()}
    rows = np.dtype([(names[column], dtype) for column, dtype in dtypes.items()])
    form = {
        "name": "smlm-table(binary)",
        "type": "table",
        "mode": "binary",
        "extension": ".bin",
        "columns": len(names),
        "headers": list(names.values()),
        "dtype": [np.dtype(dtype).name for dtype in dtypes.values()],
        "shape": [1] * len(names),
        "units": [_unit(column) for column in names],
    }
    info = {
        "name": "table.bin",
        "type": "table",
        "format": form["name"],
        "channel": "default",
        "rows": len(locs),
        "offset": {},
    }
    note = _own.note(
        locs,
        {header: column for column, header in names.items()},
        vendor="",
        dtypes={column: series.to_numpy().dtype.name for column, series in columns.items()},
    )
    manifest = {
        "format_version": "0.2",
        "formats": {form["name"]: form},
        "files": [info],
        "name": path.stem,
        "description": f"written by lucule {package_version()}",
        "tags": ["SMLM"],
        _own.KEY: note,
    }
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as zipped,
    ):
        zipped.writestr(MANIFEST, json.dumps(manifest, indent=2))
        with zipped.open(str(info["name"]), "w", force_zip64=True) as stream:
            for start in range(0, len(locs), BLOCK_ROWS):
                block = np.empty(min(BLOCK_ROWS, len(locs) - start), rows)
                for column, series in columns.items():
                    block[names[column]] = series[start : start + len(block)].to_numpy()
                stream.write(block.tobytes())


def _storable(series: pl.Series) -> str:
    """The type in which a column is stored: the format knows unsigned integers up to 32 bits and floating point."""
    values = series.to_numpy()
    if values.dtype.kind == "b":
        return "<u1"
    if values.dtype.kind == "f" or (values.dtype.kind == "u" and values.dtype.itemsize <= 4):
        return str(values.dtype.str)
    if len(values) and (int(values.min()) < -(2**53) or int(values.max()) > 2**53):
        raise ColumnError(
            f"A .smlm file cannot hold column {series.name} exactly",
            received=f"{values.min()} to {values.max()}",
            allowed=f"whole numbers up to {2**53}",
        )
    return "<f8"


def _unit(column: str) -> str:
    return _WRITTEN_UNITS.get(column) or (COLUMNS[column].unit if column in COLUMNS else "")


FORMAT: Final = Format(
    name="smlm",
    title=".smlm 0.2",
    extensions=(".smlm",),
    sniff=_sniff,
    read=_read,
    inspect=_inspect,
    write=_write,
    notes="all tables (channels, fields) or one by --table; intensity becomes photons only when its unit is photon; "
    "frame base and pixel corner are not defined by the format and kept, ThunderSTORM's frames are counted from 0",
)
