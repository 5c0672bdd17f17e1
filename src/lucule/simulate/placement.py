"""Placing objects in a field: given positions, a grid, or at random without overlap."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from lucule.core import InputError
from lucule.simulate.specimens.base import Outline, Rectangle

FloatArray = NDArray[np.float64]

TRIES: Final = 300
GRID: Final = 1000


def place_at_random(
    rng: np.random.Generator,
    outline: Outline,
    circles: FloatArray,
    n: int,
    *,
    gap_nm: float,
    turn: bool,
) -> tuple[FloatArray, FloatArray, int]:
    """Find places and orientations for `n` objects one after the other so that none overlaps another.

    Parameters
    ----------
    outline
        Area within which all covering circles lie; outlines that are no rectangles are resolved to 1/1000 of their
        size.
    circles
        `(k, 4)`, object, x, y, radius of the circles that cover each object around its own origin.
    gap_nm
        Smallest distance between the circles of different objects, nm.
    turn
        Whether objects are turned at random in the plane.

    Returns
    -------
    tuple
        Places `(n, 2)` nm, angles `(n,)` rad, and how many objects found a place.
    """
    order = np.argsort(circles[:, 0], kind="stable")
    sorted_circles = circles[order]
    first = np.searchsorted(sorted_circles[:, 0], np.arange(n + 1)).astype(np.int64)
    shapes = np.ascontiguousarray(sorted_circles[:, 1:])
    bounds = outline.bounds_nm
    low, high = np.array(bounds[:2]), np.array(bounds[2:])
    room = _distance_to_outside(outline)
    size = max(float(2 * shapes[:, 2].max() + gap_nm), float((high - low).max()) / 2000)
    cells = ((high - low) / size).astype(np.int64) + 1
    heads = np.full((int(cells[0]), int(cells[1])), -1, np.int32)
    # draws are made object by object, so that adding objects at the end leaves the first ones where they were
    seeds = rng.integers(0, 2**32, n, dtype=np.uint32)
    return _place(shapes, first, low, high, room, size, heads, gap_nm, turn, seeds)


def _distance_to_outside(outline: Outline) -> FloatArray:
    """Distance from each point of a grid over the bounds to the outside, nm; infinite for a rectangle."""
    if isinstance(outline, Rectangle):
        return np.full((1, 1), np.inf)
    x0, y0, x1, y1 = outline.bounds_nm
    x, y = (np.arange(GRID) + 0.5) / GRID * (x1 - x0) + x0, (np.arange(GRID) + 0.5) / GRID * (y1 - y0) + y0
    inside = outline.contains(np.column_stack([axis.ravel() for axis in np.meshgrid(x, y, indexing="ij")]))
    padded = np.pad(inside.reshape(GRID, GRID), 1)
    distance: FloatArray = distance_transform_edt(padded, sampling=((x1 - x0) / GRID, (y1 - y0) / GRID))[
        1:-1, 1:-1
    ].copy()
    return distance


@njit(cache=True)
def _place(
    shapes: FloatArray,
    first: NDArray[np.int64],
    low: FloatArray,
    high: FloatArray,
    room: FloatArray,
    size: float,
    heads: NDArray[np.int32],
    gap: float,
    turn: bool,
    seeds: NDArray[np.uint32],
) -> tuple[FloatArray, FloatArray, int]:
    n = len(first) - 1
    following = np.full(len(shapes), -1, np.int32)
    put = np.empty((len(shapes), 2))
    places, angles = np.empty((n, 2)), np.zeros(n)
    for i in range(n):
        np.random.seed(seeds[i])
        begin, end = first[i], first[i + 1]
        found = False
        for _ in range(TRIES):
            angle = np.random.random() * 2.0 * np.pi if turn else 0.0
            c, s = np.cos(angle), np.sin(angle)
            # the box in which the origin may lie, given how far the turned object reaches
            reach = np.array([np.inf, np.inf, -np.inf, -np.inf])
            for k in range(begin, end):
                x, y, r = c * shapes[k, 0] - s * shapes[k, 1], s * shapes[k, 0] + c * shapes[k, 1], shapes[k, 2]
                reach[0], reach[1] = min(reach[0], x - r), min(reach[1], y - r)
                reach[2], reach[3] = max(reach[2], x + r), max(reach[3], y + r)
            width, height = high[0] - low[0] - reach[2] + reach[0], high[1] - low[1] - reach[3] + reach[1]
            px = low[0] - reach[0] + np.random.random() * width
            py = low[1] - reach[1] + np.random.random() * height
            if width < 0.0 or height < 0.0:
                continue
            if _free(px, py, c, s, begin, end, shapes, put, low, high, room, size, heads, following, gap):
                found = True
                break
        if not found:
            return places, angles, i
        places[i, 0], places[i, 1], angles[i] = px, py, angle
        for k in range(begin, end):
            put[k, 0] = px + c * shapes[k, 0] - s * shapes[k, 1]
            put[k, 1] = py + s * shapes[k, 0] + c * shapes[k, 1]
            a, b = int((put[k, 0] - low[0]) / size), int((put[k, 1] - low[1]) / size)
            following[k] = heads[a, b]
            heads[a, b] = k
    return places, angles, n


@njit(cache=True)
def _free(
    px: float,
    py: float,
    c: float,
    s: float,
    begin: int,
    end: int,
    shapes: FloatArray,
    put: FloatArray,
    low: FloatArray,
    high: FloatArray,
    room: FloatArray,
    size: float,
    heads: NDArray[np.int32],
    following: NDArray[np.int32],
    gap: float,
) -> bool:
    for k in range(begin, end):
        x = px + c * shapes[k, 0] - s * shapes[k, 1]
        y = py + s * shapes[k, 0] + c * shapes[k, 1]
        u = min(int((x - low[0]) / (high[0] - low[0]) * room.shape[0]), room.shape[0] - 1)
        v = min(int((y - low[1]) / (high[1] - low[1]) * room.shape[1]), room.shape[1] - 1)
        if room[u, v] < shapes[k, 2]:
            return False
        i, j = int((x - low[0]) / size), int((y - low[1]) / size)
        for a in range(max(i - 1, 0), min(i + 2, heads.shape[0])):
            for b in range(max(j - 1, 0), min(j + 2, heads.shape[1])):
                other = heads[a, b]
                while other >= 0:
                    near = shapes[k, 2] + shapes[other, 2] + gap
                    if (x - put[other, 0]) ** 2 + (y - put[other, 1]) ** 2 < near * near:
                        return False
                    other = following[other]
    return True


def does_not_fit(wanted: int, placed: int, area_um2: float, circles: FloatArray) -> InputError:
    """The error for objects that find no place."""
    reach = np.hypot(circles[:, 1], circles[:, 2]) + circles[:, 3]
    return InputError(
        "The structures do not fit into the field without overlap",
        received=f"{wanted} structures of up to {2 * float(reach.max()):.0f} nm across in {area_um2:.4g} um2",
        allowed=f"about {placed} such structures, placed at random",
        next_step="lower count, density_per_um2 or gap_nm, raise the size of the field, or set overlap: true",
    )
