"""What is not seen beyond the edge of a region, exactly and for any polygon with holes.

Two weights make counts of neighbours unbiased near edges. `isotropic` (Ripley 1977): a pair at distance d counts as
often as a circle of radius d around the first point exceeds the part of it inside the region. `translation` (Ohser
1983): as often as the region exceeds its overlap with itself, moved by the vector between both points.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lucule.core import Region
from lucule.space.threads import share

_FULL: Final = 2 * np.pi
_NOTHING: Final = 1e-9

Floats = NDArray[np.float64]


def edges_of(region: Region) -> Floats:
    """Edges `(m, 4)` of all rings, x and y of start and end, nm; the inside of the region lies to their left."""
    import shapely
    from shapely.geometry.polygon import orient

    rings = []
    for part in shapely.get_parts(region.shape):
        turned = orient(part)
        rings += [turned.exterior, *turned.interiors]
    points = [np.asarray(ring.coords, float) for ring in rings]
    return np.concatenate([np.column_stack([ring[:-1], ring[1:]]) for ring in points])


def isotropic(centres: Floats, radii: Floats, edges: Floats) -> Floats:
    """Fraction of each circle that lies inside a region, `(n,)`.

    Parameters
    ----------
    centres
        `(n, 2)`, nm, inside the region.
    radii
        `(n,)`, nm. Some of each circle must be inside (it is where another point of the region is that far away).
    edges
        Of the region, see `edges_of`.

    Examples
    --------
    A circle around a corner, and one at the middle of a side:

    >>> edges = edges_of(Region.rectangle(0, 0, 100, 100))
    >>> isotropic(np.array([[0.0, 0.0], [50.0, 0.0]]), np.array([10.0, 10.0]), edges)
    array([0.25, 0.5 ])
    """
    fractions = np.ones(len(radii))
    share(partial(_isotropic, centres, radii, edges, fractions), len(radii), least=1024, most=65_536)
    return fractions


@njit(cache=True, nogil=True)
def _isotropic(centres: Floats, radii: Floats, edges: Floats, fractions: Floats, first: int, last: int) -> None:
    """Where the border of the region leaves the disc, a walk along the circle enters the region, and the reverse."""
    for i in range(first, last):
        x, y, squared = centres[i, 0], centres[i, 1], radii[i] ** 2
        inside, crossings = 0.0, 0
        for e in range(len(edges)):
            ax, ay, bx, by = edges[e, 0] - x, edges[e, 1] - y, edges[e, 2] - x, edges[e, 3] - y
            starts_in, ends_in = ax * ax + ay * ay < squared, bx * bx + by * by < squared
            if starts_in and ends_in:
                continue
            dx, dy = bx - ax, by - ay
            length = dx * dx + dy * dy
            along = -(ax * dx + ay * dy)
            cross = ax * dy - ay * dx
            # (distance of the line from the centre)^2 = cross^2 / length
            under = squared * length - cross * cross
            if not starts_in and not ends_in and not (under > 0 and 0 < along < length):
                continue
            root = np.sqrt(max(under, 0.0))
            if not starts_in:
                t = min(max((along - root) / length, 0.0), 1.0)
                inside += np.arctan2(ay + t * dy, ax + t * dx)
                crossings += 1
            if not ends_in:
                t = min(max((along + root) / length, 0.0), 1.0)
                inside -= np.arctan2(ay + t * dy, ax + t * dx)
                crossings += 1
        if crossings:
            part = inside % _FULL / _FULL
            # a circle that only touches the border from within
            fractions[i] = part if part > _NOTHING else 1.0


def overlaps(shifts: Floats, edges: Floats) -> Floats:
    """Area that a region shares with itself, moved by each of `shifts` `(n, 2)`, nm2.

    Parameters
    ----------
    edges
        Of the region, see `edges_of`.

    Examples
    --------
    >>> overlaps(np.array([[0.0, 0.0], [30.0, -60.0]]), edges_of(Region.rectangle(0, 0, 100, 100)))
    array([10000.,  2800.])
    """
    middle = (edges[:, :2].min(axis=0) + edges[:, :2].max(axis=0)) / 2
    start, end = edges[:, :2] - middle, edges[:, 2:] - middle
    upright = start[:, 0] == end[:, 0]
    start, end = start[~upright], end[~upright]
    leftwards = start[:, 0] > end[:, 0]
    left, right = np.where(leftwards[:, None], end, start), np.where(leftwards[:, None], start, end)
    order = np.argsort(left[:, 0], kind="stable")
    # what lies below an edge that runs to the left is inside, what lies below one to the right is not
    strips = np.column_stack([left, right, np.where(leftwards, 1.0, -1.0)])[order]
    areas = np.empty(len(shifts))
    share(partial(_overlaps, np.ascontiguousarray(shifts, float), strips, areas), len(shifts), least=256, most=16_384)
    return areas


@njit(cache=True, nogil=True)
def _overlaps(shifts: Floats, strips: Floats, areas: Floats, first: int, last: int) -> None:
    """Sum over all pairs of edges of what lies below both, with the signs of both."""
    widest = (strips[:, 2] - strips[:, 0]).max()
    starts = strips[:, 0].copy()
    for k in range(first, last):
        dx, dy = shifts[k, 0], shifts[k, 1]
        total = 0.0
        for i in range(len(strips)):
            begin = np.searchsorted(starts, strips[i, 0] - dx - widest)
            for j in range(begin, len(strips)):
                if strips[j, 0] + dx >= strips[i, 2]:
                    break
                low, high = max(strips[i, 0], strips[j, 0] + dx), min(strips[i, 2], strips[j, 2] + dx)
                if low >= high:
                    continue
                a, b = _height(strips[i], low), _height(strips[i], high)
                c, d = _height(strips[j], low - dx) + dy, _height(strips[j], high - dx) + dy
                total += strips[i, 4] * strips[j, 4] * _below_both(a, b, c, d, high - low)
        areas[k] = max(total, 0.0)


@njit(cache=True)
def _height(strip: Floats, x: float) -> float:
    return float(strip[1] + (strip[3] - strip[1]) * (x - strip[0]) / (strip[2] - strip[0]))


@njit(cache=True)
def _below_both(a: float, b: float, c: float, d: float, width: float) -> float:
    """Integral over the width of the lower of two lines, from a to b and from c to d."""
    start, end = a - c, b - d
    if start * end >= 0:
        return width * ((a + b) if start + end <= 0 else (c + d)) / 2
    t = start / (start - end)
    middle = a + t * (b - a)
    if start < 0:
        return width * (t * (a + middle) + (1 - t) * (middle + d)) / 2
    return width * (t * (c + middle) + (1 - t) * (middle + b)) / 2
