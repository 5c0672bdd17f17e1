"""Frames that lie uncompressed in one or more files, at any offsets.

They are read, not mapped: pages of a mapped file count as memory of the process, and a long movie would fill it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from lucule.core import FormatError
from lucule.io.movies.format import Window


class FlatFrames:
    """Frames at known places of files.

    Parameters
    ----------
    files
        The files.
    file, offset
        Number of the file and first byte of each frame, `(frames,)`.
    size
        Rows, columns.
    dtype
        Type of the values, with its byte order.

    Raises
    ------
    FormatError
        A file ends before a frame that it should hold.
    """

    def __init__(
        self,
        files: Sequence[Path],
        file: NDArray[np.int64],
        offset: NDArray[np.int64],
        size: tuple[int, int],
        dtype: np.dtype[Any],
    ) -> None:
        self.shape = (len(offset), *size)
        self.dtype = dtype
        self._files = list(files)
        self._file, self._offset = file, offset
        self._open: dict[int, IO[bytes]] = {}
        for number, path in enumerate(self._files):
            here = offset[file == number]
            if not len(here):
                continue
            needed, there = int(here.max()) + self._frame_bytes, path.stat().st_size
            if needed > there:
                whole = int(np.count_nonzero(here + self._frame_bytes <= there))
                raise FormatError(
                    f"{path.name} is cut off",
                    received=f"{there} bytes, which hold {whole} of {len(here)} frames",
                    allowed=f"at least {needed} bytes",
                    next_step="copy the file again",
                )

    @property
    def _frame_bytes(self) -> int:
        return self.shape[1] * self.shape[2] * self.dtype.itemsize

    def read(self, frames: NDArray[np.int64], window: Window, /) -> NDArray[Any]:
        """Read frames by number; of a window, only its rows."""
        rows, columns = window
        width = self.shape[2]
        values = np.empty((len(frames), rows.stop - rows.start, width), self.dtype)
        start, length = rows.start * width * self.dtype.itemsize, values[:1].nbytes
        offsets, files = self._offset[frames] + start, self._file[frames]
        together = (np.diff(offsets) == length) & (np.diff(files) == 0)
        for run in np.split(np.arange(len(frames)), np.flatnonzero(~together) + 1) if len(frames) else []:
            self._read(int(files[run[0]]), int(offsets[run[0]]), values[run[0] : run[-1] + 1])
        return values[:, :, columns]

    def _read(self, number: int, offset: int, into: NDArray[Any]) -> None:
        if number not in self._open:
            self._open[number] = self._files[number].open("rb", buffering=0)
        stream = self._open[number]
        stream.seek(offset)
        rest = into.view(np.uint8).reshape(-1)
        while len(rest):
            got = stream.readinto(rest)  # type: ignore[attr-defined]
            if not got:
                raise FormatError(f"{self._files[number].name} became shorter while it was read")
            rest = rest[got:]

    def close(self) -> None:
        """Close the files."""
        for stream in self._open.values():
            stream.close()
        self._open.clear()


def one_file(path: Path, offset: int, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> FlatFrames:
    """Frames that follow each other in one file, from a first byte on."""
    length = shape[1] * shape[2] * dtype.itemsize
    return FlatFrames(
        [path],
        np.zeros(shape[0], np.int64),
        offset + length * np.arange(shape[0], dtype=np.int64),
        (shape[1], shape[2]),
        dtype,
    )
