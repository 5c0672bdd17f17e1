"""DECODE: HDF5 with arrays in `/data`, the unit of x and y and the pixel size in `/meta`.

The first coordinate of `xyz` runs along the rows of the image, as in DECODE's frames, so it becomes y here and the
second becomes x. Pixel centres are integers (DECODE counts the frame from -0.5), frames start at 0, z is nm.
`xyz_sig` is the standard deviation that the network predicts, `xyz_cr` the Cramer-Rao bound as a variance.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.core import FormatError, InputError, Meta
from lucule.io import _hdf5
from lucule.io._documents import plain
from lucule.io._fields import accept, assign
from lucule.io.format import Contents, FileColumn, Format, Reading, ReadOptions, pixel_size

# the fields of a file as columns: a position array gives three, the first of them along the rows
_AXES: Final = "yxz"
_NM: Final = {"nm": 1.0, "um": 1e3, "m": 1e9}
_VECTORS: Final = {"xyz": "{}", "xyz_sig": "{}_sig", "xyz_cr": "{}_cr"}
NAMES: Final = {
    "x": "x",
    "y": "y",
    "z": "z",
    "phot": "photons",
    "bg": "background",
    "prob": "p",
    "frame_ix": "frame",
}


def _sniff(path: Path, head: bytes) -> bool:  # noqa: ARG001
    with _hdf5.opened(path) as file:
        data = file.get("data")
        return hasattr(data, "keys") and {"xyz", "frame_ix"} <= set(data)


def _read(path: Path, options: ReadOptions) -> Reading:
    accept(path, options, "columns", "unit")
    with _hdf5.opened(path) as file:
        unit, size, meta = _conventions(path, _about(file), options)
        fields = _fields(file["data"])
        pairs = assign(path, fields, _known(fields), options)
        columns: dict[str, NDArray[Any]] = {}
        for field, column in pairs:
            columns[column] = _values(file["data"], *fields[field])
            if scale := _scale(field, unit, size):
                columns[column] = _to_nm(columns[column], field, scale, size)
    data = pl.DataFrame([pl.Series(column, values) for column, values in columns.items()])
    errors = {"x_sig": "predicted", "x_cr": "crlb"}
    source = next((field for field, column in pairs if column == "x_err"), None)
    return Reading(data, meta.model_copy(update={"errors": errors.get(source or "")}))


def _inspect(path: Path, options: ReadOptions) -> Contents:
    with _hdf5.opened(path) as file:
        about = _about(file)
        unit = str(options.unit or about.get("xy_unit", ""))
        fields = _fields(file["data"])
        becomes = dict(assign(path, fields, _known(fields), options))
        units = {"x": unit, "y": unit, "z": "nm", "phot": "photons", "bg": "photons/pixel"}
        columns = tuple(
            FileColumn(name, units.get(name.removesuffix("_sig"), ""), becomes.get(name)) for name in fields
        )
        return Contents(columns, int(file["data"]["frame_ix"].size), about)


def _about(file: Any) -> dict[str, Any]:
    groups = [file[name] for name in ("meta", "decode") if name in file]
    return {key: plain(value) for group in groups for key, value in group.attrs.items()}


def _conventions(
    path: Path, about: dict[str, Any], options: ReadOptions
) -> tuple[str, tuple[float, float] | None, Meta]:
    """Unit of x and y, pixel size (x, y) in nm where it is needed or known, and the metadata."""
    unit = options.unit or about.get("xy_unit")
    if unit != "px" and unit not in _NM:
        raise InputError(
            f"{path} does not say in which unit its positions are",
            received=f"xy_unit: {unit}",
            allowed=f"px, {', '.join(_NM)}",
            next_step="add it, for example --unit px",
        )
    stored = np.ravel(np.asarray(about.get("px_size") or [], dtype=object))
    along_rows_columns = [float(value) for value in stored if isinstance(value, int | float) and value > 0]
    known = (along_rows_columns[1], along_rows_columns[0]) if len(along_rows_columns) == 2 else None
    size = pixel_size(path, options, known) if unit == "px" else options.pixel_size_nm or known
    vendor: dict[str, Any] = {"decode": about}
    if size is None:
        vendor["notes"] = ["positions count from the centre of pixel (0, 0); with --pixel-size-nm from its corner"]
    return unit, size, Meta(pixel_size_nm=size, vendor=vendor)


def _fields(data: Any) -> dict[str, tuple[str, int | None]]:
    """Column-like fields: their name -> the array and the place in it. Arrays that hold nothing are left out."""
    fields: dict[str, tuple[str, int | None]] = {}
    for name, array in data.items():
        if getattr(array, "shape", None) is None:  # all values were NaN, for which DECODE writes an empty dataset
            continue
        if name in _VECTORS:
            if array.ndim != 2 or array.shape[1] != 3:
                raise FormatError(f"{name} must have three values per localization", received=f"shape {array.shape}")
            fields |= {_VECTORS[name].format(axis): (name, place) for place, axis in enumerate(_AXES)}
        elif array.ndim == 1:
            fields[name] = (name, None)
        else:  # several colour channels
            fields |= {f"{name}_{place}": (name, place) for place in range(array.shape[1])}
    if "x" not in fields:
        raise FormatError("The file holds no positions: all values of xyz are NaN")
    return {name: fields[name] for name in sorted(fields, key=lambda name: name not in NAMES)}


def _known(fields: dict[str, Any]) -> dict[str, str | None]:
    known: dict[str, str | None] = dict(NAMES)
    for suffix in ("_sig", "_cr"):
        if f"x{suffix}" in fields:
            return known | {f"{axis}{suffix}": f"{axis}_err" for axis in "xyz"}
    return known


def _values(data: Any, name: str, place: int | None) -> NDArray[Any]:
    array = data[name]
    values: NDArray[Any] = np.asarray(array[()] if place is None else array[:, place])
    return values


def _scale(field: str, unit: str, size: tuple[float, float] | None) -> float | None:
    """Nm for one unit of a field; None for fields that are no length."""
    axis, _, kind = field.partition("_")
    if axis not in ("x", "y", "z") or kind not in ("", "sig", "cr"):
        return None
    if axis == "z":
        return 1.0
    return _NM[unit] if size is None or unit in _NM else size["xy".index(axis)]


def _to_nm(values: NDArray[Any], field: str, scale: float, size: tuple[float, float] | None) -> NDArray[Any]:
    axis, _, kind = field.partition("_")
    if kind == "cr":
        values = np.sqrt(values)
    if kind:
        return np.asarray(values * scale, np.float32)
    # without a known camera there is no pixel whose corner could be the origin
    half_pixel = size["xy".index(axis)] / 2 if size is not None and axis != "z" else 0.0
    return values.astype(np.float64) * scale + half_pixel


FORMAT: Final = Format(
    name="decode",
    title="DECODE HDF5",
    extensions=(".h5",),
    sniff=_sniff,
    read=_read,
    inspect=_inspect,
    notes="x and y swapped (DECODE's x runs along the rows), half a pixel added (pixel centre = integer), pixels to "
    "nm; x_err from xyz_sig, else from the variance xyz_cr; columns *_cr that remain are standard deviations in nm",
)
