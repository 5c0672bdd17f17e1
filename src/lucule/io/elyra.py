"""Zeiss Elyra (ZEN PALM) text: a table between tabs, then a NUL byte and a block about image and ROIs; Latin-1.

Frames and channels count from 1 (seen in a real file). `Precision` is one number for x and y. `VoxelSizeX` and the
other lines of the block are kept as metadata; which pixels they mean is not verified, nor is the origin, nor whether
`PSF half width` is half of the full width at half maximum, so it stays a vendor column.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from lucule.io._columns import Field
from lucule.io._text import layout, raw_bytes
from lucule.io._text_format import inspect_table, open_layout, read_table
from lucule.io.format import Contents, Format, Reading, ReadOptions

FIELDS: Final = (
    Field("frame", "first frame", first=1),
    Field("x", "position x", "nm"),
    Field("y", "position y", "nm"),
    Field("z", "position z", "nm"),
    Field("photons", "number photons"),
    Field(("x_err", "y_err"), ("precision", "precision xy"), "nm"),
    Field("z_err", "precision z", "nm"),
    Field("n_frames", "number frames"),
    Field("channel", "channel", first=1),
)


def _sniff(path: Path, head: bytes) -> bool:  # noqa: ARG001
    return {"first frame", "position x", "position y"} <= layout(head).base_names


def _read(path: Path, options: ReadOptions) -> Reading:
    shape = open_layout(path, options)
    table, _, footer = raw_bytes(path).partition(b"\0")
    whole = ("index", "frames missing", "z slice")
    return read_table(path, shape, FIELDS, options, source=table, whole_numbers=whole, vendor=_vendor(footer))


def _inspect(path: Path, options: ReadOptions) -> Contents:
    shape = open_layout(path, options)
    table, _, footer = raw_bytes(path).partition(b"\0")
    rows = len(table.split(b"\n")) - table.endswith(b"\n") - shape.skip_lines
    return inspect_table(path, shape, FIELDS, options, rows=rows, metadata=_vendor(footer))


def _vendor(footer: bytes) -> dict[str, Any]:
    """The block behind the table; values that are numbers without unit as numbers."""
    entries: dict[str, Any] = {}
    for line in re.split(r"[\r\n]+", footer.decode("latin-1")):
        key, colon, value = (part.strip() for part in line.partition(":"))
        if colon and value:
            entries[key] = float(value) if re.fullmatch(r"-?\d+(\.\d+)?", value) else value
    return {"elyra": entries} if entries else {}


FORMAT: Final = Format(
    name="elyra",
    title="Zeiss Elyra text",
    extensions=(".txt",),
    sniff=_sniff,
    read=_read,
    inspect=_inspect,
    notes="frames and channels from 1; origin not verified",
)
