"""Movies to localizations by maximum likelihood: detection, fit, errors, goodness."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from scipy.signal import fftconvolve
from scipy.special import gammaincc

from lucule.core import SILENT, Camera, Config, InputError, Localizations, Meta, Progress, package_version, step
from lucule.core.ledger import fingerprint
from lucule.io.movies import Movie, Roi, opened
from lucule.localize.blocks import Block, Keep, in_blocks
from lucule.localize.fitting import crowd, detect, spots
from lucule.localize.fitting.bank import Bank, make_bank
from lucule.localize.fitting.detect import Filters, Pixels
from lucule.localize.photons import to_photons
from lucule.simulate.camera import Sensor, sensor
from lucule.simulate.crlb import crlb, floor_of, noise_of
from lucule.simulate.optics import Astigmatic, Gaussian, Kernel, compile_psf
from lucule.simulate.optics.psf import PSF
from lucule.space.threads import share

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Model = Literal["gaussian", "elliptical", "astigmatic", "spline"]

logger = logging.getLogger(__name__)

# start of the width of a Gaussian, nm: in focus at NA 1.3 to 1.5 and 550 to 700 nm
_WIDTH_NM: Final = 130.0
_WIDTH_FRAMES: Final = 40
_WIDTH_FITS: Final = 30
# the region loses this much precision at most, for light of a common brightness
_PRECISION_LOST: Final = 0.07
# a smaller region is better where neighbours stand in it
_PRECISION_LOST_CROWDED: Final = 0.25
_MOST_USED, _USUAL_NM = 0.8, 500.0
_COMMON_LIGHT: Final = (2000.0, 30.0)
_LEAST_ROI_PX, _MOST_ROI_PX = 7, 41
_BLOCK_PIXELS: Final = 128 * 64 * 64
_LEAST_CELL_PX: Final = 16
_NEAR_PX: Final = 0.75
# noise of neighbouring pixels over what the camera's gain says, from where on a warning is due
_NOISE_OFF: Final = 1.6
_END_NM: Final = 1.0
# places for emitters of a frame that were hidden
_SPARE_PLACES: Final = 16


class FitSettings(Config):
    """How emitters are found and fitted.

    Attributes
    ----------
    model
        `gaussian`: one free width. `elliptical`: a free width along x and along y. `astigmatic`: depth from the defocus
        curves of the PSF. `spline`: depth from any other PSF. None: what the PSF is.
    false_alarms
        Emitters that noise alone makes in one frame, on average, at most.
    roi_px
        Side of the region of a fit in pixels, odd; None: as large as precision needs.
    multi
        Whether overlapping emitters are fitted together and hidden ones looked for. Gaussians then have the width of the
        PSF.
    """

    model: Model | None = None
    false_alarms: Annotated[float, Field(gt=0)] = 0.01
    roi_px: Annotated[int, Field(ge=5, le=99)] | None = None
    multi: bool = False


@dataclass(frozen=True, eq=False)
class Fitter:
    """Everything that a block of frames needs, made once for a movie.

    Attributes
    ----------
    settings, model
        As asked for, and the model that was chosen.
    kernel
        The PSF; for Gaussians of free width the one that finds them and starts the fit.
    bank, threshold
        Filters, and the height of a candidate.
    side
        Side of the region of a fit, pixels.
    sensor, pixels
        The camera's pixels, and their noise as compiled code needs it.
    """

    settings: FitSettings
    model: Model
    kernel: Kernel
    bank: Bank
    threshold: float
    side: int
    sensor: Sensor
    pixels: Pixels

    @property
    def has_depth(self) -> bool:
        """Whether z is fitted."""
        return self.model in ("astigmatic", "spline")


@dataclass(frozen=True, eq=False)
class Fits:
    """Fits of a block: frame in the block `(n,)`, and the columns of `spots`, `(n, columns)`, in nm."""

    frame: Ints
    values: Floats
    errors: Floats
    quality: Floats


def prepare(pixels: Sensor, psf: PSF | str | None = None, settings: FitSettings | None = None) -> Fitter:
    """Make everything ready for the frames of a camera.

    Parameters
    ----------
    pixels
        The camera's pixels.
    psf
        PSF, or the name or path of one; None: a Gaussian of free width.
    settings
        How to find and fit.

    Raises
    ------
    InputError
        The PSF does not fit the pixels or the model, or the region of the fit is larger than the frame.

    Examples
    --------
    >>> from lucule.simulate import load_camera
    >>> prepare(sensor(load_camera("ideal"), (64, 64)), "astigmatic").model
    'astigmatic'
    """
    settings = settings or FitSettings()
    camera, shape = pixels.camera, pixels.baseline.shape
    if camera.kind != "ideal" and "electrons_per_count" not in camera.model_fields_set:
        raise InputError(
            "The camera has no gain, without which there are no photons and no errors",
            received=f"kind: {camera.kind}",
            allowed="electrons_per_count, a number or a map",
            next_step="write it into the camera file, or measure it with lucule calibrate camera",
        )
    kernel = compile_psf(Gaussian(sigma_nm=_WIDTH_NM, depth_nm=None) if psf is None else psf, camera.pixel_size_nm)
    model = settings.model or _natural(kernel)
    _check(model, kernel)
    if model in ("gaussian", "elliptical"):
        kernel = _in_focus(kernel)
    lost = _PRECISION_LOST_CROWDED if settings.multi else _PRECISION_LOST
    side = settings.roi_px or _region(kernel, model, lost)
    if side % 2 == 0 or side > min(shape):
        raise InputError(
            "The region of the fit cannot be used",
            received=f"{side} x {side} pixels, frames of {shape[0]} x {shape[1]}",
            allowed=f"an odd number of pixels, up to {min(shape) - 1 + min(shape) % 2}",
            next_step="use larger frames, or a smaller region (roi_px)",
        )
    bank = make_bank(kernel, side)
    noise = noise_of(pixels)
    floor = floor_of(pixels).astype(np.float32)
    weight = (bank.filters**2).mean(axis=0)
    smooth = fftconvolve(np.pad(floor, side // 2, mode="edge"), weight, mode="valid")
    multiplied = noise.excess > 1
    # cumulants of single electrons, and of those that a register multiplies by an exponential factor
    third, fourth = (6.0, 24.0) if multiplied else (1.0, 1.0)
    numbers = Pixels(
        floor,
        np.maximum(smooth, 0).astype(np.float32),
        noise.excess / noise.efficiency,
        third / noise.efficiency**2,
        fourth / noise.efficiency**3,
    )
    threshold = bank.threshold(settings.false_alarms, shape[0] * shape[1])
    return Fitter(settings, model, kernel, bank, threshold, side, pixels, numbers)


def _natural(kernel: Kernel) -> Model:
    if not kernel.is_gaussian:
        return "spline"
    return "astigmatic" if isinstance(kernel.psf, Astigmatic) else "gaussian"


def _check(model: Model, kernel: Kernel) -> None:
    if model == "astigmatic" and not isinstance(kernel.psf, Astigmatic):
        raise InputError("The model `astigmatic` needs an astigmatic PSF", received=f"a PSF of kind {kernel.psf.kind}",
                         next_step="name one, for example --psf astigmatic")  # fmt: skip
    if model == "spline" and kernel.is_gaussian:
        raise InputError("The model `spline` needs a measured or computed PSF", received="a Gaussian",
                         next_step="name one, for example --psf psf.h5")  # fmt: skip


def _in_focus(kernel: Kernel) -> Kernel:
    """Symmetric Gaussian of the smallest width of a PSF."""
    if isinstance(kernel.psf, Gaussian):
        width = kernel.psf.sigma_nm
    elif isinstance(kernel.psf, Astigmatic):
        # the circle of least confusion
        width = float(np.sqrt(kernel.psf.x.sigma_nm * kernel.psf.y.sigma_nm) * 2**0.25)
    else:
        width = _WIDTH_NM
    return compile_psf(Gaussian(sigma_nm=width, depth_nm=None), kernel.pixel_size_nm)


def _region(kernel: Kernel, model: Model, lost: float) -> int:
    """Smallest side that loses no more than this part of the precision."""
    most = min(kernel.roi_px, _MOST_ROI_PX)
    if model in ("gaussian", "elliptical"):
        return max(most, _LEAST_ROI_PX)
    low, high = kernel.z_range_nm
    # the depths at which most emitters are
    z = np.linspace(max(_MOST_USED * low, -_USUAL_NM), min(_MOST_USED * high, _USUAL_NM), 9)
    photons, background = _COMMON_LIGHT
    middle = 0.5 * np.array(kernel.pixel_size_nm)
    plain = Camera(kind="ideal", pixel_size_nm=kernel.pixel_size_nm)

    def bound(side: int) -> Floats:
        found = crlb(kernel, plain, *middle, z, photons, background, roi_px=side)
        return np.stack([found.x_err, found.y_err, found.z_err])

    whole = bound(most)
    for side in range(_LEAST_ROI_PX, most, 2):
        if np.all(bound(side) < (1 + lost) * whole):
            return side
    return most


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
    frame in the block, x, y, (z), photons, background, x_err, y_err, (z_err), (sigma_x, sigma_y), log_likelihood, p_fit;
    sorted by frame.
    """
    light = to_photons(counts, fitter.sensor)
    light -= fitter.sensor.dark_electrons / np.float32(fitter.sensor.camera.quantum_efficiency)
    frame, found = candidates(fitter, light)
    fits = _alone(fitter, light, frame, found)
    if fitter.settings.multi:
        fits = _together(fitter, light, fits)
    return _table(fitter, fits)


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


