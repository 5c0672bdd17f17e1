"""What is wrong with a text file, in words: which row, which column, which value.

Reading goes fast and says little when it fails; these functions go through the file once more, slowly, to find the
place.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from lucule.core import ColumnError, FormatError, LuculeError
from lucule.io._head import is_gzip

if TYPE_CHECKING:
    from lucule.io._text import Layout


def explain(error: Exception, source: Path | bytes, path: Path, shape: Layout) -> LuculeError:
    """The error to raise for what polars said while reading rows."""
    text = str(error)
    if match := re.search(r"could not parse .* at column '.*' \(column number (\d+)\)", text, re.DOTALL):
        return _text_in_numbers(source, path, shape, int(match.group(1)) - 1)
    return _long_row(source, path, shape) or FormatError(
        f"{path} cannot be read as a table: {text.splitlines()[0] if text else type(error).__name__}"
    )


def refuse_short_rows(source: Path | bytes, path: Path, shape: Layout) -> None:
    """Raise a FormatError if some row has fewer fields than there are columns."""
    expected = len(shape.names) + shape.surplus
    for line, fields, complete, is_last in _rows(source, shape):
        if fields >= expected and (complete or not is_last):
            continue
        if is_last:
            raise FormatError(
                f"{path} ends in the middle of a row: the file was cut off",
                received=f"{fields} of {expected} fields in the last row (line {line})",
                next_step="export or copy the file again, or delete its last line",
            )
        raise FormatError(
            f"{path}: line {line} has too few fields",
            received=f"{fields} fields",
            allowed=f"{expected} fields, as the header has",
            next_step="check that line, and that the delimiter is right (--delimiter)",
        )


def _long_row(source: Path | bytes, path: Path, shape: Layout) -> FormatError | None:
    """The error for the first row with more fields than there are columns; None when there is none."""
    expected = len(shape.names) + shape.surplus
    widths = {len(fields) for fields in shape.sample}
    if shape.delimiter == "," and widths and min(widths) >= 2 * expected - 1 > 1:
        return FormatError(
            f"{path} has about twice as many fields in its rows as in its header",
            received=f"{max(widths)} fields, {expected} names",
            allowed="decimal points, or decimal commas with semicolons or tabs between fields",
            next_step="export again with decimal points; commas cannot be both delimiter and decimal mark",
        )
    for line, fields, _, _ in _rows(source, shape):
        if fields > expected:
            return FormatError(
                f"{path}: line {line} has too many fields",
                received=f"{fields} fields",
                allowed=f"{expected} fields, as the header has",
                next_step="check that line, and that the delimiter is right (--delimiter)",
            )
    return None


def _text_in_numbers(source: Path | bytes, path: Path, shape: Layout, column: int) -> LuculeError:
    name = shape.names[column] if column < len(shape.names) else f"column_{column + 1}"
    schema = {f"c{i}": pl.String() for i in range(len(shape.names) + shape.surplus)}
    texts = pl.scan_csv(
        source,
        has_header=False,
        skip_lines=shape.skip_lines,
        separator=shape.delimiter,
        schema=schema,
        comment_prefix="#",
        encoding="utf8-lossy",
        glob=False,
        truncate_ragged_lines=True,
    ).select(pl.col(f"c{column}").alias("value"))
    values = texts.collect(engine="streaming")["value"]
    from lucule.io._text import EMPTY  # that module imports this one

    points = values.str.replace(",", ".", literal=True) if shape.decimal_comma else values
    wrong = (points.cast(pl.Float64, strict=False).is_null() & values.is_not_null()) & ~values.is_in(list(EMPTY))
    rows = wrong.arg_true()
    if not len(rows):
        return FormatError(f"{path}: column {name} cannot be read as numbers")
    row, value = int(rows[0]), str(values[int(rows[0])])
    more = f" and {len(rows) - 1:,} more such rows" if len(rows) > 1 else ""
    next_step = "correct or delete that row"
    if re.fullmatch(r"\s*[-+]?\d+,\d+\s*", value):
        next_step = "export again with decimal points"
    return ColumnError(
        f"{path}: column {name!r} must hold numbers",
        received=f"{value[:40]!r} in row {row + 1}{more}",
        next_step=next_step,
    )


def _rows(source: Path | bytes, shape: Layout) -> Iterator[tuple[int, int, bool, bool]]:
    """(line number, fields, whether the row ends with a line end and a filled field, whether it is the last)."""
    mark = shape.delimiter.encode()
    held: tuple[int, int, bool] | None = None
    for number, line in enumerate(_lines(source), start=1):
        stripped = line.strip(b"\r\n")
        if number <= shape.skip_lines or not stripped.strip() or stripped.startswith(b"#"):
            continue
        if held is not None:
            yield (*held, False)
        count = stripped.count(mark) if b'"' not in stripped else re.sub(rb'"[^"]*"', b"", stripped).count(mark)
        complete = line.endswith((b"\n", b"\r")) or not stripped.endswith(mark)
        held = (number, count + 1, complete)
    if held is not None:
        yield (*held, True)


def _lines(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield from source.splitlines(keepends=True)
        return
    with source.open("rb") as raw:
        compressed = is_gzip(raw.read(2))
    with gzip.open(source) if compressed else source.open("rb") as stream:
        yield from stream
