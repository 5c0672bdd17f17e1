"""A finished picture: pixels, where they lie, what their colours mean."""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lucule.core import InputError
from lucule.core.files import atomic_path, with_ending
from lucule.view.colours import RGB
from lucule.view.frame import Frame

check_name: Final = partial(with_ending, allowed=(".png",), otherwise="Pictures are written as PNG")
"""Refuses a name under which no picture can be written, before it is drawn."""


@dataclass(frozen=True, slots=True)
class ColourBar:
    """Meaning of a colour table: `table` `(256, 3)` runs from `low` to `high`."""

    title: str
    low: float
    high: float
    table: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Swatches:
    """Meaning of single colours."""

    entries: tuple[tuple[str, RGB], ...]


Legend = ColourBar | Swatches


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Picture:
    """A rendered picture.

    Attributes
    ----------
    rgb
        `(height, width, 3)` uint8, read-only. Row 0 is at the top: x to the right, y down, as in the table.
    pixel_nm
        Side of a pixel, nm.
    origin_nm
        (x, y) of the outer corner of pixel (0, 0) in the coordinates of the table, nm.
    legend
        What the colours mean; drawn below the picture by `save`.
    """

    rgb: NDArray[np.uint8]
    pixel_nm: float
    origin_nm: tuple[float, float]
    legend: Legend | None = None

    def __post_init__(self) -> None:
        if self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or self.rgb.dtype != np.uint8 or not self.rgb.size:
            raise InputError(
                "A picture needs pixels (height, width, 3), uint8", received=f"{self.rgb.shape}, {self.rgb.dtype}"
            )
        pixels = self.rgb.view()
        pixels.flags.writeable = False
        object.__setattr__(self, "rgb", pixels)

    @property
    def frame(self) -> Frame:
        """The pixel grid."""
        height, width = self.rgb.shape[:2]
        return Frame(*self.origin_nm, width, height, self.pixel_nm)

    def to_pixels(self, xy: ArrayLike) -> NDArray[np.float64]:
        """Positions `(n, 2)` in nm as (column, row) in pixels; the centre of pixel (0, 0) is (0.5, 0.5)."""
        points = np.asarray(xy, np.float64).reshape(-1, 2)
        pixels: NDArray[np.float64] = (points - np.asarray(self.origin_nm)) / self.pixel_nm
        return pixels

    def with_rgb(self, rgb: NDArray[np.uint8]) -> Picture:
        """The same picture with other pixels."""
        return replace(self, rgb=rgb)

    def png(self, *, scale_bar: bool = True, legend: bool = True, colours: int | None = None) -> bytes:
        """The picture as PNG, with scale bar and legend.

        Small pictures are enlarged by a whole factor and set on a canvas on which the writing fits. With neither
        scale bar nor legend the pixels are stored exactly as they are. `colours` (2 to 256) limits the number of
        colours, which makes smaller files.
        """
        from PIL.PngImagePlugin import PngInfo

        from lucule.view.annotate import annotate, reduce_colours

        image = annotate(self, scale_bar=scale_bar, legend=legend)
        if colours is not None:
            image = reduce_colours(image, colours, self.legend)
        facts = PngInfo()
        facts.add_text("lucule", json.dumps({"pixel_nm": self.pixel_nm, "origin_nm": list(self.origin_nm)}))
        buffer = io.BytesIO()
        image.save(buffer, "PNG", optimize=False, compress_level=6, pnginfo=facts)
        return buffer.getvalue()

    def save(self, path: str | os.PathLike[str], *, scale_bar: bool = True, legend: bool = True) -> Path:
        """Write a PNG with scale bar and legend, complete or not at all.

        Raises
        ------
        InputError
            The name does not end in `.png`, or the folder cannot be written to.
        """
        check_name(path)
        content = self.png(scale_bar=scale_bar, legend=legend)
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
        return Path(path)

    def _repr_png_(self) -> bytes:
        return self.png()

    def __repr__(self) -> str:
        height, width = self.rgb.shape[:2]
        return (
            f"Picture({width} x {height} pixels of {self.pixel_nm:g} nm, "
            f"{width * self.pixel_nm / 1000:.4g} x {height * self.pixel_nm / 1000:.4g} um)"
        )
