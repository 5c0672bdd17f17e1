"""Nikon N-STORM text: tabs between `Channel Name, X, Y, Xc, Yc, Height, ..., Xw, Yw, Xwc, Ywc[, Zw, Zwc]`; nm.

In the names `c` means corrected for drift and `w` warped, that is corrected for chromatic aberration; the position
corrected most is taken. `Length` is the number of frames of the trace. Channel names become numbers in the order of
their first appearance. Rows that Nikon calls `Non Specific Activation` or `Z Rejected` belong to no dye; they are kept
as channels of their own, and noted. No file was at hand: the names come from several readers (for example
christophe Leterrier's ChriSTORM). That frames count from 1 and the origin are not verified; what `Width` means exactly
is not either, so it stays a vendor column.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl

from lucule.core import ColumnError
from lucule.io._columns import Field
from lucule.io._text import layout, read_rows
from lucule.io._text_format import inspect_table, open_layout, read_table
from lucule.io.format import Contents, Format, Reading, ReadOptions

FIELDS: Final = (
    Field("frame", "frame", first=1),
    Field("x", ("xwc", "xc", "xw", "x"), "nm"),
    Field("y", ("ywc", "yc", "yw", "y"), "nm"),
    Field("z", ("zwc", "zc", "zw", "z"), "nm"),
    Field("photons", "photons"),
    Field(("x_err", "y_err"), "lateral localization accuracy", "nm"),
    Field("n_frames", "length"),
)
NUMBERS: Final = ("Link", "Valid")
_REJECTED: Final = ("Non Specific Activation", "Z Rejected")
_CHANNEL: Final = ("Channel Name", "Name")  # older versions write the second


def _sniff(path: Path, head: bytes) -> bool:  # noqa: ARG001
    shape = layout(head)
    return shape.delimiter == "\t" and {"x", "y", "xc", "yc", "height", "frame", "length"} <= shape.base_names


def _read(path: Path, options: ReadOptions) -> Reading:
    shape = open_layout(path, options)
    data = read_rows(path, shape, {name for name in shape.names if name not in _CHANNEL}, texts=_CHANNEL)
    reading = read_table(path, shape, FIELDS, options, data=data, whole_numbers=("link", "valid"))
    name = next((name for name in _CHANNEL if name in data.columns), None)
    if name is None or "channel" in options.columns:
        return reading
    channels = data[name].fill_null("").unique(maintain_order=True).to_list()
    if len(channels) > 256:
        raise ColumnError(f"{path}: {name!r} holds more channels than there can be", received=len(channels))
    numbers = data[name].fill_null("").replace_strict(channels, range(len(channels)), return_dtype=pl.UInt8)
    notes = list(reading.meta.vendor.get("notes", []))
    for rejected in _REJECTED:
        if rejected in channels:
            index = channels.index(rejected)
            count = int((numbers == index).sum())
            notes.append(f"{count:,} rows are {rejected!r}; to leave them out, filter by channel != {index}")
    vendor = reading.meta.vendor | {"channels": channels} | ({"notes": notes} if notes else {})
    table = reading.data.drop(name).with_columns(numbers.alias("channel"))
    return Reading(table, reading.meta.model_copy(update={"vendor": vendor}))


def _inspect(path: Path, options: ReadOptions) -> Contents:
    return inspect_table(path, open_layout(path, options), FIELDS, options)


FORMAT: Final = Format(
    name="nstorm",
    title="Nikon N-STORM text",
    extensions=(".txt",),
    sniff=_sniff,
    read=_read,
    inspect=_inspect,
    notes="Xwc before Xc before Xw before X; frames from 1 and origin not verified",
)
