"""What a localization program makes of emitters: overlapping ones merge, faint ones are missed, noise is found.

One threshold decides about misses and false positives: an emitter is found where its estimated photons exceed a
multiple of what noise alone fluctuates by, and noise does so as often as a smooth Gaussian field has maxima that high.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import erf, exp, pi, sqrt
from typing import Annotated, Final, NamedTuple, TypeAlias

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter

from lucule.core import Config
from lucule.simulate.camera import load_camera
from lucule.simulate.crlb import Precision, PrecisionTable, crlb, noise_of, tabulate
from lucule.simulate.imaging import Imaging
from lucule.simulate.optics import PSF, Gaussian, Kernel, Spline, compile_psf
from lucule.simulate.sampling import normal, seed_stream, uniform

Floats: TypeAlias = NDArray[np.float64]

_PSF: Final[TypeAdapter[PSF]] = TypeAdapter(PSF)
# where noise dominates: the largest background per photon of a precision table
_NOISE_RATIO: Final = 10.0
# a PSF tells z where a bright emitter's z is known this well everywhere in the middle half of the depth range
_DEPTH_PHOTONS, _DEPTH_BACKGROUND, _DEPTH_ERROR_NM = 5000.0, 10.0, 200.0
_BLOCK: Final = 256


class Detection(Config):
    """How emitters are found.

    Attributes
    ----------
    snr
        Threshold: estimated photons over their standard deviation where there is noise alone.
    merge_sigma
        Emitters of one frame that are nearer than this many PSF widths become one localization; 2 is Sparrow's limit.
    crowding_sigma
        A fainter emitter this near, in PSF widths, to a brighter one may be missed: the probability falls linearly
        from 1 at `merge_sigma` to 0 here.
    false_positives_per_frame
        Their mean number; None: as many as noise alone gives at this threshold.
    """

    snr: Annotated[float, Field(gt=0, le=100)] = 5.0
    merge_sigma: Annotated[float, Field(ge=0)] = 2.0
    crowding_sigma: Annotated[float, Field(ge=0)] = 4.0
    false_positives_per_frame: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


class Limits(NamedTuple):
    """Precision of one PSF and camera.

    Attributes
    ----------
    precision
        Bounds of what is estimated, z included where the PSF tells it.
    flat
        The same with z known.
    width_nm
        Width of the PSF in focus, as the sigma of a Gaussian that covers as many pixels.
    tells_depth
        Whether z can be estimated.
    """

    precision: PrecisionTable
    flat: PrecisionTable
    width_nm: float
    tells_depth: bool


def limits(imaging: Imaging) -> Limits:
    """Tabulate the precision for optics and camera of a scene; tables of one PSF are kept."""
    kernel, noise = imaging.kernel, noise_of(imaging.sensor)
    if isinstance(kernel.psf, Spline):  # its file may change
        found = _limits(kernel)
    else:
        found = _remembered(_PSF.dump_json(kernel.psf), kernel.pixel_size_nm)
    precision, flat = (replace(table, noise=noise, kernel=kernel) for table in (found.precision, found.flat))
    return found._replace(precision=precision, flat=flat)


@lru_cache(maxsize=16)
def _remembered(psf: bytes, pixel_size_nm: tuple[float, float]) -> Limits:
    return _limits(compile_psf(_PSF.validate_json(psf), pixel_size_nm))


def _limits(kernel: Kernel) -> Limits:
    flat = tabulate(kernel, load_camera("ideal"), free_z=False)
    tells = _tells_depth(kernel)
    return Limits(tabulate(kernel, load_camera("ideal")) if tells else flat, flat, _width_nm(kernel), tells)


def _tells_depth(kernel: Kernel) -> bool:
    if isinstance(kernel.psf, Gaussian):
        return False  # the same above and below the focus
    low, high = kernel.z_range_nm
    z = np.linspace(0.75 * low + 0.25 * high, 0.25 * low + 0.75 * high, 41)
    z = np.append(z, min(max(0.0, low), high))
    x, y = (0.25 * size for size in kernel.pixel_size_nm)
    bound = crlb(kernel, load_camera("ideal"), x, y, z, _DEPTH_PHOTONS, _DEPTH_BACKGROUND)
    return bool((bound.z_err < _DEPTH_ERROR_NM).all())


def _width_nm(kernel: Kernel) -> float:
    side = 2 * kernel.roi_px + 1
    middle = [(side / 2) * size for size in kernel.pixel_size_nm]
    low, high = kernel.z_range_nm
    light = kernel.patch(middle[0], middle[1], min(max(0.0, low), high), (0, 0), (side, side))[0]
    pixels = light.sum() ** 2 / (light**2).sum()
    return float(np.sqrt(pixels * kernel.pixel_size_nm[0] * kernel.pixel_size_nm[1] / (4 * pi)))


def noise_photons(table: PrecisionTable, z: Floats, background: Floats) -> Floats:
    """Standard deviation of the photons that are estimated where there is no emitter."""
    floor = np.maximum(background + table.noise.photons_per_pixel, 1e-3)
    return table.lookup(z, floor / _NOISE_RATIO, background).photons_err


def false_positives_per_frame(detection: Detection, area_nm2: float, width_nm: float) -> float:
    """Mean number of false positives.

    Maxima above t of a Gaussian field that was smoothed with a Gaussian of width s: t exp(-t^2 / 2) / (2 s^2 (2
    pi)^(3/2)) for an area (Adler and Taylor 2007, Random Fields and Geometry).
    """
    if detection.false_positives_per_frame is not None:
        return detection.false_positives_per_frame
    t = detection.snr
    return float(area_nm2 * t * exp(-t * t / 2) / (2 * width_nm**2 * (2 * pi) ** 1.5))


class Merged(NamedTuple):
    """Emitters after the merging of those that cannot be told apart; n are left of those that came in.

    Attributes
    ----------
    brightest
        Row of the brightest of the emitters in each of them.
    x, y, z
        Mean positions, weighted with photons.
    photons
        Sums.
    emitters
        How many each of them holds.
    survival
        Probability of not being missed beside a brighter one.
    """

    brightest: NDArray[np.int64]
    x: Floats
    y: Floats
    z: Floats
    photons: Floats
    emitters: NDArray[np.int64]
    survival: Floats


def merge(
    starts: NDArray[np.int64], x: Floats, y: Floats, z: Floats, photons: Floats, *, near_nm: float, crowded_nm: float
) -> Merged:
    """Merge emitters nearer than `near_nm` to a brighter one in their frame, the brightest first.

    Examples
    --------
    >>> starts = np.array([0, 3])
    >>> x, zero = np.array([0.0, 100.0, 900.0]), np.zeros(3)
    >>> merge(starts, x, zero, zero, np.array([300.0, 100.0, 50.0]), near_nm=260, crowded_nm=520).x.tolist()
    [25.0, 900.0]
    """
    n = len(x)
    kept, emitters, survival = np.zeros(n, np.bool_), np.zeros(n, np.int64), np.ones(n)
    joined = np.empty((4, n))
    _merge(starts, x, y, z, photons, near_nm, crowded_nm, kept, joined, emitters, survival)
    rows = np.flatnonzero(kept)
    x, y, z, photons = joined[:, rows]
    return Merged(rows, x, y, z, photons, emitters[rows], survival[rows])


@njit(cache=True, parallel=True)
def _merge(
    starts: NDArray[np.int64],
    x: Floats,
    y: Floats,
    z: Floats,
    photons: Floats,
    near: float,
    crowded: float,
    kept: NDArray[np.bool_],
    joined: Floats,
    emitters: NDArray[np.int64],
    survival: Floats,
) -> None:
    for frame in prange(len(starts) - 1):
        first, n = starts[frame], starts[frame + 1] - starts[frame]
        across = first + np.argsort(x[first : first + n], kind="mergesort")
        place = np.empty(n, np.int64)
        for i in range(n):
            place[across[i] - first] = i
        taken = np.zeros(n, np.bool_)
        # brightest first; of equals the first row
        for bright in np.argsort(-photons[first : first + n], kind="mergesort"):
            if taken[bright]:
                continue
            row = first + bright
            kept[row] = True
            total = 0.0
            joined[0, row] = joined[1, row] = joined[2, row] = 0.0
            for direction in (-1, 1):
                i = place[bright] if direction == 1 else place[bright] - 1
                while 0 <= i < n and abs(x[across[i]] - x[row]) < max(near, 1e-9):
                    other = across[i]
                    near_enough = (x[other] - x[row]) ** 2 + (y[other] - y[row]) ** 2 < near * near
                    if not taken[other - first] and (other == row or near_enough):
                        taken[other - first] = True
                        emitters[row] += 1
                        total += photons[other]
                        joined[0, row] += photons[other] * x[other]
                        joined[1, row] += photons[other] * y[other]
                        joined[2, row] += photons[other] * z[other]
                    i += direction
            for axis in range(3):
                joined[axis, row] /= total
            joined[3, row] = total
        for a in range(first, first + n):
            if not kept[a]:
                continue
            for direction in (-1, 1):
                i = place[a - first] + direction
                while 0 <= i < n and abs(x[across[i]] - x[a]) < crowded:
                    b = across[i]
                    if kept[b] and (photons[b] > photons[a] or (photons[b] == photons[a] and b < a)):
                        distance = sqrt((x[b] - x[a]) ** 2 + (y[b] - y[a]) ** 2)
                        if distance < crowded:
                            survival[a] *= max(distance - near, 0.0) / (crowded - near) if crowded > near else 1.0
                    i += direction


@njit(cache=True, inline="always")
def probability(photons: float, photons_err: float, noise: float, snr: float) -> float:
    """Probability that the estimated photons exceed the threshold."""
    return 0.5 * (1 + erf((photons - snr * noise) / (sqrt(2.0) * photons_err)))


def found_probability(photons: Floats, bound: Precision, noise: Floats, snr: float) -> Floats:
    """Probability that emitters are found, from their photons and the bound with z known."""
    return _probabilities(photons, bound.photons_err, noise, snr)


@njit(cache=True, parallel=True)
def _probabilities(photons: Floats, photons_err: Floats, noise: Floats, snr: float) -> Floats:
    out = np.empty(len(photons))
    for i in prange(len(photons)):
        out[i] = probability(photons[i], photons_err[i], noise[i], snr)
    return out


@njit(cache=True, parallel=True)
def draw(key: np.uint64, event: NDArray[np.int64], frame: NDArray[np.uint32], normals: int) -> Floats:
    """One uniform and some normal numbers for each event in each frame, `(1 + normals, n)`."""
    n = len(event)
    out = np.empty((1 + normals, n))
    for block in prange((n + _BLOCK - 1) // _BLOCK):
        state = np.empty(4, np.uint64)
        for i in range(block * _BLOCK, min((block + 1) * _BLOCK, n)):
            seed_stream(state, key, event[i], frame[i])
            out[0, i] = uniform(state)
            for k in range(normals):
                out[1 + k, i] = normal(state)
    return out
