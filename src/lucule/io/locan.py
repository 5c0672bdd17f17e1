"""Locan: ASDF file with one block of numbers, the names of its columns and Locan's metadata.

ASDF (ASDF Standard 1.5, "Low-level file layout") is a YAML text, then binary blocks. Locan keeps what its readers give:
nm for most files, frames as they were counted in the original file. Its property names also stand in the `.smlm` files
that Locan writes.
"""

from __future__ import annotations

import bz2
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
import yaml
from numpy.typing import NDArray

from lucule.core import FormatError, Meta
from lucule.io._documents import parse_yaml, plain
from lucule.io._fields import accept, assign, lengths_to_nm
from lucule.io.format import Contents, FileColumn, Format, Reading, ReadOptions

# Locan's property -> lucule's column; intensity and local_background may be counts and keep their names
PROPERTIES: Final = {
    "position_x": "x",
    "position_y": "y",
    "position_z": "z",
    "frame": "frame",
    "frames_number": "n_frames",
    "uncertainty": "x_err",
    "uncertainty_x": "x_err",
    "uncertainty_y": "y_err",
    "uncertainty_z": "z_err",
    "psf_sigma": "sigma_x",
    "psf_sigma_x": "sigma_x",
    "psf_sigma_y": "sigma_y",
    "channel": "channel",
    "cluster_label": "cluster",
}
_MAGIC: Final = b"#ASDF "
_BLOCK_MAGIC: Final = b"\xd3BLK"
_BLOCK_HEADER: Final = struct.Struct(">I4sQQQ16s")
_DECOMPRESS: Final[dict[bytes, Callable[[bytes], bytes]]] = {
    b"\0\0\0\0": bytes,
    b"zlib": zlib.decompress,
    b"bzp2": bz2.decompress,
}


class _Tree(NamedTuple):
    columns: list[str]
    data: Any
    meta: dict[str, Any]
    end: int  # where the YAML text ends in the file


def _sniff(path: Path, head: bytes) -> bool:  # noqa: ARG001
    return head.startswith(_MAGIC) and b"\ncolumns:" in head and b"\ndata:" in head


def _tree(path: Path) -> _Tree:
    content = path.read_bytes()
    end = content.find(b"\n...")
    end = len(content) if end < 0 else end
    try:
        tree = parse_yaml(content[:end].decode("utf-8", "replace"))[0]
        meta = json.loads(tree.get("meta") or "{}")
    except (yaml.YAMLError, ValueError, AttributeError, IndexError) as error:
        raise FormatError(f"{path} is a damaged ASDF file: {str(error).splitlines()[0]}") from None
    columns, data = tree.get("columns"), tree.get("data")
    if not isinstance(columns, list) or not isinstance(data, dict | list) or not isinstance(meta, dict):
        raise FormatError(f"{path} is an ASDF file without the columns and data that Locan writes")
    return _Tree([str(name) for name in columns], data, meta, end)


def _array(path: Path, tree: _Tree) -> NDArray[Any]:
    """The numbers, one row per localization."""
    if isinstance(tree.data, list):
        return np.asarray(tree.data, dtype=np.float64).reshape(-1, len(tree.columns))
    try:
        order = {"little": "<", "big": ">"}[tree.data["byteorder"]]
        dtype = np.dtype(tree.data["datatype"]).newbyteorder(order)
        shape = tuple(tree.data["shape"])
        block = _block(path, tree, int(tree.data["source"]))
        offset = int(tree.data.get("offset", 0))
        strides = tuple(tree.data["strides"]) if "strides" in tree.data else None
        array: NDArray[Any] = np.ndarray(shape, dtype, block, offset, strides)
    except (KeyError, TypeError, ValueError, struct.error, zlib.error, OSError, EOFError) as error:
        raise FormatError(f"{path} is a damaged or incomplete ASDF file", received=str(error)) from None
    if array.ndim != 2 or array.shape[1] != len(tree.columns):
        raise FormatError(
            f"{path}: numbers and columns do not agree",
            received=f"shape {array.shape}",
            allowed=f"{len(tree.columns)} columns",
        )
    return array


def _block(path: Path, tree: _Tree, source: int) -> bytes:
    """Content of block number `source`."""
    content = path.read_bytes()
    start = content.find(_BLOCK_MAGIC, tree.end)
    for _ in range(source + 1):
        if start < 0 or content[start : start + 4] != _BLOCK_MAGIC:
            raise ValueError(f"block {source} is missing")
        (header_size,) = struct.unpack_from(">H", content, start + 4)
        flags, compression, allocated, used, _size, _checksum = _BLOCK_HEADER.unpack_from(content, start + 6)
        first = start + 6 + header_size
        used = len(content) - first if flags & 1 else used  # a streamed block reaches to the end of the file
        start = first + allocated
    if compression not in _DECOMPRESS:
        raise ValueError(f"compression {compression!r} is not supported; allowed: zlib, bzp2, none")
    return _DECOMPRESS[compression](content[first : first + used])


def _units(tree: _Tree) -> dict[str, str]:
    """Units of properties, as far as Locan's metadata give them (older and newer spelling)."""
    units = {}
    for entry in (*tree.meta.get("unit", ()), *tree.meta.get("localization_properties", ())):
        if isinstance(entry, dict) and entry.get("unit"):
            units[str(entry.get("property") or entry.get("name"))] = str(entry["unit"])
    return units


def _known(tree: _Tree) -> dict[str, str | None]:
    # where a property is given for each axis, the one for both is kept under its name
    pairs = (("uncertainty", "uncertainty_x"), ("psf_sigma", "psf_sigma_x"))
    return {**PROPERTIES, **{both: both for both, single in pairs if single in tree.columns}}


def _read(path: Path, options: ReadOptions) -> Reading:
    accept(path, options, "columns", "unit")
    tree = _tree(path)
    array = _array(path, tree)
    pairs = assign(path, tree.columns, _known(tree), options)
    columns = {column: np.ascontiguousarray(array[:, tree.columns.index(field)]) for field, column in pairs}
    units = _units(tree)
    data = lengths_to_nm(path, columns, {column: units.get(field, "") for field, column in pairs}, options)
    for both, other in (("x_err", "y_err"), ("sigma_x", "sigma_y")):
        if both in data and other not in data:
            data[other] = data[both]
    vendor = {key: value for key, value in tree.meta.items() if key != "history"}
    table = pl.DataFrame([pl.Series(column, values) for column, values in data.items()])
    return Reading(table, Meta(pixel_size_nm=options.pixel_size_nm, vendor={"locan": plain(vendor)}))


def _inspect(path: Path, options: ReadOptions) -> Contents:
    tree = _tree(path)
    becomes = dict(assign(path, tree.columns, _known(tree), options))
    units = _units(tree)
    columns = tuple(FileColumn(name, units.get(name, ""), becomes.get(name)) for name in tree.columns)
    rows = tree.data["shape"][0] if isinstance(tree.data, dict) else len(tree.data)
    return Contents(columns, int(rows), {key: tree.meta[key] for key in ("source", "state") if key in tree.meta})


FORMAT: Final = Format(
    name="locan",
    title="Locan ASDF",
    extensions=(".asdf",),
    sniff=_sniff,
    read=_read,
    inspect=_inspect,
    notes="positions as Locan keeps them, nm unless its metadata say otherwise; frames and origin as in the file that "
    "Locan read; intensity is kept under its name, because it may be camera counts",
)
