"""Which file belongs to which condition: a small table that the user writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final

import polars as pl

from lucule.core import FormatError, InputError

REQUIRED: Final = ("file", "condition")
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Assignment:
    """One input and what the table says about it.

    Attributes
    ----------
    path
        The input.
    condition, cell
        Its condition, and the cell it belongs to: several inputs of one cell are counted together.
    replicate
        Experiment, donor, day; None where the table does not tell.
    """

    path: Path
    condition: str
    cell: str
    replicate: str | None = None


def read(path: Path) -> pl.DataFrame:
    """Read the table of conditions: `file` and `condition`, and where given `cell` and `replicate`, all as text.

    Columns may be separated by commas, semicolons or tabs; other columns are left alone.

    Raises
    ------
    InputError
        The file cannot be read.
    FormatError
        A column is missing, or a cell of the table is empty.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise FormatError(f"{path} is not text in UTF-8", next_step="save it as CSV (UTF-8)") from None
    head = text.split("\n", 1)[0]
    separator = max(",;\t", key=head.count)
    try:
        table = pl.read_csv(text.encode(), separator=separator, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise FormatError(f"{path} is not a table: {str(error).splitlines()[0]}") from None
    table = table.rename({name: name.strip().lower() for name in table.columns})
    if missing := [name for name in REQUIRED if name not in table.columns]:
        raise FormatError(
            f"{path} has no column {', '.join(missing)}",
            received=f"columns {', '.join(table.columns)}",
            allowed="file, condition and, if you like, cell and replicate",
        )
    table = table.select(pl.col(name).str.strip_chars() for name in _known(table))
    empty = table.with_row_index("row", offset=2).filter(
        pl.any_horizontal(pl.col(name).is_null() | (pl.col(name) == "") for name in _known(table))
    )
    if empty.height:
        raise FormatError(f"{path} has empty cells", received=f"in line {_list(empty['row'].to_list())}")
    if not table.height:
        raise FormatError(f"{path} has no lines below its head")
    return table


def match(inputs: Sequence[Path], by: Path) -> list[Assignment]:
    """Find the line of each input; every input has exactly one, and every line exactly one input.

    `file` may be a path (relative to the table or to the working folder), the end of one, the name of the file with or
    without its ending, or the name of the folder it lies in, which is how `lucule run clusters` names cells.

    Parameters
    ----------
    inputs
        The files to compare.
    by
        The table of conditions.

    Returns
    -------
    list of Assignment
        One for each input, in the order of the lines, so that conditions come in the order of the table.

    Raises
    ------
    InputError
        An input is named twice or has no line or several, a line fits no input or several, or one cell stands under two
        conditions or replicates. All of these are named at once.
    """
    table = read(by)
    keys: dict[str, set[int]] = {}
    for number, path in enumerate(inputs):
        for key in _names_of(path):
            keys.setdefault(key, set()).add(number)
    found: list[Assignment] = []
    lines_of: dict[int, list[str]] = {}
    unknown, ambiguous = [], []
    for row in table.iter_rows(named=True):
        numbers = _look_up(row["file"], keys, by.resolve().parent)
        if not numbers:
            unknown.append(row["file"])
        elif len(numbers) > 1:
            ambiguous.append(f"{row['file']} ({len(numbers)} files)")
        else:
            (number,) = numbers
            lines_of.setdefault(number, []).append(row["file"])
            cell = row.get("cell") or row["file"]
            found.append(Assignment(inputs[number], row["condition"], cell, row.get("replicate")))
    times = Counter(path.resolve() for path in inputs)
    problems = {
        "inputs named twice": [str(path) for path in dict.fromkeys(inputs) if times[path.resolve()] > 1],
        "inputs without a line": [str(path) for number, path in enumerate(inputs) if number not in lines_of],
        "inputs with several lines": [str(inputs[n]) for n, lines in lines_of.items() if len(lines) > 1],
        "lines that fit no input": unknown,
        "lines that fit several inputs": ambiguous,
        "cells under several conditions": _torn([(own.cell, own.condition) for own in found]),
        "cells in several replicates": _torn([(own.cell, own.replicate) for own in found]),
    }
    if any(problems.values()):
        raise InputError(
            f"{by} does not fit the inputs",
            received="; ".join(f"{len(names)} {what}: {_list(names)}" for what, names in problems.items() if names),
            allowed="one line for each input; file is a path, a file name, or the name of its folder",
            next_step="correct the table, or name other inputs",
        )
    return found


def _known(table: pl.DataFrame) -> list[str]:
    return [name for name in (*REQUIRED, "cell", "replicate") if name in table.columns]


def _names_of(path: Path) -> set[str]:
    """All that a line may call an input: ends of its path, with and without ending, and ends of its folder's path."""
    parts = path.resolve().parts
    folder = parts[:-1]
    names = set()
    for start in range(len(parts)):
        names.add("/".join(parts[start:]))
        names.add("/".join([*parts[start:-1], path.stem]))
    for start in range(len(folder)):
        names.add("/".join(folder[start:]))
    return names


def _look_up(name: str, keys: dict[str, set[int]], beside: Path) -> set[int]:
    wanted = PurePath(name.replace("\\", "/"))
    candidates = [
        "/".join((beside / wanted).resolve().parts),
        "/".join(Path(wanted).resolve().parts),
        "/".join(part for part in wanted.parts if part != "."),
        # the table may name the localizations that the clusters were found in: cell1.csv for the folder cell1
        wanted.stem,
    ]
    return next((keys[candidate] for candidate in candidates if candidate in keys), set())


def _torn(pairs: Sequence[tuple[str, str | None]]) -> list[str]:
    """Cells that stand beside more than one other word."""
    return [cell for cell, count in Counter(cell for cell, _ in set(pairs)).items() if count > 1]


def _list(names: Sequence[object]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(str(name) for name in names[:_SHOWN]) + more
