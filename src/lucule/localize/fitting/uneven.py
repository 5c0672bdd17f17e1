"""Fits on an uneven background: its shape is seen when the light of a first round of fits is taken off.

A spot on a slope is drawn towards the brighter side, by several nm on the background of a cell, and nothing says so.
What a block of frames has in common when the emitters are gone, as far as it is sure (`background.common_shape`), is
taken off the frames before they are fitted once more. It is given back to the variance of the pixels, so that the
likelihood stays that of the light that was seen; each fit keeps a level of its own.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil, sqrt
from typing import Final, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lucule.localize.background import common_shape
from lucule.localize.fitting import spots
from lucule.localize.fitting.gaussians import profile
from lucule.localize.fitting.setup import Fitter
from lucule.simulate.optics import kernels
from lucule.simulate.optics.kernels import Model
from lucule.space.threads import share

Floats: TypeAlias = NDArray[np.float64]
Image: TypeAlias = NDArray[np.float32]
Ints: TypeAlias = NDArray[np.int64]

# an unevenness of less than this part of the noise of a pixel moves nothing by a tenth of its error
_LEAST: Final = 0.03
_REACH_SIGMAS: Final = 4.0


def shape_below(fitter: Fitter, light: Image, frame: Ints, values: Floats, good: NDArray[np.bool_]) -> Image | None:
    """Shape of the background of a block, photons `(rows, columns)`, nothing below zero; None where it is even.

    One frame does not tell what lasts; its background counts as even.

    Parameters
    ----------
    light
        Frames in photons, `(n, rows, columns)`.
    frame, values, good
        First round of fits: frame, columns of `spots` in nm, and whether they found anything.
    """
    if len(light) == 1:
        return None
    rest = light.copy()
    own, found = frame[good], np.ascontiguousarray(values[good])
    kernel = fitter.kernel
    starts = np.searchsorted(own, np.arange(len(light) + 1))
    if fitter.has_depth or fitter.settings.multi:
        side = min(kernel.roi_px, *light.shape[1:])

        def work(a: int, b: int) -> None:
            _without_spots(rest, kernel.model, side, starts, found, a, b)

    else:

        def work(a: int, b: int) -> None:
            _without_gaussians(rest, kernel.pixel_size_nm, starts, found, a, b)

    share(work, len(light), least=1, most=32)
    shape = common_shape(light, rest, (fitter.pixels.scale, fitter.pixels.floor))
    level = max(float(rest.mean()), 0.0) + float(fitter.pixels.floor.mean())
    if shape.std() < _LEAST * sqrt(fitter.pixels.scale * level):
        return None
    return (shape - shape.min()).astype(np.float32)


@njit(cache=True, nogil=True)
def _without_spots(rest: Image, model: Model, side: int, starts: Ints, values: Floats, first: int, last: int) -> None:
    patch = np.empty((4, side, side))
    for frame in range(first, last):
        for i in range(starts[frame], starts[frame + 1]):
            x, y, z = values[i, spots.X], values[i, spots.Y], values[i, spots.Z]
            row = spots.corner_of(int(y / model.pixel[1]), side, rest.shape[1])
            column = spots.corner_of(int(x / model.pixel[0]), side, rest.shape[2])
            kernels.patch(model, x, y, z, row, column, patch)
            for r in range(side):
                for c in range(side):
                    rest[frame, row + r, column + c] -= values[i, spots.PHOTONS] * patch[0, r, c]


@njit(cache=True, nogil=True)
def _without_gaussians(
    rest: Image, pixel_nm: tuple[float, float], starts: Ints, values: Floats, first: int, last: int
) -> None:
    for frame in range(first, last):
        for i in range(starts[frame], starts[frame + 1]):
            wide, high = values[i, spots.SIGMA_X] / pixel_nm[0], values[i, spots.SIGMA_Y] / pixel_nm[1]
            x, y = values[i, spots.X] / pixel_nm[0], values[i, spots.Y] / pixel_nm[1]
            left, right = _span(x, wide, rest.shape[2])
            top, bottom = _span(y, high, rest.shape[1])
            across, down = np.empty((3, right - left)), np.empty((3, bottom - top))
            profile(x - left, wide, across)
            profile(y - top, high, down)
            for r in range(top, bottom):
                share_of_row = values[i, spots.PHOTONS] * down[0, r - top]
                for c in range(left, right):
                    rest[frame, r, c] -= share_of_row * across[0, c - left]


@njit(cache=True, nogil=True)
def _span(at: float, sigma: float, size: int) -> tuple[int, int]:
    reach = ceil(_REACH_SIGMAS * sigma)
    return min(max(int(at) - reach, 0), size), min(max(int(at) + reach + 1, 0), size)


def on_even_ground(fitter: Fitter, light: Image, shape: Image) -> tuple[Fitter, Image]:
    """Give the fitter and the frames without the shape of the background."""
    pixels = fitter.pixels._replace(floor=fitter.pixels.floor + shape)
    return replace(fitter, pixels=pixels), light - shape


def with_ground(values: Floats, shape: Image, pixel_nm: tuple[float, float]) -> None:
    """Add to the backgrounds of fits what had been taken off at their places."""
    rows, columns = shape.shape
    row = np.clip(np.floor(values[:, spots.Y] / pixel_nm[1]), 0, rows - 1)
    column = np.clip(np.floor(values[:, spots.X] / pixel_nm[0]), 0, columns - 1)
    inside = np.isfinite(row) & np.isfinite(column)
    values[inside, spots.BACKGROUND] += shape[row[inside].astype(int), column[inside].astype(int)]
