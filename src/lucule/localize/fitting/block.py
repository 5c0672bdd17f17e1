"""A block of frames to a table: candidates, fits alone or together, and what is kept of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import gammaincc

from lucule.localize.fitting import crowd, detect, spots, uneven
from lucule.localize.fitting.bank import Bank
from lucule.localize.fitting.detect import Filters
from lucule.localize.fitting.setup import Fitter
from lucule.localize.photons import to_photons
from lucule.space.threads import share

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

_LEAST_CELL_PX: Final = 16
# fits that end closer than this are one emitter
_NEAR_PX: Final = 0.75
_NEAR_DEPTH: Final = 0.2
# a depth this close to an end of the range is none
_END_NM: Final = 1.0
# places for emitters of a frame that were hidden
_SPARE_PLACES: Final = 16


@dataclass(frozen=True, eq=False)
class Fits:
    """Fits of a block: frame in the block `(n,)`, and the columns of `spots`, `(n, columns)`, in nm."""

    frame: Ints
    values: Floats
    errors: Floats
    quality: Floats


def fit_block(fitter: Fitter, counts: NDArray[Any]) -> pl.DataFrame:
    """Localize a block of frames; what comes out depends on nothing else.

    Parameters
    ----------
    fitter
        From `prepare`.
    counts
        Frames as the camera gave them, `(n, rows, columns)`.

    Returns
    -------
    frame in the block, x, y, (z), photons, background, x_err, y_err, (z_err), (sigma_x, sigma_y), log_likelihood,
    p_fit; sorted by frame.
    """
    light = in_photons(fitter, counts)
    frame, found = candidates(fitter, light)
    fits = _fitted(fitter, light, frame, found)
    shape = uneven.shape_below(fitter, light, fits.frame, fits.values, _kept(fitter, fits, once=True))
    if shape is not None:
        fitter, light = uneven.on_even_ground(fitter, light, shape)
        fits = _fitted(fitter, light, frame, found)
        uneven.with_ground(fits.values, shape, fitter.kernel.pixel_size_nm)
    return _table(fitter, fits)


def _fitted(fitter: Fitter, light: NDArray[np.float32], frame: Ints, found: Floats) -> Fits:
    fits = alone(fitter, light, frame, found)
    return together(fitter, light, fits) if fitter.settings.multi else fits


def in_photons(fitter: Fitter, counts: NDArray[Any]) -> NDArray[np.float32]:
    """Photons of frames `(n, rows, columns)`, without the camera's dark charge."""
    dark = fitter.sensor.dark_electrons / np.float32(fitter.sensor.camera.quantum_efficiency)
    return to_photons(counts, fitter.sensor) - dark


