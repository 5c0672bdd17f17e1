"""Where few labels are left: the arc that explains most of them.

With one or two labels a ring a line that is followed from place to place loses its way: it ends at a gap, or runs along
one edge of the axon. An arc has only a curvature, a direction and a place; all labels around are asked at once which
one they lie on, from where to where.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lucule.structures.axons.course import STEP_NM, Course, resampled

Floats = NDArray[np.float64]

_WIDTHS_NM: Final = np.array([150.0, 200.0, 250.0, 300.0, 400.0])
_CURVATURES: Final = np.linspace(-1, 1, 19) / 1800.0
_DIRECTIONS: Final = np.radians(np.arange(-30.0, 31.0, 5.0))
_OFFSETS_NM: Final = np.arange(-240.0, 241.0, 60.0)
_HALVINGS: Final = 4
# how far from the line that was followed anything is looked at, and with how many molecules there is no need to
_REACH_NM: Final = 8000.0
_MOST: Final = 1000
# so many tell roughly which arc
_ROUGHLY: Final = 250
# an arc may not close to a ring
_LONGEST_TURN: Final = 1.5 * np.pi
_FEWEST: Final = 5


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Part of a line, and how much likelier its labels are with an axon there than without.

    Attributes
    ----------
    gain
        Log likelihood ratio of labels that are denser within `half_width_nm` of the line, from `first_nm` to `last_nm`
        along it, against the density elsewhere everywhere.
    """

    gain: float
    first_nm: float
    last_nm: float
    half_width_nm: float


def stretch_of(course: Course, xy_nm: Floats, parts: Floats, elsewhere: float) -> Stretch:
    """The stretch of a line, straight on beyond its ends, that explains most.

    Parameters
    ----------
    xy_nm, parts
        `(n, 2)` molecules, nm, and what part of a label each is.
    elsewhere
        Labels for each nm2 where there is no axon.
    """
    along, away = course.coordinates(xy_nm)
    return Stretch(*_gain(along, away, parts, _WIDTHS_NM, elsewhere))