def _alone(fitter: Fitter, light: NDArray[np.float32], frame: Ints, found: Floats) -> Fits:
    """Fit every candidate as if there were no other."""
    n = len(frame)
    values, errors, quality = np.zeros((n, spots.VALUES)), np.zeros((n, spots.VALUES)), np.zeros((n, spots.QUALITIES))
    kernel = fitter.kernel
    if fitter.has_depth or fitter.settings.multi:
        bounds, depth = np.array(kernel.z_range_nm), int(fitter.has_depth)

        def work(a: int, b: int) -> None:
            spots.fit_psf(
                light, fitter.pixels, fitter.side, kernel.model, depth, bounds, fitter.bank.z_nm, frame, found, a, b,
                values, errors, quality,
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


def _together(fitter: Fitter, light: NDArray[np.float32], alone: Fits) -> Fits:
    """Fit neighbours together, and look for what they hid."""
    frames = len(light)
    counts = np.bincount(alone.frame, minlength=frames).astype(np.int64)
    most = 2 * int(counts.max(initial=0)) + _SPARE_PLACES
    own = np.arange(most) < counts[:, None]
    parts = []
    for array in (alone.values, alone.errors, alone.quality):
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


def _table(fitter: Fitter, fits: Fits) -> pl.DataFrame:
    values, errors, quality = fits.values, fits.errors, fits.quality
    degrees = quality[:, spots.DEGREES]
    variance = 2 * degrees + quality[:, spots.MORE]
    # a gamma distribution with the mean and the variance that chi squared has for light of a few photons
    p = gammaincc(degrees**2 / variance, np.maximum(quality[:, spots.CHI], 0) * degrees / variance)
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
            "p_fit": p.astype(np.float32),
        }
    )
    table = table.drop(["sigma_x", "sigma_y"] if fitter.has_depth else ["z", "z_err"])
    return table.filter(_kept(fitter, fits))


