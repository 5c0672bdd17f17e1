"""Reading, writing and describing localization tables: the public functions of `lucule.io`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

import polars as pl

from lucule.core import (
    COLUMNS,
    ColumnError,
    FormatError,
    InputError,
    Localizations,
    Meta,
    Source,
    Step,
    package_version,
)
from lucule.core.files import file_sha256
from lucule.io import delimited
from lucule.io._head import read_head
from lucule.io._text import layout
from lucule.io.format import FileColumn, Format, Reading, ReadOptions, Unit
from lucule.io.registry import FORMATS, Family, family

PathLike = str | os.PathLike[str]


def read(
    path: PathLike,
    *,
    format: str | None = None,  # noqa: A002
    columns: Mapping[str, str] | None = None,
    unit: Unit | None = None,
    pixel_size_nm: float | tuple[float, float] | None = None,
    drop_invalid: bool = False,
    delimiter: str | None = None,
    table: str | None = None,
    z_factor: float | None = None,
) -> Localizations:
    r"""Read a localization table of any supported format, recognised by its content.

    Parameters
    ----------
    path
        The file; its name and ending do not matter. Text may be gzip-compressed.
    format
        Name of the format (`lucule.io.FORMATS`) instead of recognising it.
    columns
        lucule column -> column of the file, for tables of no known format, or to override one column.
    unit
        Unit of positions and precisions where the file does not give it: `nm`, `um`, `m`, `px`.
    pixel_size_nm
        Size of a camera pixel in nm, or (x, y); needed when the file is in pixels and does not say it.
    drop_invalid
        Leave out rows whose position or frame is no finite number, instead of refusing the file; their number is
        recorded in `meta.vendor["dropped_rows"]`.
    delimiter
        Character between the fields of a text file (or `tab`, `space`), where it is not recognised.
    table
        Which table to read, in files that hold several.
    z_factor
        Factor on z for MINFLUX files, which leave the correction of the refractive index to the reader.

    Returns
    -------
    Localizations
        In lucule's units and conventions; `meta.source` names the file with its sha256, `meta.vendor` keeps what
        else the file said, and `meta.vendor["notes"]` what was noticed while reading.

    Raises
    ------
    InputError
        The file does not exist, cannot be read, or more must be said (unit, pixel size).
    FormatError
        The file is empty, damaged, cut off, or of no supported format.
    ColumnError
        A column is missing or holds what it must not hold.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "table.txt"
    >>> _ = file.write_text('"frame","x [nm]","y [nm]","uncertainty [nm]"\n1,150.5,80,12\n')
    >>> locs = read(file)
    >>> locs.meta.source.format, locs["frame"].tolist(), locs["x"].tolist(), locs["y_err"].tolist()
    ('thunderstorm', [0], [150.5], [12.0])
    """
    path = Path(path)
    options = _options(columns, unit, pixel_size_nm, delimiter, table, z_factor)
    chosen = _choose(path, format, options)
    with ThreadPoolExecutor(1) as pool:
        # hashing releases the interpreter lock, so it costs next to nothing beside parsing
        digest = pool.submit(file_sha256, path) if path.is_file() else None
        reading = chosen.read(path, options)
        sha256 = digest.result() if digest is not None else ""
    if chosen.name == "lucule":  # reading back what lucule wrote changes nothing, so it is no step
        return Localizations(reading.data, reading.meta)
    reading = _check_rows(path, reading, drop_invalid=drop_invalid)
    size = path.stat().st_size if path.is_file() else sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
    # made here and not by @step: there is no table to start from, the path must not be recorded, and files that
    # lucule wrote in another format bring their history along
    done = Step(
        function="lucule.io.read",
        parameters={
            "path": path.name,
            "format": chosen.name,
            "columns": dict(options.columns),
            "unit": unit,
            "pixel_size_nm": options.pixel_size_nm and list(options.pixel_size_nm),
            "drop_invalid": drop_invalid,
            "delimiter": delimiter,
            "table": table,
            "z_factor": z_factor,
        },
        version=package_version(),
    )
    source = Source(name=path.name, format=chosen.name, sha256=sha256, size_bytes=size)
    meta = reading.meta.model_copy(update={"source": source, "history": (*reading.meta.history, done)})
    return _table(path, reading.data, meta)


def write(locs: Localizations, path: PathLike, *, format: str | None = None) -> Path:  # noqa: A002
    r"""Write a table in the format of that name, or the one that the ending of `path` stands for.

    `.parquet` is lucule's own and the only one that keeps everything; `.csv` is ThunderSTORM's
    (`format="smap_csv"` for SMAP's names), `.hdf5` Picasso's, `.smlm` the exchange format. The file appears under its
    name only when it is complete.

    Raises
    ------
    InputError
        No format writes such files, or the path cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> locs = Localizations({"frame": [0], "x": [150.5], "y": [80.0]})
    >>> write(locs, pathlib.Path(tempfile.mkdtemp()) / "table.csv").read_text()
    'id,frame,x [nm],y [nm]\n1,1,150.5,80.0\n'
    """
    path = Path(path)
    chosen = writer_of(path, format=format)
    assert chosen.write is not None  # noqa: S101 (one that does not write is refused)
    chosen.write(locs, path)
    return path


def writer_of(path: PathLike, *, format: str | None = None) -> Format:  # noqa: A002
    """Give the format in which `write` would write; long work asks before it begins.

    Raises
    ------
    InputError
        No format writes such files.
    """
    path = Path(path)
    writers = {name: FORMATS[name] for name in FORMATS if FORMATS[name].write is not None}
    if format is not None:
        chosen = FORMATS[format]  # raises for unknown names
    else:
        ending = path.suffix.lower()
        fitting = [candidate for candidate in writers.values() if ending in candidate.extensions]
        if not fitting:
            endings = sorted({ending for candidate in writers.values() for ending in candidate.extensions})
            raise InputError(
                "The ending does not tell in which format to write",
                received=path.name,
                allowed=f"{', '.join(endings)}; or a format: {', '.join(sorted(writers))}",
            )
        chosen = fitting[0]
    if chosen.write is None:
        raise InputError(f"{chosen.title} is not written", received=format, allowed=", ".join(sorted(writers)))
    return chosen


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What a file is, found out without reading all of it.

    Attributes
    ----------
    format, title
        Name of the format, short and in full.
    size_bytes
        Size of the file.
    columns
        Columns as they stand in the file, their unit there, and what they become.
    rows
        Number of rows; None where counting them would mean reading the file.
    metadata
        What else the file says.
    """

    path: Path
    format: str
    title: str
    size_bytes: int
    columns: tuple[FileColumn, ...] = ()
    rows: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def table(self) -> pl.DataFrame:
        """One row per column of the file: its name, unit, what it becomes, and what that means."""
        meaning = [
            "; ".join(COLUMNS[name].meaning for name in (column.becomes or "").split(", ") if name in COLUMNS)
            for column in self.columns
        ]
        return pl.DataFrame(
            {
                "column": [column.name for column in self.columns],
                "unit": [column.unit for column in self.columns],
                "becomes": [column.becomes for column in self.columns],
                "meaning": meaning,
            },
            schema=dict.fromkeys(("column", "unit", "becomes", "meaning"), pl.String),
        )


def inspect(
    path: PathLike,
    *,
    format: str | None = None,  # noqa: A002
    columns: Mapping[str, str] | None = None,
    unit: Unit | None = None,
    pixel_size_nm: float | tuple[float, float] | None = None,
    delimiter: str | None = None,
    table: str | None = None,
) -> FileInfo:
    r"""Say what a file is and what its columns would become, without reading all of it.

    Parameters and errors are those of `read`.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "table.txt"
    >>> _ = file.write_text('"frame","x [nm]","y [nm]"\n1,150.5,80\n2,151,81\n')
    >>> info = inspect(file)
    >>> info.title, info.rows, [column.becomes for column in info.columns]
    ('ThunderSTORM CSV', 2, ['frame', 'x', 'y'])
    """
    path = Path(path)
    options = _options(columns, unit, pixel_size_nm, delimiter, table, None)
    chosen = _choose(path, format, options)
    contents = chosen.inspect(path, options)
    size = path.stat().st_size
    return FileInfo(path, chosen.name, chosen.title, size, contents.columns, contents.rows, contents.metadata)


def formats_table() -> pl.DataFrame:
    """All formats, one row each: name, title, endings, whether it is read and written, conventions."""
    every = [FORMATS[name] for name in FORMATS]
    return pl.DataFrame(
        {
            "name": [f.name for f in every],
            "title": [f.title for f in every],
            "endings": [" ".join(f.extensions) for f in every],
            "writes": [f.write is not None for f in every],
            "notes": [f.notes for f in every],
        }
    )


def _options(
    columns: Mapping[str, str] | None,
    unit: str | None,
    pixel_size_nm: float | tuple[float, float] | None,
    delimiter: str | None,
    table: str | None,
    z_factor: float | None,
) -> ReadOptions:
    if unit is not None and unit not in get_args(Unit):
        raise InputError("Unknown unit of length", received=unit, allowed=", ".join(get_args(Unit)))
    size = (pixel_size_nm, pixel_size_nm) if isinstance(pixel_size_nm, int | float) else pixel_size_nm
    if size is not None and not (len(size) == 2 and all(1e-6 <= value <= 1e6 for value in size)):
        raise InputError("The pixel size must be a positive length", received=pixel_size_nm, allowed="1e-6 to 1e6 nm")
    if unknown := set(columns or {}) - set(COLUMNS):
        raise InputError(
            "Unknown column on the left of the map", received=", ".join(sorted(unknown)), allowed=", ".join(COLUMNS)
        )
    exact = (float(size[0]), float(size[1])) if size is not None else None
    return ReadOptions(dict(columns or {}), cast("Unit | None", unit), exact, delimiter, table, z_factor)


def _choose(path: Path, name: str | None, options: ReadOptions) -> Format:
    """The format that was named, or the first whose content it is."""
    head = read_head(path)
    if name is not None:
        return FORMATS[name]
    kind: Family = "folder" if path.is_dir() else family(head)
    for candidate in FORMATS.of_family(kind):
        if candidate.sniff(path, head):
            return candidate
    if kind == "folder":
        raise InputError(f"{path} is a folder", allowed="a file", next_step="name the files in it")
    if kind == "text":
        if options.columns or options.unit or options.delimiter:
            return FORMATS["delimited"]
        raise delimited.unknown(path, layout(head), options)
    contents = "is binary and of no known kind" if kind == "unknown" else f"({kind}) is that of no supported format"
    raise FormatError(
        f"{path} is not a localization table: its content {contents}",
        allowed=", ".join(FORMATS[name].title for name in FORMATS if name != "delimited"),
        next_step="export the table from the program that made it, for example as CSV",
    )


def _check_rows(path: Path, reading: Reading, *, drop_invalid: bool) -> Reading:
    """Refuse or drop rows without a finite position or frame; leave out a z that is empty throughout."""
    data, vendor = reading.data, dict(reading.meta.vendor)
    notes = list(vendor.get("notes", []))
    for name in ("x", "y"):
        if name not in data.columns:
            raise ColumnError(
                f"{path} has no column for {name}",
                received=", ".join(data.columns),
                next_step=f"name it: --map {name}=COLUMN",
            )
    if "z" in data.columns and data.height and not _finite(data["z"]).any():
        data = data.drop("z")
        notes.append("z is empty in every row and was left out")
    if not data.height:
        notes.append("the file holds no localizations, only names of columns")
    needed = [name for name in ("x", "y", "z", "frame") if name in data.columns]
    valid = pl.DataFrame({name: _finite(data[name]) for name in needed})
    if drop_invalid:
        keep = valid.select(pl.all_horizontal(pl.all())).to_series()
        dropped = data.height - int(keep.sum())
        if dropped:
            data = data.filter(keep)
            vendor["dropped_rows"] = dropped
    else:
        for name in needed:
            if not valid[name].all():
                raise _invalid(path, name, ~valid[name])
    if "frame" in data.columns and data["frame"].dtype.is_float():
        _refuse_fractions(path, data["frame"])
    if notes:
        vendor["notes"] = notes
    return Reading(data, reading.meta.model_copy(update={"vendor": vendor}))


def _table(path: Path, data: pl.DataFrame, meta: Meta) -> Localizations:
    """The table; what its schema refuses is said with the name of the file."""
    try:
        return Localizations(data, meta)
    except ColumnError as error:
        problem = f"{path}: {error.problem[:1].lower()}{error.problem[1:]}"
        raise ColumnError(problem, received=error.received, allowed=error.allowed, next_step=error.next_step) from None


def _finite(values: pl.Series) -> pl.Series:
    if not values.dtype.is_numeric():
        return pl.Series([True]).new_from_index(0, len(values))  # text is refused when the table is made
    finite = values.is_finite() if values.dtype.is_float() else values.is_not_null()
    return finite.fill_null(False)


def _refuse_fractions(path: Path, frames: pl.Series) -> None:
    rows = (frames != frames.round(0)).arg_true()
    if len(rows):
        raise ColumnError(
            f"{path}: frame must hold whole numbers",
            received=f"a fraction in row {int(rows[0]) + 1}, {len(rows):,} such rows",
            next_step="check which column holds the frame (--map frame=COLUMN)",
        )


def _invalid(path: Path, name: str, wrong: pl.Series) -> ColumnError:
    count = int(wrong.sum())
    rows = ", ".join(str(int(row) + 1) for row in wrong.arg_true().head(3))
    more = ", ..." if count > 3 else ""
    return ColumnError(
        f"{path}: {name} is not a finite number in {count:,} of {len(wrong):,} rows",
        received=f"NaN, infinite or empty in row {rows}{more}",
        allowed="a finite number in every row",
        next_step="leave these rows out with --drop-invalid (in Python: read(path, drop_invalid=True))",
    )
