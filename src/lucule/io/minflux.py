"""MINFLUX data as Imspector exports them: `.npy` (also zipped), `.mat` and `.json`, versions 1 and 2.

A MINFLUX localization is made in several iterations, each with a smaller pattern of excitation. Version 1 (until 2024)
keeps one record per localization with all its iterations, version 2 (Imspector 24.10) one record per iteration. The
last iteration of valid localizations is read; all localizations of a trace (`tid`) are kept. Positions are metres and
have no camera. Tables published with `pos`, `id` and `t` in a structure `minflux` are read as well; they are in nm.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.core import FormatError, InputError, Meta
from lucule.io import _hdf5, _matlab, _npy
from lucule.io._fields import accept, assign
from lucule.io.format import Contents, FileColumn, Format, Reading, ReadOptions

Arrays = dict[str, NDArray[Any]]

# eco counts the photons of the outer exposures of the last iteration, which locate the emitter; those at the centre
# (ecc) serve to check it
NAMES: Final = {"x": "x", "y": "y", "z": "z", "eco": "photons"}
# what is read of an iteration: photon counts, rates (Hz), ratios, state
_ITERATION: Final = ("eco", "ecc", "efo", "efc", "fbg", "cfr", "dcr", "sta")
# flags that have done their work, other positions than the final one, clock and steering of the beam
_NOT_READ: Final = ("vld", "fnl", "bot", "eot", "itr", "lnc", "rpos", "tic", "ext")
_FLOAT32: Final = ("efo", "efc", "fbg", "cfr", "dcr")
_UNITS: Final = {"loc": "m", "pos": "nm", "tim": "s", "t": "s"} | dict.fromkeys(("efo", "efc", "fbg"), "Hz")
_NM: Final = {"nm": 1.0, "um": 1e3, "m": 1e9}
_PUBLISHED: Final = {"t": "tim", "id": "tid", "pos": "loc"}


class _Content(NamedTuple):
    """An opened file: version (0: published table), what its fields become, and the records or variables in blocks."""

    version: int
    becomes: dict[str, str | None]
    blocks: Iterable[Any]


def _sniff(path: Path, head: bytes) -> bool:
    if head.startswith(_npy.MAGIC):
        return _is_minflux(_header_names(head))
    if head.startswith(b"PK"):
        return _sniff_zip(path)
    if head.startswith(b"MATLAB 5.0"):
        return _is_minflux(_matlab.names(path))
    if b"\x89HDF" in (head[:4], head[512:516]):
        with _hdf5.opened(path) as file:
            return _is_minflux(file)
    return head.lstrip().startswith(b"[") and all(f'"{name}"'.encode() in head for name in ("vld", "tid", "loc"))


def _sniff_zip(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            for name in _npy.members(archive):
                with archive.open(name) as stream:
                    if _is_minflux(_header_names(stream.read(65_536))):
                        return True
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError):
        return False
    return False


def _header_names(head: bytes) -> tuple[str, ...]:
    try:
        return _npy.header(io.BytesIO(head))[1].names or ()
    except ValueError:
        return ()


def _is_minflux(names: Iterable[str]) -> bool:
    present = set(names)
    return {"vld", "tid", "itr"} <= present or "minflux" in present


@contextmanager
def _opened(path: Path, options: ReadOptions) -> Iterator[_Content]:
    with path.open("rb") as stream:
        start = stream.read(16)
    if start.startswith((_npy.MAGIC, b"PK")):
        with _npy.opened(path, options.table) as records:
            yield _content(path, records.dtype.names or (), records.dtype["itr"].base.names, records.blocks())
    elif start.lstrip().startswith(b"["):
        rows = _json_rows(path)
        yield _content(path, rows, None, [rows])
    else:
        with _matlab.opened(path) as variables:
            published = variables.get("minflux")
            if isinstance(published, _matlab.Struct):
                names = [name for name in published if published.size(name) is not None]
                becomes = {name: _becomes(_PUBLISHED.get(name, name)) for name in names}
                yield _Content(0, becomes, [{_PUBLISHED.get(name, name): published[name] for name in names}])
            else:
                iterations = variables["itr"]
                inner = list(iterations) if isinstance(iterations, _matlab.Struct) else None
                yield _content(path, variables, inner, [variables])


def _content(path: Path, outer: Iterable[str], inner: Iterable[str] | None, blocks: Iterable[Any]) -> _Content:
    becomes = {name: _becomes(name) for name in outer if name != "itr" or inner is None}
    for name in inner or ():
        becomes[name] = _becomes(name) if name in ("loc", *_ITERATION) else None
    if missing := {"vld", "tid", "loc"} - set(becomes):
        raise FormatError(f"{path} lacks what MINFLUX data have", received=f"no {', '.join(sorted(missing))}")
    return _Content(2 if inner is None else 1, becomes, blocks)


def _becomes(name: str) -> str | None:
    if name in _NOT_READ:
        return None
    return {"loc": "x, y, z", "tid": "tid, event"}.get(name) or NAMES.get(name, name)


def _read(path: Path, options: ReadOptions) -> Reading:
    accept(path, options, "columns", "unit", "table", "z_factor")
    if options.unit not in (None, *_NM):
        raise InputError("MINFLUX positions are no pixels", received=options.unit, allowed=", ".join(_NM))
    with _opened(path, options) as content:
        pick = (_published, _last_iteration, _valid_iterations)[content.version]
        parts = [pick(path, block) for block in content.blocks]
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if content.version == 1 and "cfr" in found:
        found["cfr"] = found["cfr"][:, _last_measured(found["cfr"])]
    if content.version == 2:
        found = _final(found)
    unit = options.unit or ("m" if content.version else "nm")
    fields = _fields(path, found, _NM[unit], options.z_factor or 1.0)
    columns = {column: fields[field] for field, column in assign(path, fields, NAMES, options)}
    if "tid" in fields:
        columns.setdefault("event", fields["tid"])  # one trace is one blinking event
    data = pl.DataFrame([pl.Series(column, values) for column, values in columns.items()])
    return Reading(data, Meta(pixel_size_nm=options.pixel_size_nm, vendor={"minflux": _about(content.version)}))


def _last_iteration(path: Path, block: Any) -> Arrays:
    """Version 1: valid localizations, the fields of their last iteration; `cfr` of all iterations."""
    valid = np.ravel(block["vld"]).astype(bool)
    iterations = block["itr"]
    inner = iterations.dtype.names if isinstance(iterations, np.ndarray) else list(iterations)
    outer = block.dtype.names if isinstance(block, np.ndarray) else list(block)
    found: Arrays = {}
    for name in ("loc", *_ITERATION):
        if name in inner:
            values = _of_length(path, name, iterations[name], len(valid))
            if values.ndim == (2 if name == "loc" else 1):  # a single iteration
                values = values[:, np.newaxis]
            found[name] = (values if name == "cfr" else values[:, -1])[valid]
    for name in outer:
        if name not in (*_NOT_READ, *found):
            found[name] = _of_length(path, name, block[name], len(valid))[valid]
    return found


def _valid_iterations(path: Path, block: Any) -> Arrays:
    """Version 2: valid iterations, the fields that are kept or that tell which iterations are the last ones."""
    valid = np.ravel(block["vld"]).astype(bool)
    found: Arrays = {}
    for name in block.dtype.names if isinstance(block, np.ndarray) else list(block):
        if name not in _NOT_READ or name in ("fnl", "itr"):
            values = _of_length(path, name, block[name], len(valid))
            # dcr holds the ratio of the first colour channel and what is missing to 1
            found[name] = (values if name == "loc" or values.ndim == 1 else values[:, 0])[valid]
    return found


def _published(path: Path, table: Mapping[str, Any]) -> Arrays:
    """One row per localization already; vectors other than the position are left out."""
    if "loc" not in table:
        raise FormatError(f"{path} lacks what MINFLUX tables have", received="no pos")
    rows = len(table["loc"])
    listed = {name: np.ravel(values) for name, values in table.items() if np.size(values) == rows}
    return listed | {"loc": table["loc"]}


def _of_length(path: Path, name: str, values: Any, length: int) -> NDArray[Any]:
    array = np.asarray(values)
    # MATLAB stores lists as rows or columns
    array = array.reshape(-1) if array.ndim == 2 and 1 in array.shape and array.size == length else array
    if len(array) != length:
        raise FormatError(f"{path}: {name} has another length than vld", received=len(array), allowed=str(length))
    return array


def _final(rows: Arrays) -> Arrays:
    """Version 2: the rows that end a localization."""
    iteration = rows.pop("itr").astype(int)
    flagged = rows.pop("fnl", None)
    final = flagged.astype(bool) if flagged is not None else iteration == iteration.max(initial=0)
    found = {name: values[final] for name, values in rows.items()}
    if "cfr" in rows and final.any():
        found["cfr"] = _preceding_cfr(rows["cfr"].astype(np.float32), rows["tid"], iteration, np.flatnonzero(final))
    return found


def _preceding_cfr(
    cfr: NDArray[np.float32], trace: NDArray[Any], iteration: NDArray[np.int64], final: NDArray[np.intp]
) -> NDArray[np.float32]:
    """`cfr` from the last iteration that measures it, for the rows `final`; NaN where the trace has none before."""
    last = int(iteration.max())
    varying = (k for k in range(last, -1, -1) if np.ptp(cfr[iteration == k]) > 0)
    sources = np.flatnonzero(iteration == next(varying, last))
    before = np.searchsorted(sources, final, side="right") - 1
    source = sources[np.maximum(before, 0)]
    measured = (before >= 0) & (trace[source] == trace[final])
    return np.where(measured, cfr[source], np.float32(np.nan))


def _last_measured(cfr: NDArray[Any]) -> int:
    """The last iteration in which `cfr` (n, iterations) was measured: in the others it is one constant."""
    varies = np.flatnonzero((cfr != cfr[:1]).any(axis=0))
    return int(varies[-1]) if len(varies) else -1


def _fields(path: Path, found: Arrays, scale: float, z_factor: float) -> Arrays:
    positions = found.pop("loc").astype(np.float64) * scale
    if positions.ndim != 2 or positions.shape[1] != 3:
        raise FormatError(f"{path}: positions must have three values", received=f"shape {positions.shape}")
    fields = {"x": positions[:, 0], "y": positions[:, 1]}
    if positions[:, 2].any():  # in two-dimensional measurements z is 0 throughout
        fields["z"] = positions[:, 2] * z_factor
    return fields | {name: values.astype(np.float32) if name in _FLOAT32 else values for name, values in found.items()}


def _json_rows(path: Path) -> Arrays:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return {name: _array([row[name] for row in rows]) for name in (rows[0] if rows else ())}
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(
            f"{path} is damaged or incomplete: it is not the JSON that Imspector writes",
            received=str(error),
            next_step="export or copy the file again",
        ) from None


def _array(values: list[Any]) -> NDArray[Any]:
    array = np.array(values)
    return array.astype(np.float64) if array.dtype == object else array  # None stands for NaN


def _about(version: int) -> dict[str, Any]:
    return {"version": version} if version else {"published": True}


def _inspect(path: Path, options: ReadOptions) -> Contents:
    with _opened(path, options) as content:
        becomes = content.becomes | {field: column for column, field in options.columns.items()}
        columns = tuple(FileColumn(name, _UNITS.get(name, ""), becomes[name]) for name in content.becomes)
        return Contents(columns, None, _about(content.version))


FORMAT: Final = Format(
    name="minflux",
    title="MINFLUX (Imspector npy, mat, json)",
    extensions=(".npy",),
    sniff=_sniff,
    read=_read,
    inspect=_inspect,
    notes="last iteration of valid localizations, all localizations of a trace; metres to nm; photons = eco of the "
    "last iteration; event = tid; z is not corrected for the refractive index unless z_factor is given; no frames",
)
