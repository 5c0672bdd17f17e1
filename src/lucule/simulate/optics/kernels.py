"""The compiled code that puts emitters on pixels; one body for Gaussian and spline PSFs.

All functions take a `Model`, plain arrays that numba can read. Values are photons, derivatives photons per nm.
"""

from __future__ import annotations

from math import ceil, erf, exp, floor, pi, sqrt
from typing import Final, NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from lucule.simulate.optics.bspline import slopes, weights

# Beyond this many standard deviations a Gaussian is left away: 7e-6 of the photons.
REACH_SIGMA: Final = 4.5


class Model(NamedTuple):
    """A PSF for one pixel size, as numbers.

    Attributes
    ----------
    pixel
        Pixel size (x, y), nm.
    curves
        Gaussian: sigma, focus, depth (inf: the same everywhere), a, b of x and of y, `(2, 5)`. Spline: `(0, 5)`.
    coefficients
        Spline: float32 `(nodes_y, nodes_x, z, y, x)`. Gaussian: empty.
    knots
        Spline: first knot z and distance of the knots in nm; knots per pixel; index of the knot at the emitter along x
        and y.
    nodes
        Distance of the nodes (x, y) in nm, where the PSF depends on the position in the field.
    """

    pixel: NDArray[np.float64]
    curves: NDArray[np.float64]
    coefficients: NDArray[np.float32]
    knots: NDArray[np.float64]
    nodes: NDArray[np.float64]


@njit(cache=True, inline="always")
def curve_sigma(curve: NDArray[np.float64], z: float) -> float:
    """Width of a Gaussian at z, nm."""
    u = (z - curve[1]) / curve[2]
    return float(curve[0] * sqrt(1 + u * u * (1 + u * (curve[3] + u * curve[4]))))


@njit(cache=True, inline="always")
def _curve_slope(curve: NDArray[np.float64], z: float, sigma: float) -> float:
    u = (z - curve[1]) / curve[2]
    return float(curve[0] ** 2 * u * (2 + u * (3 * curve[3] + 4 * curve[4] * u)) / (2 * sigma * curve[2]))


@njit(cache=True)
def _gaussian_profile(position: float, sigma: float, pixel: float, first: int, out: NDArray[np.float64]) -> None:
    """Fill `out` `(3, n)`: light on pixels from `first`, derivative by position, derivative by sigma."""
    scale = 1 / (sqrt(2.0) * sigma)
    density = 1 / (sqrt(2 * pi) * sigma)
    left = first * pixel - position
    e0, g0 = erf(left * scale), density * exp(-((left * scale) ** 2))
    for i in range(out.shape[1]):
        right = left + pixel
        e1, g1 = erf(right * scale), density * exp(-((right * scale) ** 2))
        out[0, i] = 0.5 * (e1 - e0)
        out[1, i] = g0 - g1
        out[2, i] = (left * g0 - right * g1) / sigma
        left, e0, g0 = right, e1, g1


@njit(cache=True, inline="always")
def _span(position: float, reach: float, pixel: float, size: int) -> tuple[int, int]:
    first = max(floor((position - reach) / pixel), 0)
    return first, min(ceil((position + reach) / pixel), size)


