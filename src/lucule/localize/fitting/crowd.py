"""Emitters whose spots overlap: fitted together, and joined by those that their light had hidden.

After all candidates of a frame were fitted alone, neighbours are fitted jointly, the light of everything else in the
frame included in the model. What is left of the frame is searched with the same filters and the same height as the
frame was; an emitter found there stays if it raises the log likelihood by half the square of that height, as one that
stands alone must (for Gaussians: Huang et al. 2011, Biomed Opt Express 2:1377; Holden et al. 2011, Nat Methods 8:279).
"""

from __future__ import annotations

from math import floor as down
from math import inf
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lucule.localize.fitting import detect, spots
from lucule.localize.fitting.detect import Filters, Pixels
from lucule.localize.fitting.emitters import climb, goodness
from lucule.localize.fitting.spots import BACKGROUND, PHOTONS, REACHED, X, Y, Z
from lucule.simulate.optics import kernels
from lucule.simulate.optics.kernels import Model

Floats: TypeAlias = NDArray[np.float64]
Image: TypeAlias = NDArray[np.float32]
Ints: TypeAlias = NDArray[np.int64]

_ROUNDS: Final = 3
MOST_TOGETHER: Final = 5
# PSF and emitter differ by this part of the light; what is left of a bright spot must not become an emitter
_UNLIKE: Final = 0.03
# photons over their error, below which an emitter is taken out again
_LEAST_SIGNIFICANCE: Final = 3.0


class Fit(NamedTuple):
    """What the fits of one frame share.

    Attributes
    ----------
    model, depth, bounds
        PSF, 1 if z is free, and lowest and highest z.
    side
        Side of the region around one emitter, pixels.
    reach_nm
        Emitters closer than this are fitted together.
    z_of_filter
        Depth of each filter.
    threshold
        Height of a candidate.
    """

    model: Model
    depth: int
    bounds: Floats
    side: int
    reach_nm: float
    z_of_filter: Floats
    threshold: float


@njit(cache=True, nogil=True)
def fit_frames(
    frames: Image,
    pixels: Pixels,
    filters: Filters,
    how: Fit,
    cell: int,
    first: int,
    last: int,
    number: Ints,
    values: Floats,
    errors: Floats,
    quality: Floats,
) -> None:
    """Fit neighbours together and look for more, in the frames from `first` to `last`.

    `number` of each frame, and its `values`, `errors`, `quality` `(frames, most, ...)` are those of the fits alone, and
    are replaced.
    """
    rows, columns = frames.shape[1:]
    light, level = np.empty((rows, columns), np.float32), np.empty((rows, columns), np.float32)
    residual = np.empty((rows, columns), np.float32)
    response = np.empty((len(how.z_of_filter), rows, columns), np.float32)
    height, best = np.empty((rows, columns), np.float32), np.empty((rows, columns), np.int64)
    candidates = np.empty((values.shape[1], detect.COLUMNS))
    for frame in range(first, last):
        seen, at, error, good = frames[frame], values[frame], errors[frame], quality[frame]
        n = _faint_out(number[frame], at, error, good, how)
        n = _together(seen, pixels, how, n, at, error, good)
        for _ in range(_ROUNDS):
            light[:] = 0
            kernels.add_to_frame(
                light, how.model, at[:n, X].copy(), at[:n, Y].copy(), at[:n, Z].copy(), at[:n, PHOTONS].copy()
            )
            for r in range(rows):
                for c in range(columns):
                    residual[r, c] = seen[r, c] - light[r, c]
            detect.background_of(residual, pixels, cell, level)
            for r in range(rows):
                for c in range(columns):
                    residual[r, c] -= level[r, c]
                    unlike = _UNLIKE * how.side * max(light[r, c], 0.0)
                    level[r, c] = max(level[r, c], 0.0) + max(light[r, c], 0.0) + unlike * unlike / pixels.scale
            detect.filtered(residual, filters, response)
            detect.heights(response, level, pixels, height, best)
            more = detect.maxima(response, height, best, level, filters, pixels, how.threshold, candidates)
            before = n
            for m in range(min(more, values.shape[1] - n)):
                n += _tried(seen, pixels, how, candidates[m], n, at, error, good)
            if n == before:
                break
            n = _together(seen, pixels, how, _faint_out(n, at, error, good, how), at, error, good)
        number[frame] = _faint_out(n, at, error, good, how)


@njit(cache=True, nogil=True)
def _faint_out(n: int, at: Floats, error: Floats, good: Floats, how: Fit) -> int:
    """Move those that stay to the front; give their number."""
    kept = 0
    for i in range(n):
        real = good[i, REACHED] > 0 and at[i, PHOTONS] > _LEAST_SIGNIFICANCE * error[i, PHOTONS]
        if real and _alone(i, kept, at, how):
            at[kept], error[kept], good[kept] = at[i], error[i], good[i]
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def _alone(i: int, kept: int, at: Floats, how: Fit) -> bool:
    """Whether no earlier emitter stands at the same place."""
    near = 0.5 * min(how.model.pixel[0], how.model.pixel[1])
    for j in range(kept):
        apart = (at[i, X] - at[j, X]) ** 2 + (at[i, Y] - at[j, Y]) ** 2
        if apart < near * near and abs(at[i, Z] - at[j, Z]) < 0.1 * (how.bounds[1] - how.bounds[0]):
            return False
    return True


