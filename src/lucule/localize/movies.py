"""Movies as arrays of frames that are read when they are looked at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tifffile
from numpy.typing import NDArray

from lucule.core import FormatError, InputError


class Movie(Protocol):
    """What can be localized: a NumPy array `(frames, rows, columns)`, a memory map, or anything that slices alike."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Frames, rows, columns."""

    def __getitem__(self, frames: slice, /) -> NDArray[Any]:
        """Give some frames."""


class TiffMovie:
    """Frames of an open TIFF file; only those that are asked for are read."""

    def __init__(self, file: tifffile.TiffFile) -> None:
        page = file.pages.first
        self._file = file
        self.shape = (len(file.pages), *page.shape)

    def __getitem__(self, frames: slice, /) -> NDArray[Any]:
        start, stop, step = frames.indices(self.shape[0])
        if start >= stop:
            return np.empty((0, *self.shape[1:]), np.uint16)
        values = self._file.asarray(key=range(start, stop, step))
        return values.reshape(-1, *self.shape[1:])


@contextmanager
def opened(movie: Any) -> Iterator[Movie]:
    """Open a movie that is given as a path; leave what is a movie already as it is."""
    if isinstance(movie, str | os.PathLike):
        with open_movie(movie) as file:
            yield file
    else:
        yield check(movie)


@contextmanager
def open_movie(path: str | os.PathLike[str]) -> Iterator[Movie]:
    """Open a TIFF file (also BigTIFF and OME-TIFF) or a .npy file for reading frame by frame.

    Raises
    ------
    FormatError
        The file cannot be read, or does not hold frames of one channel.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError("There is no such movie", received=file, allowed="a TIFF or .npy file")
    if file.suffix == ".npy":
        try:
            yield check(np.load(file, mmap_mode="r", allow_pickle=False))
        except ValueError as error:
            raise FormatError(f"The movie cannot be read: {error}", received=file) from None
        return
    try:
        tiff = tifffile.TiffFile(file)
    except (tifffile.TiffFileError, OSError, ValueError) as error:
        raise FormatError(f"The movie cannot be read: {error}", received=file, allowed="TIFF or .npy") from None
    with tiff:
        if not len(tiff.pages):
            raise FormatError("The movie has no frames", received=file)
        yield check(_frames(tiff, file))


def _frames(tiff: tifffile.TiffFile, path: Path) -> Movie:
    """Frames of a file: mapped where they lie in one piece (also those of large ImageJ stacks), else page by page."""
    series, page = tiff.series[0], tiff.pages.first
    last = tiff.pages[-1]
    ends = [last.dataoffsets[-1] + last.databytecounts[-1]]
    if series.dataoffset is not None:
        ends.append(series.dataoffset + series.size * series.dtype.itemsize)
    if max(ends) > path.stat().st_size:
        raise FormatError(
            "The movie is cut off",
            received=f"{path.name} of {path.stat().st_size} bytes",
            allowed=f"at least {max(ends)} bytes for the frames that it announces",
            next_step="copy the file again",
        )
    if series.dataoffset is None:
        return TiffMovie(tiff)
    kind = series.dtype.newbyteorder(tiff.byteorder)
    mapped: Movie = np.memmap(path, kind, "r", series.dataoffset, (series.size // page.size, *page.shape))
    return mapped


def check(movie: Any) -> Movie:
    """Refuse what is no stack of frames.

    Raises
    ------
    InputError
        The shape is not `(frames, rows, columns)`, or there is no frame.
    """
    shape = tuple(getattr(movie, "shape", ()))
    if len(shape) != 3 or min(shape) == 0:
        raise InputError(
            "This is no movie", received=f"shape {shape}", allowed="(frames, rows, columns), none of them 0"
        )
    checked: Movie = movie
    return checked
