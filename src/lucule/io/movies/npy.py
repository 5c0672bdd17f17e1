"""NumPy `.npy` files that hold `(frames, rows, columns)`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lucule.core import FormatError
from lucule.io.movies._flat import one_file
from lucule.io.movies.format import Choice, MovieFormat, Opened


def _header(path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, Fortran order, type, and offset of the values."""
    with path.open("rb") as stream:
        try:
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version < (2, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(stream)
        except ValueError as error:
            raise FormatError(f"{path.name} is a damaged .npy file: {error}") from None
        return shape, fortran, dtype, stream.tell()


def _is_movie(path: Path, head: bytes) -> bool:
    # tables of MINFLUX are .npy files too: one axis, with fields
    return head.startswith(b"\x93NUMPY") and _header(path)[2].names is None


def _open(path: Path, _choice: Choice) -> Opened:
    shape, fortran, dtype, offset = _header(path)
    if len(shape) != 3 or not all(shape):
        raise FormatError(
            f"{path.name} is no movie", received=f"shape {shape}", allowed="(frames, rows, columns), none of them 0"
        )
    if dtype.hasobject:
        raise FormatError(f"{path.name} holds Python objects, not numbers")
    if fortran:
        raise FormatError(
            f"{path.name} is written in Fortran order, in which no frame lies together",
            next_step="save numpy.ascontiguousarray(movie)",
        )
    return Opened(one_file(path, offset, (shape[0], shape[1], shape[2]), dtype), [path])


FORMAT = MovieFormat("npy", "NumPy .npy", _is_movie, _open, "array (frames, rows, columns) in C order")
