"""The loops behind the renderers.

All of them add the localizations to each pixel in the order of the table, whatever the number of threads: the
histogram runs on one thread (it is bound by memory), and the Gaussian renderer cuts the picture into bands of rows,
each of which belongs to one thread and meets its localizations in the order of the table. Sums are therefore equal to
the last bit on any machine.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Final

import numba
import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from lucule.view.frame import Frame

BAND_ROWS: Final = 32
CHUNK_ROWS: Final = 1 << 21
# a Gaussian is cut at this many sigma (where 2e-3 of its peak are left) and scaled so that its integral stays 1
REACH_SIGMA: Final = 3.5
STEPS_PER_SIGMA: Final = 512

F32 = NDArray[np.float32]


@cache
def _cumulative_table() -> F32:
    steps = np.arange(round(2 * REACH_SIGMA * STEPS_PER_SIGMA) + 1) / STEPS_PER_SIGMA - REACH_SIGMA
    cumulative = np.array([0.5 * (1 + math.erf(value / math.sqrt(2))) for value in steps])
    scaled: F32 = ((cumulative - cumulative[0]) / (cumulative[-1] - cumulative[0])).astype(np.float32)
    return scaled


def histogram(x: F32, y: F32, values: F32, frame: Frame, counts: NDArray[np.uint32], sums: F32) -> None:
    """Count localizations per pixel, and add `values` `(n, channels)` to `sums` `(channels, height, width)`."""
    _histogram(x, y, values, frame.x_nm, frame.y_nm, frame.pixel_nm, counts, sums)


@njit(cache=True, nogil=True)
def _histogram(x, y, values, x0, y0, pixel, counts, sums):  # type: ignore[no-untyped-def]
    height, width = counts.shape
    channels = values.shape[1]
    for i in range(x.size):
        u = (np.float64(x[i]) - x0) / pixel
        v = (np.float64(y[i]) - y0) / pixel
        if 0 <= u < width and 0 <= v < height:
            column, row = int(u), int(v)
            counts[row, column] += 1
            for c in range(channels):
                sums[c, row, column] += values[i, c]


def gaussian(x: F32, y: F32, sigma_x: F32, sigma_y: F32, values: F32, frame: Frame, density: F32, sums: F32) -> None:
    """Add one Gaussian of integral 1 per localization to `density`, and the same times `values` to `sums`.

    Each pixel receives the integral of the Gaussian over its area, so the sum of the picture is the number of
    localizations (as far as they lie inside), for any ratio of sigma to pixel size.
    """
    offsets, records = _band_records(x, y, sigma_x, sigma_y, values, frame.x_nm, frame.y_nm, frame.pixel_nm, density)
    with numba.parallel_chunksize(1):
        _gaussian(offsets, records, _cumulative_table(), density, sums)


@njit(inline="always")
def _bands_touched(v, reach, height):  # type: ignore[no-untyped-def]
    """First and last band that a Gaussian reaches; last < first where it reaches none."""
    top, bottom = v - reach, v + reach
    if bottom < 0 or top >= height:
        return 0, -1
    return int(max(top, 0.0)) // BAND_ROWS, int(min(bottom, height - 1)) // BAND_ROWS


@njit(cache=True, nogil=True)
def _band_records(x, y, sigma_x, sigma_y, values, x0, y0, pixel, density):  # type: ignore[no-untyped-def]
    """Column, row, sigmas (all in pixels) and values of each localization, copied together band by band.

    Reading them in table order from within a band would miss the cache for nearly every localization, which costs
    more than drawing it.
    """
    height = density.shape[0]
    bands = (height + BAND_ROWS - 1) // BAND_ROWS
    channels = values.shape[1]
    scale = 1 / pixel
    offsets = np.zeros(bands + 1, np.int64)
    for i in range(x.size):
        first, last = _bands_touched((np.float64(y[i]) - y0) * scale, REACH_SIGMA * sigma_y[i] * scale, height)
        for band in range(first, last + 1):
            offsets[band + 1] += 1
    for band in range(bands):
        offsets[band + 1] += offsets[band]
    cursor = offsets[:-1].copy()
    records = np.empty((offsets[-1], 4 + channels), np.float32)
    for i in range(x.size):
        v = (np.float64(y[i]) - y0) * scale
        first, last = _bands_touched(v, REACH_SIGMA * sigma_y[i] * scale, height)
        for band in range(first, last + 1):
            record = records[cursor[band]]
            cursor[band] += 1
            record[0] = (np.float64(x[i]) - x0) * scale
            record[1] = v
            record[2] = sigma_x[i] * scale
            record[3] = sigma_y[i] * scale
            for c in range(channels):
                record[4 + c] = values[i, c]
    return offsets, records


@njit(inline="always")
def _integral(t, table):  # type: ignore[no-untyped-def]
    """Integral of the (cut and scaled) Gaussian up to position `t` of the table."""
    t = min(max(t, np.float32(0)), np.float32(table.size - 1))
    k = min(int(t), table.size - 2)
    return table[k] + (t - np.float32(k)) * (table[k + 1] - table[k])


@njit(cache=True, parallel=True, nogil=True)
def _gaussian(offsets, records, table, density, sums):  # type: ignore[no-untyped-def]
    height, width = density.shape
    channels = records.shape[1] - 4
    for band in prange(offsets.size - 1):
        top, bottom = band * BAND_ROWS, min((band + 1) * BAND_ROWS, height)
        across = np.empty(width, np.float32)
        for m in range(offsets[band], offsets[band + 1]):
            u, v, sx, sy = records[m, 0], records[m, 1], records[m, 2], records[m, 3]
            reach_x, reach_y = np.float32(REACH_SIGMA) * sx, np.float32(REACH_SIGMA) * sy
            if u + reach_x < 0 or u - reach_x >= width:
                continue
            left, right = int(max(u - reach_x, np.float32(0))), min(int(u + reach_x) + 1, width)
            first, last = max(int(max(v - reach_y, np.float32(0))), top), min(int(v + reach_y) + 1, bottom)
            step = np.float32(STEPS_PER_SIGMA) / sx
            start = (left - u + reach_x) * step
            below = _integral(start, table)
            for c in range(right - left):
                above = _integral(start + np.float32(c + 1) * step, table)
                across[c] = above - below
                below = above
            step = np.float32(STEPS_PER_SIGMA) / sy
            start = (first - v + reach_y) * step
            below = _integral(start, table)
            for r in range(first, last):
                above = _integral(start + np.float32(r + 1 - first) * step, table)
                weight = above - below
                below = above
                line = density[r, left:right]
                for c in range(line.size):
                    line[c] += weight * across[c]
                for k in range(channels):
                    scaled = weight * records[m, 4 + k]
                    line = sums[k, r, left:right]
                    for c in range(line.size):
                        line[c] += scaled * across[c]


def points(columns: NDArray[np.float64], rows: NDArray[np.float64], radius: float, colours: F32, picture: F32) -> None:
    """Draw smooth discs of `radius` pixels over `picture` `(height, width, 3)`, in the order given; colours 0 to 1."""
    _points(columns, rows, radius, colours, picture)


@njit(cache=True, nogil=True)
def _points(columns, rows, radius, colours, picture):  # type: ignore[no-untyped-def]
    height, width = picture.shape[:2]
    reach = radius + 1
    for i in range(columns.size):
        u, v = columns[i], rows[i]
        if u + reach < 0 or v + reach < 0 or u - reach >= width or v - reach >= height:
            continue
        for r in range(max(int(v - reach), 0), min(int(v + reach) + 1, height)):
            for c in range(max(int(u - reach), 0), min(int(u + reach) + 1, width)):
                distance = math.hypot(c + 0.5 - u, r + 0.5 - v)
                cover = min(max(radius + 0.5 - distance, 0.0), 1.0)
                for k in range(3):
                    picture[r, c, k] += np.float32(cover) * (colours[i, k] - picture[r, c, k])


def lines(
    starts: NDArray[np.float64],
    ends: NDArray[np.float64],
    owners: NDArray[np.int32],
    width: float,
    cover: F32,
    owner: NDArray[np.int32],
) -> None:
    """Cover of each pixel by smooth lines from `starts` to `ends` `(m, 2)`, (column, row), and whose line covers it."""
    _lines(starts, ends, owners, width, cover, owner)


@njit(cache=True, nogil=True)
def _lines(starts, ends, owners, line_width, cover, owner):  # type: ignore[no-untyped-def]
    height, width = cover.shape
    half = line_width / 2
    reach = half + 1
    for i in range(owners.size):
        dx, dy = ends[i, 0] - starts[i, 0], ends[i, 1] - starts[i, 1]
        length = math.hypot(dx, dy)
        # short pieces, so that the box around a long slanted line does not make it slow
        pieces = max(1, math.ceil(length / 16))
        for piece in range(pieces):
            ax = starts[i, 0] + dx * piece / pieces
            ay = starts[i, 1] + dy * piece / pieces
            bx, by = dx / pieces, dy / pieces
            square = bx * bx + by * by
            left, right = min(ax, ax + bx) - reach, max(ax, ax + bx) + reach
            top, bottom = min(ay, ay + by) - reach, max(ay, ay + by) + reach
            if right < 0 or bottom < 0 or left >= width or top >= height:
                continue
            for r in range(max(int(top), 0), min(int(bottom) + 1, height)):
                for c in range(max(int(left), 0), min(int(right) + 1, width)):
                    px, py = c + 0.5 - ax, r + 0.5 - ay
                    along = 0.0 if square == 0 else min(max((px * bx + py * by) / square, 0.0), 1.0)
                    distance = math.hypot(px - along * bx, py - along * by)
                    value = min(max(half + 0.5 - distance, 0.0), 1.0)
                    if value > cover[r, c]:
                        cover[r, c] = value
                        owner[r, c] = owners[i]


def greedy_colours(neighbours: NDArray[np.int32], n_colours: int) -> NDArray[np.int64]:
    """A colour number per row so that rows and their `neighbours` `(m, k)` differ (-1: no neighbour)."""
    colours: NDArray[np.int64] = _greedy(neighbours, n_colours)
    return colours


@njit(cache=True)
def _greedy(neighbours, n_colours):  # type: ignore[no-untyped-def]
    count, k = neighbours.shape
    colours = np.full(count, -1, np.int64)
    # neighbourhood is not mutual: what took a colour because of row i is remembered on the row that must avoid it
    taken = np.zeros((count, n_colours), np.bool_)
    used = np.zeros(n_colours, np.int64)
    for i in range(count):
        for j in range(k):
            other = neighbours[i, j]
            if other >= 0 and colours[other] >= 0:
                taken[i, colours[other]] = True
        best = -1
        for c in range(n_colours):
            if not taken[i, c] and (best < 0 or used[c] < used[best]):
                best = c
        if best < 0:
            best = i % n_colours
        colours[i] = best
        used[best] += 1
        for j in range(k):
            if neighbours[i, j] >= 0:
                taken[neighbours[i, j], best] = True
    return colours