def _kept(fitter: Fitter, fits: Fits) -> NDArray[np.bool_]:
    """Fits that reached their top, inside the depth range, and only one for each emitter."""
    values, errors, quality = fits.values, fits.errors, fits.quality
    good = quality[:, spots.REACHED] > 0
    good &= np.isfinite(errors[:, [spots.X, spots.Y, spots.PHOTONS]]).all(axis=1)
    low, high = fitter.kernel.z_range_nm
    if fitter.has_depth:
        good &= (values[:, spots.Z] > low + _END_NM) & (values[:, spots.Z] < high - _END_NM)
    if fitter.settings.multi:
        return good
    rows = np.flatnonzero(good)
    again = np.zeros(len(rows), np.bool_)
    x, y, z = (np.ascontiguousarray(values[rows, axis]) for axis in (spots.X, spots.Y, spots.Z))
    near = _NEAR_PX * min(fitter.kernel.pixel_size_nm)
    spots.doubled(fits.frame[rows], x, y, z, near, 0.2 * (high - low), again)
    good[rows[again]] = False
    return good


@step
def fit(
    movie: Movie | ArrayLike | str | os.PathLike[str],
    *,
    camera: Camera,
    psf: PSF | str | None = None,
    settings: FitSettings | None = None,
    frames: tuple[int, int] | None = None,
    roi: Roi | None = None,
    keep: str | os.PathLike[str] | None = None,
    progress: Progress = SILENT,
) -> Localizations:
    """Localize all frames of a movie by maximum likelihood.

    Parameters
    ----------
    movie
        Path of a movie in any format, an open `lucule.io.movies.Movie`, or counts `(frames, rows, columns)`.
    camera
        Camera of the movie.
    psf
        PSF, or the name or path of one. None: a Gaussian whose width is estimated from the movie and then free.
    settings
        How to find and fit.
    frames
        First frame, and the one after the last; None: all.
    roi
        First column, column after the last, first row, row after the last: only this region is localized. Positions
        are those of the whole frame.
    keep
        Folder in which finished blocks of frames are kept, so that the same call goes on after an interruption; it is
        yours to remove (`lucule.localize.blocks.remove_parts`). Only for movies in files.

    Returns
    -------
    Localizations
        frame, x, y, photons, background, x_err, y_err (Cramer-Rao bounds at the fit), z and z_err or sigma_x and sigma_y,
        log_likelihood (over that of a perfect fit), p_fit (chance of a worse fit by noise alone). What was noticed about
        the movie stands in `meta.vendor["notes"]` and is logged.

    Raises
    ------
    InputError
        The movie has no frames, holds values that are no numbers, or PSF, camera and settings do not fit each other.

    Examples
    --------
    >>> from lucule.simulate import load_camera
    >>> from lucule.simulate.camera import expose
    >>> light = 20 + compile_psf("gaussian_2d", 100).image(1630, 1470, 0, 3000, (32, 32))
    >>> locs = fit(expose(light[None], load_camera("ideal"), seed=1), camera=load_camera("ideal"))
    >>> len(locs), abs(locs["x"][0] - 1630) < 4 * locs["x_err"][0]
    (1, np.True_)
    """
    with opened(movie, frames=frames, roi=roi) as source:
        _, rows, columns = source.shape
        pixels = sensor(camera, source.info.shape[1:]).crop(source.window)
        fitter = prepare(pixels, psf, settings)
        if psf is None:
            fitter = _with_width(fitter, source)
        identity = (str(fitter.kernel.psf), fitter.settings.model_dump(mode="json"), camera.model_dump(mode="json"))
        table, seen = in_blocks(
            source,
            lambda block: fit_block(fitter, block.counts[block.own]),
            size=max(_BLOCK_PIXELS // (rows * columns), 2),
            pixel_size_nm=camera.pixel_size_nm,
            saturation=min(camera.saturation, 2 ** (source.info.camera.bit_depth or 64) - 1),
            keep=keep and Keep(Path(keep), fingerprint(source.fingerprint(), identity, package_version())),
            progress=progress,
        )
        info = source.info
        notes = [*info.notes, *info.disagreements(camera), *seen, *_noise_notes(fitter, source)]
    if not len(table):
        notes.append("No localization was found; is this the camera of the movie?")
    for note in notes:
        logger.warning("%s", note)
    meta = Meta(
        camera=camera,
        pixel_size_nm=camera.pixel_size_nm,
        shape_px=info.shape[1:],
        n_frames=info.shape[0],
        exposure_ms=info.exposure_ms,
        errors="crlb",
        vendor={"notes": notes} if notes else {},
    )
    return Localizations(table, meta)


def _some_frames(movie: Movie, number: int) -> NDArray[Any]:
    chosen = np.unique(np.linspace(0, movie.shape[0] - 1, number).astype(int))
    return np.concatenate([movie[int(frame) : int(frame) + 1] for frame in chosen])


def _with_width(fitter: Fitter, movie: Movie) -> Fitter:
    """Fit some frames, and prepare anew with the width that is common there."""
    free = prepare(fitter.sensor, None, fitter.settings.replace(multi=False))
    found = fit_block(free, np.nan_to_num(_some_frames(movie, _WIDTH_FRAMES)))
    if len(found) < _WIDTH_FITS:
        return fitter
    bright = found.sort("photons", descending=True).head(max(len(found) // 2, _WIDTH_FITS))
    width = float(np.median(0.5 * (bright["sigma_x"] + bright["sigma_y"]).to_numpy()))
    return prepare(fitter.sensor, Gaussian(sigma_nm=round(width, 1), depth_nm=None), fitter.settings)


def _noise_notes(fitter: Fitter, movie: Movie) -> list[str]:
    """Say when neighbouring pixels differ by more, or by less, than the camera's gain explains."""
    light = to_photons(_some_frames(movie, 3), fitter.sensor)
    level = float(np.median(light))
    if level < 0:
        return ["The counts lie below the camera's baseline; is this the camera of the movie?"]
    seen = (np.median(np.abs(np.diff(light, axis=2))) / (0.6745 * np.sqrt(2))) ** 2
    expected = fitter.pixels.scale * (level + float(np.median(fitter.pixels.floor)))
    if seen == 0 or expected == 0 or 1 / _NOISE_OFF < seen / expected < _NOISE_OFF:
        return []
    return [
        f"The variance of this movie is {seen / expected:.2g} times what the camera's gain explains: errors and false alarms "
        "are off. Is this the camera?"
    ]
