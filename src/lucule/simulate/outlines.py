"""Outlines of simulated cells: where localizations may lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d, minimum_filter1d

from lucule.core import Region

VERTICES: Final = 50
SMOOTHING_VERTICES: Final = 1.0
SAMPLES: Final = 1440

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """A closed outline, given by its distance from the middle in every direction.

    Attributes
    ----------
    centre_nm
        Middle (x, y), nm.
    radii_nm
        `(SAMPLES,)`, distance of the outline from the middle at equally spaced angles from 0 to 2 pi, nm; linear in
        between.
    """

    centre_nm: tuple[float, float]
    radii_nm: FloatArray

    @classmethod
    def draw(cls, rng: np.random.Generator, *, centre_nm: tuple[float, float], radius_nm: tuple[float, float]) -> Cell:
        """Draw a wobbly outline whose distance from the middle spans `radius_nm` (smallest, largest).

        As in CAML, a spline through 50 vertices; neighbouring vertices are correlated, which gives protrusions of
        some um instead of spikes.
        """
        wobble = gaussian_filter1d(rng.random(VERTICES), SMOOTHING_VERTICES, mode="wrap")
        vertices = np.linspace(0, 2 * np.pi, VERTICES + 1)
        spline = CubicSpline(vertices, np.append(wobble, wobble[0]), bc_type="periodic")
        values = spline(np.linspace(0, 2 * np.pi, SAMPLES, endpoint=False))
        smallest, largest = radius_nm
        return cls(centre_nm, smallest + (largest - smallest) * (values - values.min()) / np.ptp(values))

    @property
    def bounds_nm(self) -> tuple[float, float, float, float]:
        """(x_min, y_min, x_max, y_max) of a square around the outline."""
        (x, y), r = self.centre_nm, float(self.radii_nm.max())
        return x - r, y - r, x + r, y + r

    @property
    def area_um2(self) -> float:
        """Area, um2."""
        following = np.roll(self.radii_nm, -1)
        # integral of r^2 / 2 over the angle, exact for a radius that is linear between the samples
        squares = (self.radii_nm**2 + self.radii_nm * following + following**2) / 3
        return float(squares.sum() * np.pi / SAMPLES) / 1e6

    def shrunk(self, margin_nm: float) -> Cell:
        """Give an outline within this one whose every point is at least `margin_nm` away from it."""
        nearest = float(self.radii_nm.min())
        reach = int(np.ceil(np.arcsin(min(1.0, margin_nm / nearest)) / (2 * np.pi) * SAMPLES)) + 1
        closest = minimum_filter1d(self.radii_nm, 2 * reach + 1, mode="wrap")
        return Cell(self.centre_nm, np.maximum(closest - margin_nm, 0.0))

    def contains(self, xy_nm: FloatArray) -> NDArray[np.bool_]:
        """Tell which of the points `(n, 2)`, nm, lie inside."""
        x, y = xy_nm[:, 0] - self.centre_nm[0], xy_nm[:, 1] - self.centre_nm[1]
        position = np.arctan2(y, x) * (SAMPLES / (2 * np.pi)) % SAMPLES
        before = position.astype(np.int64)
        fraction = position - before
        # the angle just below 2 pi can round up to it
        radii = np.append(self.radii_nm, self.radii_nm[:2])
        limit = radii[before] * (1 - fraction) + radii[before + 1] * fraction
        inside: NDArray[np.bool_] = x * x + y * y < limit * limit
        return inside

    def uniform(self, rng: np.random.Generator, n: int) -> FloatArray:
        """Draw `n` points `(n, 2)` uniformly inside, nm."""
        x_min, y_min, x_max, y_max = self.bounds_nm
        rate = self.area_um2 * 1e6 / ((x_max - x_min) * (y_max - y_min))
        drawn = np.empty((0, 2))
        while (missing := n - len(drawn)) > 0:
            block = rng.random((int(missing / rate * 1.02) + 16, 2))
            block = block * (x_max - x_min, y_max - y_min) + (x_min, y_min)
            drawn = np.concatenate([drawn, block[self.contains(block)]])
        return drawn[:n]

    def region(self) -> Region:
        """Give the outline as a polygon."""
        angles = np.linspace(0, 2 * np.pi, SAMPLES, endpoint=False)
        x = self.centre_nm[0] + self.radii_nm * np.cos(angles)
        y = self.centre_nm[1] + self.radii_nm * np.sin(angles)
        return Region.polygon(np.column_stack([x, y]))


@dataclass(frozen=True, slots=True)
class Square:
    """A square field with its corner at `corner_nm`; its sides are `side_nm` long."""

    corner_nm: tuple[float, float]
    side_nm: float

    @property
    def bounds_nm(self) -> tuple[float, float, float, float]:
        """(x_min, y_min, x_max, y_max)."""
        (x, y), side = self.corner_nm, self.side_nm
        return x, y, x + side, y + side

    @property
    def area_um2(self) -> float:
        """Area, um2."""
        return self.side_nm**2 / 1e6

    def shrunk(self, margin_nm: float) -> Square:
        """Give the square whose every point is at least `margin_nm` away from the sides of this one."""
        x, y = self.corner_nm
        return Square((x + margin_nm, y + margin_nm), max(self.side_nm - 2 * margin_nm, 0.0))

    def contains(self, xy_nm: FloatArray) -> NDArray[np.bool_]:
        """Tell which of the points `(n, 2)`, nm, lie inside."""
        half = self.side_nm / 2
        return np.asarray((np.abs(xy_nm - self.corner_nm - half) < half).all(axis=1))

    def uniform(self, rng: np.random.Generator, n: int) -> FloatArray:
        """Draw `n` points `(n, 2)` uniformly inside, nm."""
        return rng.random((n, 2)) * self.side_nm + self.corner_nm

    def region(self) -> Region:
        """Give the square as a region."""
        return Region.rectangle(*self.bounds_nm)
