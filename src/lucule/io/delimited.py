"""Any other delimited text: columns named by the user, or by names that leave no doubt (`X_nm`, `y [px]`).

Nothing is guessed silently: when x, y or their unit is not certain, the error shows the columns, the likely mapping and
the command to type. Frame numbers are taken as they are; pixels are taken to count from the corner of pixel (0, 0).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from lucule.core import FormatError
from lucule.io._columns import Field, is_length_unit
from lucule.io._guess import guess, likely_unit
from lucule.io._text import Layout, layout, split_unit
from lucule.io._text_format import inspect_table, open_layout, read_table
from lucule.io.format import Contents, Format, Reading, ReadOptions


def _sniff(path: Path, head: bytes) -> bool:  # noqa: ARG001
    shape = layout(head)
    positions = [field for field in guess(shape.names) if field.targets in (("x",), ("y",))]
    return shape.has_header and len(positions) == 2 and all(is_length_unit(field.unit) for field in positions)


def _read(path: Path, options: ReadOptions) -> Reading:
    shape = open_layout(path, options)
    return read_table(path, shape, _fields(path, shape, options), options)


def _inspect(path: Path, options: ReadOptions) -> Contents:
    shape = open_layout(path, options)
    return inspect_table(path, shape, _fields(path, shape, options), options)


def _fields(path: Path, shape: Layout, options: ReadOptions) -> tuple[Field, ...]:
    """The guessed fields, if together with what the user said they are certain.

    Columns whose unit nobody knows are left to the vendor, except for x and y, without which there is no table.
    """
    guessed = guess(shape.names)
    known = {to for field in guessed for to in field.targets} | set(options.columns)
    if not {"x", "y"} <= known:
        raise unknown(path, shape, options)
    units: Mapping[str, str] = {to: field.unit for field in guessed for to in field.targets}
    for axis in ("x", "y"):
        column = options.columns.get(axis)
        unit = split_unit(column)[1] if column is not None else units[axis]
        suffix = next((field.unit for field in guessed if field.names == column), "")
        if not (options.unit or is_length_unit(unit) or suffix):
            raise unknown(path, shape, options)
    return tuple(field for field in guessed if not _is_unclear(field, options))


def _is_unclear(field: Field, options: ReadOptions) -> bool:
    lengths = {"x", "y", "z", "x_err", "y_err", "z_err", "sigma_x", "sigma_y"}
    return bool(lengths & set(field.targets)) and not (field.unit or options.unit)


def unknown(path: Path, shape: Layout, options: ReadOptions) -> FormatError:
    """The error for a table that cannot be read without help: what it holds, and the command that helps."""
    if len(shape.names) < 2 or not any(shape.numeric) or not (shape.sample or shape.has_header):
        return FormatError(
            f"{path} is text, but not a table of localizations",
            received=(" ".join(shape.names) or "nothing")[:80],
            allowed="columns between commas, tabs, semicolons or blanks, at least x and y",
        )
    guessed = {to: field for field in guess(shape.names) for to in field.targets}
    chosen = {to: str(field.names) for to, field in guessed.items() if to in ("x", "y", "z", "frame")} | dict(
        options.columns
    )
    if not shape.has_header and not chosen:
        chosen = dict(zip(("x", "y"), shape.names, strict=False))
    maps = " ".join(f"--map {to}={shlex.quote(chosen.get(to, 'COLUMN'))}" for to in {"x": 0, "y": 0} | chosen)
    x = chosen.get("x", "")
    unit = (guessed["x"].unit if "x" in guessed else "") or (likely_unit(shape, x) if x in shape.names else "nm")
    pixels = " --pixel-size-nm SIZE" if unit == "px" and options.pixel_size_nm is None else ""
    likely = ", ".join(f"{to} from {column!r}" for to, column in chosen.items()) or "none"
    return FormatError(
        f"{path} is a table of no known format",
        received=f"columns {', '.join(map(repr, shape.names))}; likely {likely}; the values look like {unit}",
        next_step=f"say which columns hold the positions, and their unit: lucule convert {shlex.quote(str(path))} "
        f"{maps} --unit {options.unit or unit}{pixels} --out {shlex.quote(path.stem + '.parquet')}",
    )


FORMAT: Final = Format(
    name="delimited",
    title="Delimited text with a mapping",
    extensions=(".csv", ".tsv", ".txt"),
    sniff=_sniff,
    read=_read,
    inspect=_inspect,
    notes="columns by --map, unit by --unit; read without them where the names carry units",
)