@njit(cache=True)
def _add_gaussian(
    frame: NDArray[np.float32], model: Model, x: float, y: float, z: float, photons: float, work: NDArray[np.float64]
) -> None:
    sigma_x, sigma_y = curve_sigma(model.curves[0], z), curve_sigma(model.curves[1], z)
    x0, x1 = _span(x, REACH_SIGMA * sigma_x, model.pixel[0], frame.shape[1])
    y0, y1 = _span(y, REACH_SIGMA * sigma_y, model.pixel[1], frame.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    for axis in range(2):
        first, end = (x0, x1) if axis == 0 else (y0, y1)
        position, sigma = (x, sigma_x) if axis == 0 else (y, sigma_y)
        scale = 1 / (sqrt(2.0) * sigma)
        before = erf((first * model.pixel[axis] - position) * scale)
        for i in range(first, end):
            after = erf(((i + 1) * model.pixel[axis] - position) * scale)
            work[axis, i - first] = 0.5 * (after - before)
            before = after
    for row in range(y0, y1):
        share = photons * work[1, row - y0]
        for column in range(x0, x1):
            frame[row, column] += np.float32(share * work[0, column - x0])


@njit(cache=True, inline="always")
def _first_pixel(position: float, pixel: float, centre: float, per_pixel: float) -> int:
    """First pixel that lies on the spline of an emitter."""
    return ceil(position / pixel - 0.5 - centre / per_pixel)


@njit(cache=True, inline="always")
def _cell(position: float, pixel: float, centre: float, per_pixel: float, index: int) -> tuple[int, float]:
    """Cell of the spline in which the middle of a pixel lies, and the fraction inside it."""
    u = max(((index + 0.5) - position / pixel) * per_pixel + centre, 0.0)
    cell = floor(u)
    return cell, u - cell


@njit(cache=True, inline="always")
def _nodes(model: Model, x: float, y: float) -> tuple[int, int, float, float]:
    """Node of the field at or before a position, and the fractions towards the next."""
    ny, nx = model.coefficients.shape[0], model.coefficients.shape[1]
    if nx == 1 and ny == 1:
        return 0, 0, 0.0, 0.0
    u = min(max(x / model.nodes[0], 0.0), nx - 1.0)
    v = min(max(y / model.nodes[1], 0.0), ny - 1.0)
    i, j = min(int(u), nx - 2), min(int(v), ny - 2)
    return i, j, u - i, v - j


@njit(cache=True, fastmath={"contract", "nsz", "arcp"})
def _collapse(
    model: Model,
    field: tuple[int, int, float, float],
    plane: int,
    row: int,
    by_z: tuple[float, float, float, float],
    by_y: tuple[float, float, float, float],
    out: NDArray[np.float32],
) -> None:
    """Sum 4 planes x 4 rows (x up to 4 nodes of the field) of coefficients into one row."""
    i, j, fx, fy = field
    out[:] = 0
    for dj in range(2):
        share_y = fy if dj else 1 - fy
        if share_y == 0:
            continue
        for di in range(2):
            share = share_y * (fx if di else 1 - fx)
            if share == 0:
                continue
            for k in range(4):
                a, b = np.float32(share * by_z[k] * by_y[0]), np.float32(share * by_z[k] * by_y[1])
                c, d = np.float32(share * by_z[k] * by_y[2]), np.float32(share * by_z[k] * by_y[3])
                block = model.coefficients[j + dj, i + di, plane + k]
                r0, r1, r2, r3 = block[row], block[row + 1], block[row + 2], block[row + 3]
                for n in range(out.size):
                    out[n] += a * r0[n] + b * r1[n] + c * r2[n] + d * r3[n]


@njit(cache=True)
def _add_spline(
    frame: NDArray[np.float32], model: Model, x: float, y: float, z: float, photons: float, line: NDArray[np.float32]
) -> None:
    z0, step, per_pixel, centre_x, centre_y = model.knots
    u = (z - z0) / step
    plane = min(max(floor(u), 0), model.coefficients.shape[2] - 4)
    by_z = weights(u - plane)
    field = _nodes(model, x, y)
    stride = int(per_pixel)
    cells_y, cells_x = model.coefficients.shape[3] - 3, model.coefficients.shape[4] - 3
    x0 = max(_first_pixel(x, model.pixel[0], centre_x, per_pixel), 0)
    y0 = max(_first_pixel(y, model.pixel[1], centre_y, per_pixel), 0)
    cell_x, tx = _cell(x, model.pixel[0], centre_x, per_pixel, x0)
    cell_y, ty = _cell(y, model.pixel[1], centre_y, per_pixel, y0)
    x1 = min(x0 + (cells_x - cell_x + stride - 1) // stride, frame.shape[1])
    y1 = min(y0 + (cells_y - cell_y + stride - 1) // stride, frame.shape[0])
    if cell_x >= cells_x or cell_y >= cells_y or x0 >= x1 or y0 >= y1:
        return
    by_y = weights(ty)
    w0, w1, w2, w3 = weights(tx)
    a, b = np.float32(photons * w0), np.float32(photons * w1)
    c, d = np.float32(photons * w2), np.float32(photons * w3)
    for row in range(y0, y1):
        _collapse(model, field, plane, cell_y + (row - y0) * stride, by_z, by_y, line)
        for column in range(x0, x1):
            n = cell_x + (column - x0) * stride
            frame[row, column] += a * line[n] + b * line[n + 1] + c * line[n + 2] + d * line[n + 3]


@njit(cache=True)
def add_to_frame(
    frame: NDArray[np.float32],
    model: Model,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    z: NDArray[np.float64],
    photons: NDArray[np.float64],
) -> None:
    """Add emitters to one frame `(rows, columns)` in place, in the order given."""
    if model.curves.shape[0]:
        work = np.empty((2, max(frame.shape[0], frame.shape[1])))
        for i in range(x.size):
            _add_gaussian(frame, model, x[i], y[i], z[i], photons[i], work)
    else:
        line = np.empty(model.coefficients.shape[4], dtype=np.float32)
        for i in range(x.size):
            _add_spline(frame, model, x[i], y[i], z[i], photons[i], line)


@njit(cache=True, parallel=True)
def add_to_frames(
    frames: NDArray[np.float32],
    starts: NDArray[np.int64],
    model: Model,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    z: NDArray[np.float64],
    photons: NDArray[np.float64],
) -> None:
    """Add emitters sorted by frame to frames `(n, rows, columns)`: to frame i those from starts[i] to starts[i + 1]."""
    for i in prange(frames.shape[0]):
        mine = slice(starts[i], starts[i + 1])
        add_to_frame(frames[i], model, x[mine], y[mine], z[mine], photons[mine])


@njit(cache=True)
def patch(model: Model, x: float, y: float, z: float, row: int, column: int, out: NDArray[np.float64]) -> None:
    """PSF of one photon and its derivatives by x, y, z from pixel (row, column) on, into `out` `(4, rows, columns)`."""
    if model.curves.shape[0]:
        _patch_gaussian(model, x, y, z, row, column, out)
    else:
        _patch_spline(model, x, y, z, row, column, out)


@njit(cache=True)
def _patch_gaussian(
    model: Model, x: float, y: float, z: float, row: int, column: int, out: NDArray[np.float64]
) -> None:
    sigma_x, sigma_y = curve_sigma(model.curves[0], z), curve_sigma(model.curves[1], z)
    along_x, along_y = np.empty((3, out.shape[2])), np.empty((3, out.shape[1]))
    _gaussian_profile(x, sigma_x, model.pixel[0], column, along_x)
    _gaussian_profile(y, sigma_y, model.pixel[1], row, along_y)
    slope_x = _curve_slope(model.curves[0], z, sigma_x)
    slope_y = _curve_slope(model.curves[1], z, sigma_y)
    for r in range(out.shape[1]):
        for c in range(out.shape[2]):
            out[0, r, c] = along_y[0, r] * along_x[0, c]
            out[1, r, c] = along_y[0, r] * along_x[1, c]
            out[2, r, c] = along_y[1, r] * along_x[0, c]
            out[3, r, c] = along_y[0, r] * along_x[2, c] * slope_x + along_y[2, r] * along_x[0, c] * slope_y


@njit(cache=True, inline="always")
def _dot(w: tuple[float, float, float, float], line: NDArray[np.float32], n: int) -> float:
    return float(w[0] * line[n] + w[1] * line[n + 1] + w[2] * line[n + 2] + w[3] * line[n + 3])


@njit(cache=True, inline="always")
def _inside(cell: int, cells: int, stride: int, size: int) -> tuple[int, int]:
    """First pixel that lies on the spline, and the one after the last, of `size` pixels from `cell` on."""
    first = (-cell + stride - 1) // stride if cell < 0 else 0
    return first, min((cells - 1 - cell) // stride + 1 if cell < cells else 0, size)


@njit(cache=True, fastmath={"contract", "nsz", "arcp"})
def _slab(
    model: Model,
    field: tuple[int, int, float, float],
    plane: int,
    by_z: tuple[float, float, float, float],
    top: int,
    left: int,
    out: NDArray[np.float32],
) -> None:
    """Sum 4 planes (x up to 4 nodes of the field) of the coefficients from (top, left) on."""
    i, j, fx, fy = field
    out[:] = 0
    for dj in range(2):
        share_y = fy if dj else 1 - fy
        for di in range(2):
            share = share_y * (fx if di else 1 - fx)
            if share == 0:
                continue
            a, b = np.float32(share * by_z[0]), np.float32(share * by_z[1])
            c, d = np.float32(share * by_z[2]), np.float32(share * by_z[3])
            planes = model.coefficients[j + dj, i + di]
            for r in range(out.shape[0]):
                p0, p1 = planes[plane, top + r], planes[plane + 1, top + r]
                p2, p3 = planes[plane + 2, top + r], planes[plane + 3, top + r]
                for n in range(out.shape[1]):
                    out[r, n] += a * p0[left + n] + b * p1[left + n] + c * p2[left + n] + d * p3[left + n]


@njit(cache=True, fastmath={"contract", "nsz", "arcp"})
def _four_rows(
    slab: NDArray[np.float32], row: int, w: tuple[float, float, float, float], out: NDArray[np.float32]
) -> None:
    a, b, c, d = np.float32(w[0]), np.float32(w[1]), np.float32(w[2]), np.float32(w[3])
    for n in range(out.size):
        out[n] = a * slab[row, n] + b * slab[row + 1, n] + c * slab[row + 2, n] + d * slab[row + 3, n]


@njit(cache=True)
def _patch_spline(model: Model, x: float, y: float, z: float, row: int, column: int, out: NDArray[np.float64]) -> None:
    z0, step, per_pixel, centre_x, centre_y = model.knots
    u = (z - z0) / step
    plane = min(max(floor(u), 0), model.coefficients.shape[2] - 4)
    by_z, slope_z = weights(u - plane), slopes(u - plane)
    field = _nodes(model, x, y)
    varies = model.coefficients.shape[0] * model.coefficients.shape[1] > 1
    stride = int(per_pixel)
    v = ((row + 0.5) - y / model.pixel[1]) * per_pixel + centre_y
    w = ((column + 0.5) - x / model.pixel[0]) * per_pixel + centre_x
    cell_y, cell_x = floor(v), floor(w)
    # pixels are whole numbers of knots apart, so that all have the same weights
    by_y, slope_y, by_x, slope_x = weights(v - cell_y), slopes(v - cell_y), weights(w - cell_x), slopes(w - cell_x)
    r0, r1 = _inside(cell_y, model.coefficients.shape[3] - 3, stride, out.shape[1])
    c0, c1 = _inside(cell_x, model.coefficients.shape[4] - 3, stride, out.shape[2])
    out[:] = 0
    if r0 >= r1 or c0 >= c1:
        return
    top, left = cell_y + stride * r0, cell_x + stride * c0
    slabs = np.empty((6 if varies else 2, stride * (r1 - r0 - 1) + 4, stride * (c1 - c0 - 1) + 4), dtype=np.float32)
    lines = np.empty((7 if varies else 3, slabs.shape[2]), dtype=np.float32)
    _slab(model, field, plane, by_z, top, left, slabs[0])
    _slab(model, field, plane, slope_z, top, left, slabs[1])
    if varies:  # the PSF at the nodes on both sides, for its change over the field
        i, j, fx, fy = field
        _slab(model, (i, j, 0.0, fy), plane, by_z, top, left, slabs[2])
        _slab(model, (i, j, 1.0, fy), plane, by_z, top, left, slabs[3])
        _slab(model, (i, j, fx, 0.0), plane, by_z, top, left, slabs[4])
        _slab(model, (i, j, fx, 1.0), plane, by_z, top, left, slabs[5])
    # a position that grows moves the pixel back on the spline
    dx, dy, dz = -per_pixel / model.pixel[0], -per_pixel / model.pixel[1], 1 / step
    for r in range(r0, r1):
        first = stride * (r - r0)
        _four_rows(slabs[0], first, by_y, lines[0])
        _four_rows(slabs[0], first, slope_y, lines[1])
        _four_rows(slabs[1], first, by_y, lines[2])
        for k in range(3, len(lines)):
            _four_rows(slabs[k - 1], first, by_y, lines[k])
        for c in range(c0, c1):
            n = stride * (c - c0)
            out[0, r, c] = _dot(by_x, lines[0], n)
            out[1, r, c] = _dot(slope_x, lines[0], n) * dx
            out[2, r, c] = _dot(by_x, lines[1], n) * dy
            out[3, r, c] = _dot(by_x, lines[2], n) * dz
            if varies:
                out[1, r, c] += (_dot(by_x, lines[4], n) - _dot(by_x, lines[3], n)) / model.nodes[0]
                out[2, r, c] += (_dot(by_x, lines[6], n) - _dot(by_x, lines[5], n)) / model.nodes[1]


@njit(cache=True, parallel=True)
def pull_back(
    slope: NDArray[np.float32],
    frame_index: NDArray[np.int64],
    model: Model,
    side: int,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    z: NDArray[np.float64],
    photons: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Gradient of a loss by the parameters of emitters, from its gradient by the frames.

    Parameters
    ----------
    slope
        Derivative of the loss by every expected photon `(frames, rows, columns)`.
    side
        Pixels around an emitter that count.
    out
        Filled with the derivatives by x, y, z and photons, `(emitters, 4)`.
    """
    blocks = (x.size + 31) // 32
    for block in prange(blocks):
        light = np.empty((4, side, side))
        for i in range(32 * block, min(32 * block + 32, x.size)):
            row = floor(y[i] / model.pixel[1]) - side // 2
            column = floor(x[i] / model.pixel[0]) - side // 2
            patch(model, x[i], y[i], z[i], row, column, light)
            total = np.zeros(4)
            for r in range(max(-row, 0), min(side, slope.shape[1] - row)):
                for c in range(max(-column, 0), min(side, slope.shape[2] - column)):
                    for k in range(4):
                        total[k] += slope[frame_index[i], row + r, column + c] * light[k, r, c]
            out[i, 0], out[i, 1], out[i, 2] = photons[i] * total[1], photons[i] * total[2], photons[i] * total[3]
            out[i, 3] = total[0]
