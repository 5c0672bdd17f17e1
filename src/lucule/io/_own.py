"""What lucule adds to files of other programs, so that reading them back gives the table that was written.

A foreign format has other names for some columns, needs columns that a table may lack, and knows little of the
metadata. The note says which field is which column (None: only there because the format wants it) and keeps the
metadata. Files of other programs have no such note, and readers do without.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from lucule.core import FormatError, Localizations, Meta
from lucule.io._documents import plain

KEY: Final = "lucule"


def field_names(columns: Iterable[str], theirs: Mapping[str, str]) -> dict[str, str]:
    """Column -> field of the file: their name where there is one, each name once.

    Examples
    --------
    >>> field_names(["x_err", "q", "lpx"], {"x_err": "lpx"})
    {'x_err': 'lpx', 'q': 'q', 'lpx': 'lpx_'}
    """
    names = {column: theirs.get(column, column) for column in columns}
    translated = {names[column] for column in names if column in theirs}
    for column, field in names.items():
        while column not in theirs and field in translated:
            field += "_"
        names[column] = field
    return names


def note(locs: Localizations, fields: Mapping[str, str | None], *, vendor: str, **more: Any) -> dict[str, Any]:
    """The note for a file with `fields`; `vendor` names the part of `meta.vendor` that the file holds by itself."""
    meta = locs.meta.model_dump(mode="json", exclude={"vendor"})
    meta["vendor"] = {key: value for key, value in locs.meta.vendor.items() if key != vendor}
    written: dict[str, Any] = plain({"columns": dict(fields), "meta": meta, **more})
    return written


def columns_of(found: Mapping[str, Any]) -> dict[str, str | None]:
    """Field -> column as the note says; nothing without a note."""
    columns = found.get("columns")
    return dict(columns) if isinstance(columns, dict) else {}


def meta_of(found: Mapping[str, Any], path: Path) -> Meta:
    """The metadata that the note keeps; empty metadata without a note.

    Raises
    ------
    FormatError
        The note was changed in a way that makes no sense.
    """
    try:
        return Meta.model_validate(found.get("meta", {}))
    except ValidationError as error:
        raise FormatError(f"The metadata in {path} are damaged: {error.errors()[0]['msg']}") from None
