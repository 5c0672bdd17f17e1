"""What a localization program reports of emitters: found or not, and the truth with errors of the size of the bound."""

from __future__ import annotations

from math import sqrt
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from lucule.simulate.crlb import Grid, inverse_at, noise_per_photon, place_in, ratio_or_inf
from lucule.simulate.optics.kernels import curve_sigma
from lucule.simulate.sampling import normal, seed_stream, uniform

Floats: TypeAlias = NDArray[np.float64]

COLUMNS: Final = ("x", "y", "z", "photons", "background", "x_err", "y_err", "z_err", "sigma_x", "sigma_y")
_NARROWEST: Final = 0.3


class Optics(NamedTuple):
    """What a program can tell with a PSF.

    Attributes
    ----------
    curves
        Width of a Gaussian PSF against z, along x and y, `(2, 5)`; `(0, 5)` for other PSFs.
    tells_depth
        Whether z is estimated.
    low_nm, high_nm
        Depth range, in which programs look for z.
    """

    curves: Floats
    tells_depth: bool
    low_nm: float
    high_nm: float


@njit(cache=True, parallel=True)
def hits(key: np.uint64, event: NDArray[np.int32], frame: NDArray[np.uint32], p: Floats) -> NDArray[np.bool_]:
    """Decide for each event in each frame, with a random number of its own, whether it is found."""
    out = np.empty(len(p), np.bool_)
    for block in prange((len(p) + 255) // 256):
        state = np.empty(4, np.uint64)
        for i in range(block * 256, min(block * 256 + 256, len(p))):
            seed_stream(state, key, event[i], frame[i])
            out[i] = uniform(state) < p[i]
    return out


@njit(cache=True, parallel=True)
def measured(
    grid: Grid,
    optics: Optics,
    key: np.uint64,
    event: NDArray[np.int32],
    frame: NDArray[np.uint32],
    x: Floats,
    y: Floats,
    z: Floats,
    photons: Floats,
    background: Floats,
    errors: bool,
) -> NDArray[np.float32]:
    """Values of `COLUMNS` for each localization, `(10, n)`, displaced by the errors in `grid` if `errors`.

    What the optics cannot tell (z, widths) is NaN.
    """
    deepest = (optics.high_nm - optics.low_nm) / 2
    out = np.full((10, len(x)), np.nan, np.float32)
    for block in prange((len(x) + 255) // 256):
        state, random = np.empty(4, np.uint64), np.zeros(7)
        for i in range(block * 256, min(block * 256 + 256, len(x))):
            if errors:
                seed_stream(state, key, event[i], frame[i])
                uniform(state)  # has decided whether it is found
                for k in range(7):
                    random[k] = normal(state)
            place = place_in(grid, z[i], noise_per_photon(grid, photons[i], background[i]))
            of_length, of_light = sqrt(grid.scale / photons[i]), sqrt(grid.scale * photons[i])
            x_err = ratio_or_inf(of_length, inverse_at(grid, place, 0))
            y_err = ratio_or_inf(of_length, inverse_at(grid, place, 1))
            photons_err = ratio_or_inf(of_light, inverse_at(grid, place, 3))
            background_err = ratio_or_inf(of_light, inverse_at(grid, place, 4))
            out[0, i], out[1, i] = x[i] + x_err * random[0], y[i] + y_err * random[1]
            out[5, i], out[6, i] = x_err, y_err
            out[3, i] = max(photons[i] + photons_err * random[3], 1.0)
            out[4, i] = max(background[i] + background_err * random[4], 0.0)
            depth = z[i]
            if optics.tells_depth:
                z_err = min(ratio_or_inf(of_length, inverse_at(grid, place, 2)), deepest)
                depth = min(max(z[i] + z_err * random[2], optics.low_nm), optics.high_nm)
                out[2, i], out[7, i] = depth, z_err
            for axis in range(len(optics.curves)):
                sigma = curve_sigma(optics.curves[axis], depth)
                if not optics.tells_depth:  # a width of its own; else it follows from z
                    err = x_err if axis == 0 else y_err
                    sigma = max(sigma + err / sqrt(2.0) * random[5 + axis], _NARROWEST * sigma)
                out[8 + axis, i] = sigma
    return out
