"""Spots of a movie as a rough table: what `imitate` measures movies with.

Isolated spots are what matters here, not the last molecule: local maxima of the band-passed frame above a multiple of
its noise, and a Gaussian of free width fitted to each by maximum likelihood. Read noise and an EM register are handled
as in Huang et al. 2013 (Nature Methods 10, 653): counts are scaled such that their variance is nearly their mean.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil, erf, exp, pi, sqrt
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

import numpy as np
import polars as pl
from numba import njit, prange
from numpy.typing import NDArray

from lucule.core import Camera, InputError, Localizations, Meta, step
from lucule.io import open_movie
from lucule.simulate.camera import Sensor, load_camera
from lucule.simulate.camera import sensor as sensor_of
from lucule.simulate.imaging import CameraLike
from lucule.simulate.movie import Movie

Floats: TypeAlias = NDArray[np.float64]

# half the side of the fitted region, and the width of the second, subtracted Gaussian, in widths of the PSF
_REACH, _WIDE = 3.0, 3.0
_BLOCK_PIXELS: Final = 4_000_000
_WIDTH_FRAMES: Final = 200
_USUAL_WIDTH_NM: Final = 130.0
_ITERATIONS: Final = 20
_COLUMNS: Final = ("x", "y", "photons", "background", "sigma", "x_err", "y_err")


@runtime_checkable
class Frames(Protocol):
    """Frames `(frames, rows, columns)` in counts that can be sliced along the first axis: arrays, files, movies."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Frames, rows, columns."""

    def __getitem__(self, index: Any, /) -> Any:
        """Some frames."""


@step
def find_spots(
    movie: Frames | str | os.PathLike[str],
    camera: CameraLike = None,
    *,
    sigma_nm: float | None = None,
    snr: float = 5.0,
    exposure_ms: float | None = None,
) -> Localizations:
    """Find and fit the spots of a movie.

    Parameters
    ----------
    movie
        Counts `(frames, rows, columns)`: an array, a `Movie`, or the path of a movie in any format.
    camera
        The camera; only a simulated `Movie` knows its own. Where its pixels differ and no maps are given, all are taken
        as equal.
    sigma_nm
        Width of the spots; None: measured on some frames, from 130 nm.
    snr
        Threshold of the band-passed frame, in standard deviations of its noise.
    exposure_ms
        Kept in the metadata.

    Returns
    -------
    Localizations
        frame, x, y, photons, background, x_err, y_err, sigma_x, sigma_y; errors are the bounds at the fitted values.

    Raises
    ------
    InputError
        The camera is not known, or these are no frames.
    FormatError
        The file is no movie.

    Examples
    --------
    >>> from lucule.simulate.movie import movie
    >>> frames, truth = movie("origami", frames=60, psf="gaussian_2d", seed=1)
    >>> spots = find_spots(frames)
    >>> bool(0.6 < len(spots) / len(truth.emitters) < 1)
    True
    """
    with open_frames(movie) as frames:
        sensor = _sensor(frames, camera)
        pixel = sensor.camera.pixel_size_nm
        width = (sigma_nm or _USUAL_WIDTH_NM) / sqrt(pixel[0] * pixel[1])
        rates = _Rates(sensor)
        if sigma_nm is None:
            for _ in range(2):
                some = _fit_all(_some(frames), rates, width, snr)
                if len(some[0]):
                    width = float(np.median(some[1][:, 4]))
        number, fitted = _fit_all(_blocks(frames), rates, width, snr)
        shape = frames.shape
    columns = dict(zip(_COLUMNS, fitted.T, strict=True))
    sigma = columns.pop("sigma")
    for i, axis in enumerate("xy"):
        columns |= {axis: columns[axis] * pixel[i], f"{axis}_err": columns[f"{axis}_err"] * pixel[i]}
        columns[f"sigma_{axis}"] = sigma * pixel[i]
    data = pl.DataFrame({"frame": number} | columns)
    meta = Meta(
        camera=sensor.camera,
        pixel_size_nm=pixel,
        shape_px=shape[1:],
        n_frames=shape[0],
        exposure_ms=exposure_ms,
        errors="crlb",
    )
    return Localizations(data, meta)


