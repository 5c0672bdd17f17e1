"""Delimited text: what the first lines say about a file, and reading its rows.

Localization software writes text in every dialect there is: commas, tabs, semicolons or blanks; quoted names; names in
a comment; decimal commas; byte order marks, UTF-16 and Latin-1; Windows line ends. `layout` finds out which, from the
first 64 KiB alone, and `read_rows` hands the file to polars accordingly.
"""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

import polars as pl

from lucule.core import InputError
from lucule.io import _text_errors as text_errors
from lucule.io._head import HEAD_BYTES, is_gzip

Encoding = Literal["utf-8", "utf-16", "latin-1"]

# what programs write for "no value"; Java's DecimalFormat writes the last three for NaN and infinity
EMPTY: Final = ("NaN", "nan", "NA", "N/A", "null", "None", "NULL", "\ufffd", "\u221e", "-\u221e")
_DELIMITERS: Final = ("\t", ";", ",", "|")
_DELIMITER_NAMES: Final = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "space": " ", "blank": " "}
_COMMENT: Final = ("#", "%", "//")
_DECIMAL_COMMA: Final = re.compile(r"[-+]?\d+,\d+([eE][-+]?\d+)?")
_SURPLUS: Final = "\0surplus"


@dataclass(frozen=True, slots=True)
class Layout:
    """How the text of a file is laid out.

    Attributes
    ----------
    names
        Names of the columns as they stand in the file, without quotes; `column_1`, ... where the file has none.
    delimiter
        Character between two fields; a blank stands for any number of blanks.
    skip_lines
        Lines before the first row.
    comments
        Comment lines at the start, with their marks.
    numeric
        For each column, whether most of the first rows hold numbers.
    sample
        Fields of the first rows.
    surplus
        Empty fields at the end of each row, beyond the names.
    padded
        Whether fields are followed by blanks, which polars does not accept.
    rows_in_head
        Rows among the first bytes.
    whole
        Whether the first bytes are the whole file.
    """

    names: tuple[str, ...]
    delimiter: str
    skip_lines: int
    comments: tuple[str, ...]
    has_header: bool
    encoding: Encoding
    decimal_comma: bool
    numeric: tuple[bool, ...]
    sample: tuple[tuple[str, ...], ...]
    surplus: int
    padded: bool
    old_line_ends: bool
    rows_in_head: int
    whole: bool

    @property
    def base_names(self) -> frozenset[str]:
        """The names in lower case and without unit, by which formats are recognised."""
        return frozenset(split_unit(name)[0] for name in self.names)

    def with_names(self, names: Sequence[str]) -> Layout:
        """The same rows under other names, all of them columns of numbers; comments have told what they had to."""
        return replace(self, names=tuple(names), numeric=(True,) * len(names), comments=(), has_header=True)


def split_unit(name: str) -> tuple[str, str]:
    """Split a column name into its base, in lower case, and its unit.

    Examples
    --------
    >>> split_unit("x [nm]"), split_unit("X precision (pix)"), split_unit("Frame")
    (('x', 'nm'), ('x precision', 'pix'), ('frame', ''))
    """
    match = re.fullmatch(r"(.*?)\s*[\[(]([^\])]*)[\])]\s*", name)
    base, unit = match.groups() if match else (name, "")
    return base.strip().lower(), unit.strip()


