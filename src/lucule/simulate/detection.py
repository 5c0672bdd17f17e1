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
from lucule.simulate.crlb import (
    Grid,
    PrecisionTable,
    crlb,
    inverse_at,
    noise_of,
    noise_per_photon,
    place_in,
    ratio_or_inf,
    tabulate,
)
from lucule.simulate.imaging import Imaging
from lucule.simulate.optics import PSF, Gaussian, Kernel, Spline, compile_psf

Floats: TypeAlias = NDArray[np.float64]

_PSF: Final[TypeAdapter[PSF]] = TypeAdapter(PSF)
# where noise dominates: the largest background per photon of a precision table
_NOISE_RATIO: Final = 10.0
# a PSF tells z where a bright emitter's z is known this well everywhere in the middle half of the depth range
_DEPTH_PHOTONS, _DEPTH_BACKGROUND, _DEPTH_ERROR_NM = 5000.0, 10.0, 200.0


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
    return _noise_photons(table.grid, z, background)


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
    reach = max(near, crowded, 1e-9)
    for frame in prange(len(starts) - 1):
        first, last = starts[frame], starts[frame + 1]
        if last == first:
            continue
        rows, low, high = _strips(x[first:last], first, reach)
        crowd = _with_neighbours(rows, high, x, y, reach)
        for i in range(len(rows)):
            if not crowd[i]:  # most emitters are alone
                row = rows[i]
                kept[row], emitters[row] = True, 1
                joined[0, row], joined[1, row], joined[2, row], joined[3, row] = x[row], y[row], z[row], photons[row]
        brightest = _brightest_first(rows, crowd, first, photons)
        _merge_crowd(brightest, rows, low, high, x, y, z, photons, near, kept, joined, emitters)
        _survive(brightest, rows, low, high, x, y, photons, near, crowded, kept, survival)


@njit(cache=True)
def _strips(x: Floats, first: int, width: float) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Rows of one frame in strips along x, and for each of them where its and the adjacent strips begin and end."""
    n = len(x)
    left, span = x.min(), x.max() - x.min()
    wide = max(width, span / n)  # no more strips than emitters
    strips = int(span / wide) + 1
    strip, edges = np.empty(n, np.int64), np.zeros(strips + 1, np.int64)
    for i in range(n):
        strip[i] = int((x[i] - left) / wide)
        edges[strip[i] + 1] += 1
    for k in range(strips):
        edges[k + 1] += edges[k]
    free = edges[:-1].copy()
    rows, low, high = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    for i in range(n):
        k = strip[i]
        place = free[k]
        free[k] += 1
        rows[place] = first + i
        low[place], high[place] = edges[max(k - 1, 0)], edges[min(k + 2, strips)]
    return rows, low, high


@njit(cache=True)
def _with_neighbours(
    rows: NDArray[np.int64], high: NDArray[np.int64], x: Floats, y: Floats, reach: float
) -> NDArray[np.bool_]:
    """Which rows have another one within reach."""
    n = len(rows)
    along_x, along_y = np.empty(n), np.empty(n)
    for i in range(n):
        along_x[i], along_y[i] = x[rows[i]], y[rows[i]]
    found = np.zeros(n, np.bool_)
    for i in range(n):
        for k in range(i + 1, high[i]):
            if (along_x[k] - along_x[i]) ** 2 + (along_y[k] - along_y[i]) ** 2 <= reach * reach:
                found[i] = found[k] = True
    return found


@njit(cache=True)
def _brightest_first(
    rows: NDArray[np.int64], crowd: NDArray[np.bool_], first: int, photons: Floats
) -> NDArray[np.int64]:
    """Places in `rows` of the crowded ones, by photons; of equally bright ones the first row comes first."""
    place = np.empty(len(rows), np.int64)
    for i in range(len(rows)):
        place[rows[i] - first] = i
    chosen, light = np.empty(crowd.sum(), np.int64), np.empty(crowd.sum())
    n = 0
    for at in place:
        if crowd[at]:
            chosen[n], light[n] = at, -photons[rows[at]]
            n += 1
    return chosen[np.argsort(light, kind="mergesort")]


@njit(cache=True)
def _merge_crowd(
    brightest: NDArray[np.int64],
    rows: NDArray[np.int64],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    x: Floats,
    y: Floats,
    z: Floats,
    photons: Floats,
    near: float,
    kept: NDArray[np.bool_],
    joined: Floats,
    emitters: NDArray[np.int64],
) -> None:
    """Merge emitters of one frame, the brightest first; of equally bright ones the first row."""
    taken = np.zeros(len(rows), np.bool_)
    for middle in brightest:
        if taken[middle]:
            continue
        row = rows[middle]
        kept[row] = True
        total = sum_x = sum_y = sum_z = 0.0
        for i in range(low[middle], high[middle]):
            other = rows[i]
            near_enough = (x[other] - x[row]) ** 2 + (y[other] - y[row]) ** 2 < near * near
            if not taken[i] and (other == row or near_enough):
                taken[i] = True
                emitters[row] += 1
                total += photons[other]
                sum_x += photons[other] * x[other]
                sum_y += photons[other] * y[other]
                sum_z += photons[other] * z[other]
        joined[0, row], joined[1, row], joined[2, row] = sum_x / total, sum_y / total, sum_z / total
        joined[3, row] = total


@njit(cache=True)
def _survive(
    brightest: NDArray[np.int64],
    rows: NDArray[np.int64],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    x: Floats,
    y: Floats,
    photons: Floats,
    near: float,
    crowded: float,
    kept: NDArray[np.bool_],
    survival: Floats,
) -> None:
    """Probability of not being missed beside brighter ones of the same frame."""
    for middle in brightest:
        a = rows[middle]
        if not kept[a]:
            continue
        for i in range(low[middle], high[middle]):
            b = rows[i]
            if kept[b] and (photons[b] > photons[a] or (photons[b] == photons[a] and b < a)):
                distance = sqrt((x[b] - x[a]) ** 2 + (y[b] - y[a]) ** 2)
                if distance < crowded:
                    survival[a] *= max(distance - near, 0.0) / (crowded - near) if crowded > near else 1.0


@njit(cache=True, inline="always")
def _noise_at(grid: Grid, z: float, background: float) -> float:
    floor = max(background + grid.floor, 1e-3)
    place = place_in(grid, z, _NOISE_RATIO)
    return ratio_or_inf(sqrt(grid.scale * floor / _NOISE_RATIO), inverse_at(grid, place, 3))


@njit(cache=True, parallel=True)
def _noise_photons(grid: Grid, z: Floats, background: Floats) -> Floats:
    out = np.empty(len(z))
    for i in prange(len(z)):
        out[i] = _noise_at(grid, z[i], background[i])
    return out


@njit(cache=True, parallel=True)
def found_probability(flat: Grid, snr: float, z: Floats, photons: Floats, background: Floats) -> Floats:
    """Probability that the estimated photons exceed the threshold, `(n,)`; `flat` is the precision with z known."""
    out = np.zeros(len(z))
    for i in prange(len(z)):
        if photons[i] > 0:
            place = place_in(flat, z[i], noise_per_photon(flat, photons[i], background[i]))
            err = ratio_or_inf(sqrt(flat.scale * photons[i]), inverse_at(flat, place, 3))
            excess = photons[i] - snr * _noise_at(flat, z[i], background[i])
            out[i] = 0.5 * (1 + erf(excess / (sqrt(2.0) * err)))
    return out
