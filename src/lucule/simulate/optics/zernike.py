"""Zernike polynomials on the unit disc, normalised to root mean square 1 (Noll 1976; OSA/ANSI Z80.28)."""

from __future__ import annotations

from math import factorial, isqrt, sqrt

import numpy as np
from numpy.typing import NDArray

from lucule.core import InputError


def noll(index: int) -> tuple[int, int]:
    """Give radial order n and azimuthal order m of a Noll index (from 1); m < 0 is the sine.

    Examples
    --------
    >>> [noll(j) for j in (1, 4, 5, 6, 11)]
    [(0, 0), (2, 0), (2, -2), (2, 2), (4, 0)]
    """
    if index < 1:
        raise InputError("A Noll index must be a whole number", received=index, allowed="1 or more")
    n = (isqrt(8 * index - 7) - 1) // 2
    place = index - n * (n + 1) // 2 - 1
    m = 2 * ((place + 1) // 2) if n % 2 == 0 else 2 * (place // 2) + 1
    return n, -m if index % 2 else m


def osa(index: int) -> tuple[int, int]:
    """Give radial order n and azimuthal order m of an OSA/ANSI index (from 0); m < 0 is the sine.

    Examples
    --------
    >>> [osa(j) for j in (0, 3, 4, 5, 12)]
    [(0, 0), (2, -2), (2, 0), (2, 2), (4, 0)]
    """
    if index < 0:
        raise InputError("An OSA index must be a whole number", received=index, allowed="0 or more")
    n = (isqrt(8 * index + 1) - 1) // 2
    return n, 2 * index - n * (n + 2)


def zernike(n: int, m: int, rho: NDArray[np.float64], phi: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evaluate one polynomial; its root mean square over the unit disc is 1, outside the disc it means nothing.

    Examples
    --------
    >>> float(zernike(2, 0, np.array(1.0), np.array(0.0)).round(3))
    1.732
    """
    order = abs(m)
    radial = np.zeros_like(rho)
    for k in range((n - order) // 2 + 1):
        numerator = (-1) ** k * factorial(n - k)
        denominator = factorial(k) * factorial((n + order) // 2 - k) * factorial((n - order) // 2 - k)
        radial += numerator / denominator * rho ** (n - 2 * k)
    if m == 0:
        return sqrt(n + 1) * radial
    angular = np.sin(order * phi) if m < 0 else np.cos(order * phi)
    values: NDArray[np.float64] = sqrt(2 * (n + 1)) * radial * angular
    return values
