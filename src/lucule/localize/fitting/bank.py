"""The filters that find emitters, and the threshold that keeps false alarms at the rate that was asked for.

A filter is the PSF at one depth less its mean over the region of the fit. The filtered frame over its standard
deviation is the score test of an emitter on an even background: the best linear detector where spots do not overlap. On
a frame without emitters it is a smooth random field of unit variance, so that the number of its maxima above a height u
is known (Adler 1981; Worsley et al. 1992): sqrt(det L) / (2 pi)^1.5 u exp(-u^2 / 2) for each pixel, with L the
covariance of the gradient. What Poisson light has more than a Gaussian on the bright side is put into the height by
the first term of Cornish and Fisher (1938).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, pi, sqrt
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.optimize import brentq

from lucule.core import InputError
from lucule.simulate.optics import Kernel

Floats: TypeAlias = NDArray[np.float64]

# depths between two filters are less alike than this
_ALIKE: Final = 0.92
_DEPTHS_TRIED: Final = 121
# this part of a filter's energy is kept when it is written as a sum of products of a row and a column
_KEPT: Final = 0.985
_OFFSETS: Final = (-0.25, 0.25)


@dataclass(frozen=True, eq=False)
class Bank:
    """Filters of one PSF; F of a filter is the frame filtered with it, S is F over its standard deviation.

    Attributes
    ----------
    z_nm
        Depth of each filter, `(k,)`.
    down, across
        Each filter as a sum of products, float32 `(k, rank, side)`; its mean is left out.
    mean
        What is to be subtracted times the sum over the region, `(k,)`.
    filters
        The filters themselves: they sum up to 0, and their squares to 1; `(k, side, side)`.
    per_photon
        F in the middle of an emitter of one photon, `(k,)`.
    bleed
        F of each filter (second index) beside an emitter of one photon at the depth of each (first index), by offset
        `(k, k, 2 side - 1, 2 side - 1)`.
    skew
        Sum of cubes of each filter, `(k,)`.
    height_density
        sqrt(det L) / (2 pi)^1.5 per pixel, summed over the filters.
    """

    z_nm: Floats
    down: NDArray[np.float32]
    across: NDArray[np.float32]
    mean: NDArray[np.float32]
    filters: Floats
    per_photon: Floats
    bleed: NDArray[np.float32]
    skew: Floats
    height_density: float

    @property
    def side(self) -> int:
        """Side of the filters in pixels."""
        return int(self.filters.shape[1])

    def threshold(self, false_alarms: float, pixels: int) -> float:
        """Give the height S above which a frame of so many pixels has `false_alarms` maxima by chance.

        Raises
        ------
        InputError
            The rate is not above 0 and below what one pixel in hundred would be.

        Examples
        --------
        >>> from lucule.simulate.optics import compile_psf
        >>> bank = make_bank(compile_psf("gaussian_2d", 100), 9)
        >>> round(bank.threshold(0.01, 64 * 64), 1)
        4.7
        """
        if not 0 < false_alarms <= 0.01 * pixels:
            raise InputError(
                "The rate of false alarms cannot be used",
                received=false_alarms,
                allowed=f"above 0, up to {0.01 * pixels:g} for frames of {pixels} pixels",
            )
        wanted = false_alarms / (pixels * self.height_density)
        return float(brentq(lambda u: u * exp(-u * u / 2) - wanted, 1.0, 40.0)) if wanted < exp(-0.5) else 1.0


def make_bank(kernel: Kernel, side: int) -> Bank:
    """Make the filters of a PSF, at as many depths as it takes for neighbours to be alike.

    Parameters
    ----------
    kernel
        The PSF.
    side
        Side of the region of the fit in pixels, odd.
    """
    depths, spots = _depths(kernel, side)
    factors = [np.linalg.svd(spot) for spot in spots]
    ranks = [1 + int(np.searchsorted(np.cumsum(s**2) / (s**2).sum(), _KEPT)) for _, s, _ in factors]
    most = max(ranks)
    down, across = np.zeros((len(depths), most, side)), np.zeros((len(depths), most, side))
    filters = np.empty((len(depths), side, side))
    mean = np.empty(len(depths))
    for k, ((u, s, v), rank) in enumerate(zip(factors, ranks, strict=True)):
        spot = (u[:, :rank] * s[:rank]) @ v[:rank]
        size = np.linalg.norm(spot - spot.mean())
        filters[k] = (spot - spot.mean()) / size
        mean[k] = spot.mean() / size
        down[k, :rank] = (u[:, :rank] * s[:rank]).T / size
        across[k, :rank] = v[:rank]
    return Bank(
        z_nm=depths,
        down=down.astype(np.float32),
        across=across.astype(np.float32),
        mean=mean.astype(np.float32),
        filters=filters,
        per_photon=np.array([(one * spot).sum() for one, spot in zip(filters, spots, strict=True)]),
        bleed=_bleed(spots, filters),
        skew=(filters**3).sum(axis=(1, 2)),
        height_density=sum(_roughness(one) for one in filters) / (2 * pi) ** 1.5,
    )


def _bleed(spots: Floats, filters: Floats) -> NDArray[np.float32]:
    """Correlation of every spot with every filter."""
    size = (2 * spots.shape[1] - 1,) * 2
    of_spots = fft.rfft2(spots, s=size)
    of_filters = fft.rfft2(filters[:, ::-1, ::-1], s=size)
    return np.stack([fft.irfft2(one * of_filters, s=size).astype(np.float32) for one in of_spots])


def _depths(kernel: Kernel, side: int) -> tuple[Floats, Floats]:
    low, high = kernel.z_range_nm
    flat = kernel.is_gaussian and bool(np.isinf(kernel.model.curves[:, 2]).all())
    tried = np.array([0.0]) if flat else np.linspace(low, high, _DEPTHS_TRIED)
    spots = np.stack([_spot(kernel, side, float(z)) for z in tried])
    centred = (spots - spots.mean(axis=(1, 2), keepdims=True)).reshape(len(tried), -1)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    likeness = centred @ centred.T
    # the first is as far from the end as it may be, and each next one as far from the one before
    reach = np.flatnonzero(likeness[0] >= sqrt(_ALIKE))
    chosen = [int(reach[np.flatnonzero(np.diff(reach, append=len(tried) + 1) > 1)[0]])]
    while True:
        after = np.flatnonzero(likeness[chosen[-1], chosen[-1] :] < _ALIKE)
        if not len(after):
            break
        chosen.append(chosen[-1] + max(int(after[0]) - 1, 1))
    return tried[chosen], spots[chosen]


def _spot(kernel: Kernel, side: int, z: float) -> Floats:
    """PSF in the middle of the pixel in the middle, mean over places in that pixel."""
    width, height = kernel.pixel_size_nm
    middle = side / 2
    places = [kernel.patch((middle + dx) * width, (middle + dy) * height, z, (0, 0), (side, side))[0]
              for dx in _OFFSETS for dy in _OFFSETS]  # fmt: skip
    spot: Floats = np.mean(places, axis=0)
    return spot


def _roughness(one: Floats) -> float:
    """sqrt(det L) of the field that a filter makes of white noise, from its correlation over one pixel."""
    padded = np.pad(one, 1)
    right, below = np.roll(padded, 1, axis=1), np.roll(padded, 1, axis=0)
    xx, yy = 2 * (1 - (padded * right).sum()), 2 * (1 - (padded * below).sum())
    xy = ((padded - right) * (padded - below)).sum()
    return float(sqrt(max(xx * yy - xy**2, 0.0)))
