"""Movies to localizations by maximum likelihood."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from lucule.core import SILENT, Camera, Localizations, Meta, Progress, package_version, step
from lucule.core.ledger import fingerprint
from lucule.io.movies import Movie, Roi, opened
from lucule.localize.blocks import Keep, in_blocks
from lucule.localize.fitting.block import fit_block
from lucule.localize.fitting.setup import FitSettings, Fitter, gaussian_of, prepare
from lucule.localize.photons import to_photons
from lucule.simulate.camera import sensor
from lucule.simulate.optics import Gaussian
from lucule.simulate.optics.psf import PSF

logger = logging.getLogger(__name__)

_WIDTH_FRAMES: Final = 40
_WIDTH_FITS: Final = 30
_BLOCK_PIXELS: Final = 128 * 64 * 64
# what lasts of a background is seen in several frames only
_LEAST_FRAMES: Final = 4
# variance of neighbouring pixels over what the camera's gain says, from where on a warning is due
_NOISE_OFF: Final = 1.6


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

    The shape of an uneven background, as far as it lasts through a block of frames, is part of the fits
    (`lucule.localize.background`).

    Parameters
    ----------
    movie
        Path of a movie in any format, an open `lucule.io.movies.Movie`, or counts `(frames, rows, columns)`.
    camera
        Camera of the movie.
    psf
        PSF, or the name or path of one. None: a Gaussian whose width is estimated from the movie and then free. Of a
        calibration the spline is fitted, with the model `astigmatic` its Gaussian, whose wobble is taken off.
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
        frame, x, y, photons, background, x_err, y_err (Cramer-Rao bounds at the fit), z and z_err or sigma_x and
        sigma_y, log_likelihood (over that of a perfect fit), p_fit (chance of a worse fit by noise alone). What was
        noticed about the movie stands in `meta.vendor["notes"]` and is logged.

    Raises
    ------
    InputError
        The movie has no frames, holds values that are no numbers, or PSF, camera and settings do not fit each other.

    Examples
    --------
    >>> from lucule.simulate import load_camera
    >>> from lucule.simulate.camera import expose
    >>> from lucule.simulate.optics import compile_psf
    >>> light = 20 + compile_psf("gaussian_2d", 100).image(1630, 1470, 0, 3000, (32, 32))
    >>> locs = fit(expose(light[None], load_camera("ideal"), seed=1), camera=load_camera("ideal"))
    >>> len(locs), abs(locs["x"][0] - 1630) < 4 * locs["x_err"][0]
    (1, np.True_)
    """
    with opened(movie, frames=frames, roi=roi) as source:
        _, rows, columns = source.shape
        pixels = sensor(camera, source.info.shape[1:]).crop(source.window)
        used, calibration = gaussian_of(psf, settings or FitSettings())
        fitter = prepare(pixels, used, settings)
        if psf is None:
            fitter = _with_width(fitter, source)
        identity = (str(fitter.kernel.psf), fitter.settings.model_dump(mode="json"), camera.model_dump(mode="json"))
        kept = None
        if keep is not None:
            kept = Keep(Path(keep), fingerprint(source.fingerprint(), identity, package_version()))
        table, seen = in_blocks(
            source,
            lambda block: fit_block(fitter, block.counts[block.own]),
            size=max(_BLOCK_PIXELS // (rows * columns), _LEAST_FRAMES),
            pixel_size_nm=camera.pixel_size_nm,
            saturation=min(camera.saturation, 2 ** (source.info.camera.bit_depth or 64) - 1),
            keep=kept,
            progress=progress,
        )
        info = source.info
        notes = [*info.notes, *info.disagreements(camera), *seen, *_noise_notes(fitter, source)]
    if calibration is not None:
        # the centre of a Gaussian fit moves with the depth
        x, y = calibration.wobble(table["z"].to_numpy()).T
        table = table.with_columns(x=(pl.col("x") - x).cast(table.schema["x"]),
                                   y=(pl.col("y") - y).cast(table.schema["y"]))  # fmt: skip
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
        f"The variance of this movie is {seen / expected:.2g} times what the camera's gain explains: errors and false "
        "alarms are off. Is this the camera?"
    ]
