"""How line distances were measured before: two Gaussians fitted to a histogram, as they are and corrected."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from lucule.structures.sarcomeres.likelihood import Floats
from lucule.structures.sarcomeres.profiles import axial_profile

_FINE_NM: Final = 0.25


def double_gaussian(u: Floats) -> tuple[float, float, float]:
    """Fit two Gaussians of one width and an offset to the histogram of distances `(n,)` to the symmetry axis.

    Returns
    -------
    distance, width, peaks
        Distance of the two means and their standard deviation, nm, and the distance between the maxima of the fitted
        curve, which the overlap of the lines makes smaller; nan where the fit fails.
    """
    from scipy.optimize import OptimizeWarning, curve_fit

    profile = axial_profile(u)

    def curve(x: Floats, a: float, b: float, middle: float, half: float, width: float, offset: float) -> Floats:
        value: Floats = (
            a * np.exp(-0.5 * ((x - middle + half) / width) ** 2)
            + b * np.exp(-0.5 * ((x - middle - half) / width) ** 2)
            + offset
        )
        return value

    start = (profile.density.max(), profile.density.max(), 0.0, max(float(np.median(np.abs(u))), 10.0), 25.0, 0.0)
    try:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("error", OptimizeWarning)
            found, _ = curve_fit(curve, profile.at_nm, profile.density, p0=start, maxfev=4000)
    except (RuntimeError, OptimizeWarning):
        return math.nan, math.nan, math.nan
    half, width = abs(float(found[3])), abs(float(found[4]))
    return 2 * half, width, _peaks(half, width)


def corrected(u: Floats, error_nm: float, linker_nm: float = 0.0) -> float:
    """Distance between the maxima after the widths of two fitted Gaussians are freed of precision and labels, nm.

    Varga et al. 2023 describe this correction in words; here the variance of the localization error, and that of a
    linker of any direction, are taken off the variance of the fitted lines.
    """
    distance, width, _ = double_gaussian(u)
    if not math.isfinite(distance):
        return math.nan
    narrow = math.sqrt(max(width**2 - error_nm**2 - linker_nm**2 / 3, 1.0))
    return _peaks(distance / 2, narrow)


def _peaks(half: float, width: float) -> float:
    """Distance between the maxima of the sum of two equal Gaussians at -half and half; 0 where there is one maximum."""
    x = np.arange(0, half + 4 * width, _FINE_NM)
    curve = np.exp(-0.5 * ((x - half) / width) ** 2) + np.exp(-0.5 * ((x + half) / width) ** 2)
    return 2 * float(x[int(curve.argmax())])
