"""What a file format offers to the rest of `lucule.io`: the contract between the formats and the registry.

Each format is one module with one constant `FORMAT`, and one line in `lucule.io.registry`. A format module imports at
its top level only what is cheap; h5py and the like are imported inside its functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import polars as pl

from lucule.core import InputError, Localizations, Meta

Unit = Literal["nm", "um", "px", "m"]


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a user may say about a file beyond its path; each format uses what concerns it.

    Attributes
    ----------
    columns
        lucule column -> column of the file; overrides what the format knows.
    unit
        Unit of positions and precisions in the file; overrides what the format knows.
    pixel_size_nm
        Size of a camera pixel along (x, y) in nm; overrides what the file says.
    delimiter
        Character between two fields of a text file.
    table
        Which table, where a file holds several.
    z_factor
        Factor on z, for files that leave the correction of the refractive index to the reader.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    unit: Unit | None = None
    pixel_size_nm: tuple[float, float] | None = None
    delimiter: str | None = None
    table: str | None = None
    z_factor: float | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader returns.

    Attributes
    ----------
    data
        One row per localization, in the order of the file; lucule's names and conventions (nm, frames from 0, origin
        at the outer corner of pixel (0, 0), x right, y down, z up), vendor columns under their own name. Positions may
        hold NaN: `lucule.io.read` reports or drops them for all formats alike.
    meta
        Everything but source and history, which `lucule.io.read` adds.
    """

    data: pl.DataFrame
    meta: Meta = field(default_factory=Meta)


@dataclass(frozen=True, slots=True)
class FileColumn:
    """A column as it stands in a file: its name there, its unit there, and the lucule column that it becomes.

    `becomes` equals `name` for vendor columns that are kept, and is None for columns that are not read.
    """

    name: str
    unit: str
    becomes: str | None


@dataclass(frozen=True, slots=True)
class Contents:
    """What `inspect` finds out without reading all rows; `rows` is None where counting them would need that."""

    columns: tuple[FileColumn, ...] = ()
    rows: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Sniffer(Protocol):
    """Whether a file of the right family is of this format, judged by content.

    `head` is the start of the file (up to 64 KiB, decompressed when the file is gzip). The file may be opened; a
    damaged file is answered with False or, when it is surely of this format, with a FormatError.
    """

    def __call__(self, path: Path, head: bytes, /) -> bool:
        """Whether the file is of this format."""


@dataclass(frozen=True, slots=True)
class Format:
    """One file format.

    Attributes
    ----------
    name
        Short name, as in `read(path, format="thunderstorm")`.
    title
        Name in full, for messages and documentation.
    extensions
        File name endings, the usual one first, such as `(".csv",)`. They choose the format only when writing.
    sniff
        Recognises the format by content.
    read
        Reads all rows.
    inspect
        Describes the file without reading all rows.
    write
        Writes a table to the path given, completely or not at all (`lucule.core.files.atomic_path`); None when the
        format is only read.
    notes
        One line for the table of formats in the documentation: conventions that were converted, what is not verified.
    """

    name: str
    title: str
    extensions: tuple[str, ...]
    sniff: Sniffer
    read: Callable[[Path, ReadOptions], Reading]
    inspect: Callable[[Path, ReadOptions], Contents]
    write: Callable[[Localizations, Path], None] | None = None
    notes: str = ""


def pixel_size(path: Path, options: ReadOptions, stored: tuple[float, float] | None = None) -> tuple[float, float]:
    """The pixel size (x, y) in nm that the user gave, else the one stored in the file.

    Raises
    ------
    InputError
        Neither is known, and the file needs it because its positions are pixels.
    """
    size = options.pixel_size_nm or stored
    if size is None:
        raise InputError(
            f"{path.name} gives positions in pixels and does not say how large a pixel is",
            allowed="the size of a camera pixel in the sample, in nm",
            next_step="add it, for example --pixel-size-nm 100 (in Python: read(path, pixel_size_nm=100))",
        )
    return size
