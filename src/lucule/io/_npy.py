"""Records of a `.npy` file, block by block, from a file or out of a zip. Pickled objects are never loaded."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lucule.core import FormatError, InputError

BLOCK_BYTES: Final = 64 * 2**20
MAGIC: Final = b"\x93NUMPY"


class Records(NamedTuple):
    """An opened file: type and number of its records, and the stream in front of the first one."""

    path: Path
    dtype: np.dtype[Any]
    rows: int
    stream: IO[bytes]

    def blocks(self) -> Iterator[NDArray[Any]]:
        """The records in order, about 64 MiB at a time.

        Raises
        ------
        FormatError
            The file ends too early.
        """
        size = max(1, BLOCK_BYTES // self.dtype.itemsize)
        for start in range(0, max(self.rows, 1), size):  # an empty table gives one empty block
            count = min(size, self.rows - start)
            raw = self.stream.read(count * self.dtype.itemsize)
            if len(raw) < count * self.dtype.itemsize:
                raise FormatError(
                    f"{self.path} is cut off",
                    received=f"{start + len(raw) // self.dtype.itemsize:,} records",
                    allowed=f"{self.rows:,} records, as its header says",
                    next_step="copy or export the file again",
                )
            yield np.frombuffer(raw, self.dtype)


@contextmanager
def opened(path: Path, member: str | None = None) -> Iterator[Records]:
    """Open the records of a `.npy` file, or of one inside a zip (`member` names it where there are several).

    Raises
    ------
    FormatError
        The file is damaged, or holds something else than one row of records.
    InputError
        The zip holds several `.npy` files and `member` is none of them.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive, archive.open(_member(path, archive, member)) as stream:
                yield _records(path, stream)
        else:
            with path.open("rb") as stream:
                yield _records(path, stream)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise FormatError(f"{path} is damaged", received=str(error), next_step="copy the file again") from None


def members(archive: zipfile.ZipFile) -> list[str]:
    """The `.npy` files in a zip, without the shadows that macOS adds."""
    return [name for name in archive.namelist() if name.lower().endswith(".npy") and not name.startswith("__MACOSX")]


def _member(path: Path, archive: zipfile.ZipFile, member: str | None) -> str:
    names = members(archive)
    chosen = [name for name in names if member in (None, name)]
    if len(chosen) != 1:
        raise InputError(
            f"{path} holds several arrays" if member is None else f"{path} holds no array of that name",
            received=member,
            allowed=", ".join(names),
            next_step="choose one, for example --table " + names[0] if names else None,
        )
    return chosen[0]


def header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of the array whose `.npy` file `stream` is; leaves the stream in front of the first value.

    Raises
    ------
    ValueError
        The header is damaged.
    """
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the header is not supported")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return shape, dtype


def _records(path: Path, stream: IO[bytes]) -> Records:
    try:
        shape, dtype = header(stream)
    except ValueError as error:
        raise FormatError(f"{path} has a damaged header", received=str(error)) from None
    if len(shape) != 1 or dtype.hasobject or not dtype.names:
        raise FormatError(
            f"{path} holds no table of records",
            received=f"an array of {dtype} and shape {shape}",
            allowed="one record (named fields) per row",
        )
    return Records(path, dtype, shape[0], stream)
