"""Movies of a calibration, block by block."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lucule.core import InputError
from lucule.io.movies import Movie, opened

Source: TypeAlias = Movie | NDArray[Any] | str | os.PathLike[str]

_BLOCK_PIXELS: Final = 4_000_000
_FEWEST_PILED, _PILE, _LEVELS = 8, 3.0, 10


@contextmanager
def frames_of(movie: Source, what: str) -> Iterator[Movie]:
    """Open a movie whose counts are numbers.

    Raises
    ------
    InputError
        It holds no frames, or numbers that are not finite.
    """
    with opened(movie) as frames:
        kind = np.asarray(frames[0:1]).dtype.kind
        if kind not in "uif":
            raise InputError(f"The {what} cannot be used", received=f"values of kind {kind!r}", allowed="counts")
        yield frames


def blocks(frames: Movie, what: str) -> Iterator[tuple[int, NDArray[Any]]]:
    """Give the number of the first frame of each block, and the block.

    Raises
    ------
    InputError
        A value is not finite.
    """
    total, rows, columns = frames.shape
    size = max(_BLOCK_PIXELS // (rows * columns), 1)
    for first in range(0, total, size):
        block = np.asarray(frames[first : first + size])
        if block.dtype.kind == "f" and not np.isfinite(block).all():
            raise InputError(
                f"The {what} holds values that are no numbers", received=f"frames {first} to {first + len(block) - 1}"
            )
        yield first, block


def clipping_level(values: NDArray[Any], largest: int) -> float:
    """Count at which values are cut off: what the camera says, or where they pile up below that.

    Cameras of 12 or 14 bits in files of 16 clip at a level that the file does not name. There the largest value occurs
    far more often than those just below it.

    Examples
    --------
    >>> clipping_level(np.minimum(np.arange(5000), 4095), 65535)
    4095.0
    """
    top = float(values.max())
    if top >= largest or values.dtype.kind == "f":
        return float(largest)
    piled = int((values == top).sum())
    below = int(((values < top) & (values >= top - _LEVELS)).sum()) / _LEVELS
    return top if piled >= _FEWEST_PILED and piled > _PILE * below else float(largest)
