"""Gain and baseline from an ordinary movie, with their uncertainty.

Light that an objective brought to the sensor has no structure finer than its resolution; noise has. The difference of
two neighbouring frames takes off all that stands still, a filter keeps only spatial frequencies that the optics cannot
pass (after the idea of Heintzmann et al. 2016, arXiv 1611.05654), and places where an emitter has just switched are
left out. What is left is noise alone, and its variance against the local mean is a photon transfer curve: its slope is
the gain times the squared excess noise factor, and it starts at the baseline, less what the read noise lifts it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, rfft2
from scipy.ndimage import gaussian_filter

from lucule.core import SILENT, Camera, InputError, Progress
from lucule.localize.calibration.camera import EXCESS, CameraCalibration
from lucule.localize.calibration.reading import Source, clipping_level, frames_of

Floats: TypeAlias = NDArray[np.float64]

_PAIRS: Final = 300
_FEWEST_PAIRS: Final = 10
_SMOOTH_PX: Final = 2.0
_EDGE_PX: Final = 8
# a change of the local mean beyond this many standard deviations is an emitter that switched
_SWITCHED: Final = 3.0
_BINS: Final = 24
_GROUPS: Final = 16
# 95 % of Student's t with 15 degrees of freedom
_INTERVAL: Final = 2.13
# variance of the local mean of two frames for noise of variance 1
_MEAN_NOISE: Final = 1 / (8 * np.pi * _SMOOTH_PX**2)
_SKEWNESS: Final = 0.5
# cycles per pixel: the filter starts at the cut-off of the optics, but leaves itself a band
_HIGHEST_START: Final = 0.55
_ROUNDED: Final = 0.08
_LEAST_CONTRAST: Final = 6.0
_SIZE_PX: Final = 512
_FROM_SAME_PIXELS: Final = 4


@dataclass(frozen=True)
class Optics:
    """What limits the resolution.

    Attributes
    ----------
    numerical_aperture, wavelength_nm
        Of objective and emission; at the limit, a larger aperture and a shorter wavelength are the safe side.
    """

    numerical_aperture: float = 1.49
    wavelength_nm: float = 580.0


def camera_from_movie(
    movie: Source, base: Camera, *, optics: Optics = Optics(), progress: Progress = SILENT
) -> CameraCalibration:
    """Estimate gain and baseline from a movie of blinking molecules.

    Parameters
    ----------
    movie
        Raw counts, `(frames, rows, columns)`; the wider the range of its brightness, the surer the result.
    base
        What cannot be measured here: kind, pixel size, quantum efficiency, `em_gain`, and the read noise, by which the
        baseline is corrected.
    optics
        Objective and wavelength.

    Returns
    -------
    CameraCalibration
        With 95 % intervals from a jackknife over time and place. The curve of an EM register starts at the
        baseline less its read noise; the correction uses the read noise of `base`.

    Raises
    ------
    InputError
        The movie is too short or too small, or as bright everywhere, so that there is no slope to see.

    Examples
    --------
    >>> from lucule.simulate.camera import expose, load_camera
    >>> camera = load_camera("emccd_ixon897", read_noise_electrons=20)
    >>> light = np.broadcast_to(np.linspace(5, 100, 64), (60, 64, 64)).astype(np.float32)
    >>> found = camera_from_movie(expose(light, camera, seed=1), camera)
    >>> low, high = found.counts_per_electron_interval  # the truth is 8.33
    >>> bool(low < 8.33 < high)
    True
    """
    cut_off = 2 * optics.numerical_aperture * min(base.pixel_size_nm) / optics.wavelength_nm
    start = min(cut_off, _HIGHEST_START)
    with frames_of(movie, "movie") as frames, progress.task("Gain", None, "pairs") as task:
        total, rows, columns = frames.shape
        if total < 2 * _FEWEST_PAIRS or min(rows, columns) < 4 * _EDGE_PX:
            raise InputError(
                "The movie is too small for an estimate of the gain", received=f"{total} frames of {rows} x {columns}",
                allowed=f"{2 * _FEWEST_PAIRS} frames or more of {4 * _EDGE_PX} x {4 * _EDGE_PX} pixels or more",
            )  # fmt: skip
        top, left = max((rows - _SIZE_PX) // 2, 0), max((columns - _SIZE_PX) // 2, 0)
        window = (slice(top, top + _SIZE_PX), slice(left, left + _SIZE_PX))
        firsts = np.unique(np.linspace(0, total - 2, min(_PAIRS, total // 2)).astype(int))
        samples = []
        for first in firsts:
            pair = np.asarray(frames[int(first) : int(first) + 2])[(slice(None), *window)]
            samples.append(_samples(pair.astype(np.float64), start, clipping_level(pair, base.saturation)))
            task.advance()
    means = np.concatenate([s[0] for s in samples])
    powers = np.concatenate([s[1] for s in samples])
    steady = np.concatenate([s[2] for s in samples])
    times = np.repeat(np.arange(len(samples)), [len(s[0]) for s in samples])
    groups = times * _GROUPS // len(samples)
    return _estimate(means[steady], powers[steady], groups[steady], base, 1 - float(steady.mean()), cut_off)


def _samples(pair: Floats, start: float, clipped: float) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Local mean, local noise power, and where nothing switched nor is clipped; thinned."""
    difference = (pair[1] - pair[0]) / np.sqrt(2)
    response = _response(difference.shape, start)
    # out to the power that white noise of variance 1 would have
    noise = irfft2(rfft2(difference) * response, s=difference.shape)
    gain = float(_mean_square(response, difference.shape))
    power = gaussian_filter(noise**2, _SMOOTH_PX) / gain
    mean = gaussian_filter(pair.mean(axis=0), _SMOOTH_PX)
    change = gaussian_filter(difference, _SMOOTH_PX)
    # variance of white noise behind this filter
    damped = 1 / (4 * np.pi * _SMOOTH_PX**2)
    # the local power is too uncertain to judge by, so its course with the mean is
    usual = np.polynomial.Polynomial.fit(mean.ravel(), power.ravel(), 1)(mean)
    limit = _SWITCHED * np.sqrt(np.maximum(usual, np.median(power) / 4) * damped)
    steady = (np.abs(change) < limit) & (gaussian_filter((pair >= clipped).any(axis=0).astype(float), 2.0) < 1e-6)
    inner = (slice(_EDGE_PX, -_EDGE_PX, _FROM_SAME_PIXELS),) * 2
    return mean[inner].ravel(), power[inner].ravel(), steady[inner].ravel()


