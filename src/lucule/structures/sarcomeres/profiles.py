"""The shape of a double line: profiles along the myofibril and over its radius, length, separation at the edge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from lucule.structures.sarcomeres.likelihood import Floats

BIN_NM: Final = 5.0
REACH_NM: Final = 250.0
SHELLS: Final = 8


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """Densities at places: `at_nm` `(b,)` and `density` `(b,)`, per nm (or relative, for a radial profile)."""

    at_nm: Floats
    density: Floats


def axial_profile(u: Floats) -> Profile:
    """Epitope profile along the myofibril, from distances `(n,)` to the symmetry axis, nm.

    Examples
    --------
    >>> profile = axial_profile(np.array([-60.0, 60.0]))
    >>> profile.at_nm[profile.density > 0].tolist()
    [-62.5, 62.5]
    """
    edges = np.arange(-REACH_NM, REACH_NM + BIN_NM / 2, BIN_NM)
    # a value on an edge belongs outwards on both sides, so that a symmetric structure has a symmetric profile
    counts = np.histogram(np.copysign(np.maximum(np.abs(u), 0) + 1e-9, u), edges)[0].astype(np.float64)
    return Profile((edges[1:] + edges[:-1]) / 2, counts / max(counts.sum(), 1) / BIN_NM)


def line_length_nm(v: Floats) -> float:
    """Diameter of the discs whose side view the lines are, from places `(n,)` along the lines.

    Epitopes spread evenly over a disc of diameter D have a standard deviation of D / 4 along its side view.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> v = 750 * np.sqrt(rng.random(20_000)) * np.cos(rng.uniform(0, 2 * np.pi, 20_000))
    >>> abs(line_length_nm(v) - 1500) < 20
    True
    """
    return float(4 * np.std(v)) if len(v) else float("nan")


def edge_separation(u: Floats, v: Floats, length_nm: float) -> float:
    """Separation of the lines in the outer third of their length over that in the middle third; nan if too few.

    Above 1 the lines bend apart towards the edge of the myofibril, below 1 towards each other.
    """
    part = np.abs(v - np.median(v)) / (length_nm / 2)
    parts = []
    for low, high in ((0.0, 1 / 3), (2 / 3, 1.2)):
        there = (part >= low) & (part < high)
        sides = [u[there & (u < 0)], u[there & (u > 0)]]
        if min(map(len, sides)) < 20:
            return float("nan")
        parts.append(float(np.median(sides[1]) - np.median(sides[0])))
    return parts[1] / parts[0]


def radial_profile(v: Floats, length_nm: float) -> Profile:
    """Density of epitopes against the distance from the axis of the myofibril, relative to its mean over the disc.

    Rings of equal width whose side views add up to what is seen along the line, by non-negative least squares.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> v = 750 * np.sqrt(rng.random(40_000)) * np.cos(rng.uniform(0, 2 * np.pi, 40_000))
    >>> profile = radial_profile(v, 1500)
    >>> bool(np.abs(profile.density[1:-1] - 1).max() < 0.15)
    True
    """
    from scipy.optimize import nnls

    edges = np.linspace(0, length_nm / 2, SHELLS + 1)
    middle = np.abs(v - np.median(v))
    counts = np.histogram(middle, edges)[0].astype(np.float64)
    # area of the ring between two radii that lies between two chords
    disc = _chord_area(edges[None, :], edges[:, None])
    area = np.diff(np.diff(disc, axis=1), axis=0).T
    density = nnls(area.T, counts)[0]
    mean = counts.sum() / max(area.sum(), 1e-9)
    return Profile((edges[1:] + edges[:-1]) / 2, density / mean if mean > 0 else density)


def _chord_area(radius: Floats, x: Floats) -> Floats:
    """Area of the half disc of `radius` between its axis and a chord at `x`, both sides of the chord's middle."""
    inside = np.minimum(x, radius)
    safe = np.where(radius > 0, radius, 1.0)
    area: Floats = inside * np.sqrt(np.maximum(radius**2 - inside**2, 0)) + radius**2 * np.arcsin(
        np.clip(inside / safe, 0, 1)
    )
    return area
