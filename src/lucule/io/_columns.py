"""From the columns of a file to those of lucule: names, units, frame base, pixel centres.

A text format is a list of `Field`s. `assign` matches them with the names in a header, `convert` applies the result to
the rows; `inspect` shows it without reading them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import polars as pl

from lucule.core import COLUMNS, ColumnError, InputError
from lucule.io._text import split_unit
from lucule.io.format import FileColumn, ReadOptions, pixel_size

Origin = Literal["corner", "centre"]

# nm for one unit; pixels are scaled by the pixel size
_LENGTHS: Final[Mapping[str, float | None]] = {
    "nm": 1.0,
    "nanometer": 1.0,
    "nanometre": 1.0,
    "um": 1e3,
    "\u00b5m": 1e3,
    "\u03bcm": 1e3,
    "micron": 1e3,
    "micrometer": 1e3,
    "m": 1e9,
    "meter": 1e9,
    "px": None,
    "pix": None,
    "pixel": None,
    "pixels": None,
}
_PHOTONS: Final = ("", "photon", "photons", "ph", "photons/pixel")
_AXIS: Final = {"y": 1, "y_err": 1, "sigma_y": 1}


@dataclass(frozen=True, slots=True)
class Field:
    """What one column of a file becomes.

    Attributes
    ----------
    to
        The lucule column, or several that get the same values.
    names
        Names in the file, lower case and without unit; the first that is present is taken, the others are kept as
        vendor columns.
    unit
        Unit where the header gives none; "" when the header must give it or there is none.
    factor, offset
        Applied to the values, after the unit: `value * factor + offset`.
    first
        For `frame` and `channel`: the number of the first one in files of this format.
    own
        A column that lucule's writer adds under its own name; one of that name that holds text is something else.
    before
        Applied to the values first of all, for what a factor cannot do, such as the root of a variance.
    """

    to: str | tuple[str, ...]
    names: str | tuple[str, ...]
    unit: str = ""
    factor: float = 1.0
    offset: float = 0.0
    first: int = 0
    own: bool = False
    before: Callable[[pl.Expr], pl.Expr] | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        """The lucule columns as a tuple."""
        return (self.to,) if isinstance(self.to, str) else self.to

    @property
    def aliases(self) -> tuple[str, ...]:
        """The names in the file as a tuple."""
        return (self.names,) if isinstance(self.names, str) else self.names


@dataclass(frozen=True, slots=True)
class Assignment:
    """A file column that becomes a lucule column: `before(value) * factor + offset`; `unit` as in the file."""

    column: str
    to: str
    unit: str
    factor: float
    offset: float
    first: int = 0
    before: Callable[[pl.Expr], pl.Expr] | None = None


def assign(
    names: Sequence[str],
    fields: Sequence[Field],
    options: ReadOptions,
    path: Path,
    *,
    stored_pixel_size: tuple[float, float] | None = None,
    origin: Origin = "corner",
) -> list[Assignment]:
    """Match `fields` with the columns of a file; what the user named in `options.columns` comes first.

    Raises
    ------
    InputError
        A named column is not in the file, units contradict each other, or positions are pixels of unknown size.
    """
    taken: dict[str, Assignment] = {}
    by_base = {split_unit(name)[0]: name for name in reversed(names)}
    for field in _fields_of_user(names, fields, options, path):
        column = next((name for name in field.aliases if name in names), None)
        column = column or next((by_base[alias] for alias in field.aliases if alias in by_base), None)
        if column is None:
            continue
        for to in field.targets:
            if to in taken:
                continue
            found = _resolve(column, to, field, options, path, stored_pixel_size, origin)
            if found is not None:
                taken[to] = found
    return sorted(taken.values(), key=lambda found: list(COLUMNS).index(found.to))


def convert(data: pl.DataFrame, assignments: Sequence[Assignment]) -> tuple[pl.DataFrame, list[str]]:
    """Rows of a file as lucule's columns, vendor columns behind them; and notes on what was noticed."""
    notes: list[str] = []
    expressions: list[pl.Expr] = []
    for found in assignments:
        offset = found.offset
        if found.first and found.column in data.columns and data.height:
            lowest = data[found.column].cast(pl.Float64).min()
            if isinstance(lowest, float) and lowest < found.first:
                notes.append(f"{found.column!r} counts from {lowest:g}, not from {found.first} as usual in this format")
            else:
                offset -= found.first
        value = pl.col(found.column)
        if found.before is not None:
            value = found.before(value)
        if found.factor != 1.0:
            value = value * found.factor
        if offset:
            value = value + offset
        expressions.append(value.alias(found.to))
    kept = kept_names(data.columns, assignments)
    return data.select(expressions + [pl.col(name).alias(own) for name, own in kept.items()]), notes


