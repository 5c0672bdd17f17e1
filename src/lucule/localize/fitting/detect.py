"""Where emitters may be: maxima of the filtered frame above the height that chance reaches.

Compiled code over frames that are independent of each other; `bank` has the filters and the height.
"""

from __future__ import annotations

from math import sqrt
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Image: TypeAlias = NDArray[np.float32]

_CLIP: Final = 2.5
_CLIPS: Final = 6
_LEAST_VARIANCE: Final = 1e-6
# a second depth is tried if it explains this part of the first one's gain, or so little less of log likelihood
_SECOND: Final = 0.6
_SECOND_GAIN: Final = 30.0
# what the light of a brighter neighbour may explain wrongly
_BLEED_ERROR: Final = 0.2
_SUMS: Final = {"contract", "reassoc", "nsz", "arcp"}

# columns of what is found
ROW, COLUMN, HEIGHT, X, Y, DEPTH, SECOND, PHOTONS, BACKGROUND = range(9)
COLUMNS: Final = 9


class Filters(NamedTuple):
    """The numbers of a `Bank` that compiled code needs."""

    down: NDArray[np.float32]
    across: NDArray[np.float32]
    mean: NDArray[np.float32]
    per_photon: Floats
    bleed: NDArray[np.float32]
    skew: Floats


class Pixels(NamedTuple):
    """Noise of the camera, as compiled code needs it.

    Attributes
    ----------
    floor
        Variance that the camera adds over `scale`, photons, `(rows, columns)`.
    smooth_floor
        The same as a filter sees it.
    scale
        Variance over mean of the light.
    third, fourth
        Third and fourth cumulant over mean of the light.
    """

    floor: Image
    smooth_floor: Image
    scale: float
    third: float
    fourth: float


@njit(cache=True, nogil=True)
def background_of(frame: Image, pixels: Pixels, cell: int, out: Image) -> None:
    """Level between the spots: clipped means of cells of about `cell` pixels, and straight lines between them."""
    rows, columns = frame.shape
    ny, nx = max(round(rows / cell), 1), max(round(columns / cell), 1)
    level = np.empty((ny, nx))
    for j in range(ny):
        r0, r1 = j * rows // ny, (j + 1) * rows // ny
        for i in range(nx):
            c0, c1 = i * columns // nx, (i + 1) * columns // nx
            values = frame[r0:r1, c0:c1].copy().ravel()
            middle = float(np.median(values))
            for _ in range(_CLIPS):
                total, n = 0.0, 0
                for r in range(r0, r1):
                    for c in range(c0, c1):
                        away = frame[r, c] - middle
                        if away * away < _CLIP * _CLIP * pixels.scale * max(middle + pixels.floor[r, c], 0.0):
                            total += frame[r, c]
                            n += 1
                if 2 * n < values.size:
                    break
                middle = total / n
            level[j, i] = middle
    for r in range(rows):
        # a slope goes on to the edge of the frame
        v = (r + 0.5) * ny / rows - 0.5
        j = min(max(int(v), 0), max(ny - 2, 0))
        below = min(j + 1, ny - 1)
        fy = v - j
        for c in range(columns):
            u = (c + 0.5) * nx / columns - 0.5
            i = min(max(int(u), 0), max(nx - 2, 0))
            right = min(i + 1, nx - 1)
            fx = u - i
            upper = (1 - fx) * level[j, i] + fx * level[j, right]
            lower = (1 - fx) * level[below, i] + fx * level[below, right]
            out[r, c] = (1 - fy) * upper + fy * lower


@njit(cache=True, nogil=True, fastmath=_SUMS)
def _add_rows(padded: Image, weights: NDArray[np.float32], out: Image) -> None:
    """Filter every row."""
    out[:] = 0
    for r in range(padded.shape[0]):
        for j in range(weights.size):
            w = weights[j]
            for c in range(out.shape[1]):
                out[r, c] += w * padded[r, c + j]


@njit(cache=True, nogil=True, fastmath=_SUMS)
def _add_columns(lines: Image, weights: NDArray[np.float32], factor: float, out: Image) -> None:
    for r in range(out.shape[0]):
        for j in range(weights.size):
            w = np.float32(factor * weights[j])
            for c in range(out.shape[1]):
                out[r, c] += w * lines[r + j, c]


@njit(cache=True, nogil=True)
def filtered(residual: Image, filters: Filters, out: Image) -> None:
    """F of every filter at every pixel, `(k, rows, columns)`; beyond the frame there is nothing."""
    rows, columns = residual.shape
    side = filters.down.shape[2]
    half = side // 2
    padded = np.zeros((rows + side - 1, columns + side - 1), np.float32)
    padded[half : half + rows, half : half + columns] = residual
    lines = np.empty((rows + side - 1, columns), np.float32)
    whole = np.zeros((rows, columns), np.float32)
    ones = np.ones(side, np.float32)
    _add_rows(padded, ones, lines)
    _add_columns(lines, ones, 1.0, whole)
    for k in range(filters.down.shape[0]):
        for r in range(rows):
            for c in range(columns):
                out[k, r, c] = -filters.mean[k] * whole[r, c]
        for rank in range(filters.down.shape[1]):
            if filters.down[k, rank].any():
                _add_rows(padded, filters.across[k, rank], lines)
                _add_columns(lines, filters.down[k, rank], 1.0, out[k])