@njit(cache=True, nogil=True)
def _together(seen: Image, pixels: Pixels, how: Fit, n: int, at: Floats, error: Floats, good: Floats) -> int:
    """Fit all emitters in groups of neighbours, each group with the light of all others."""
    done = np.zeros(n, np.bool_)
    group = np.empty(MOST_TOGETHER, np.int64)
    for i in range(n):
        if done[i]:
            continue
        group[0] = i
        size = _nearest(i, n, at, done, how, group)
        if size == 1 and not _has_neighbour(i, n, at, how):
            done[i] = True
            continue
        _fit_group(seen, pixels, how, group[:size], n, at, error, good)
        done[group[:size]] = True
    return n


@njit(cache=True, nogil=True)
def _nearest(i: int, n: int, at: Floats, done: NDArray[np.bool_], how: Fit, group: Ints) -> int:
    """Fill `group` behind the first with its nearest neighbours in reach that are not done; give the size."""
    size = 1
    taken = done.copy()
    taken[i] = True
    while size < group.size:
        best, nearest = -1, how.reach_nm**2
        for j in range(n):
            apart = (at[i, X] - at[j, X]) ** 2 + (at[i, Y] - at[j, Y]) ** 2
            if not taken[j] and apart < nearest:
                best, nearest = j, apart
        if best < 0:
            break
        group[size] = best
        taken[best] = True
        size += 1
    return size


@njit(cache=True, nogil=True)
def _has_neighbour(i: int, n: int, at: Floats, how: Fit) -> bool:
    """Whether the light of another emitter falls into the region of one."""
    for j in range(n):
        dx = abs(at[i, X] - at[j, X]) / how.model.pixel[0]
        dy = abs(at[i, Y] - at[j, Y]) / how.model.pixel[1]
        if j != i and dx < how.side and dy < how.side:
            return True
    return False


@njit(cache=True, nogil=True)
def _box(how: Fit, group: Ints, at: Floats, rows: int, columns: int) -> tuple[int, int, int, int]:
    """First row and column, and those after the last, of the regions of a group."""
    top, left, bottom, right = rows, columns, 0, 0
    for i in group:
        row = spots.corner_of(min(max(down(at[i, Y] / how.model.pixel[1]), 0), rows - 1), how.side, rows)
        column = spots.corner_of(min(max(down(at[i, X] / how.model.pixel[0]), 0), columns - 1), how.side, columns)
        top, left = min(top, row), min(left, column)
        bottom, right = max(bottom, row + how.side), max(right, column + how.side)
    return top, left, bottom, right


@njit(cache=True, nogil=True)
def _other_light(how: Fit, group: Ints, n: int, at: Floats, box: tuple[int, int, int, int], out: Floats) -> None:
    """Light of all emitters that are not of the group, in a region."""
    top, left, bottom, right = box
    patch = np.empty((4, bottom - top, right - left))
    out[:] = 0
    for j in range(n):
        own = False
        for i in group:
            own |= i == j
        x, y = at[j, X] / how.model.pixel[0], at[j, Y] / how.model.pixel[1]
        half = 0.75 * how.side
        if own or x < left - half or x > right + half or y < top - half or y > bottom + half:
            continue
        kernels.patch(how.model, at[j, X], at[j, Y], at[j, Z], top, left, patch)
        for r in range(out.shape[0]):
            for c in range(out.shape[1]):
                out[r, c] += at[j, PHOTONS] * patch[0, r, c]


@njit(cache=True, nogil=True)
def _fit_group(
    frame: Image, pixels: Pixels, how: Fit, group: Ints, n: int, at: Floats, error: Floats, good: Floats
) -> tuple[float, bool]:
    """Fit a group jointly, in place; give its misfit and whether the top was reached."""
    box = _box(how, group, at, frame.shape[0], frame.shape[1])
    return _fit_box(frame, pixels, how, group, n, at, error, good, box)