def candidates(fitter: Fitter, light: NDArray[np.float32]) -> tuple[Ints, Floats]:
    """Frame `(n,)` and start values `(n, detect.COLUMNS)` of all candidates in frames in photons."""
    frames, rows, columns = light.shape
    most = max(rows * columns // 9, 1)
    found, number = np.empty((frames, most, detect.COLUMNS)), np.zeros(frames, np.int64)

    def work(a: int, b: int) -> None:
        detect.find(light, _filters(fitter.bank), fitter.pixels, fitter.threshold, _cell(fitter), a, b, found, number)

    share(work, frames, least=1, most=32)
    used = np.arange(most) < number[:, None]
    return np.repeat(np.arange(frames), number), found[used]


def _filters(bank: Bank) -> Filters:
    return Filters(bank.down, bank.across, bank.mean, bank.per_photon, bank.bleed, bank.skew)


def _cell(fitter: Fitter) -> int:
    """Side of the cells in which the background is even enough, pixels."""
    return max(_LEAST_CELL_PX, 2 * fitter.side)


def alone(fitter: Fitter, light: NDArray[np.float32], frame: Ints, found: Floats) -> Fits:
    """Fit every candidate as if there were no other."""
    n = len(frame)
    values, errors, quality = np.zeros((n, spots.VALUES)), np.zeros((n, spots.VALUES)), np.zeros((n, spots.QUALITIES))
    kernel = fitter.kernel
    if fitter.has_depth or fitter.settings.multi:
        bounds, depth = np.array(kernel.z_range_nm), int(fitter.has_depth)

        def work(a: int, b: int) -> None:
            spots.fit_psf(
                light, fitter.pixels, fitter.sides, fitter.side, kernel.model, depth, bounds, fitter.bank.z_nm, frame,
                found, a, b, values, errors, quality,
            )  # fmt: skip

    else:
        # where pixels are not square, one width in nm is two in pixels
        elliptic = fitter.model == "elliptical" or kernel.pixel_size_nm[0] != kernel.pixel_size_nm[1]
        width = kernel.model.curves[:, 0] / kernel.model.pixel

        def work(a: int, b: int) -> None:
            spots.fit_gaussians(
                light, fitter.pixels, fitter.side, elliptic, (width[0], width[1]), frame, found, a, b,
                values, errors, quality,
            )  # fmt: skip

    share(work, n, least=16, most=512)
    if not (fitter.has_depth or fitter.settings.multi):
        for array in (values, errors):
            array[:, [spots.X, spots.SIGMA_X]] *= kernel.pixel_size_nm[0]
            array[:, [spots.Y, spots.SIGMA_Y]] *= kernel.pixel_size_nm[1]
    elif not fitter.has_depth:
        values[:, [spots.SIGMA_X, spots.SIGMA_Y]] = kernel.model.curves[:, 0]
    return Fits(frame, values, errors, quality)


def together(fitter: Fitter, light: NDArray[np.float32], fits: Fits) -> Fits:
    """Fit neighbours together, and look for what they hid."""
    frames = len(light)
    counts = np.bincount(fits.frame, minlength=frames).astype(np.int64)
    most = 2 * int(counts.max(initial=0)) + _SPARE_PLACES
    own = np.arange(most) < counts[:, None]
    parts = []
    for array in (fits.values, fits.errors, fits.quality):
        part = np.zeros((frames, most, array.shape[1]))
        part[own] = array
        parts.append(part)
    values, errors, quality = parts
    kernel = fitter.kernel
    how = crowd.Fit(
        kernel.model, int(fitter.has_depth), np.array(kernel.z_range_nm), fitter.side,
        0.5 * fitter.side * min(kernel.pixel_size_nm), fitter.bank.z_nm, fitter.threshold,
    )  # fmt: skip

    def work(a: int, b: int) -> None:
        crowd.fit_frames(
            light, fitter.pixels, _filters(fitter.bank), how, _cell(fitter), a, b, counts, values, errors, quality
        )

    share(work, frames, least=1, most=16)
    used = np.arange(most) < counts[:, None]
    if not fitter.has_depth:
        values[..., [spots.SIGMA_X, spots.SIGMA_Y]] = kernel.model.curves[:, 0]
    return Fits(np.repeat(np.arange(frames), counts), values[used], errors[used], quality[used])


def goodness_of_fit(fits: Fits) -> Floats:
    """Chance of a worse fit by noise alone, `(n,)`."""
    degrees = fits.quality[:, spots.DEGREES]
    variance = 2 * degrees + fits.quality[:, spots.MORE]
    # a gamma distribution with the mean and the variance that chi squared has for light of a few photons
    chance: Floats = gammaincc(degrees**2 / variance, np.maximum(fits.quality[:, spots.CHI], 0) * degrees / variance)
    return chance


def _table(fitter: Fitter, fits: Fits) -> pl.DataFrame:
    values, errors, quality = fits.values, fits.errors, fits.quality
    table = pl.DataFrame(
        {
            "frame": fits.frame.astype(np.uint32),
            "x": values[:, spots.X],
            "y": values[:, spots.Y],
            "z": values[:, spots.Z],
            "photons": values[:, spots.PHOTONS],
            "background": values[:, spots.BACKGROUND],
            "x_err": errors[:, spots.X],
            "y_err": errors[:, spots.Y],
            "z_err": errors[:, spots.Z],
            "sigma_x": values[:, spots.SIGMA_X],
            "sigma_y": values[:, spots.SIGMA_Y],
            "log_likelihood": quality[:, spots.RATIO].astype(np.float32),
            "p_fit": goodness_of_fit(fits).astype(np.float32),
        }
    )
    table = table.drop(["sigma_x", "sigma_y"] if fitter.has_depth else ["z", "z_err"])
    return table.filter(_kept(fitter, fits, once=not fitter.settings.multi))


def _kept(fitter: Fitter, fits: Fits, *, once: bool) -> NDArray[np.bool_]:
    """Fits that reached their top, inside the depth range, and, if asked for, only one of those in the same place."""
    values, errors, quality = fits.values, fits.errors, fits.quality
    good = quality[:, spots.REACHED] > 0
    good &= np.isfinite(errors[:, [spots.X, spots.Y, spots.PHOTONS]]).all(axis=1)
    low, high = fitter.kernel.z_range_nm
    if fitter.has_depth:
        good &= (values[:, spots.Z] > low + _END_NM) & (values[:, spots.Z] < high - _END_NM)
    if not once:
        return good
    rows = np.flatnonzero(good)
    again = np.zeros(len(rows), np.bool_)
    x, y, z = (np.ascontiguousarray(values[rows, axis]) for axis in (spots.X, spots.Y, spots.Z))
    near = _NEAR_PX * min(fitter.kernel.pixel_size_nm)
    spots.doubled(fits.frame[rows], x, y, z, near, _NEAR_DEPTH * (high - low), again)
    good[rows[again]] = False
    return good
