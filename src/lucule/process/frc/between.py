"""Fourier correlation of two point sets made independently, such as averages of half of the particles each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.core import InputError
from lucule.process.frc.curve import Crossing, Curve, Threshold, crossing, curve_of
from lucule.process.frc.spectra import rings

# empty room around the points, in parts of their extent: single objects have no edges to hide
_ROOM: Final = 1.6
_PIXELS: Final = {2: 512, 3: 96}
_FEWEST: Final = 50


@dataclass(frozen=True, slots=True, eq=False)
class BetweenSets:
    """Fourier correlation of two independent sets of points.

    Attributes
    ----------
    resolution_nm, reason
        Where the curve crosses the threshold, or why it does not.
    half_bit_nm
        The same for the threshold of half a bit.
    curve
        The correlation.
    pixel_nm, dims
        How it was made.
    """

    resolution_nm: float | None
    reason: str | None
    half_bit_nm: float | None
    curve: Curve
    threshold: Threshold
    pixel_nm: float
    dims: int

    def table(self) -> pl.DataFrame:
        """The curve: frequency, correlation, smoothed, threshold of half a bit."""
        return self.curve.table()

    def summary(self) -> dict[str, Any]:
        """All numbers by name; a missing one has its reason beside it."""
        name = "half_set_frc_nm" if self.dims == 2 else "half_set_fsc_nm"
        found: dict[str, Any] = {name: self.resolution_nm}
        return found if self.reason is None else found | {f"{name}_reason": self.reason}


def between(
    first: NDArray[np.floating], second: NDArray[np.floating], *, threshold: Threshold = "1/7",
    pixel_nm: float | None = None,
) -> BetweenSets:  # fmt: skip
    """Fourier ring (2D) or shell (3D) correlation of two sets of points that lie in the same coordinates.

    Parameters
    ----------
    first, second
        `(n, 2)` or `(n, 3)`, nm.
    threshold
        `1/7` or `half-bit`.
    pixel_nm
        Side of a pixel; None: as fine as the extent allows.

    Raises
    ------
    InputError
        The sets differ in dimensions, or one has fewer than 50 points.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> sites = rng.uniform(0, 100, (12, 2))
    >>> a, b = (sites.repeat(100, axis=0) + rng.normal(0, 3, (1200, 2)) for _ in range(2))
    >>> 5 < between(a, b).resolution_nm < 20
    True
    """
    if first.shape[1] != second.shape[1]:
        raise InputError("Both sets need the same dimensions", received=f"{first.shape[1]} and {second.shape[1]}")
    if min(len(first), len(second)) < _FEWEST:
        raise InputError("There are too few points for a Fourier correlation", received=min(len(first), len(second)),
                         allowed=f"{_FEWEST} or more in each set")  # fmt: skip
    points = np.concatenate([first, second]).astype(np.float32)
    low, high = np.quantile(points, (0.002, 0.998), axis=0)
    inside = ((points >= low) & (points <= high)).all(axis=1)
    half = np.arange(len(points)) < len(first)
    side = _ROOM * float((high - low).max())
    most = _PIXELS[points.shape[1]]
    pixel = pixel_nm or side / most
    pixels = int(np.clip(2 * np.ceil(side / pixel / 2), 32, 2 * most))
    made = rings(points[inside], half[inside][None], pixel_nm=pixel, shape=(pixels,) * points.shape[1])
    curve = curve_of(made)
    crossed: Crossing = crossing(curve, threshold)
    return BetweenSets(crossed.resolution_nm, crossed.reason, crossing(curve, "half-bit").resolution_nm, curve,
                       threshold, pixel, points.shape[1])  # fmt: skip
