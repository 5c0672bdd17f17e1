"""One candidate, one fit: regions around candidates, start values, and the best of several starts."""

from __future__ import annotations

from math import inf
from typing import Final, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lucule.localize.fitting import detect
from lucule.localize.fitting.detect import Pixels
from lucule.localize.fitting.emitters import climb, goodness
from lucule.localize.fitting.gaussians import climb_gaussian
from lucule.simulate.optics.kernels import Model

Floats: TypeAlias = NDArray[np.float64]
Image: TypeAlias = NDArray[np.float32]
Ints: TypeAlias = NDArray[np.int64]

# columns of values and errors, and of the quality of a fit
X, Y, Z, PHOTONS, BACKGROUND, SIGMA_X, SIGMA_Y = range(7)
VALUES: Final = 7
RATIO, CHI, MORE, REACHED, DEGREES = range(5)
QUALITIES: Final = 5
_LEAST_PHOTONS: Final = 1.0


@njit(cache=True, nogil=True)
def corner_of(at: int, side: int, size: int) -> int:
    """First pixel of a region of `side` around a pixel that lies wholly in the frame."""
    return min(max(at - side // 2, 0), size - side)


@njit(cache=True, nogil=True)
def cut(frame: Image, floor: Image, row: int, column: int, seen: Floats, own: Floats) -> None:
    """Photons plus the camera's variance, and that variance, of a region; no light is below nothing."""
    for r in range(seen.shape[0]):
        for c in range(seen.shape[1]):
            own[r, c] = floor[row + r, column + c]
            seen[r, c] = max(frame[row + r, column + c] + own[r, c], 0.0)


@njit(cache=True, nogil=True)
def fit_gaussians(
    frames: Image,
    pixels: Pixels,
    side: int,
    elliptic: bool,
    width_px: tuple[float, float],
    frame: Ints,
    found: Floats,
    first: int,
    last: int,
    values: Floats,
    errors: Floats,
    quality: Floats,
) -> None:
    """Fit a Gaussian of free width to each candidate from `first` to `last`; lengths are pixels of the frame."""
    seen, own, model = np.empty((side, side)), np.empty((side, side)), np.empty((side, side))
    at, error = np.empty(6), np.empty(6)
    for i in range(first, last):
        row = corner_of(int(found[i, detect.ROW]), side, frames.shape[1])
        column = corner_of(int(found[i, detect.COLUMN]), side, frames.shape[2])
        cut(frames[frame[i]], pixels.floor, row, column, seen, own)
        at[0], at[1] = found[i, detect.X] - column, found[i, detect.Y] - row
        at[2], at[3] = max(found[i, detect.PHOTONS], _LEAST_PHOTONS), found[i, detect.BACKGROUND]
        at[4], at[5] = width_px
        _, reached = climb_gaussian(seen, own, elliptic, pixels.scale, at, error, model)
        flat = seen.reshape(-1), model.reshape(-1), own.reshape(-1)
        ratio, chi, more = goodness(flat[0], flat[1], flat[2], pixels.scale, pixels.fourth)
        _store(at[0] + column, at[1] + row, 0.0, at[2], at[3], at[4], at[5], values[i])
        _store(error[0], error[1], inf, error[2], error[3], error[4], error[5], errors[i])
        rate(ratio, chi, more, reached, side * side - (6 if elliptic else 5), quality[i])


@njit(cache=True, nogil=True)
def fit_psf(
    frames: Image,
    pixels: Pixels,
    side_of_filter: Ints,
    side_crowded: int,
    model: Model,
    depth: int,
    bounds: Floats,
    z_of_filter: Floats,
    frame: Ints,
    found: Floats,
    first: int,
    last: int,
    values: Floats,
    errors: Floats,
    quality: Floats,
) -> None:
    """Fit the PSF to each candidate from `first` to `last`, from one depth or from two; lengths are nm.

    The region is as large as the filter that found the candidate says, `(k,)` pixels: a spot out of focus spreads.
    Where the light of another candidate would fall into it, it is not larger than `side_crowded`.
    """
    most = side_of_filter.max()
    dark_most = np.zeros(most * most)
    seen_most, own_most, light_most = np.empty(most * most), np.empty(most * most), np.empty(most * most)
    at, error = np.empty(5), np.empty(5)
    for i in range(first, last):
        side = side_of_filter[int(found[i, detect.DEPTH])]
        if found[i, detect.SECOND] >= 0:
            # both starts are compared on the same pixels
            side = max(side, side_of_filter[int(found[i, detect.SECOND])])
        if side > side_crowded and _has_neighbour(frame, found, i, side):
            side = side_crowded
        size = side * side
        flat, flat_own, dark, light = seen_most[:size], own_most[:size], dark_most[:size], light_most[:size]
        seen, own = flat.reshape((side, side)), flat_own.reshape((side, side))
        row = corner_of(int(found[i, detect.ROW]), side, frames.shape[1])
        column = corner_of(int(found[i, detect.COLUMN]), side, frames.shape[2])
        cut(frames[frame[i]], pixels.floor, row, column, seen, own)
        best = inf
        for start in (detect.DEPTH, detect.SECOND):
            k = int(found[i, start])
            if k < 0:
                continue
            at[0] = found[i, detect.BACKGROUND]
            at[1], at[2] = found[i, detect.X] * model.pixel[0], found[i, detect.Y] * model.pixel[1]
            at[3] = min(max(z_of_filter[k], bounds[0]), bounds[1])
            at[4] = max(found[i, detect.PHOTONS], _LEAST_PHOTONS)
            loss, reached = climb(
                flat, flat_own, dark, row, column, (side, side), model, depth, bounds, pixels.scale, 1, at, error, light
            )
            if loss < best:
                best = loss
                ratio, chi, more = goodness(flat, light, flat_own, pixels.scale, pixels.fourth)
                _store(at[1], at[2], at[3], at[4], at[0], 0.0, 0.0, values[i])
                _store(error[1], error[2], error[3], error[4], error[0], 0.0, 0.0, errors[i])
                rate(ratio, chi, more, reached, size - 4 - depth, quality[i])


@njit(cache=True, nogil=True)
def _has_neighbour(frame: Ints, found: Floats, i: int, side: int) -> bool:
    """Whether another candidate of the frame is closer than `side` along both axes; frames are sorted."""
    for step in (-1, 1):
        j = i + step
        while 0 <= j < frame.size and frame[j] == frame[i]:
            apart = abs(found[j, detect.ROW] - found[i, detect.ROW])
            if max(apart, abs(found[j, detect.COLUMN] - found[i, detect.COLUMN])) < side:
                return True
            j += step
    return False


@njit(cache=True, nogil=True)
def rate(ratio: float, chi: float, more: float, reached: bool, degrees: int, out: Floats) -> None:
    """Keep what `goodness` says of a fit, whether it reached the top, and its degrees of freedom."""
    out[RATIO], out[CHI], out[MORE], out[REACHED], out[DEGREES] = ratio, chi, more, 1.0 if reached else 0.0, degrees


@njit(cache=True, nogil=True)
def _store(
    x: float, y: float, z: float, photons: float, background: float, sigma_x: float, sigma_y: float, out: Floats
) -> None:
    out[X], out[Y], out[Z], out[PHOTONS], out[BACKGROUND] = x, y, z, photons, background
    out[SIGMA_X], out[SIGMA_Y] = sigma_x, sigma_y


@njit(cache=True, nogil=True)
def doubled(
    frame: Ints, x: Floats, y: Floats, z: Floats, near_nm: float, near_z_nm: float, out: NDArray[np.bool_]
) -> None:
    """Which fits ended where an earlier one of the same frame is; frames are sorted."""
    start = 0
    for i in range(frame.size):
        if frame[i] != frame[start]:
            start = i
        out[i] = False
        for j in range(start, i):
            apart = (x[i] - x[j]) ** 2 + (y[i] - y[j]) ** 2
            if not out[j] and apart < near_nm * near_nm and abs(z[i] - z[j]) < near_z_nm:
                out[i] = True
                break
