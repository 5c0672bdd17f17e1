"""The wavefront of the microscope from the spots of an ordinary movie, where no beads were taken.

A PSF with a pupil (Tetrapod, double helix, plain) is the start. Spots that stand alone are fitted with it; what they
have in common that the PSF does not explain is put into Zernike aberrations by maximum likelihood: one step of Fisher
scoring for the coefficients, with x, y, z, photons and background of every spot free (their part is taken out by the
Schur complement), then all spots are found and fitted anew. Tilt and defocus are places and depths of the spots, so
that they are not among the coefficients, and z = 0 is the focus of the PSF.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lucule.core import SILENT, Camera, InputError, Progress
from lucule.io.movies import Movie, opened
from lucule.localize.calibration.reading import Source
from lucule.localize.fitting import FitSettings, Fitter, prepare
from lucule.localize.fitting.block import Fits, alone, candidates, goodness_of_fit, in_photons
from lucule.localize.fitting.detect import COLUMN, ROW
from lucule.localize.fitting.spots import CHI, DEGREES, PHOTONS, REACHED, VALUES, corner_of
from lucule.simulate.camera import sensor
from lucule.simulate.optics import Kernel, compile_psf
from lucule.simulate.optics.psf import DoubleHelix, Pupil, Tetrapod

Floats: TypeAlias = NDArray[np.float64]
WithPupil: TypeAlias = Pupil | DoubleHelix | Tetrapod

# Noll indices: astigmatism, coma, trefoil, spherical aberration, secondary astigmatism, quadrafoil
MODES: Final = tuple(range(5, 16))
_ROUNDS: Final = 5
_SETTLED_NM: Final = 0.3
_DIFFERENCE_NM: Final = 2.0
_FARTHEST_NM: Final = 25.0
# aberrations of a microscope that is in order, before anything was seen
_USUAL_NM: Final = 30.0
_REGION_NM, _APART_NM = 3500.0, 3000.0
_MOST_FRAMES, _MOST_SPOTS, _FEWEST_SPOTS = 100, 150, 20
_LEAST_SIGNIFICANCE: Final = 15.0
# frames are looked at together up to so many pixels, some 100 MB with what is made of them
_PIXELS_AT_ONCE: Final = 2**22
# worst fits, which overlap with others that were not seen, and residuals that no aberration makes
_LEFT_OUT, _MOST_DEVIATION = 0.1, 6.0
_GOOD: Final = 1e-4


@dataclass(frozen=True, eq=False)
class _Spots:
    """Spots that stand alone: row and column of the candidate, fit, and photons around it, `(n, side, side)`."""

    found: Floats
    fits: Fits
    light: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class FoundPupil:
    """A PSF whose aberrations were found in a movie.

    Attributes
    ----------
    psf
        The PSF, with `zernike_nm` (Noll).
    error_nm
        Lower bound of the error of each coefficient that was found.
    spots
        How many spots were used in the last round.
    good_before, good
        Part of the lone spots that the PSF explained (`p_fit` above 1e-4) at the start and at the end.
    warnings
        What the user should know.
    """

    psf: WithPupil
    error_nm: dict[int, float]
    spots: int
    good_before: float
    good: float
    warnings: tuple[str, ...]

    def summary(self) -> dict[str, Any]:
        """What a person wants to see."""
        found = {str(mode): round(value, 2) for mode, value in self.psf.zernike_nm.items()}
        errors = {str(mode): round(value, 2) for mode, value in self.error_nm.items()}
        return {"zernike_nm": found, "zernike_error_nm": errors, "spots_used": self.spots,
                "good_fits_before": round(self.good_before, 3), "good_fits": round(self.good, 3)}  # fmt: skip


def pupil_from_movie(movie: Source, camera: Camera, psf: WithPupil, *, progress: Progress = SILENT) -> FoundPupil:
    """Find the Zernike aberrations of a PSF in an ordinary movie.

    Parameters
    ----------
    movie
        Path of a movie, or counts `(frames, rows, columns)`; up to 100 frames spread over it are used.
    camera
        Its camera; without the right gain the noise is not what is expected, and little can be said.
    psf
        The start: a Tetrapod, a double helix or a plain pupil, with Noll indices.

    Raises
    ------
    InputError
        The PSF has no pupil, or fewer than 20 spots stand alone.
    """
    if not isinstance(psf, Pupil | DoubleHelix | Tetrapod) or psf.zernike_order != "noll":
        raise InputError("The aberrations of this PSF cannot be found", received=f"a PSF of kind {psf.kind}",
                         allowed="pupil, double_helix or tetrapod, with Noll indices")  # fmt: skip
    with opened(movie) as frames, progress.task("Pupil", _ROUNDS + 1, "rounds") as task:
        chosen = np.unique(np.linspace(0, frames.shape[0] - 1, _MOST_FRAMES).astype(int))
        pixels = sensor(camera, frames.shape[1:])
        side = min(int(_REGION_NM / max(camera.pixel_size_nm)), *frames.shape[1:]) // 2 * 2 - 1
        settings = FitSettings(roi_px=side)
        prior = np.eye(len(MODES)) / _USUAL_NM**2
        before = after = float("nan")
        for turn in range(_ROUNDS + 1):
            fitter = prepare(pixels, psf, settings)
            spots = _lone(fitter, frames, chosen)
            after = float((goodness_of_fit(spots.fits) > _GOOD).mean())
            before = after if turn == 0 else before
            task.advance()
            fisher, score, used = _shared(fitter, psf, spots)
            if turn == _ROUNDS:
                break
            known = np.array([psf.zernike_nm.get(mode, 0.0) for mode in MODES])
            step = np.linalg.solve(fisher + prior, score - prior @ known)
            step *= min(1.0, _FARTHEST_NM / np.abs(step).max())
            psf = _aberrated(psf, dict(zip(MODES, known + step, strict=True)))
            if np.abs(step).max() < _SETTLED_NM:
                break
    errors = np.sqrt(np.diag(np.linalg.inv(fisher + prior)))
    warnings = []
    if after < 0.5:
        warnings.append(
            f"Only {100 * after:.0f} % of the lone spots are explained: is this the PSF, and this the camera?"
        )
    return FoundPupil(psf, dict(zip(MODES, map(float, errors), strict=True)), used, before, after, tuple(warnings))


def _aberrated(psf: WithPupil, changes: dict[int, float]) -> WithPupil:
    return psf.replace(zernike_nm=psf.zernike_nm | {mode: float(value) for mode, value in changes.items()})


def _lone(fitter: Fitter, movie: Movie, chosen: NDArray[np.int64]) -> _Spots:
    """The brightest spots of some frames that have no other within reach and lie inside the frame."""
    at_once = max(1, _PIXELS_AT_ONCE // (movie.shape[1] * movie.shape[2]))
    parts = []
    for numbers in np.split(chosen, range(at_once, len(chosen), at_once)):
        counts = np.stack([np.asarray(movie[int(number) : int(number) + 1])[0] for number in numbers])
        parts.append(_lone_together(fitter, in_photons(fitter, counts)))
    values, errors = (np.concatenate([getattr(part.fits, name) for part in parts]) for name in ("values", "errors"))
    if len(values) < _FEWEST_SPOTS:
        raise InputError(
            "Too few spots stand alone", received=f"{len(values)} in {len(chosen)} frames",
            allowed=f"{_FEWEST_SPOTS} or more, {_APART_NM / 1000:g} um from any other",
            next_step="use a movie with more frames or fewer molecules in each",
        )  # fmt: skip
    rows = np.sort(np.argsort(-values[:, PHOTONS] / errors[:, PHOTONS])[:_MOST_SPOTS])
    found, light = (np.concatenate([getattr(part, name) for part in parts])[rows] for name in ("found", "light"))
    frame, quality = (
        np.concatenate([getattr(part.fits, name) for part in parts])[rows] for name in ("frame", "quality")
    )
    return _Spots(found, Fits(frame, values[rows], errors[rows], quality), light)


def _lone_together(fitter: Fitter, light: NDArray[np.float32]) -> _Spots:
    """Spots of frames `(n, rows, columns)` in photons that have no other within reach and lie inside the frame."""
    frame, found = candidates(fitter, light)
    fits = alone(fitter, light, frame, found)
    place = found[:, [ROW, COLUMN]]
    half = fitter.side // 2
    inside = (place >= half).all(axis=1) & (place < np.array(light.shape[1:]) - half).all(axis=1)
    reach = _APART_NM / max(fitter.kernel.pixel_size_nm)
    # frames lie farther apart than any two spots of one
    tree = cKDTree(np.column_stack([frame * 2 * reach, place]))
    crowd = np.array([len(near) for near in tree.query_ball_point(tree.data, reach)], np.int64)
    signal = fits.values[:, PHOTONS] / fits.errors[:, PHOTONS]
    rows = np.flatnonzero(inside & (crowd == 1) & (fits.quality[:, REACHED] > 0) & (signal > _LEAST_SIGNIFICANCE))
    around = np.empty((len(rows), fitter.side, fitter.side), np.float32)
    for kept, row in zip(around, rows, strict=True):
        kept[:] = light[frame[row]][_square(fitter, found[row])]
    return _Spots(found[rows], Fits(frame[rows], fits.values[rows], fits.errors[rows], fits.quality[rows]), around)


def _square(fitter: Fitter, found: Floats) -> tuple[slice, slice]:
    """Rows and columns around a candidate."""
    rows, columns = fitter.pixels.floor.shape
    top = corner_of(int(found[ROW]), fitter.side, rows)
    left = corner_of(int(found[COLUMN]), fitter.side, columns)
    return slice(top, top + fitter.side), slice(left, left + fitter.side)


def _shared(fitter: Fitter, psf: WithPupil, spots: _Spots) -> tuple[Floats, Floats, int]:
    """Fisher matrix and score of the coefficients, what the spots' own parameters explain taken out; spots used."""
    kernel, side, fits = fitter.kernel, fitter.side, spots.fits
    moved = [
        compile_psf(_aberrated(psf, {mode: psf.zernike_nm.get(mode, 0.0) + _DIFFERENCE_NM}), kernel.pixel_size_nm)
        for mode in MODES
    ]
    chi = fits.quality[:, CHI] / fits.quality[:, DEGREES]
    good = (fits.quality[:, REACHED] > 0) & (chi <= np.quantile(chi, 1 - _LEFT_OUT))
    fisher, score = np.zeros((len(MODES), len(MODES))), np.zeros(len(MODES))
    for i in np.flatnonzero(good):
        own = _square(fitter, spots.found[i])
        row, column = own[0].start, own[1].start
        *place, photons, background = fits.values[i, : VALUES - 2]
        floor = fitter.pixels.floor[own].ravel().astype(np.float64)
        shape, *slopes = _spot(kernel, place, (row, column), side)
        expected = np.maximum(photons * shape + background + floor, 1e-3)
        by_spot = np.stack([*(photons * s for s in slopes), shape, np.ones_like(shape)])
        others = np.stack([_spot(other, place, (row, column), side)[0] for other in moved])
        by_pupil = photons * (others - shape) / _DIFFERENCE_NM
        # a fit that is worse than noise says less
        weight = 1 / (fitter.pixels.scale * expected * max(chi[i], 1.0))
        rest = spots.light[i].ravel() + floor - expected
        limit = _MOST_DEVIATION / np.sqrt(weight)
        rest = np.clip(rest, -limit, limit)
        inner, cross = (by_spot * weight) @ by_spot.T, (by_spot * weight) @ by_pupil.T
        # photons and nanometres differ by orders of magnitude
        unit = np.sqrt(np.diag(inner))
        inner = inner / np.outer(unit, unit) + 1e-9 * np.eye(len(unit))
        by_pupil = by_pupil - (np.linalg.solve(inner, cross / unit[:, None]) / unit[:, None]).T @ by_spot
        fisher += (by_pupil * weight) @ by_pupil.T
        score += (by_pupil * weight) @ rest
    return fisher, score, int(good.sum())


def _spot(kernel: Kernel, place: Sequence[float], corner: tuple[int, int], side: int) -> Floats:
    """Light of one photon at x, y, z in the pixels of a square, and its derivatives, `(4, side * side)`."""
    x, y, z = place
    at = float(np.clip(z, *kernel.z_range_nm))
    return kernel.patch(x, y, at, corner, (side, side)).reshape(4, -1)
