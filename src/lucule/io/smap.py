"""SMAP: MATLAB file `*_sml.mat` with one array per property in `saveloc.loc`, and the camera in `saveloc.file.info`.

SMAP counts pixels and frames from 1 as MATLAB does: the centre of the first camera pixel lies at one pixel size, and
positions include the offset of the camera's region of interest (SMAP, fitloc2locdata.m: xnm = (xpix + roi(1)) * pixel).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.core import FormatError, Meta
from lucule.io import _hdf5, _matlab
from lucule.io._documents import plain
from lucule.io._fields import accept, assign
from lucule.io.format import Contents, FileColumn, Format, Reading, ReadOptions

# SMAP's name -> lucule's; None: the same in pixels, which would go stale beside the column in nm
NAMES: Final[dict[str, str | None]] = {
    "frame": "frame",
    "xnm": "x",
    "ynm": "y",
    "znm": "z",
    "phot": "photons",
    "bg": "background",
    "xnmerr": "x_err",
    "ynmerr": "y_err",
    "locprecznm": "z_err",
    "PSFxnm": "sigma_x",
    "PSFynm": "sigma_y",
    "channel": "channel",
    "filenumber": "field",
    "groupindex": "event",
    **dict.fromkeys(("xpix", "ypix", "xpixerr", "ypixerr", "xerrpix", "yerrpix", "PSFxpix", "PSFypix")),
}
_FROM_ONE: Final = ("frame", "field")


@dataclass(frozen=True)
class _Camera:
    """The camera of one of the files in a table: pixel size in nm and region of interest in pixels, (x, y) each."""

    number: int
    pixel_nm: tuple[float, float] | None
    roi_px: tuple[float, float]
    info: dict[str, Any]


def _sniff(path: Path, head: bytes) -> bool:
    if head.startswith(b"MATLAB 5.0"):
        return "saveloc" in _matlab.names(path)
    with _hdf5.opened(path) as file:
        if {"lds", "partnames"} <= set(file):
            raise FormatError(
                f"{path} is one part of a table that SMAP saved in several files",
                next_step="save it in SMAP as a single file",
            )
        return "saveloc" in file and "loc" in file["saveloc"]


@contextmanager
def _opened(path: Path) -> Iterator[tuple[_matlab.Struct, _matlab.Struct]]:
    with _matlab.opened(path) as variables:
        saved = variables.get("saveloc")
        table = saved.get("loc") if isinstance(saved, _matlab.Struct) else None
        if not isinstance(saved, _matlab.Struct) or not isinstance(table, _matlab.Struct):
            raise FormatError(f"{path} holds no SMAP localizations (saveloc.loc)")
        yield saved, table


def _pairs(path: Path, table: _matlab.Struct, options: ReadOptions) -> list[tuple[str, str]]:
    """Fields to read: those with as many values as there are localizations."""
    rows = _rows(table)
    known = dict(NAMES)
    # older files know one precision for both axes
    if "xnmerr" not in table:
        known["locprecnm"] = "x_err"
    if "locprecznm" not in table:
        known |= {"znmerr": "z_err"} if "znmerr" in table else {"zerr": "z_err"}
    return assign(path, [name for name in table if table.size(name) == rows], known, options)


def _rows(table: _matlab.Struct) -> int:
    return (table.size("xnm") or 0) if "xnm" in table else max((table.size(name) or 0 for name in table), default=0)


def _read(path: Path, options: ReadOptions) -> Reading:
    accept(path, options, "columns")
    with _opened(path) as (saved, table):
        cameras = _cameras(saved, options)
        columns = {column: np.ravel(table[field]) for field, column in _pairs(path, table, options)}
    for name in _FROM_ONE:
        if name in columns:
            # 0 does not occur where counting starts at 1: tables imported into SMAP may start at 0
            values = columns[name]
            columns[name] = values - 1 if not len(values) or values.min() >= 1 else values
    if "x_err" in columns:
        columns.setdefault("y_err", columns["x_err"])
    for axis, name in enumerate("xy"):
        if name in columns:
            columns[name] = columns[name].astype(np.float64) - _offsets(path, cameras, axis, columns.get("field"))
    data = pl.DataFrame([pl.Series(column, values) for column, values in columns.items()])
    return Reading(data, _meta(cameras))


def _inspect(path: Path, options: ReadOptions) -> Contents:
    with _opened(path) as (saved, table):
        becomes = dict(_pairs(path, table, options))
        cameras = _cameras(saved, options)
        columns = tuple(FileColumn(name, _unit(name), becomes.get(name)) for name in table)
        return Contents(columns, _rows(table), {"files": [camera.info for camera in cameras]})


def _unit(name: str) -> str:
    if "nm" in name or name == "zerr":
        return "nm"
    if "pix" in name:
        return "px"
    return {"phot": "photons", "photerr": "photons", "bg": "photons/pixel"}.get(name, "")


def _cameras(saved: _matlab.Struct, options: ReadOptions) -> list[_Camera]:
    files = saved.get("file", saved)
    cameras = []
    for count, file in enumerate(files if isinstance(files, list) else [files]):
        info = file.get("info") if isinstance(file, _matlab.Struct) else None
        info = info if isinstance(info, _matlab.Struct) else {}
        pixel = _numbers(info.get("cam_pixelsize_um")) * 1000
        roi = _numbers(info.get("roi"))
        number = _numbers(file.get("number")) if isinstance(file, _matlab.Struct) else np.empty(0)
        usable = len(pixel) > 0 and bool((pixel > 0).all())
        cameras.append(
            _Camera(
                number=int(number[0]) if len(number) else count + 1,
                pixel_nm=options.pixel_size_nm or ((float(pixel[0]), float(pixel[-1])) if usable else None),
                roi_px=(float(roi[0]), float(roi[1])) if len(roi) >= 2 else (0.0, 0.0),
                info=_small(info),
            )
        )
    return cameras


def _offsets(
    path: Path, cameras: list[_Camera], axis: int, field: NDArray[Any] | None
) -> NDArray[np.float64] | np.float64:
    """What to subtract along an axis, nm, row by row; nothing where no camera is known, hence no pixel either."""
    # 0.5: the centre of pixel 1 stands at 1 in SMAP and at 0.5 where the outer corner is the origin
    offsets = {
        camera.number - 1: (camera.roi_px[axis] + 0.5) * camera.pixel_nm[axis] if camera.pixel_nm else 0.0
        for camera in cameras
    }
    if field is None or len(cameras) == 1:
        return np.float64(offsets[cameras[0].number - 1])
    present = np.unique(field)
    if unknown := [str(number + 1) for number in present if number not in offsets]:
        raise FormatError(
            f"{path} holds localizations of a file that it does not describe",
            received=f"filenumber {', '.join(unknown)}",
            allowed=", ".join(str(camera.number) for camera in cameras),
        )
    return np.array([offsets[number] for number in present])[np.searchsorted(present, field)]


def _meta(cameras: list[_Camera]) -> Meta:
    first = cameras[0]
    vendor: dict[str, Any] = {"smap": [camera.info for camera in cameras]}
    if any(camera.pixel_nm is None for camera in cameras):
        vendor["notes"] = ["the file knows no camera pixel; with --pixel-size-nm positions count from its corner"]
    height, width, frames = (_numbers(first.info.get(key)) for key in ("Height", "Width", "numberOfFrames"))
    exposure = _numbers(first.info.get("exposure"))
    return Meta(
        pixel_size_nm=first.pixel_nm,
        shape_px=(int(height[0]), int(width[0])) if len(height) and len(width) else None,
        n_frames=int(frames[0]) if len(frames) else None,
        exposure_ms=float(exposure[0]) if len(exposure) and exposure[0] > 0 else None,
        vendor=vendor,
    )


def _numbers(value: Any) -> NDArray[np.float64]:
    """Finite numbers in a member, none when it is missing or of another kind."""
    values = np.ravel(value) if isinstance(value, int | float | list | np.ndarray) else np.empty(0)
    numbers = values.astype(np.float64) if values.dtype.kind in "biuf" else np.empty(0)
    return numbers[np.isfinite(numbers)]


def _small(info: Any) -> dict[str, Any]:
    """What the file says about its camera, as far as it is text or a few numbers."""
    small = {}
    for name in info:
        value = info[name]
        if isinstance(value, str):
            small[name] = value
        elif isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and 0 < value.size <= 16:
            small[name] = plain(value.ravel().tolist() if value.size > 1 else value.item())
    return small


FORMAT: Final = Format(
    name="smap",
    title="SMAP (sml.mat)",
    extensions=("_sml.mat",),
    sniff=_sniff,
    read=_read,
    inspect=_inspect,
    notes="frames from 1 to from 0; the offset of the camera's region of interest and half a pixel are subtracted "
    "(pixel 1 has its centre at 1), file by file; columns in pixels are left out; z keeps its sign",
)
