"""Which area a picture shows and how large its pixels are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lucule.core import InputError, Localizations, Region

MAX_PIXELS: Final = 50_000_000
DEFAULT_SIDE_PX: Final = 2000
# a table with one localization (or many at one place) still needs an area to be seen in
SMALLEST_FIELD_NM: Final = 200.0
BAR_STEPS: Final = (1.0, 2.0, 5.0)
PIXEL_STEPS: Final = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)


@dataclass(frozen=True, slots=True)
class Frame:
    """The pixel grid of a picture.

    Attributes
    ----------
    x_nm, y_nm
        Outer corner of pixel (0, 0) in the coordinates of the table, nm.
    width, height
        Columns and rows.
    pixel_nm
        Side of a pixel, nm.
    """

    x_nm: float
    y_nm: float
    width: int
    height: int
    pixel_nm: float

    @property
    def bounds_nm(self) -> tuple[float, float, float, float]:
        """(x_min, y_min, x_max, y_max) in nm."""
        return (
            self.x_nm,
            self.y_nm,
            self.x_nm + self.width * self.pixel_nm,
            self.y_nm + self.height * self.pixel_nm,
        )


def round_up(value: float, steps: tuple[float, ...] = BAR_STEPS) -> float:
    """The smallest of `steps` times a power of ten that is not below `value`.

    Examples
    --------
    >>> round_up(13.0), round_up(0.2), round_up(501.0)
    (20.0, 0.2, 1000.0)
    """
    exponent = math.floor(math.log10(value))
    candidates = (float(f"{step}e{exponent}") for step in (*steps, 10.0))
    return next(candidate for candidate in candidates if candidate >= value * (1 - 1e-9))


def round_down(value: float, steps: tuple[float, ...] = BAR_STEPS) -> float:
    """The largest of `steps` times a power of ten that is not above `value`.

    Examples
    --------
    >>> round_down(1300.0), round_down(0.2), round_down(99.0)
    (1000.0, 0.2, 50.0)
    """
    exponent = math.floor(math.log10(value) + 1e-9)
    return max(candidate for step in steps if (candidate := float(f"{step}e{exponent}")) <= value * (1 + 1e-9))


def bounds_of(locs: Localizations, region: Region | None) -> tuple[float, float, float, float]:
    """(x_min, y_min, x_max, y_max) in nm of the region, or of all localizations where there is none."""
    if region is not None:
        return region.bounds
    if not len(locs):
        raise InputError(
            "The table holds no localizations, so there is no area to draw",
            next_step="name the area with region, or check the filters before this step",
        )
    x, y = locs["x"], locs["y"]
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def automatic_pixel_nm(
    bounds: tuple[float, float, float, float],
    *,
    smallest_nm: float | None = None,
    side_px: int = DEFAULT_SIDE_PX,
) -> float:
    """A round pixel size with which the longer side has up to about `side_px` pixels.

    Pixels are not made finer than `smallest_nm`.

    Examples
    --------
    >>> automatic_pixel_nm((0, 0, 40_000, 30_000))
    20.0
    >>> automatic_pixel_nm((0, 0, 5_000, 5_000), smallest_nm=4.5)
    5.0
    """
    x_min, y_min, x_max, y_max = bounds
    side_nm = max(x_max - x_min, y_max - y_min, SMALLEST_FIELD_NM)
    smallest = side_nm / side_px
    if smallest_nm is not None:
        smallest = max(smallest, smallest_nm)
    return round_up(smallest, PIXEL_STEPS)


def make_frame(
    bounds: tuple[float, float, float, float],
    pixel_nm: float,
    *,
    exact: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> Frame:
    """The grid of pixels that covers `bounds`.

    `exact` starts the grid at the corner of the bounds (a region that somebody named); otherwise it is snapped to
    multiples of the pixel size, so that two tables of one field of view are drawn on the same grid, and the last
    column and row include the outermost localization.

    Raises
    ------
    InputError
        The pixel size is not positive, or the picture would have more than `max_pixels` pixels.
    """
    if not (math.isfinite(pixel_nm) and pixel_nm > 0):
        raise InputError("The pixel size must be a length", received=f"{pixel_nm} nm", allowed="more than 0 nm")
    x_min, y_min, x_max, y_max = bounds
    if exact:
        x, y = x_min, y_min
        width = max(1, math.ceil((x_max - x_min) / pixel_nm - 1e-6))
        height = max(1, math.ceil((y_max - y_min) / pixel_nm - 1e-6))
    else:
        x_min, x_max = _widen(x_min, x_max)
        y_min, y_max = _widen(y_min, y_max)
        column, row = math.floor(x_min / pixel_nm), math.floor(y_min / pixel_nm)
        width = math.floor(x_max / pixel_nm) - column + 1
        height = math.floor(y_max / pixel_nm) - row + 1
        x, y = column * pixel_nm, row * pixel_nm
    if width * height > max_pixels:
        enough = round_up(max(pixel_nm * math.sqrt(width * height / max_pixels), pixel_nm), PIXEL_STEPS)
        raise InputError(
            "The picture would be too large",
            received=f"{width:,} x {height:,} pixels of {pixel_nm:g} nm",
            allowed=f"up to {max_pixels:,} pixels",
            next_step=f"use pixels of at least {enough:g} nm, draw a region only, or raise max_pixels",
        )
    return Frame(x, y, width, height, pixel_nm)


def _widen(low: float, high: float) -> tuple[float, float]:
    missing = SMALLEST_FIELD_NM - (high - low)
    return (low - missing / 2, high + missing / 2) if missing > 0 else (low, high)


def rows_inside(locs: Localizations, region: Region | None) -> NDArray[np.intp] | None:
    """Rows inside `region`, None for all of them."""
    return None if region is None else np.flatnonzero(region.contains(locs.xy()))