@njit(cache=True, nogil=True)
def _fit_box(
    frame: Image,
    pixels: Pixels,
    how: Fit,
    group: Ints,
    n: int,
    at: Floats,
    error: Floats,
    good: Floats,
    box: tuple[int, int, int, int],
) -> tuple[float, bool]:
    top, left, bottom, right = box
    shape = (bottom - top, right - left)
    seen, own, other = np.empty(shape), np.empty(shape), np.empty(shape)
    spots.cut(frame, pixels.floor, top, left, seen, own)
    _other_light(how, group, n, at, box, other)
    parameters, bound = np.empty(1 + 4 * group.size), np.empty(1 + 4 * group.size)
    parameters[0] = 0.0
    for k, i in enumerate(group):
        parameters[0] += at[i, BACKGROUND] / group.size
        parameters[1 + 4 * k], parameters[2 + 4 * k] = at[i, X], at[i, Y]
        parameters[3 + 4 * k], parameters[4 + 4 * k] = at[i, Z], at[i, PHOTONS]
    light = np.empty(seen.size)
    flat, flat_own, flat_other = seen.reshape(-1), own.reshape(-1), other.reshape(-1)
    loss, reached = climb(
        flat, flat_own, flat_other, top, left, shape, how.model, how.depth, how.bounds, pixels.scale, group.size,
        parameters, bound, light,
    )  # fmt: skip
    ratio, chi, more = goodness(flat, light, flat_own, pixels.scale, pixels.fourth)
    for k, i in enumerate(group):
        for c, p in ((X, 1), (Y, 2), (Z, 3), (PHOTONS, 4)):
            at[i, c], error[i, c] = parameters[p + 4 * k], bound[p + 4 * k]
        at[i, BACKGROUND], error[i, BACKGROUND] = parameters[0], bound[0]
        spots.rate(ratio, chi, more, reached, seen.size - 1 - (3 + how.depth) * group.size, good[i])
    return loss, reached


@njit(cache=True, nogil=True)
def _tried(
    frame: Image, pixels: Pixels, how: Fit, candidate: Floats, n: int, at: Floats, error: Floats, good: Floats
) -> int:
    """Add an emitter behind the last if its neighbours and it explain the frame so much better; 1 if it stays."""
    k = int(candidate[detect.DEPTH])
    at[n] = 0.0
    at[n, X], at[n, Y] = candidate[detect.X] * how.model.pixel[0], candidate[detect.Y] * how.model.pixel[1]
    at[n, Z] = min(max(how.z_of_filter[k], how.bounds[0]), how.bounds[1])
    at[n, PHOTONS] = max(candidate[detect.PHOTONS], 1.0)
    group = np.empty(MOST_TOGETHER, np.int64)
    group[0] = n
    size = _nearest(n, n, at, np.zeros(n + 1, np.bool_), how, group)
    group = group[:size]
    if size > 1:
        at[n, BACKGROUND] = at[group[1], BACKGROUND]
    else:
        at[n, BACKGROUND] = _edge_level(frame, int(candidate[detect.ROW]), int(candidate[detect.COLUMN]), how.side)
    box = _box(how, group, at, frame.shape[0], frame.shape[1])
    old_at, old_error, old_good = at[group].copy(), error[group].copy(), good[group].copy()
    without = inf
    if size > 1:
        # the same pixels without the new one, at their own best
        without, _ = _fit_box(frame, pixels, how, group[1:], n, at, error, good, box)
    else:
        without = _misfit_of_nothing(frame, pixels, how, group, n, at, box)
    alone = at[group].copy()
    with_it, reached = _fit_box(frame, pixels, how, group, n, at, error, good, box)
    gain = 2 * (without - with_it) / pixels.scale
    real = reached and gain > how.threshold**2
    for i in group:
        real &= at[i, PHOTONS] > _LEAST_SIGNIFICANCE * error[i, PHOTONS]
        if how.depth:
            real &= how.bounds[0] < at[i, Z] < how.bounds[1]
    real &= _alone(n, n, at, how)
    if not real:
        at[group], error[group], good[group] = old_at, old_error, old_good
        at[group[1:]] = alone[1:]
        return 0
    return 1


@njit(cache=True, nogil=True)
def _edge_level(frame: Image, row: int, column: int, side: int) -> float:
    """Median of the border of the region around a pixel."""
    top, left = spots.corner_of(row, side, frame.shape[0]), spots.corner_of(column, side, frame.shape[1])
    edge = np.empty(4 * side)
    for i in range(side):
        edge[4 * i], edge[4 * i + 1] = frame[top, left + i], frame[top + side - 1, left + i]
        edge[4 * i + 2], edge[4 * i + 3] = frame[top + i, left], frame[top + i, left + side - 1]
    return max(float(np.median(edge)), 0.0)


@njit(cache=True, nogil=True)
def _misfit_of_nothing(
    frame: Image, pixels: Pixels, how: Fit, group: Ints, n: int, at: Floats, box: tuple[int, int, int, int]
) -> float:
    """Misfit of a region with nothing but an even background and the light of others."""
    top, left, bottom, right = box
    shape = (bottom - top, right - left)
    seen, own, other = np.empty(shape), np.empty(shape), np.empty(shape)
    spots.cut(frame, pixels.floor, top, left, seen, own)
    _other_light(how, group, n, at, box, other)
    flat, flat_own, flat_other = seen.reshape(-1), own.reshape(-1), other.reshape(-1)
    parameters, bound, light = np.array([at[n, BACKGROUND]]), np.empty(1), np.empty(flat.size)
    loss, _ = climb(
        flat, flat_own, flat_other, top, left, shape, how.model, how.depth, how.bounds, pixels.scale, 0, parameters,
        bound, light,
    )  # fmt: skip
    return loss