def kept_names(names: Sequence[str], assignments: Sequence[Assignment]) -> dict[str, str]:
    """File column -> the name under which it is kept, for the columns that become none of lucule's.

    The unit is left out of the name so that filters can be typed (`chi2 < 3`), unless that makes it ambiguous.
    """
    used = {found.column for found in assignments}
    rest = [name for name in names if name not in used]
    bare = {name: _bare(name) for name in rest}
    lower = [own.lower() for own in bare.values()]
    kept = {}
    for name in rest:
        own = bare[name] if lower.count(bare[name].lower()) == 1 and bare[name].lower() not in COLUMNS else name
        kept[name] = f"{own}_in_file" if own in COLUMNS else own
    return kept


def _bare(name: str) -> str:
    unit = split_unit(name)[1]
    return re.sub(r"\s*[\[(][^\])]*[\])]\s*$", "", name) if unit else name


def describe(names: Sequence[str], assignments: Sequence[Assignment]) -> tuple[FileColumn, ...]:
    """What each column of a file becomes, in the order of the file."""
    targets: dict[str, list[Assignment]] = {}
    for found in assignments:
        targets.setdefault(found.column, []).append(found)
    kept = kept_names(names, assignments)
    described = []
    for name in names:
        if name in targets:
            becomes = ", ".join(found.to for found in targets[name])
            described.append(FileColumn(name, targets[name][0].unit, becomes))
        else:
            described.append(FileColumn(name, split_unit(name)[1], kept[name]))
    return tuple(described)


def is_length(column: str) -> bool:
    """Whether a lucule column holds a length."""
    return column in COLUMNS and COLUMNS[column].unit == "nm"


def length_nm(unit: str) -> float | None:
    """Length of a unit in nm; None for pixels.

    Raises
    ------
    KeyError
        Not a unit of length.
    """
    return _LENGTHS[unit.lower()]


def is_length_unit(unit: str) -> bool:
    """Whether `unit` is a unit of length that is understood."""
    return unit.lower() in _LENGTHS


def _fields_of_user(names: Sequence[str], fields: Sequence[Field], options: ReadOptions, path: Path) -> list[Field]:
    mapped = []
    for to, column in options.columns.items():
        if column not in names:
            raise InputError(
                f"{path} has no column {column!r}", received=f"--map {to}={column}", allowed=", ".join(names)
            )
        if to not in COLUMNS:
            raise InputError("Unknown column on the left of the map", received=to, allowed=", ".join(COLUMNS))
        known = next((field for field in fields if to in field.targets), None)
        same_column = known is not None and split_unit(column)[0] in known.aliases
        first = known.first if known is not None and same_column else 0
        mapped.append(Field(to, column, unit=known.unit if known else "", first=first))
    return [*mapped, *fields]


def _resolve(
    column: str,
    to: str,
    field: Field,
    options: ReadOptions,
    path: Path,
    stored: tuple[float, float] | None,
    origin: Origin,
) -> Assignment | None:
    written = split_unit(column)[1]
    if not is_length(to):
        # counts are not photons, so a column in any other unit stays what the vendor calls it
        if to in ("photons", "background") and written.lower() not in _PHOTONS:
            return None
        return Assignment(column, to, written or field.unit, field.factor, field.offset, field.first, field.before)
    unit = written if is_length_unit(written) else ""
    if unit and options.unit and to in ("x", "y") and length_nm(unit) != length_nm(options.unit):
        raise InputError(
            f"{path}: the header gives the unit of {column!r}", received=f"--unit {options.unit}", allowed=unit
        )
    unit = unit or options.unit or field.unit
    if not unit:
        raise InputError(
            f"{path} does not say in which unit {column!r} is",
            allowed="nm, um, px, m",
            next_step="add the unit, for example --unit nm (in Python: read(path, unit='nm'))",
        )
    scale, offset = length_nm(unit), field.offset
    if scale is None:
        scale = pixel_size(path, options, stored)[_AXIS.get(to, 0)]
        if origin == "centre" and to in ("x", "y"):
            offset += scale / 2
    return Assignment(column, to, unit, scale * field.factor, offset, 0, field.before)


def require(names: Sequence[str], wanted: Sequence[str], path: Path, title: str) -> None:
    """Raise a ColumnError when a column without which a format means nothing is missing."""
    bases = {split_unit(name)[0] for name in names}
    if missing := [name for name in wanted if name not in bases]:
        raise ColumnError(
            f"{path} lacks columns that {title} has",
            received=", ".join(names) or "no columns",
            allowed=", ".join(missing) + " too",
            next_step="if it is another format, name the columns: --map x=... --map y=... --unit nm",
        )