def arc_near(course: Course, xy_nm: Floats, parts: Floats, elsewhere: float) -> tuple[Course, Stretch] | None:
    """The arc through the middle of a line, nearly in its direction, that explains most; None among many molecules.

    Parameters are those of `stretch_of`.

    Examples
    --------
    >>> angle = np.linspace(-1, 1, 60)
    >>> xy = 3000 * np.column_stack([np.cos(angle), np.sin(angle)])
    >>> guess = Course(np.column_stack([np.full(51, 2950.0), np.arange(-500.0, 501.0, 20)]))
    >>> line, found = arc_near(guess, xy, np.ones(60), 1e-8)
    >>> bool(5600 < line.length_nm < 6100), bool(np.abs(line.coordinates(xy)[1]).max() <= found.half_width_nm)
    (True, True)
    """
    at = len(course.points_nm) // 2
    middle, towards = course.points_nm[at], course.tangents[at]
    near = np.abs(xy_nm - middle).max(axis=1) < _REACH_NM
    if not _FEWEST <= np.count_nonzero(near) <= _MOST:
        return None
    xy, parts = np.ascontiguousarray(xy_nm[near]), parts[near]
    direction = float(np.arctan2(towards[1], towards[0]))
    grid = (_CURVATURES, direction + _DIRECTIONS, _OFFSETS_NM)
    steps = np.array([axis[1] - axis[0] for axis in grid])
    tried = np.stack(np.meshgrid(*grid, indexing="ij"), axis=-1).reshape(-1, 3)
    around = np.stack(np.meshgrid(*[[-1.0, 0.0, 1.0]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    every = -(-len(xy) // _ROUGHLY)
    for turn in range(_HALVINGS + 1):
        some = every if turn == 0 else 1
        gains = _gains(xy[::some], middle, direction, tried, some * parts[::some], _WIDTHS_NM, elsewhere)
        best = tried[int(np.argmax(gains))]
        steps = steps / 2
        tried = best + around * steps
    along, away = _arc_coordinates(xy, middle, direction, best)
    found = Stretch(*_gain(along, away, parts, _WIDTHS_NM, elsewhere))
    return _course(middle, direction, best, found), found


def _course(middle: Floats, across: float, arc: Floats, found: Stretch) -> Course:
    curvature, direction, offset = arc
    along = np.linspace(found.first_nm, found.last_nm, max(int((found.last_nm - found.first_nm) / STEP_NM), 2) + 1)
    # sine and one minus cosine over the curvature, which may be 0
    half = 0.5 * curvature * along
    a = along * np.sinc(2 * half / np.pi)
    b = along * np.sin(half) * np.sinc(half / np.pi)
    start = middle + offset * np.array([-np.sin(across), np.cos(across)])
    tangent = np.array([np.cos(direction), np.sin(direction)])
    return resampled(start + a[:, None] * tangent + b[:, None] * np.array([-tangent[1], tangent[0]]))


@njit(cache=True, nogil=True)
def _gains(
    xy: Floats, middle: Floats, across: float, tried: Floats, parts: Floats, widths: Floats, elsewhere: float
) -> Floats:
    gains = np.empty(len(tried))
    for i in range(len(tried)):
        along, away = _arc_coordinates(xy, middle, across, tried[i])
        gains[i] = _gain(along, away, parts, widths, elsewhere)[0]
    return gains


@njit(cache=True, nogil=True)
def _arc_coordinates(xy: Floats, middle: Floats, across: float, arc: Floats) -> tuple[Floats, Floats]:
    """Along and beside an arc of some curvature and direction that passes `middle` at an offset."""
    curvature, direction, offset = arc
    c, s = np.cos(direction), np.sin(direction)
    x0, y0 = middle[0] - offset * np.sin(across), middle[1] + offset * np.cos(across)
    along, away = np.empty(len(xy)), np.empty(len(xy))
    for i in range(len(xy)):
        x, y = xy[i, 0] - x0, xy[i, 1] - y0
        a, b = x * c + y * s, y * c - x * s
        if abs(curvature) < 1e-8:
            along[i], away[i] = a, b
            continue
        turn = np.arctan2(curvature * a, 1.0 - curvature * b)
        along[i] = turn / curvature
        away[i] = (1.0 - np.hypot(curvature * a, 1.0 - curvature * b)) / curvature
        if abs(turn) > _LONGEST_TURN / 2:
            away[i] = np.inf
    return along, away


@njit(cache=True, nogil=True)
def _gain(
    along: Floats, away: Floats, parts: Floats, widths: Floats, elsewhere: float
) -> tuple[float, float, float, float]:
    """Gain, first and last place along the line, half width: of the best width and stretch."""
    best = (0.0, 0.0, 0.0, widths[0])
    order = np.argsort(along)
    for width in widths:
        inside = order[np.abs(away[order]) < width]
        if len(inside) < _FEWEST:
            continue
        place, part = along[inside], parts[inside]
        outside = 2.0 * width * elsewhere
        # the density of the axon is that of the stretch it decides on
        density = part.sum() / max(place[-1] - place[0], 1.0)
        for _ in range(3):
            if density <= outside:
                break
            total, lowest, start = 0.0, 0.0, 0
            top, first, last = 0.0, 0, 0
            labels, at_start, labels_in = 0.0, 0.0, 0.0
            for i in range(len(inside)):
                before = total - (density - outside) * place[i]
                if i == 0 or before < lowest:
                    lowest, start, at_start = before, i, labels
                total += part[i] * np.log(density / outside)
                labels += part[i]
                value = total - (density - outside) * place[i] - lowest
                if value > top:
                    top, first, last, labels_in = value, start, i, labels - at_start
            if top > best[0]:
                best = (top, place[first], place[last], width)
            density = labels_in / max(place[last] - place[first], 1.0)
    return best