def _response(shape: tuple[int, ...], start: float) -> Floats:
    """High-pass of radial frequency, rounded off so that its kernel is short; the corners of the spectrum pass."""
    fy, fx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :]
    rising = np.clip((np.hypot(fy, fx) - start) / _ROUNDED, 0, 1)
    response: Floats = 0.5 - 0.5 * np.cos(np.pi * rising)
    return response


def _mean_square(response: Floats, shape: tuple[int, ...]) -> float:
    """Mean of the squared response over the whole spectrum, of which `response` is the half of a real transform."""
    twice = np.full(response.shape[1], 2.0)
    twice[0] = 1.0
    if shape[1] % 2 == 0:
        twice[-1] = 1.0
    return float((response**2 * twice).sum() / (shape[0] * shape[1]))


def _line(counts: Floats, means: Floats, powers: Floats) -> tuple[float, float]:
    """Slope and intercept of the power against the mean, from sums in bins; weights from the line itself."""
    known = counts > 0
    x, y, n = means[known] / counts[known], powers[known] / counts[known], counts[known]
    level = np.full_like(y, float(np.average(y, weights=n)))
    slope = intercept = 0.0
    for _ in range(4):
        weight = n / level**2
        at, value = np.average(x, weights=weight), np.average(y, weights=weight)
        slope = float(np.sum(weight * (x - at) * (y - value)) / np.sum(weight * (x - at) ** 2))
        intercept = float(value - slope * at)
        level = np.maximum(slope * x + intercept, 0.05 * float(np.average(y, weights=n)))
    return slope, intercept


