"""Voronoi cells of points inside a box or a polygon: their areas (3D: volumes) and which of them touch.

The cells come from the Delaunay triangulation without ever being drawn: each simplex gives each of its corners the part
of it that is nearest to that corner, signed, and these parts add up to the cells. Cells are cut at the walls of the box
by mirror images: where a point's cell crosses a wall, the image of the point beyond the wall takes away just what lies
outside. Only the few cells that a polygon cuts are drawn.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lucule.core import Region

# a simplex flatter than this has no circumcentre to speak of, and no volume either
_FLAT: Final = 1e-12
# walls just beyond points that lie on them
_NUDGE_NM: Final = 1e-3

Floats = NDArray[np.float64]


class Cells(NamedTuple):
    """Cells of n distinct points.

    Attributes
    ----------
    sizes
        `(n,)`, nm2 (3D: nm3).
    touching
        `(m, 2)` pairs of points whose cells share a side within the box, each pair once.
    """

    sizes: Floats
    touching: NDArray[np.int64]


def cells(points: Floats, low: Floats, high: Floats, region: Region | None = None) -> Cells | None:
    """Voronoi cells of distinct points inside a box, cut at its walls, and in 2D at the border of a region.

    Parameters
    ----------
    points
        `(n, 2)` or `(n, 3)`, nm, inside the box.
    low, high
        Corners of the box, nm.

    Returns
    -------
    cells
        None where there are none: fewer points than the corners of a simplex, or all on one line (3D: one plane).

    Examples
    --------
    >>> four = np.array([[1.0, 1.0], [3.0, 1.0], [1.0, 3.0], [3.1, 3.0]])
    >>> cells(four, np.zeros(2), np.array([4.0, 4.0])).sizes.round(2).tolist()
    [4.0, 4.0, 4.1, 3.9]
    """
    from scipy.spatial import Delaunay, QhullError

    n, dims = points.shape
    if n <= dims or not (high > low).all():
        return None
    # relative to the middle, for the sake of rounding
    middle = (low + high) / 2
    places = points.astype(np.float64) - middle
    walls = np.array([low - middle, high - middle])
    walls[0] = np.minimum(walls[0], places.min(axis=0) - _NUDGE_NM)
    walls[1] = np.maximum(walls[1], places.max(axis=0) + _NUDGE_NM)
    try:
        plain = Delaunay(places)
    except QhullError:
        return None
    crossing = _crossing(plain.points, plain.simplices, plain.neighbors, walls, n)
    images = [places]
    for side in range(2):
        for axis in range(dims):
            beyond = places[crossing[:, side, axis]].copy()
            beyond[:, axis] = 2 * walls[side, axis] - beyond[:, axis]
            images.append(beyond)
    whole = Delaunay(np.concatenate(images))
    add = _add_2d if dims == 2 else _add_3d
    sizes = np.zeros(n)
    centres = add(whole.points, whole.simplices, sizes)
    touching = _touching(whole.simplices, n)
    if region is not None and dims == 2 and not region.is_rectangle:
        _cut(places, whole.simplices, centres, region, middle, sizes)
    return Cells(np.maximum(sizes, 0), touching)


def _crossing(
    points: Floats, simplices: NDArray[np.int32], neighbours: NDArray[np.int32], walls: Floats, n: int
) -> NDArray[np.bool_]:
    """Whether the cell of each point crosses each wall, `(n, 2, d)`; unbounded cells count as crossing all."""
    dims = points.shape[1]
    crossing = np.zeros((n, 2, dims), dtype=bool)
    centres = _centres_2d(points, simplices) if dims == 2 else _centres_3d(points, simplices)
    for side, outside in enumerate((centres < walls[0], centres > walls[1])):
        for axis in range(dims):
            crossing[simplices[outside[:, axis]].ravel(), side, axis] = True
    rows, opposite = np.nonzero(neighbours < 0)
    corners = simplices[rows]
    on_hull = corners[np.arange(dims + 1)[None] != opposite[:, None]]
    crossing[on_hull] = True
    return crossing


def _touching(simplices: NDArray[np.int32], n: int) -> NDArray[np.int64]:
    corners = simplices.shape[1]
    pairs = np.concatenate([simplices[:, [i, j]] for i in range(corners) for j in range(i + 1, corners)])
    pairs = np.sort(pairs[(pairs < n).all(axis=1)].astype(np.int64), axis=1)
    keys = np.unique(pairs[:, 0] * n + pairs[:, 1])
    return np.column_stack([keys // n, keys % n])


def _cut(
    places: Floats, simplices: NDArray[np.int32], centres: Floats, region: Region, middle: Floats, sizes: Floats
) -> None:
    """Set the areas of those cells that the border of a polygon may cut."""
    import shapely

    moved = shapely.transform(region.shape, lambda points: points - middle)
    shapely.prepare(moved)
    n = len(places)
    corner = simplices.ravel().astype(np.int64)
    centre = np.repeat(np.arange(len(simplices)), 3)
    own = corner < n
    corner, centre = corner[own], centre[own]
    relative = centres[centre] - places[corner]
    order = np.lexsort([np.arctan2(relative[:, 1], relative[:, 0]), corner])
    corner, centre = corner[order], centre[order]
    starts = np.searchsorted(corner, np.arange(n + 1))
    rings = _polygons(centres[centre], starts)
    cut = ~shapely.contains_properly(moved, rings)
    sizes[cut] = shapely.area(shapely.intersection(shapely.make_valid(rings[cut]), moved))


def _polygons(vertices: Floats, starts: NDArray[np.int64]) -> NDArray[np.object_]:
    import shapely

    counts = np.diff(starts)
    which = np.repeat(np.arange(len(counts)), counts)
    # the first vertex of each ring once more, at its end
    closed = np.insert(vertices, starts[1:], vertices[starts[:-1]], axis=0)
    rings = shapely.linearrings(closed, indices=np.insert(which, starts[1:], np.arange(len(counts))))
    return np.asarray(shapely.polygons(rings))


@njit(cache=True, nogil=True)
def _centres_2d(points: Floats, simplices: NDArray[np.int32]) -> Floats:
    centres = np.empty((len(simplices), 2))
    for s in range(len(simplices)):
        a, b, c = points[simplices[s, 0]], points[simplices[s, 1]], points[simplices[s, 2]]
        bx, by, cx, cy = b[0] - a[0], b[1] - a[1], c[0] - a[0], c[1] - a[1]
        cross = bx * cy - by * cx
        bb, cc = bx * bx + by * by, cx * cx + cy * cy
        if abs(cross) <= _FLAT * (bb + cc):
            centres[s] = (a + b + c) / 3
            continue
        centres[s, 0] = a[0] + (cy * bb - by * cc) / (2 * cross)
        centres[s, 1] = a[1] + (bx * cc - cx * bb) / (2 * cross)
    return centres


@njit(cache=True, nogil=True)
def _centres_3d(points: Floats, simplices: NDArray[np.int32]) -> Floats:
    centres = np.empty((len(simplices), 3))
    for s in range(len(simplices)):
        a = _at(points, simplices[s, 0])
        u = _minus(_at(points, simplices[s, 1]), a)
        v = _minus(_at(points, simplices[s, 2]), a)
        w = _minus(_at(points, simplices[s, 3]), a)
        vw, wu, uv = _cross(v, w), _cross(w, u), _cross(u, v)
        uu, vv, ww = _dot(u, u), _dot(v, v), _dot(w, w)
        volume = _dot(u, vw)
        flat = abs(volume) <= _FLAT * (uu + vv + ww) ** 1.5
        for axis in range(3):
            if flat:
                centres[s, axis] = a[axis] + (u[axis] + v[axis] + w[axis]) / 4
            else:
                centres[s, axis] = a[axis] + (uu * vw[axis] + vv * wu[axis] + ww * uv[axis]) / (2 * volume)
    return centres


# vectors as triples, which take no memory of their own
Vector = tuple[float, float, float]


@njit(cache=True, inline="always")
def _at(points: Floats, row: int) -> Vector:
    return points[row, 0], points[row, 1], points[row, 2]


@njit(cache=True, inline="always")
def _minus(a: Vector, b: Vector) -> Vector:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


@njit(cache=True, inline="always")
def _dot(a: Vector, b: Vector) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@njit(cache=True, inline="always")
def _cross(a: Vector, b: Vector) -> Vector:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@njit(cache=True, nogil=True)
def _add_2d(points: Floats, simplices: NDArray[np.int32], sizes: Floats) -> Floats:
    """Add to the area of each cell what lies in each triangle; returns the centres of the circles through these."""
    centres = _centres_2d(points, simplices)
    for s in range(len(simplices)):
        for i in range(3):
            p = simplices[s, i]
            if p >= sizes.size:
                continue
            j, k = simplices[s, (i + 1) % 3], simplices[s, (i + 2) % 3]
            ox, oy = centres[s, 0] - points[p, 0], centres[s, 1] - points[p, 1]
            jx, jy = points[j, 0] - points[p, 0], points[j, 1] - points[p, 1]
            kx, ky = points[k, 0] - points[p, 0], points[k, 1] - points[p, 1]
            # half the way to j, the centre, half the way to k
            area = ((jx * oy - jy * ox) + (ox * ky - oy * kx)) / 4
            sizes[p] += area if jx * ky - jy * kx > 0 else -area
    return centres


@njit(cache=True, nogil=True)
def _add_3d(points: Floats, simplices: NDArray[np.int32], sizes: Floats) -> Floats:
    """As `_add_2d`, with a tetrahedron for each order of the corners: corner, edge, face, centre."""
    centres = _centres_3d(points, simplices)
    for s in range(len(simplices)):
        for i in range(4):
            p = simplices[s, i]
            if p >= sizes.size:
                continue
            at = _at(points, p)
            o = _minus(_at(centres, s), at)
            for j in range(4):
                for k in range(4):
                    if j == i or k in (i, j):
                        continue
                    u, v = _minus(_at(points, simplices[s, j]), at), _minus(_at(points, simplices[s, k]), at)
                    w = _minus(_at(points, simplices[s, 6 - i - j - k]), at)
                    normal = _cross(u, v)
                    squared = _dot(normal, normal)
                    if squared == 0:
                        continue
                    uu, vv = _dot(u, u), _dot(v, v)
                    towards = (uu * v[0] - vv * u[0], uu * v[1] - vv * u[1], uu * v[2] - vv * u[2])
                    # the middle of the edge is u / 2, that of the face towards x normal / (2 squared)
                    volume = _dot(_cross(u, _cross(towards, normal)), o) / (24 * squared)
                    sizes[p] += volume if _dot(normal, w) > 0 else -volume
    return centres
