"""Tiles of a slide, each in a file of its own, as one image: windows may reach over several of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.core import InputError
from lucule.segment.images import Image, open_image

_COLUMNS: Final = ("image", "x_px", "y_px")


@dataclass(frozen=True)
class Mosaic:
    """Tiles and where their corners lie; can be sliced like an array `(rows, columns)` or `(rows, columns, channels)`.

    Where tiles overlap, the one that comes later counts; where there is none, the mosaic has the darkest value of its
    first tile.

    Attributes
    ----------
    paths
        Files of the tiles.
    corners
        `(x, y)` of the corner of each tile in the mosaic, whole pixels, none below 0.
    sizes
        Rows and columns of each tile.
    channels
        Channels of the tiles.
    empty
        Value where there is no tile.
    """

    paths: tuple[str, ...]
    corners: tuple[tuple[int, int], ...]
    sizes: tuple[tuple[int, int], ...]
    channels: int
    empty: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns, and channels where there are several."""
        rows = max(y + size[0] for (_, y), size in zip(self.corners, self.sizes, strict=True))
        columns = max(x + size[1] for (x, _), size in zip(self.corners, self.sizes, strict=True))
        return (rows, columns) if self.channels == 1 else (rows, columns, self.channels)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of what slicing gives."""
        return np.dtype(np.float32)

    def __getitem__(self, window: Any) -> NDArray[np.float32]:
        rows, columns = (range(*part.indices(size)) for part, size in zip(window, self.shape[:2], strict=True))
        seen = np.full((self.channels, len(rows), len(columns)), self.empty, np.float32)
        for path, (x, y), (height, width) in zip(self.paths, self.corners, self.sizes, strict=True):
            top, bottom = max(rows.start, y), min(rows.stop, y + height)
            left, right = max(columns.start, x), min(columns.stop, x + width)
            if top < bottom and left < right:
                with open_image(path) as tile:
                    part = tile.window(slice(top - y, bottom - y), slice(left - x, right - x))
                seen[:, top - rows.start : bottom - rows.start, left - columns.start : right - columns.start] = part
        return seen[0] if self.channels == 1 else np.moveaxis(seen, 0, -1)


def mosaic(tiles: Sequence[tuple[str | os.PathLike[str], float, float]], *, name: str = "slide") -> Image:
    """Combine tiles `(path, x, y)`, with the corner of each in pixels, to one image.

    Raises
    ------
    InputError
        There is no tile, or they differ in their channels.
    """
    if not tiles:
        raise InputError("The slide has no tile")
    corners = np.round([[x, y] for _, x, y in tiles]).astype(int)
    corners -= corners.min(axis=0)
    sizes, channels, last = [], set(), True
    for path, _, _ in tiles:
        with open_image(path) as tile:
            sizes.append(tile.shape)
            channels.add(tile.channels)
            last = tile.last or tile.channels == 1
            empty = float(tile.window(slice(0, 256), slice(0, 256)).min())
    if len(channels) > 1 or not last:
        raise InputError("The tiles cannot be combined", received=f"{sorted(channels)} channels",
                         allowed="grey tiles, or tiles in colour")  # fmt: skip
    number = channels.pop()
    data = Mosaic(tuple(str(path) for path, _, _ in tiles), tuple(map(tuple, corners.tolist())), tuple(sizes),
                  number, empty)  # fmt: skip
    return Image(data, number, number > 1, name)


def read_positions(path: str | os.PathLike[str], images: Sequence[Path]) -> Image:
    """Combine images to one by a CSV file with the columns image (name of the file), x_px and y_px.

    Raises
    ------
    InputError
        The file cannot be read, or an image has no position in it.
    """
    try:
        table = pl.read_csv(Path(path))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"The positions cannot be read: {error}", received=path) from None
    if missing := [column for column in _COLUMNS if column not in table.columns]:
        raise InputError("The positions lack columns", received=", ".join(table.columns), allowed=", ".join(missing))
    places = {Path(name).name: (x, y) for name, x, y in table.select(_COLUMNS).iter_rows()}
    if lost := [image.name for image in images if image.name not in places]:
        raise InputError("Images have no position", received=", ".join(lost[:5]))
    return mosaic([(image, *places[image.name]) for image in images], name=Path(path).stem)
