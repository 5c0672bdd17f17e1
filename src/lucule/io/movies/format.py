"""What a movie format offers to the rest of `lucule.io.movies`: the contract between the formats and the registry.

Each format is one module with one constant `FORMAT`, and one line in `lucule.io.movies.registry`. tifffile, zarr and
nd2 are imported inside the functions that need them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lucule.io.movies.info import CameraNotes

Window: TypeAlias = tuple[slice, slice]
"""Rows and columns, with start and stop."""


class Frames(Protocol):
    """Frames of an open file."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, rows, columns."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""

    def read(self, frames: NDArray[np.int64], window: Window, /) -> NDArray[Any]:
        """Read frames by number, `(n, rows, columns)` of the window."""

    def close(self) -> None:
        """Close the file."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which element of an axis that is not time; None: there must be only one."""

    channel: int | None = None
    position: int | None = None
    z: int | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """What a format returns; see `MovieInfo` for the fields of the same name.

    Attributes
    ----------
    frames
        The frames.
    files
        All files that hold frames: they identify the movie.
    """

    frames: Frames
    files: Sequence[Path]
    axes: Mapping[str, int] = field(default_factory=dict)
    chosen: Mapping[str, int] = field(default_factory=dict)
    pixel_size_nm: tuple[float, float] | None = None
    exposure_ms: float | None = None
    camera: CameraNotes = field(default_factory=CameraNotes)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MovieFormat:
    """One movie format.

    Attributes
    ----------
    name, title
        Short name, and name in full.
    sniff
        Recognises the format by the path and the first bytes of the file (a folder has none). Files beside it may be
        looked at.
    open
        Opens a movie; damaged files are refused with a FormatError.
    notes
        One line for the table of formats in the documentation.
    """

    name: str
    title: str
    sniff: Callable[[Path, bytes], bool]
    open: Callable[[Path, Choice], Opened]
    notes: str = ""