@lru_cache(maxsize=8)  # every text format looks at the same head
def layout(head: bytes, delimiter: str | None = None) -> Layout:
    """Find out how a text file is laid out from its first bytes.

    Parameters
    ----------
    head
        The first `HEAD_BYTES` of the file, or all of it.
    delimiter
        Character between two fields, or `tab`, `space`, ...; found out when None.
    """
    text, encoding = _decode(head)
    lines = _lines(text)
    whole = len(head) < HEAD_BYTES
    if not whole and len(lines) > 1:
        lines.pop()  # most likely cut in the middle
    first = 0
    while first < len(lines) and (not lines[first].strip() or lines[first].lstrip().startswith(_COMMENT)):
        first += 1
    comments = tuple(line for line in lines[:first] if line.strip())
    body = [line for line in lines[first:] if line.strip(" \t,;\0") and not line.startswith("#")]
    header, rows, skip = _header(comments, body, first)
    mark = _delimiter(header if header is not None else (body[0] if body else ""), delimiter)
    # a quoted field may hold the delimiter, which only the csv module gets right; it is slow, hence few lines
    sample = [_split(line, mark) for line in rows[:200]]
    names = _names(header, mark, sample)
    widths = {len(fields) for fields in sample}
    surplus = 0
    if len(widths) == 1 and (width := widths.pop()) > len(names) and not any("".join(f[len(names) :]) for f in sample):
        surplus = width - len(names)
    decimal_comma = mark != "," and _has_decimal_commas(sample)
    return Layout(
        names=names,
        delimiter=mark,
        skip_lines=skip,
        comments=comments,
        has_header=header is not None,
        encoding=encoding,
        decimal_comma=decimal_comma,
        numeric=tuple(_is_numeric([f[i] for f in sample if i < len(f)], decimal_comma) for i in range(len(names))),
        sample=tuple(tuple(fields) for fields in sample),
        surplus=surplus,
        padded=_is_padded(rows[:200], mark),
        old_line_ends="\n" not in text and "\r" in text,
        rows_in_head=len(rows),
        whole=whole,
    )


def read_rows(path: Path, shape: Layout, numbers: Collection[str] = (), *, texts: Collection[str] = ()) -> pl.DataFrame:
    """Read all rows; columns become Float64 or text, as they are named here or else as their first rows look.

    Empty fields become null; blank lines are left out.

    Raises
    ------
    FormatError
        A row has too few or too many fields, or the file ends in the middle of a row.
    ColumnError
        A column of numbers holds text.
    """
    return parse_rows(content(path, shape), path, shape, numbers, texts=texts)


def parse_rows(
    source: Path | bytes,
    path: Path,
    shape: Layout,
    numbers: Collection[str] = (),
    *,
    texts: Collection[str] = (),
) -> pl.DataFrame:
    """Like `read_rows`, from content that was changed in memory; `path` is named in messages."""
    schema: dict[str, pl.DataType] = {
        name: pl.Float64() if (is_number and name not in texts) or name in numbers else pl.String()
        for name, is_number in zip(shape.names, shape.numeric, strict=True)
    }
    schema |= {f"{_SURPLUS}{i}": pl.String() for i in range(shape.surplus)}
    scan = pl.scan_csv(
        source,
        has_header=False,
        skip_lines=shape.skip_lines,
        separator=shape.delimiter,
        schema=schema,
        comment_prefix="#",
        null_values=list(EMPTY),
        decimal_comma=shape.decimal_comma,
        encoding="utf8-lossy",
        glob=False,
    )
    try:
        data = scan.select(shape.names).collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise text_errors.explain(error, source, path, shape) from None
    if all(data.null_count().row(0)):
        data = data.filter(~pl.all_horizontal(pl.all().is_null()))  # blank lines
    if data.height and data[data.columns[-1]].null_count():
        text_errors.refuse_short_rows(source, path, shape)
    return data


def content(path: Path, shape: Layout) -> Path | bytes:
    """The file for polars to read: its path, or its bytes where the dialect is one that polars does not know."""
    if not (shape.padded or shape.old_line_ends or shape.encoding == "utf-16"):
        return path
    data = raw_bytes(path)
    if shape.encoding == "utf-16":
        data = data.decode("utf-16").encode()
    data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if shape.delimiter == " ":
        data = re.sub(rb"[ \t]+", b" ", data)
        data = re.sub(rb"(?m)^ | $", b"", data)
    elif shape.padded:
        data = re.sub(rb" +(?=[\n" + re.escape(shape.delimiter.encode()) + rb"]|\Z)", b"", data)
    return data


def raw_bytes(path: Path) -> bytes:
    """All bytes of a file, decompressed when it is gzip."""
    data = path.read_bytes()
    return gzip.decompress(data) if is_gzip(data) else data


def count_rows(path: Path, shape: Layout) -> int | None:
    """Number of rows, where it can be told within about a second; None where it cannot."""
    if shape.whole:
        return shape.rows_in_head
    with path.open("rb") as stream:
        if path.stat().st_size > 2**31 or is_gzip(stream.read(2)) or shape.encoding == "utf-16":
            return None
        stream.seek(0)
        count, last = 0, b""
        while block := stream.read(2**22):
            count += block.count(b"\n")
            last = block[-1:]
    return count + (last != b"\n") - shape.skip_lines


