"""From a list of fields to a text format: recognise, read and describe."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import polars as pl

from lucule.core import Localizations, Meta
from lucule.io import _columns as columns
from lucule.io import _text as text
from lucule.io._columns import Field, Origin
from lucule.io._fields import accept
from lucule.io._head import read_head
from lucule.io._text import Layout
from lucule.io.format import Contents, Format, Reading, ReadOptions

_OPTIONS = ("columns", "unit", "pixel_size_nm", "delimiter")


def text_format(
    *,
    name: str,
    title: str,
    extensions: tuple[str, ...],
    fields: Sequence[Field],
    recognise: Callable[[Layout], bool],
    whole_numbers: Collection[str] = (),
    origin: Origin = "corner",
    write: Callable[[Localizations, Path], None] | None = None,
    notes: str = "",
) -> Format:
    """A format that needs nothing but a mapping of columns.

    Parameters
    ----------
    fields
        What becomes of which column.
    recognise
        Whether a layout is that of this format.
    whole_numbers
        Vendor columns (lower case, without unit) that hold whole numbers.
    origin
        Where files of this format have their origin, when positions are pixels: the outer corner or the centre of
        pixel (0, 0).
    """

    def sniff(path: Path, head: bytes) -> bool:  # noqa: ARG001
        return recognise(text.layout(head))

    def read(path: Path, options: ReadOptions) -> Reading:
        shape = open_layout(path, options)
        columns.require(shape.names, () if options.columns else _positions(fields), path, title)
        return read_table(path, shape, fields, options, whole_numbers=whole_numbers, origin=origin)

    def inspect(path: Path, options: ReadOptions) -> Contents:
        return inspect_table(path, open_layout(path, options), fields, options, origin=origin)

    return Format(name, title, extensions, sniff, read, inspect, write, notes)


def open_layout(path: Path, options: ReadOptions) -> Layout:
    """The layout of a file, after a check that the options are ones that text files have a use for."""
    accept(path, options, *_OPTIONS)
    return text.layout(read_head(path), options.delimiter)


def read_table(
    path: Path,
    shape: Layout,
    fields: Sequence[Field],
    options: ReadOptions,
    *,
    data: pl.DataFrame | None = None,
    source: Path | bytes | None = None,
    whole_numbers: Collection[str] = (),
    origin: Origin = "corner",
    stored_pixel_size: tuple[float, float] | None = None,
    vendor: Mapping[str, Any] | None = None,
    errors: Literal["fitted", "crlb", "predicted"] | None = None,
) -> Reading:
    """Read the rows and convert them; `vendor` is kept in the metadata as it is.

    Formats that are not quite a table give the rows as `data`, or the text that is one as `source`.
    """
    fields = _fitting(fields, shape)
    assigned = columns.assign(shape.names, fields, options, path, stored_pixel_size=stored_pixel_size, origin=origin)
    if data is None:
        source = text.content(path, shape) if source is None else source
        data = text.parse_rows(source, path, shape, {found.column for found in assigned})
    kept = columns.kept_names(shape.names, assigned)
    table, notes = columns.convert(data, assigned)
    whole = [own for column, own in kept.items() if text.split_unit(column)[0] in whole_numbers]
    table = table.with_columns(_whole(table[column]) for column in whole)
    units = {own: unit for column, own in kept.items() if (unit := text.split_unit(column)[1]) and own != column}
    details = dict(vendor or {})
    if units:
        details["units"] = units
    if shape.comments:
        details.setdefault("comments", list(shape.comments))
    if notes:
        details["notes"] = [*details.get("notes", []), *notes]
    return Reading(table, Meta(pixel_size_nm=options.pixel_size_nm or stored_pixel_size, vendor=details, errors=errors))


def to_corner(reading: Reading, options: ReadOptions, pixels: float, where: str) -> Reading:
    """Move positions by `pixels`, whose size only the user knows, so that they count from the corner of pixel (0, 0).

    Without a pixel size they stay, and a note says that they count from `where`.
    """
    if options.pixel_size_nm is not None:
        moved = [pl.col(axis) + pixels * size for axis, size in zip("xy", options.pixel_size_nm, strict=True)]
        return Reading(reading.data.with_columns(moved), reading.meta)
    note = f"positions count from {where}; with --pixel-size-nm they count from its corner"
    vendor = reading.meta.vendor | {"notes": [*reading.meta.vendor.get("notes", []), note]}
    return Reading(reading.data, reading.meta.model_copy(update={"vendor": vendor}))


def inspect_table(
    path: Path,
    shape: Layout,
    fields: Sequence[Field],
    options: ReadOptions,
    *,
    origin: Origin = "corner",
    stored_pixel_size: tuple[float, float] | None = None,
    rows: int | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Contents:
    """Describe a file from its first lines; pixels of unknown size are no error here."""
    # any size will do: only names and units are shown
    size = stored_pixel_size or options.pixel_size_nm or (1.0, 1.0)
    assigned = columns.assign(
        shape.names, _fitting(fields, shape), options, path, stored_pixel_size=size, origin=origin
    )
    details = dict(metadata or {})
    if shape.comments:
        details.setdefault("comments", list(shape.comments))
    return Contents(
        columns.describe(shape.names, assigned), text.count_rows(path, shape) if rows is None else rows, details
    )


def _fitting(fields: Sequence[Field], shape: Layout) -> list[Field]:
    """Without lucule's own columns where the file has text under their names."""
    text_names = {name.lower() for name, numeric in zip(shape.names, shape.numeric, strict=True) if not numeric}
    return [field for field in fields if not (field.own and text_names & set(field.aliases))]


def _positions(fields: Sequence[Field]) -> list[str]:
    """Base names of x and y, where the format has just one name for each."""
    return [f.aliases[0] for f in fields if f.targets in (("x",), ("y",)) and len(f.aliases) == 1]


def _whole(values: pl.Series) -> pl.Series:
    """A column of whole numbers as such; unchanged when it holds anything else after all."""
    if not values.dtype.is_float() or not (values.is_finite() & (values == values.round(0))).all():
        return values
    return values.cast(pl.Int64)