@contextmanager
def open_frames(movie: Frames | str | os.PathLike[str]) -> Iterator[Frames]:
    """Open a movie that is given as a path; see that what is given is one.

    Raises
    ------
    FormatError
        The file cannot be read as a movie.
    InputError
        These are no frames `(frames, rows, columns)`.
    """
    if isinstance(movie, str | os.PathLike):
        with open_movie(movie) as file:
            yield file
        return
    if not isinstance(movie, Frames) or len(movie.shape) != 3 or not all(movie.shape):
        shape = getattr(movie, "shape", type(movie).__name__)
        raise InputError("A movie must be frames", received=shape, allowed="(frames, rows, columns)")
    yield movie


def _sensor(frames: Frames, camera: CameraLike) -> Sensor:
    if camera is None:
        if isinstance(frames, Movie):
            return frames.imaging.sensor
        raise InputError(
            "The camera of the movie is not known",
            next_step="give camera: a name of `lucule simulate list`, or a YAML file with its gain and baseline",
        )
    chosen = camera if isinstance(camera, Camera) else load_camera(str(camera))
    # a drawn pattern of pixels is not that of the user's own camera
    rows, columns = frames.shape[1:]
    return sensor_of(chosen.without_pattern(), (rows, columns))


class _Rates:
    """From counts to numbers that vary like Poisson numbers, and from these to photons."""

    def __init__(self, sensor: Sensor) -> None:
        kind = sensor.camera
        excess = 2.0 if kind.em_gain > 1 else 1.0
        noise = (sensor.read_noise.astype(np.float64) / kind.em_gain) ** 2 / excess
        self.scale = sensor.electrons_per_count.astype(np.float64) / (kind.em_gain * excess)
        self.shift = noise / excess - self.scale * sensor.baseline
        self.dark = float(np.mean(sensor.dark_electrons + noise)) / excess
        self.per_photon = kind.quantum_efficiency / excess


