"""Opening movies: the public functions of `lucule.io.movies`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lucule.core import FormatError, InputError
from lucule.core.ledger import fingerprint
from lucule.io.movies.format import Choice, Frames, MovieFormat, Opened, Window
from lucule.io.movies.info import ARRAY, MovieInfo
from lucule.io.movies.registry import MOVIE_FORMATS

PathLike: TypeAlias = str | os.PathLike[str]
Roi: TypeAlias = tuple[int, int, int, int]
"""First column, column after the last, first row, row after the last."""

_HEAD_BYTES: Final = 64


@dataclass(frozen=True, eq=False)
class Movie:
    """Frames that are read when they are looked at: `movie[100:200]` is an array `(100, rows, columns)`.

    Opened by path, a movie may be sent to other processes, which open it again. Use it as a context manager, or close
    it.

    Attributes
    ----------
    info
        What the movie is: all of it, not only the frames and the region that were asked for.
    first
        Number in the file of the first frame.
    corner_px
        Column and row in the file of the first pixel.
    shape
        Frames, rows, columns of what was asked for.
    """

    info: MovieInfo
    first: int
    corner_px: tuple[int, int]
    shape: tuple[int, int, int]
    _frames: Frames
    _files: tuple[Path, ...] = ()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self._frames.dtype.newbyteorder("=")

    @property
    def window(self) -> Window:
        """Rows and columns of the file."""
        left, top = self.corner_px
        return slice(top, top + self.shape[1]), slice(left, left + self.shape[2])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, frames: slice, /) -> NDArray[Any]:
        """Read frames `(n, rows, columns)`, in the byte order of this machine."""
        numbers = np.arange(self.first, self.first + self.shape[0], dtype=np.int64)[frames]
        return self._frames.read(numbers, self.window).astype(self.dtype, copy=False)

    def part(self, *, frames: tuple[int, int] | None = None, roi: Roi | None = None) -> Movie:
        """Give some frames and a region of this movie, both counted within it; they share its open file.

        Raises
        ------
        InputError
            There are no such frames or pixels.
        """
        count, rows, columns = self.shape
        start, end = frames or (0, count)
        if not 0 <= start < end <= count:
            raise InputError("There are no such frames", received=f"{start}:{end}", allowed=f"0:{count}")
        left, right, top, bottom = roi or (0, columns, 0, rows)
        if not (0 <= left < right <= columns and 0 <= top < bottom <= rows):
            raise InputError(
                "The region lies outside of the frames",
                received=f"{left}:{right},{top}:{bottom}",
                allowed=f"X0:X1,Y0:Y1 within 0:{columns},0:{rows} pixels",
            )
        return replace(
            self,
            first=self.first + start,
            corner_px=(self.corner_px[0] + left, self.corner_px[1] + top),
            shape=(end - start, bottom - top, right - left),
        )

    def fingerprint(self) -> str:
        """Hash of the files (names, sizes, times of change) and of what was asked for, for resuming.

        Raises
        ------
        InputError
            The movie is an array and no file.
        """
        if not self._files:
            raise InputError("Only a movie in a file can be resumed", received=f"an array of shape {self.shape}")
        stats = [(path.name, path.stat()) for path in self._files]
        files = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
        return fingerprint(files, self.info.format, dict(self.info.chosen), self.first, self.corner_px, self.shape)

    def close(self) -> None:
        """Close the file."""
        self._frames.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __str__(self) -> str:
        """Name of the file, for the history of tables."""
        return self.info.path.name

    def __reduce__(self) -> tuple[object, ...]:
        if not self._files:
            raise InputError("Only a movie in a file travels to other processes", received=f"an array {self.shape}")
        chosen = self.info.chosen
        choice = Choice(chosen.get("channel"), chosen.get("position"), chosen.get("z"))
        left, top = self.corner_px
        roi = (left, left + self.shape[2], top, top + self.shape[1])
        return (_reopen, (self.info.path, (self.first, self.first + self.shape[0]), roi, choice))


def _reopen(path: Path, frames: tuple[int, int], roi: Roi, choice: Choice) -> Movie:
    return open_movie(path, frames=frames, roi=roi, channel=choice.channel, position=choice.position, z=choice.z)


def open_movie(
    path: PathLike,
    *,
    frames: tuple[int, int] | None = None,
    roi: Roi | None = None,
    channel: int | None = None,
    position: int | None = None,
    z: int | None = None,
) -> Movie:
    """Open a movie of any supported format, recognised by its content; only what is looked at is read.

    Parameters
    ----------
    path
        A file, any of several files, or a folder.
    frames
        First frame, and the one after the last; None: all.
    roi
        First column, column after the last, first row, row after the last; None: whole frames.
    channel, position, z
        Which one, from 0, where the file holds several.

    Returns
    -------
    Movie
        With `shape` (frames, rows, columns) and `info`; slicing it gives frames.

    Raises
    ------
    InputError
        There is no such file, frame or region, or one of several channels, positions or planes must be chosen.
    FormatError
        The file is empty, damaged, cut off, or no movie.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "movie.npy"
    >>> np.save(file, np.arange(48, dtype=np.uint16).reshape(3, 4, 4))
    >>> with open_movie(file, roi=(1, 3, 0, 4)) as movie:
    ...     movie.shape, movie[1:2].tolist()
    ((3, 4, 2), [[[17, 18], [21, 22], [25, 26], [29, 30]]])
    """
    path = Path(path)
    chosen = _recognised(path, _head(path))
    if chosen is None:
        raise FormatError(
            f"{path} is not a movie that lucule reads",
            allowed=", ".join(MOVIE_FORMATS[name].title for name in MOVIE_FORMATS),
            next_step=_hint(path),
        )
    opened = chosen.open(path, Choice(channel, position, z))
    try:
        return _whole(path, chosen, opened).part(frames=frames, roi=roi)
    except BaseException:
        opened.frames.close()
        raise


def sniff(path: PathLike) -> MovieFormat | None:
    """Recognise the movie format of a file or folder; None when it is no movie, or cannot be read."""
    path = Path(path)
    try:
        return _recognised(path, _head(path))
    except InputError:
        return None


def _head(path: Path) -> bytes:
    """The first bytes of a file; a folder has none."""
    if path.is_dir():
        return b""
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except FileNotFoundError:
        raise InputError("There is no such movie", received=path, next_step="check the path") from None
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}", next_step="check the permissions") from None
    if not head:
        raise FormatError(f"{path} is empty", received="0 bytes", next_step="copy the file again")
    return head


def _recognised(path: Path, head: bytes) -> MovieFormat | None:
    return next((one for one in (MOVIE_FORMATS[name] for name in MOVIE_FORMATS) if one.sniff(path, head)), None)


def _hint(path: Path) -> str:
    """What to do about a file that is no movie."""
    beside = {".dax": ".inf", ".raw": ".yaml"}.get(path.suffix.lower())
    if beside and not path.with_suffix(beside).exists():
        return f"put {path.with_suffix(beside).name}, which describes its frames, beside it"
    return (
        "name the folder of its frames" if path.is_dir() else "save the movie as OME-TIFF in the program that made it"
    )


def _whole(path: Path, chosen: MovieFormat, opened: Opened) -> Movie:
    frames = opened.frames
    check(frames)
    if frames.dtype.kind not in "uif":
        raise FormatError(f"{path.name} holds no counts", received=f"type {frames.dtype}", allowed="numbers")
    notes = list(opened.notes)
    if frames.dtype == np.uint8 or frames.dtype == np.int8:
        notes.append("8-bit values: cameras count to more, so these were probably rescaled, and photons would be wrong")
    if frames.dtype.kind == "f":
        notes.append("values are floating-point numbers: they are taken as the camera's counts")
    info = MovieInfo(
        path=path,
        format=chosen.name,
        title=chosen.title,
        shape=frames.shape,
        dtype=frames.dtype.newbyteorder("=").name,
        size_bytes=sum(file.stat().st_size for file in opened.files),
        axes=opened.axes,
        chosen=opened.chosen,
        pixel_size_nm=opened.pixel_size_nm,
        exposure_ms=opened.exposure_ms,
        camera=opened.camera,
        notes=tuple(notes),
    )
    return Movie(info, 0, (0, 0), frames.shape, frames, tuple(opened.files))


class _ArrayFrames:
    """Whatever can be sliced along frames, and then along rows and columns."""

    def __init__(self, values: Any) -> None:
        self._values = values
        self.shape: tuple[int, int, int] = tuple(values.shape)
        self.dtype = np.dtype(getattr(values, "dtype", np.float64))

    def read(self, frames: NDArray[np.int64], window: Window, /) -> NDArray[Any]:
        """Read frames by number."""
        if not len(frames):
            return np.empty((0, *(part.stop - part.start for part in window)), self.dtype)
        step = int(frames[1] - frames[0]) if len(frames) > 1 else 1
        stop = int(frames[-1]) + (1 if step > 0 else -1)
        some = np.asarray(self._values[slice(int(frames[0]), stop if stop >= 0 else None, step)])
        return some[:, window[0], window[1]]

    def close(self) -> None:
        """Leave the array to its owner."""


@contextmanager
def opened(movie: Any, *, frames: tuple[int, int] | None = None, roi: Roi | None = None) -> Iterator[Movie]:
    """Give a movie, whatever stands for one: a path, a `Movie`, or an array `(frames, rows, columns)`.

    What is opened here is closed at the end. `frames` and `roi` count within what was given.

    Raises
    ------
    InputError
        This is no stack of frames; and the errors of `open_movie`.
    """
    if isinstance(movie, str | os.PathLike):
        with open_movie(movie, frames=frames, roi=roi) as file:
            yield file
        return
    if not isinstance(movie, Movie):
        array = _ArrayFrames(check(movie))
        info = MovieInfo(Path(ARRAY), ARRAY, ARRAY, array.shape, array.dtype.name, 0)
        movie = Movie(info, 0, (0, 0), array.shape, array)
    yield movie.part(frames=frames, roi=roi)


def check(movie: Any) -> Any:
    """Give back what is a stack of frames, and refuse anything else.

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
    return movie
