"""From localizations to numbers per pixel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lucule.core import ColumnError, InputError, Localizations
from lucule.view.frame import Frame
from lucule.view.paint import Paint

# narrower Gaussians than this look like single pixels; wider ones than this are fits that failed
SIGMA_FLOOR_PX: Final = 0.6
SIGMA_CEILING_MEDIANS: Final = 4.0
TOUCHED_SHARE_OF_PEAK: Final = 0.05

F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """What was summed per pixel.

    Attributes
    ----------
    density
        Localizations per pixel `(height, width)`.
    sums
        The same, weighted with each channel of the paint `(channels, height, width)`.
    unit, scale
        What `density` times `scale` is called.
    touched
        A pixel with more than this is occupied; tails of Gaussians are below.
    """

    density: NDArray[Any]
    sums: F32
    unit: str
    scale: float
    touched: float


def count_image(locs: Localizations, frame: Frame) -> NDArray[np.uint32]:
    """Exact number of localizations per pixel of `frame`, `(height, width)`.

    Examples
    --------
    >>> count_image(Localizations({"x": [5.0, 15.0, 16.0], "y": [5.0, 5.0, 5.0]}), Frame(0, 0, 2, 1, 10.0)).tolist()
    [[1, 2]]
    """
    return count(locs, None, frame, Paint()).density


def gaussian_image(locs: Localizations, frame: Frame, *, sigma_nm: float | tuple[float, float] | None = None) -> F32:
    """Sum of one Gaussian of integral 1 per localization, integrated over the pixels of `frame`, `(height, width)`.

    `sigma_nm` as in `lucule.view.render`.

    Examples
    --------
    >>> image = gaussian_image(Localizations({"x": [50.0], "y": [50.0]}), Frame(0, 0, 10, 10, 10.0), sigma_nm=8)
    >>> round(float(image.sum()), 5)
    1.0
    """
    return spread(locs, None, frame, Paint(), widths(locs, sigma_nm, frame.pixel_nm)).density


def count(locs: Localizations, rows: NDArray[np.intp] | None, frame: Frame, paint: Paint) -> Raster:
    """Histogram of `rows` (None: all)."""
    from lucule.view import kernels

    counts = np.zeros((frame.height, frame.width), np.uint32)
    sums = np.zeros((paint.channels, frame.height, frame.width), np.float32)
    for chunk in _chunks(locs, rows):
        kernels.histogram(locs["x"][chunk], locs["y"][chunk], paint.values(chunk), frame, counts, sums)
    return Raster(counts, sums, f"localizations per pixel of {frame.pixel_nm:g} nm", 1.0, 0.0)


def spread(
    locs: Localizations, rows: NDArray[np.intp] | None, frame: Frame, paint: Paint, sigmas_nm: tuple[F32, F32]
) -> Raster:
    """Sum of Gaussians of `rows` (None: all), with a width in x and y per row of the table."""
    from lucule.view import kernels

    density = np.zeros((frame.height, frame.width), np.float32)
    sums = np.zeros((paint.channels, frame.height, frame.width), np.float32)
    sigma_x, sigma_y = sigmas_nm
    for chunk in _chunks(locs, rows):
        kernels.gaussian(
            locs["x"][chunk],
            locs["y"][chunk],
            sigma_x[chunk],
            sigma_y[chunk],
            paint.values(chunk),
            frame,
            density,
            sums,
        )
    typical = float(np.median(sigma_x)) if len(locs) else frame.pixel_nm
    peak = min(1.0, frame.pixel_nm**2 / (2 * np.pi * typical**2))
    return Raster(density, sums, "localizations per µm²", 1e6 / frame.pixel_nm**2, TOUCHED_SHARE_OF_PEAK * peak)


def median_precision_nm(locs: Localizations) -> float | None:
    """Median of the localization precision in x; None where the table has none."""
    if "x_err" not in locs:
        return None
    errors = locs["x_err"]
    known = errors[np.isfinite(errors) & (errors > 0)]
    return float(np.median(known)) if len(known) else None


def widths(locs: Localizations, sigma_nm: float | tuple[float, float] | None, pixel_nm: float) -> tuple[F32, F32]:
    """Width of the Gaussian of each localization in x and y, nm; see `lucule.view.render`."""
    if isinstance(sigma_nm, int | float):
        if not sigma_nm > 0:
            raise InputError(
                "The width of a localization must be a length", received=f"{sigma_nm} nm", allowed="more than 0 nm"
            )
        same = np.full(len(locs), sigma_nm, np.float32)
        return same, same
    if "x_err" not in locs:
        raise ColumnError(
            "Gaussian rendering needs the localization precision x_err, which the table does not have",
            next_step="name one width for all with sigma_nm, or use the method histogram",
        )
    if sigma_nm is None:
        floor = SIGMA_FLOOR_PX * pixel_nm
        ceiling = max(floor, SIGMA_CEILING_MEDIANS * (median_precision_nm(locs) or 0.0))
    else:
        floor, ceiling = sigma_nm
        if not 0 < floor <= ceiling:
            raise InputError(
                "Unusable limits of the width",
                received=sigma_nm,
                allowed="(floor, ceiling) in nm, 0 < floor <= ceiling",
            )
    wide = _limited(locs["x_err"], floor, ceiling)
    return wide, _limited(locs["y_err"], floor, ceiling) if "y_err" in locs else wide


def _limited(errors: F32, floor: float, ceiling: float) -> F32:
    known = np.nan_to_num(errors, nan=ceiling, posinf=ceiling)
    return np.clip(known, np.float32(floor), np.float32(ceiling), out=known)


def _chunks(locs: Localizations, rows: NDArray[np.intp] | None) -> Iterator[slice | NDArray[np.intp]]:
    """Rows in portions, which bounds the memory of the copies that the kernels work on."""
    from lucule.view.kernels import CHUNK_ROWS

    total = len(locs) if rows is None else len(rows)
    for start in range(0, total, CHUNK_ROWS):
        stop = min(start + CHUNK_ROWS, total)
        yield slice(start, stop) if rows is None else rows[start:stop]
