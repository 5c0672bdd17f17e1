"""The Cramer-Rao lower bound: how well an emitter can be localized with a given PSF and camera.

The Fisher matrix of x, y, z, photons N and background b is the sum over pixels of (d mu / d a)(d mu / d b) / variance,
with mu = QE (N PSF + b) electrons and variance = F2 (mu + dark) + read noise^2: F2 = 1, or the squared excess noise
factor 2 of an EM register; read noise counted before the register (Mortensen et al. 2010, Nature Methods 7, 377; Huang
et al. 2013, Nature Methods 10, 653).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, sqrt
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import polars as pl
from numba import njit, prange
from numpy.typing import ArrayLike, NDArray

from lucule.core import Camera, InputError
from lucule.simulate.camera import Sensor
from lucule.simulate.optics.compiled import Kernel
from lucule.simulate.optics.kernels import Model, patch

Floats: TypeAlias = NDArray[np.float64]

_NAMES: Final = ("x_err", "y_err", "z_err", "photons_err", "background_err")
# Below this fraction of its own information z cannot be told from the other parameters.
_NO_INFORMATION: Final = 1e-10


@dataclass(frozen=True, eq=False)
class Precision:
    """Lower bounds of the standard deviations, all `(n,)`: nm, photons, photons per pixel; inf where there is none."""

    x_err: Floats
    y_err: Floats
    z_err: Floats
    photons_err: Floats
    background_err: Floats

    def table(self) -> pl.DataFrame:
        """The bounds as a table."""
        return pl.DataFrame({name: getattr(self, name) for name in _NAMES})


@dataclass(frozen=True)
class Noise:
    """What a camera adds to the noise of light, uniform over its pixels.

    Attributes
    ----------
    efficiency
        Electrons for one photon.
    excess
        Squared excess noise factor.
    dark
        Spurious charge in electrons, before the register.
    read_variance
        Squared read noise in electrons, before the register.
    """

    efficiency: float = 1.0
    excess: float = 1.0
    dark: float = 0.0
    read_variance: float = 0.0

    @property
    def photons_per_pixel(self) -> float:
        """Background, in photons per pixel, that would make the same noise."""
        return (self.dark + self.read_variance / self.excess) / self.efficiency


def noise_of(camera: Camera | Sensor) -> Noise:
    """Give the noise of a camera; where its pixels differ, the mean variance.

    Examples
    --------
    >>> from lucule.simulate.camera import load_camera
    >>> noise_of(load_camera("smlm_challenge")).excess
    2.0
    """
    if isinstance(camera, Sensor):
        kind = camera.camera
        read_variance, dark = (
            float(np.mean(camera.read_noise.astype(np.float64) ** 2)),
            float(camera.dark_electrons.mean()),
        )
    else:
        kind = camera
        if isinstance(kind.read_noise_electrons, Path):
            raise InputError(
                "The read noise of this camera is a map",
                next_step="give the sensor of the field: sensor(camera, shape)",
            )
        # the mean square of a log-normal read noise
        read_variance = kind.read_noise_electrons**2 * float(np.exp(2 * kind.read_noise_spread**2))
        dark = kind.spurious_charge_electrons + kind.hot_pixel_fraction * kind.hot_pixel_electrons
    multiplied = kind.em_gain > 1
    return Noise(kind.quantum_efficiency, 2.0 if multiplied else 1.0, dark, read_variance / kind.em_gain**2)


def floor_of(pixels: Sensor) -> Floats:
    """Background, in photons per pixel, that would make the noise of each pixel of a sensor, `(rows, columns)`."""
    noise = noise_of(pixels)
    read = (pixels.read_noise.astype(np.float64) / pixels.camera.em_gain) ** 2
    floor: Floats = (pixels.dark_electrons + read / noise.excess) / noise.efficiency
    return floor


def crlb(
    kernel: Kernel,
    camera: Camera | Sensor,
    x: ArrayLike,
    y: ArrayLike,
    z: ArrayLike,
    photons: ArrayLike,
    background: ArrayLike,
    *,
    roi_px: int | None = None,
    free_z: bool = True,
) -> Precision:
    """Lower bound for every emitter at its own place on the pixels.

    Parameters
    ----------
    kernel, camera
        PSF and camera; for an sCMOS give `sensor(camera, shape)`, then the read noise of each pixel counts.
    x, y, z
        Positions, nm. A region of `roi_px` pixels around the emitter's pixel counts, also beyond the edge of the field.
    photons, background
        Photons of the emitter, and background per pixel, on the sensor.
    roi_px
        Side of that region in pixels; None: one that holds the PSF.
    free_z
        Whether z is estimated with the others; else it is known and `z_err` is inf.

    Raises
    ------
    InputError
        z is outside the depth range, photons are not above 0, or the background is negative.

    Examples
    --------
    >>> from lucule.simulate.camera import load_camera
    >>> from lucule.simulate.optics import compile_psf
    >>> bound = crlb(compile_psf("gaussian_2d", 100), load_camera("ideal"), 1050, 1050, 0, 1000, 10)
    >>> round(float(bound.x_err[0]), 1)
    5.6
    """
    values = np.broadcast_arrays(*(np.atleast_1d(np.asarray(v, np.float64)) for v in (x, y, z, photons, background)))
    at_x, at_y, at_z, light, level = (np.ascontiguousarray(value) for value in values)
    kernel.check_depth(at_z)
    _check_light(light, level)
    if not (np.isfinite(at_x).all() and np.isfinite(at_y).all()):
        raise InputError("Positions must be finite numbers")
    noise = noise_of(camera)
    floor = floor_of(camera) if isinstance(camera, Sensor) else np.full((1, 1), noise.photons_per_pixel)
    side = _side(kernel, roi_px)
    out = np.empty((len(at_x), 5))
    _bounds(kernel.model, noise.excess / noise.efficiency, floor, side, free_z, at_x, at_y, at_z, light, level, out)
    return Precision(*out.T)


def _side(kernel: Kernel, roi_px: int | None) -> int:
    side = kernel.roi_px if roi_px is None else roi_px
    if side < 3:
        raise InputError("The region for the precision is too small", received=f"{side} pixels", allowed="3 or more")
    return side


def _check_light(photons: Floats, background: Floats) -> None:
    if not np.all((photons > 0) & np.isfinite(photons)):
        raise InputError("Photons cannot be used", received=f"{photons.min():g}", allowed="above 0")
    if not np.all((background >= 0) & np.isfinite(background)):
        raise InputError(
            "The background cannot be used", received=f"{background.min():g}", allowed="0 or more per pixel"
        )


@njit(cache=True)
def _fisher(
    light: Floats, photons: float, floor: Floats, row: int, column: int, background: float, fisher: Floats
) -> None:
    """Fisher matrix of (x, y, N, b, z) for a camera without noise of its own but `floor` photons per pixel."""
    slopes = np.empty(5)
    fisher[:] = 0
    for r in range(light.shape[1]):
        floor_row = min(max(row + r, 0), floor.shape[0] - 1)
        for c in range(light.shape[2]):
            slopes[0], slopes[1] = photons * light[1, r, c], photons * light[2, r, c]
            slopes[2], slopes[3], slopes[4] = light[0, r, c], 1.0, photons * light[3, r, c]
            own = floor[floor_row, min(max(column + c, 0), floor.shape[1] - 1)]
            # photons that a spline or rounding leaves below zero must not turn the variance
            share = 1 / max(photons * max(light[0, r, c], 0.0) + background + own, 1e-9)
            for a in range(5):
                for b in range(a + 1):
                    fisher[a, b] += slopes[a] * slopes[b] * share
    for a in range(5):
        for b in range(a):
            fisher[b, a] = fisher[a, b]


@njit(cache=True)
def _variances(fisher: Floats, free_z: bool, out: Floats) -> None:
    """Diagonal of the inverse, z (the last parameter) split off: it may hold no information."""
    inverse = np.linalg.inv(fisher[:4, :4])
    for a in range(4):
        out[a] = inverse[a, a]
    out[4] = np.inf
    if free_z and fisher[4, 4] > 0:
        mixed = inverse @ np.ascontiguousarray(fisher[:4, 4])
        own = fisher[4, 4] - np.dot(mixed, np.ascontiguousarray(fisher[:4, 4]))
        if own > _NO_INFORMATION * fisher[4, 4]:
            out[4] = 1 / own
            for a in range(4):
                out[a] += mixed[a] ** 2 / own


@njit(cache=True, parallel=True)
def _bounds(
    model: Model,
    scale: float,
    floor: Floats,
    side: int,
    free_z: bool,
    x: Floats,
    y: Floats,
    z: Floats,
    photons: Floats,
    background: Floats,
    out: Floats,
) -> None:
    blocks = (x.size + 63) // 64
    for block in prange(blocks):
        light, fisher, variance = np.empty((4, side, side)), np.empty((5, 5)), np.empty(5)
        for i in range(64 * block, min(64 * block + 64, x.size)):
            row = int(np.floor(y[i] / model.pixel[1])) - side // 2
            column = int(np.floor(x[i] / model.pixel[0])) - side // 2
            patch(model, x[i], y[i], z[i], row, column, light)
            _fisher(light, photons[i], floor, row, column, background[i], fisher)
            _variances(fisher, free_z, variance)
            # stored as x, y, z, N, b
            out[i, 0], out[i, 1], out[i, 2] = variance[0], variance[1], variance[4]
            out[i, 3], out[i, 4] = variance[2], variance[3]
            for a in range(5):
                out[i, a] = np.sqrt(scale * out[i, a])


class Grid(NamedTuple):
    """A table of precision in compiled code: variances times `scale`, `floor` photons of noise in every pixel."""

    z_nm: Floats
    log_ratio: Floats
    inverse: Floats
    scale: float
    floor: float


@dataclass(frozen=True, eq=False)
class PrecisionTable:
    """Lower bounds by interpolation, millions of emitters per second.

    With B the background and all camera noise in photons per pixel, the bound depends on z and B / N alone but for a
    power of N: two dimensions hold everything. Values are means (of the variance) over all places within a pixel.

    Attributes
    ----------
    z_nm, log_ratio
        Grid: z, and natural logarithm of B / N.
    inverse
        1 / bound for N = 1 on that grid, `(z, log_ratio, 5)`.
    noise
        The camera.
    """

    z_nm: Floats
    log_ratio: Floats
    inverse: Floats
    noise: Noise
    kernel: Kernel

    def lookup(self, z: ArrayLike, photons: ArrayLike, background: ArrayLike) -> Precision:
        """Lower bound for every emitter.

        Raises
        ------
        InputError
            z is outside the depth range, photons are not above 0, or the background is negative.
        """
        values = np.broadcast_arrays(*(np.atleast_1d(np.asarray(v, np.float64)) for v in (z, photons, background)))
        depth, light, level = (np.ascontiguousarray(value) for value in values)
        self.kernel.check_depth(depth)
        _check_light(light, level)
        out = np.empty((5, depth.size))
        _interpolate(self.grid, depth, light, level, out)
        return Precision(*out)

    @property
    def grid(self) -> Grid:
        """What compiled code needs of it."""
        noise = self.noise
        return Grid(self.z_nm, self.log_ratio, self.inverse, noise.excess / noise.efficiency, noise.photons_per_pixel)


_PLACES: Final = 4
_RATIOS_PER_DECADE: Final = 10
_Z_STEP_NM: Final = 20.0


def tabulate(
    kernel: Kernel,
    camera: Camera | Sensor,
    *,
    ratio: tuple[float, float] = (1e-6, 10.0),
    roi_px: int | None = None,
    free_z: bool = True,
) -> PrecisionTable:
    """Compute the bounds on a grid of z and of background per photon, for `PrecisionTable.lookup`.

    Parameters
    ----------
    kernel, camera
        PSF and camera; where pixels differ the table holds their mean noise.
    ratio
        Smallest and largest (background + camera noise) / photons; beyond them the nearest value is used.
    roi_px, free_z
        As in `crlb`.

    Examples
    --------
    >>> from lucule.simulate.camera import load_camera
    >>> from lucule.simulate.optics import compile_psf
    >>> table = tabulate(compile_psf("astigmatic", 100), load_camera("smlm_challenge"))
    >>> table.lookup([0, 300], 2000, 20).x_err.round(1).tolist()
    [6.7, 10.0]
    """
    low, high = kernel.z_range_nm
    z = np.linspace(low, high, max(2, round((high - low) / _Z_STEP_NM) + 1))
    if np.all(np.isinf(kernel.model.curves[:, 2])) and kernel.is_gaussian:
        z = np.array([low, high])  # the same at every z
    decades = np.log10(ratio[1] / ratio[0])
    log_ratio = np.linspace(np.log(ratio[0]), np.log(ratio[1]), round(decades * _RATIOS_PER_DECADE) + 1)
    places = (np.arange(_PLACES) + 0.5) / _PLACES
    middle = (0.5 * np.array(_field_size(kernel))).astype(int)
    grid = np.meshgrid(z, np.exp(log_ratio), places + middle[1], places + middle[0], indexing="ij")
    heights, ratios, rows, columns = (np.ascontiguousarray(axis.ravel()) for axis in grid)
    out = np.empty((heights.size, 5))
    side = _side(kernel, roi_px)
    positions = (columns * kernel.pixel_size_nm[0], rows * kernel.pixel_size_nm[1], heights)
    _bounds(kernel.model, 1.0, np.zeros((1, 1)), side, free_z, *positions, np.ones_like(ratios), ratios, out)
    mean = np.mean((out**2).reshape(z.size, log_ratio.size, -1, 5), axis=2)
    return PrecisionTable(z, log_ratio, 1 / np.sqrt(mean), noise_of(camera), kernel)


def _field_size(kernel: Kernel) -> tuple[float, float]:
    """Size of the field (x, y) in pixels, where the PSF depends on the place; the table holds its middle."""
    rows, columns = kernel.model.coefficients.shape[:2]
    extent = kernel.model.nodes * (columns - 1, rows - 1) if kernel.model.nodes.size else np.zeros(2)
    return extent[0] / kernel.pixel_size_nm[0], extent[1] / kernel.pixel_size_nm[1]


@njit(cache=True, inline="always")
def place_in(grid: Grid, z: float, ratio: float) -> tuple[int, int, float, float]:
    """Cell of a grid for z and for background and camera noise per photon, and the place in it."""
    z_nm, log_ratio = grid.z_nm, grid.log_ratio
    u = min(max((z - z_nm[0]) / (z_nm[1] - z_nm[0]), 0.0), z_nm.size - 1.0)
    v = min(max((log(ratio) - log_ratio[0]) / (log_ratio[1] - log_ratio[0]), 0.0), log_ratio.size - 1.0)
    i, j = min(int(u), z_nm.size - 2), min(int(v), log_ratio.size - 2)
    return i, j, u - i, v - j


@njit(cache=True, inline="always")
def inverse_at(grid: Grid, place: tuple[int, int, float, float], a: int) -> float:
    """1 / bound number `a` (x, y, z, photons, background) for one photon and no excess noise."""
    i, j, u, v = place
    inverse = grid.inverse
    value = (1 - u) * ((1 - v) * inverse[i, j, a] + v * inverse[i, j + 1, a])
    return float(value + u * ((1 - v) * inverse[i + 1, j, a] + v * inverse[i + 1, j + 1, a]))


@njit(cache=True, inline="always")
def noise_per_photon(grid: Grid, photons: float, background: float) -> float:
    """Background and camera noise per photon."""
    return float(max(background + grid.floor, 1e-12) / photons)


@njit(cache=True, inline="always")
def ratio_or_inf(above: float, below: float) -> float:
    """Quotient; infinite where there is no information."""
    return above / below if below > 0 else np.inf


@njit(cache=True, parallel=True)
def _interpolate(grid: Grid, z: Floats, photons: Floats, background: Floats, out: Floats) -> None:
    for n in prange(z.size):
        place = place_in(grid, z[n], noise_per_photon(grid, photons[n], background[n]))
        of_length, of_light = sqrt(grid.scale / photons[n]), sqrt(grid.scale * photons[n])
        for a in range(5):
            out[a, n] = ratio_or_inf(of_length if a < 3 else of_light, inverse_at(grid, place, a))