def _decode(head: bytes) -> tuple[str, Encoding]:
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return head[: len(head) & ~1].decode("utf-16", errors="replace"), "utf-16"
    head = head.partition(b"\0")[0]  # behind it some programs write a block that is no table
    try:
        return head.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError as error:
        if error.start >= len(head) - 3 and len(head) >= HEAD_BYTES:  # the head ends within a character
            return head[: error.start].decode("utf-8-sig"), "utf-8"
        return head.decode("latin-1"), "latin-1"


def _lines(text: str) -> list[str]:
    """Lines as polars sees them; `str.splitlines` knows line ends that no table uses."""
    lines = re.split(r"\r\n|\n|\r", text)
    return lines if lines[-1] else lines[:-1]


def _header(comments: tuple[str, ...], body: list[str], first: int) -> tuple[str | None, list[str], int]:
    """The line that names the columns, the rows, and how many lines to skip before them."""
    if not body:
        return None, [], first
    if not _looks_like_row(body[0]):
        return body[0], body[1:], first + 1
    # numpy.savetxt and others put the names into the last comment
    named = comments[-1].lstrip("#%/ \t") if comments else ""
    mark = _delimiter(body[0], None)
    if named and len(_split(named, mark)) == len(_split(body[0], mark)) and not _looks_like_row(named):
        return named, body, first
    return None, body, first


def _looks_like_row(line: str) -> bool:
    fields = [field for field in re.split(r"[\t;,| ]+", line.strip()) if field]
    return bool(fields) and sum(_is_number(field.strip('"'), True) for field in fields) > len(fields) / 2


def _delimiter(line: str, given: str | None) -> str:
    if given is not None:
        mark = _DELIMITER_NAMES.get(given.lower(), given)
        if len(mark) != 1 or mark in '"\n\r':
            raise InputError("The delimiter must be one character", received=repr(given), allowed=", ; | tab space")
        return mark
    return next((mark for mark in _DELIMITERS if mark in line), " " if len(line.split()) > 1 else ",")


def _split(line: str, mark: str) -> list[str]:
    if mark == " ":
        return line.split()
    fields = next(csv.reader([line], delimiter=mark)) if '"' in line else line.split(mark)
    if len(fields) == 1 and mark in fields[0]:  # spreadsheets quote a whole line that holds quotes
        fields = next(csv.reader([fields[0]], delimiter=mark))
    return [field.strip().strip('"').strip() for field in fields]


def _names(header: str | None, mark: str, sample: list[list[str]]) -> tuple[str, ...]:
    if header is None:
        return tuple(f"column_{i + 1}" for i in range(max((len(fields) for fields in sample), default=0)))
    names = _split(header, mark)
    while names and not names[-1] and not any(f[len(names) - 1] for f in sample if len(f) >= len(names)):
        names.pop()  # a delimiter at the end of the line
    unique: list[str] = []
    for i, name in enumerate(names):
        name = name or f"column_{i + 1}"
        count = sum(earlier == name or earlier.startswith(f"{name}.") for earlier in unique)
        unique.append(f"{name}.{count + 1}" if name in unique else name)
    return tuple(unique)


def _is_numeric(fields: list[str], decimal_comma: bool) -> bool:
    return 2 * sum(_is_number(field, decimal_comma) for field in fields) >= len(fields)


def _is_number(field: str, decimal_comma: bool) -> bool:
    if not field or field in EMPTY:
        return True
    try:
        float(field.replace(",", ".") if decimal_comma else field)
    except ValueError:
        return False
    return "_" not in field  # Python reads 1_000 as a number, nobody else does


def _has_decimal_commas(sample: list[list[str]]) -> bool:
    fields = [field for row in sample for field in row]
    return any(_DECIMAL_COMMA.fullmatch(field) for field in fields) and not any(
        re.fullmatch(r"[-+]?\d*\.\d+", field) for field in fields
    )


def _is_padded(rows: list[str], mark: str) -> bool:
    if mark == " ":
        return any(row != row.strip() or "  " in row or "\t" in row for row in rows)
    return any(f" {mark}" in row or row.endswith(" ") for row in rows)