def _blocks(frames: Frames) -> Iterator[tuple[int, NDArray[Any]]]:
    size = max(_BLOCK_PIXELS // (frames.shape[1] * frames.shape[2]), 1)
    for first in range(0, frames.shape[0], size):
        yield first, np.asarray(frames[first : first + size])


def _some(frames: Frames) -> Iterator[tuple[int, NDArray[Any]]]:
    for number in np.unique(np.linspace(0, frames.shape[0] - 1, _WIDTH_FRAMES).astype(int)):
        yield int(number), np.asarray(frames[int(number) : int(number) + 1])


def _fit_all(
    blocks: Iterator[tuple[int, NDArray[Any]]], rates: _Rates, width: float, snr: float
) -> tuple[NDArray[np.int64], Floats]:
    """Frame `(n,)`, and `_COLUMNS` `(n, 7)` in pixels and photons, of all spots."""
    numbers, spots = [np.empty(0, np.int64)], [np.empty((0, len(_COLUMNS)))]
    narrow, wide = _gaussian(width), _gaussian(_WIDE * width)
    for first, block in blocks:
        values = np.maximum(block * rates.scale + rates.shift, 0.0)
        found = _maxima(values, narrow, wide, snr)
        fits = np.empty((len(found), len(_COLUMNS) + 1))
        _fit(values, found, width, ceil(_REACH * width), rates.dark, rates.per_photon, fits)
        good = fits[:, -1] > 0
        numbers.append(first + found[good, 0])
        spots.append(fits[good, :-1])
    return np.concatenate(numbers), np.concatenate(spots)


def _gaussian(width: float) -> Floats:
    """Half of a normalised kernel, from its middle outwards."""
    half: Floats = np.exp(-0.5 * (np.arange(ceil(3 * width) + 1) / width) ** 2)
    kernel: Floats = half / (2 * half.sum() - half[0])
    return kernel


def _maxima(values: Floats, narrow: Floats, wide: Floats, snr: float) -> NDArray[np.int64]:
    """Frame, row and column `(n, 3)` of the local maxima above the threshold, in order."""
    mark = np.zeros(values.shape, np.bool_)
    # variance of the band-passed frame for a background of 1: sum of the squared weights
    size = len(wide)
    kernel = np.zeros((2 * size - 1, 2 * size - 1))
    for half, sign in ((narrow, 1.0), (wide, -1.0)):
        line = np.zeros(2 * size - 1)
        line[size - len(half) : size - 1 + len(half)] = np.concatenate([half[:0:-1], half])
        kernel += sign * np.outer(line, line)
    _mark(values, narrow, wide, snr * sqrt((kernel**2).sum()), mark)
    return np.argwhere(mark)


@njit(cache=True, inline="always")
def _mirrored(index: int, size: int) -> int:
    index = abs(index)
    return max(2 * (size - 1) - index, 0) if index >= size else index


@njit(cache=True)
def _smooth(image: Floats, half: Floats) -> Floats:
    """Smooth along rows and columns; beyond the edges the image is mirrored."""
    rows, columns = image.shape
    reach = len(half) - 1
    line = np.empty(columns + 2 * reach)
    across, out = np.empty_like(image), np.empty_like(image)
    for row in range(rows):
        for i in range(len(line)):
            line[i] = image[row, _mirrored(i - reach, columns)]
        for column in range(columns):
            across[row, column] = half[0] * line[reach + column]
        for k in range(1, len(half)):
            for column in range(columns):
                across[row, column] += half[k] * (line[reach + column - k] + line[reach + column + k])
    for row in range(rows):
        for column in range(columns):
            out[row, column] = half[0] * across[row, column]
        for k in range(1, len(half)):
            up, down = _mirrored(row - k, rows), _mirrored(row + k, rows)
            for column in range(columns):
                out[row, column] += half[k] * (across[up, column] + across[down, column])
    return out


@njit(cache=True, parallel=True)
def _mark(values: Floats, narrow: Floats, wide: Floats, factor: float, mark: NDArray[np.bool_]) -> None:
    for frame in prange(len(values)):
        level = _smooth(values[frame], wide)
        band = _smooth(values[frame], narrow) - level
        rows, columns = band.shape
        for row in range(1, rows - 1):
            for column in range(1, columns - 1):
                value = band[row, column]
                if value <= factor * sqrt(max(level[row, column], 1e-3)):
                    continue
                highest = True
                for i in range(-1, 2):
                    for j in range(-1, 2):
                        other = band[row + i, column + j]
                        before = i < 0 or (i == 0 and j < 0)
                        if (i != 0 or j != 0) and (other > value or (other == value and before)):
                            highest = False
                mark[frame, row, column] = highest


@njit(cache=True, inline="always")
def _bell(distance: float, sigma: float) -> float:
    return exp(-0.5 * (distance / sigma) ** 2) / (sqrt(2 * pi) * sigma)


@njit(cache=True)
def _profile(position: float, sigma: float, first: int, out: Floats) -> None:
    """Fill `(3, n)`: light on pixels from `first`, derivative by position, derivative by sigma."""
    scale = 1 / (sqrt(2.0) * sigma)
    at = first - position
    below, bell_below = erf(at * scale), _bell(at, sigma)
    for i in range(out.shape[1]):
        after = at + 1
        above, bell_above = erf(after * scale), _bell(after, sigma)
        out[0, i] = 0.5 * (above - below)
        out[1, i] = bell_below - bell_above
        out[2, i] = (at * bell_below - after * bell_above) / sigma
        at, below, bell_below = after, above, bell_above


@njit(cache=True)
def _invert(matrix: Floats) -> bool:
    """Invert a positive definite matrix in place (Gauss and Jordan); False where it is none."""
    n = len(matrix)
    for k in range(n):
        pivot = matrix[k, k]
        if not (pivot > 1e-12 and np.isfinite(pivot)):
            return False
        matrix[k, k] = 1.0
        for j in range(n):
            matrix[k, j] /= pivot
        for i in range(n):
            if i != k:
                factor = matrix[i, k]
                matrix[i, k] = 0.0
                for j in range(n):
                    matrix[i, j] -= factor * matrix[k, j]
    return True


@njit(cache=True, parallel=True)
def _fit(
    values: Floats, found: NDArray[np.int64], width: float, reach: int, dark: float, per_photon: float, out: Floats
) -> None:
    """Fit x, y, N, b and sigma by Fisher scoring; the last column of `out` says whether that worked."""
    rows, columns = values.shape[1:]
    for spot in prange(len(found)):
        frame, row, column = found[spot]
        top, left = max(row - reach, 0), max(column - reach, 0)
        patch = values[frame, top : min(row + reach + 1, rows), left : min(column + reach + 1, columns)]
        height, wide = patch.shape
        across, down = np.empty((3, wide)), np.empty((3, height))
        level = np.median(patch)
        light = max(patch.sum() - level * patch.size, 1.0)
        at = np.array([column + 0.5, row + 0.5, light, max(level, 0.05), width])
        slopes, gradient, change, limits, fisher = np.empty(5), np.empty(5), np.empty(5), np.empty(5), np.empty((5, 5))
        out[spot, -1] = 0.0
        done = False
        for _ in range(_ITERATIONS):
            _profile(at[0], at[4], left, across)
            _profile(at[1], at[4], top, down)
            gradient[:] = 0.0
            fisher[:] = 0.0
            for i in range(height):
                for j in range(wide):
                    spread = across[0, j] * down[0, i]
                    mean = at[2] * spread + at[3]
                    slopes[0] = at[2] * across[1, j] * down[0, i]
                    slopes[1] = at[2] * across[0, j] * down[1, i]
                    slopes[2] = spread
                    slopes[3] = 1.0
                    slopes[4] = at[2] * (across[2, j] * down[0, i] + across[0, j] * down[2, i])
                    excess = patch[i, j] / mean - 1.0
                    for a in range(5):
                        gradient[a] += slopes[a] * excess
                        for b in range(a + 1):
                            fisher[a, b] += slopes[a] * slopes[b] / mean
            for a in range(5):
                for b in range(a):
                    fisher[b, a] = fisher[a, b]
            if not _invert(fisher):
                break
            if done:
                out[spot, 0], out[spot, 1] = at[0], at[1]
                out[spot, 2] = at[2] / per_photon
                out[spot, 3] = max((at[3] - dark) / per_photon, 0.0)
                out[spot, 4] = at[4]
                out[spot, 5], out[spot, 6] = sqrt(fisher[0, 0]), sqrt(fisher[1, 1])
                near = abs(at[0] - column - 0.5) < 2 * width and abs(at[1] - row - 0.5) < 2 * width
                out[spot, -1] = near and 0.5 < at[4] / width < 2.0
                break
            limits[:2], limits[2], limits[3], limits[4] = 0.5 * width, 0.7 * at[2], 0.9 * at[3] + 1, 0.3 * at[4]
            share = 1.0
            for a in range(5):
                change[a] = 0.0
                for b in range(5):
                    change[a] += fisher[a, b] * gradient[b]
                share = min(share, limits[a] / max(abs(change[a]), 1e-12))
            at += share * change
            at[2], at[3] = max(at[2], 0.5), max(at[3], 0.01)
            at[4] = min(max(at[4], 0.3 * width), 3.0 * width)
            done = share == 1.0 and abs(change[0]) + abs(change[1]) + abs(change[4]) < 1e-3 * width
