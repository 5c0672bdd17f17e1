"""DECODE CSV (Speiser et al., Nature Methods 2021): three comment lines, then `x, y, z, phot, frame_ix, id, prob, ...`.

The third comment is JSON with the unit of x and y (`px` or `nm`) and the pixel size. As in DECODE's HDF5 files x runs
along the rows, so x and y are exchanged; pixel centres are integers, so half a pixel is added; z is nm and frames count
from 0. `*_sig` is the error that the network predicts; where it is missing the root of `*_cr`, a variance, is taken.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import polars as pl

from lucule.core import FormatError
from lucule.io._columns import Field
from lucule.io._text import Layout, layout, read_rows
from lucule.io._text_format import inspect_table, open_layout, read_table
from lucule.io.format import Contents, Format, Reading, ReadOptions

_MARK: Final = "# DECODE EmitterSet"
_SWAP: Final = {f"{a}{kind}": f"{b}{kind}" for a, b in ("xy", "yx") for kind in ("", "_sig", "_cr")}


def _sniff(path: Path, head: bytes) -> bool:  # noqa: ARG001
    shape = layout(head)
    return any(line.startswith(_MARK) for line in shape.comments[:1]) and {"x", "y", "frame_ix"} <= shape.base_names


def _read(path: Path, options: ReadOptions) -> Reading:
    shape = open_layout(path, options)
    about = _about(path, shape)
    data = read_rows(path, shape, shape.names)
    data = data.select(column for column in data if column.null_count() < data.height or not data.height)
    data = data.rename({name: _SWAP[name] for name in data.columns if name in _SWAP})
    shape = shape.with_names(data.columns)
    predicted = "x_sig" in shape.names
    errors = "predicted" if predicted else "crlb" if "x_cr" in shape.names else None
    return read_table(
        path,
        shape,
        _fields(about, predicted, options),
        options,
        data=data,
        whole_numbers=("id",),
        origin="centre",
        stored_pixel_size=_size(about),
        vendor={"decode": about},
        errors=errors,  # type: ignore[arg-type]
    )


def _inspect(path: Path, options: ReadOptions) -> Contents:
    shape = open_layout(path, options)
    about = _about(path, shape)
    swapped = shape.with_names([_SWAP.get(name, name) for name in shape.names])
    fields = _fields(about, "x_sig" in swapped.names, options)
    contents = inspect_table(path, swapped, fields, options, stored_pixel_size=_size(about), metadata={"decode": about})
    described = tuple(replace(column, name=_SWAP.get(column.name, column.name)) for column in contents.columns)
    return replace(contents, columns=described)


def _fields(about: dict[str, Any], predicted: bool, options: ReadOptions) -> tuple[Field, ...]:
    """Fields for columns of which x and y are exchanged already."""
    unit: str = about.get("xy_unit") or options.unit or ""
    size = options.pixel_size_nm or _size(about)
    # in nm there is half a pixel to add as well, if its size is known
    half = (0.0, 0.0) if unit == "px" or size is None else (size[0] / 2, size[1] / 2)
    kind, derive = ("_sig", None) if predicted else ("_cr", pl.Expr.sqrt)
    return (
        Field("frame", "frame_ix"),
        Field("x", "x", unit, offset=half[0]),
        Field("y", "y", unit, offset=half[1]),
        Field("z", "z", "nm"),
        Field("photons", "phot"),
        Field("background", "bg"),
        Field("p", "prob"),
        Field("x_err", f"x{kind}", unit, before=derive),
        Field("y_err", f"y{kind}", unit, before=derive),
        Field("z_err", f"z{kind}", "nm", before=derive),
    )


def _about(path: Path, shape: Layout) -> dict[str, Any]:
    try:
        documents = [json.loads(line.lstrip("# ")) for line in shape.comments[1:3]]
    except json.JSONDecodeError:
        raise FormatError(
            f"{path}: the comment lines of DECODE are damaged", received=shape.comments[-1][:80]
        ) from None
    return {key: value for document in reversed(documents) for key, value in document.items()}


def _size(about: dict[str, Any]) -> tuple[float, float] | None:
    """Pixel size along (x, y): DECODE gives it along its own axes, rows first."""
    stored = about.get("px_size")
    if not isinstance(stored, list) or len(stored) != 2:
        return None
    rows, columns = (float(value) if isinstance(value, int | float) else 0.0 for value in stored)
    return (columns, rows) if rows > 0 and columns > 0 else None


FORMAT: Final = Format(
    name="decode_csv",
    title="DECODE CSV",
    extensions=(".csv",),
    sniff=_sniff,
    read=_read,
    inspect=_inspect,
    notes="x and y swapped (DECODE's x runs along the rows), half a pixel added (pixel centre = integer)",
)