def _estimate(
    means: Floats, powers: Floats, groups: NDArray[np.int64], base: Camera, left_out: float, cut_off: float
) -> CameraCalibration:
    edges = np.unique(np.quantile(means, np.concatenate([np.linspace(0, 0.9, _BINS), [0.95, 0.98, 0.99, 0.996, 1]])))
    if len(edges) < 4:
        raise InputError("The movie holds no light", received=f"{len(edges)} different levels")
    bins = np.clip(np.searchsorted(edges, means, side="right") - 1, 0, len(edges) - 2)
    cells = groups * (len(edges) - 1) + bins
    shape = (int(groups.max()) + 1, len(edges) - 1)
    sums = [np.bincount(cells, weights=w, minlength=shape[0] * shape[1]).reshape(shape)
            for w in (np.ones_like(means), means, powers)]  # fmt: skip
    whole = [s.sum(axis=0) for s in sums]
    spread, own = float(means.var()), float(powers.mean()) * _MEAN_NOISE
    if spread < _LEAST_CONTRAST * own:
        raise InputError(
            "The movie is as bright everywhere, so that noise cannot be seen to grow with light",
            received=f"local means between {np.quantile(means, 0.01):.1f} and {np.quantile(means, 0.99):.1f} counts",
            next_step="record dark and flat frames, or take a movie with brighter places",
        )
    slope, intercept = _line(*whole)
    without = np.array([_line(*(w - s[g] for w, s in zip(whole, sums, strict=True))) for g in range(shape[0])])
    deviation = without - without.mean(axis=0)
    number = shape[0]
    spread_of = (number - 1) / number * deviation.T @ deviation
    if slope <= 0 or slope < 2 * np.sqrt(spread_of[0, 0]):
        raise InputError(
            "The noise of the movie does not grow with its light", received=f"slope {slope:.3g} counts",
            next_step="check that the movie holds raw counts; or record dark and flat frames",
        )  # fmt: skip
    excess = EXCESS if base.em_gain > 1 else 1.0
    gain = slope / excess
    # Noise of the local mean flattens the line. The skewness of photon noise, by which mean and variance of one sample
    # go together, makes it steeper by as much; that is exact for Poisson numbers alone, so part of it is an error.
    turn = slope * np.array([1.0, -float(means.mean())])  # of slope and intercept, about the middle of the line
    spread_of += (_SKEWNESS * own / spread) ** 2 * np.outer(turn, turn)
    error = float(np.sqrt(spread_of[0, 0])) / excess
    per_count = base.em_gain / gain
    noise = base.read_noise_electrons if isinstance(base.read_noise_electrons, float | int) else 0.0
    offset = -intercept / slope + (noise / per_count) ** 2 / slope
    # of the point where the line meets zero: d(i/s) = di/s - i ds/s^2
    gradient = np.array([intercept / slope**2, -1 / slope])
    offset_error = float(np.sqrt(gradient @ spread_of @ gradient))
    warnings = []
    if cut_off > _HIGHEST_START:
        warnings.append(
            f"Pixels of {min(base.pixel_size_nm):g} nm leave little that the optics cannot pass: the gain may be too "
            "high where emitters are bright. Dark and flat frames are surer."
        )
    if noise == 0 and base.kind != "ideal":
        warnings.append("The read noise is not known, so that the baseline is too low by its part.")
    if offset + _INTERVAL * offset_error < 0:
        warnings.append(
            "The baseline comes out below 0: something has been taken off this movie; it holds no raw counts."
        )
    camera = base.without_pattern(
        electrons_per_count=per_count, baseline=round(float(offset), 3), read_noise_electrons=noise
    )
    known = whole[0] > 0
    x, y = whole[1][known] / whole[0][known], whole[2][known] / whole[0][known]
    dark = max((noise / per_count) ** 2, 0.0)
    quality: dict[str, Any] = {
        "squared_excess_noise_factor": f"{excess:g}, assumed" if excess > 1 else "1, no register",
        "line_starts_counts": -intercept / slope,
        "left_out": left_out,
        "read_noise": "of the camera that was given",
    }
    return CameraCalibration(
        camera, gain, (gain - _INTERVAL * error, gain + _INTERVAL * error), float(offset),
        (float(offset) - _INTERVAL * offset_error, float(offset) + _INTERVAL * offset_error), noise / base.em_gain,
        np.stack([x - offset, y - dark], axis=1), "movie", {}, quality, tuple(warnings),
    )  # fmt: skip