@njit(cache=True, nogil=True)
def find(
    frames: Image,
    filters: Filters,
    pixels: Pixels,
    threshold: float,
    cell: int,
    first: int,
    last: int,
    found: Floats,
    number: NDArray[np.int64],
) -> None:
    """Candidates of the frames from `first` to `last`, the highest first, into `found` `(frames, most, COLUMNS)`."""
    rows, columns = frames.shape[1:]
    depths = filters.down.shape[0]
    level = np.empty((rows, columns), np.float32)
    residual = np.empty((rows, columns), np.float32)
    response = np.empty((depths, rows, columns), np.float32)
    height = np.empty((rows, columns), np.float32)
    best = np.empty((rows, columns), np.int64)
    for frame in range(first, last):
        background_of(frames[frame], pixels, cell, level)
        for r in range(rows):
            for c in range(columns):
                residual[r, c] = frames[frame, r, c] - level[r, c]
        filtered(residual, filters, response)
        heights(response, level, pixels, height, best)
        number[frame] = maxima(response, height, best, level, filters, pixels, threshold, found[frame])


@njit(cache=True, nogil=True)
def heights(response: Image, level: Image, pixels: Pixels, height: Image, best: NDArray[np.int64]) -> None:
    """S of the best filter at every pixel, and which it is."""
    for r in range(height.shape[0]):
        for c in range(height.shape[1]):
            k_best, most = 0, response[0, r, c]
            for k in range(1, response.shape[0]):
                if response[k, r, c] > most:
                    k_best, most = k, response[k, r, c]
            variance = pixels.scale * (max(level[r, c], 0.0) + pixels.smooth_floor[r, c])
            height[r, c], best[r, c] = most / sqrt(max(variance, _LEAST_VARIANCE)), k_best


@njit(cache=True, nogil=True)
def _limit(level: float, floor: float, skew: float, pixels: Pixels, threshold: float) -> float:
    """Height that a maximum must reach, with the skewness of the light."""
    variance = max(pixels.scale * (max(level, 0.0) + floor), _LEAST_VARIANCE)
    skewness = skew * pixels.third * max(level, 0.0) / (variance * sqrt(variance))
    return threshold + skewness * (threshold * threshold - 1) / 6


@njit(cache=True, nogil=True)
def maxima(
    response: Image,
    height: Image,
    best: NDArray[np.int64],
    level: Image,
    filters: Filters,
    pixels: Pixels,
    threshold: float,
    found: Floats,
) -> int:
    """Maxima above the threshold that are no side lobes of brighter ones, the highest first; their number."""
    rows, columns = height.shape
    at_row, at_column, high = [0], [0], [0.0]
    for r in range(rows):
        for c in range(columns):
            here = height[r, c]
            limit = _limit(level[r, c], pixels.smooth_floor[r, c], filters.skew[best[r, c]], pixels, threshold)
            if here > limit and _is_maximum(height, r, c):
                at_row.append(r)
                at_column.append(c)
                high.append(here)
    order = np.argsort(-np.array(high)[1:], kind="mergesort")
    reach = filters.down.shape[2] - 1
    n = 0
    for m in order:
        if n == found.shape[0]:
            break
        r, c = at_row[m + 1], at_column[m + 1]
        k = best[r, c]
        from_others = 0.0
        for other in range(n):
            dy, dx = r - int(found[other, ROW]), c - int(found[other, COLUMN])
            if abs(dy) <= reach and abs(dx) <= reach:
                from_others += (
                    found[other, PHOTONS] * filters.bleed[int(found[other, DEPTH]), k, dy + reach, dx + reach]
                )
        own = response[k, r, c] - from_others
        deviation = response[k, r, c] / max(height[r, c], 1e-9)
        limit = _limit(level[r, c], pixels.smooth_floor[r, c], filters.skew[k], pixels, threshold)
        if own < limit * deviation + _BLEED_ERROR * abs(from_others):
            continue
        found[n, ROW], found[n, COLUMN], found[n, HEIGHT] = r, c, height[r, c]
        found[n, X] = c + 0.5 + _vertex(response[k, r], c)
        found[n, Y] = r + 0.5 + _vertex(response[k, :, c], r)
        found[n, DEPTH], found[n, SECOND] = k, _second(response[:, r, c], k, deviation)
        found[n, PHOTONS], found[n, BACKGROUND] = own / filters.per_photon[k], max(level[r, c], 0.0)
        n += 1
    return n


@njit(cache=True, nogil=True)
def _is_maximum(height: Image, r: int, c: int) -> bool:
    for dy in range(-1, 2):
        for dx in range(-1, 2):
            y, x = r + dy, c + dx
            if (dy == 0 and dx == 0) or y < 0 or x < 0 or y >= height.shape[0] or x >= height.shape[1]:
                continue
            earlier = dy < 0 or (dy == 0 and dx < 0)
            if height[y, x] > height[r, c] or (earlier and height[y, x] == height[r, c]):
                return False
    return True


@njit(cache=True, nogil=True)
def _vertex(line: Image, at: int) -> float:
    """Offset of the top of a parabola through three values."""
    if at == 0 or at == line.size - 1:
        return 0.0
    before, here, after = line[at - 1], line[at], line[at + 1]
    bend = before - 2 * here + after
    return float(min(max(0.5 * (before - after) / bend, -0.5), 0.5)) if bend < 0 else 0.0


@njit(cache=True, nogil=True)
def _second(of_depth: Image, best: int, deviation: float) -> int:
    """The other depth that is worth a try, or -1."""
    second, most = -1, 0.0
    for k in range(of_depth.size):
        if abs(k - best) < 2 or of_depth[k] <= most:
            continue
        if (k > 0 and of_depth[k - 1] > of_depth[k]) or (k + 1 < of_depth.size and of_depth[k + 1] > of_depth[k]):
            continue
        second, most = k, of_depth[k]
    gain = (of_depth[best] ** 2 - most**2) / deviation**2
    return second if second >= 0 and (most**2 > _SECOND * of_depth[best] ** 2 or gain < _SECOND_GAIN) else -1
