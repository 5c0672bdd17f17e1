"""Axons found and followed in a field: several, curved and crossing, with no region drawn by hand.

The density of the molecules is compared with that beside it by long narrow filters in all directions. A line is
followed from where it stands out most, always in its own direction, so that it passes over those it crosses. What was
found is then fitted with a smoothing spline, and counts only where it is denser than what lies on either side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field

from lucule.core import Config
from lucule.structures.axons.arcs import arc_near, stretch_of
from lucule.structures.axons.centre import averaged, labels
from lucule.structures.axons.course import STEP_NM, Course, fitted, through

Floats = NDArray[np.float64]

_DIRECTIONS: Final = 24
_SCALES_NM: Final = (100.0, 200.0)
_LENGTH_NM: Final = 450.0
_FLANK: Final = 2.5
# standard deviations from which lines begin; fainter only where nothing clearer is, as in a table of few labels
_SEEDS: Final = (4.0, 3.0)
_FOLLOW: Final = 1.5
_GAP_NM: Final = 500.0
_MOST: Final = 500
_LOOP: Final = 40
# bends in radians for a pixel, how many to either side, and what each costs; pixels looked ahead
_BEND: Final = 0.02
_BENDS: Final = 4
_STRAIGHT: Final = 0.04
_AHEAD: Final = 10
# molecules for a length, of the faintest axon over those of the densest
_FAINTEST: Final = 0.15
_FILLED: Final = 0.75
# part of its length on which a line may lie within axons that explain more
_WITHIN: Final = 0.5
_PIECE_NM: Final = 100.0
_WINDOW: Final = 5
_BRIDGE: Final = 9
_END: Final = 0.15
_BEYOND: Final = 4
# gaps longer than from ring to ring
_RING_NM: Final = 300.0
# density beside an axon, as a fraction of its own, where there is nothing
_CLEANEST: Final = 0.02
_FEWEST: Final = 5
_SURE: Final = 6.0
_LARGEST_FIELD_PX: Final = 6_000_000
# log likelihood by which an arc must explain more than the line that was followed, and for each um that it is longer:
# labels of the background lie on it, too
_SURELY: Final = 10.0
_SURELY_EACH_UM: Final = 5.0


class TraceSettings(Config):
    """How axons are found.

    Attributes
    ----------
    shortest_um
        Shortest axon that counts, um.
    contrast
        How many times denser an axon must be than what lies on either side.
    """

    shortest_um: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.5
    contrast: Annotated[float, Field(gt=1, allow_inf_nan=False)] = 1.8


@dataclass(frozen=True, slots=True, eq=False)
class Axon:
    """An axon that was found.

    Attributes
    ----------
    course
        Its centre line.
    half_width_nm
        Distance from the line within which molecules are taken as its own, nm.
    molecules
        Rows of the molecules.
    along_nm, away_nm
        `(m,)` their places along the line and beside it, nm.
    contrast
        Density inside over that beside it.
    crossed_nm
        `(k, 2)` stretches, from and to, where another axon crosses; molecules there are left out.
    length_error
        Standard error of the length of its middle, as a fraction; NaN where too few molecules tell it.
    labels
        How many labels the molecules are: see `centre.labels`.
    """

    course: Course
    half_width_nm: float
    molecules: NDArray[np.int64]
    along_nm: Floats
    away_nm: Floats
    contrast: float
    crossed_nm: Floats
    length_error: float = math.nan
    labels: float = math.nan


@dataclass(frozen=True, slots=True, eq=False)
class _Line:
    """A line that stands out, not in the middle yet, and another one that explains about as much."""

    course: Course
    half_width_nm: float
    contrast: float
    other: _Choice | None


@dataclass(frozen=True, slots=True, eq=False)
class _Choice:
    """A line that may be an axon, its half width, and how much likelier its few labels are with it; 0 among many."""

    course: Course
    half_width_nm: float
    gain: float


def trace(xy_nm: Floats, *, settings: TraceSettings = TraceSettings()) -> list[Axon]:  # noqa: B008 (frozen)
    """Find the axons among molecules `(n, 2)`, nm, the longest first.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> xy = np.column_stack([rng.uniform(0, 5000, 800), 3000 + rng.uniform(-200, 200, 800)])
    >>> axon, = trace(np.concatenate([xy, rng.uniform(0, 6000, (100, 2))]))
    >>> bool(abs(axon.course.length_nm - 5000) < 300)
    True
    """
    if len(xy_nm) < 2:
        return []
    found = []
    for line in _lines(xy_nm, settings):
        width = _half_width(line, xy_nm)
        course = _trimmed(fitted(line, xy_nm, width), xy_nm, width)
        if course is not None:
            found.append((fitted(course, xy_nm, width), width))
    lines: list[_Line] = []
    left, densest = np.ones(len(xy_nm), np.bool_), 0.0
    parts, elsewhere = labels(xy_nm), _elsewhere(found, xy_nm)
    # those that explain most first: what is left over beside them is no axon of its own
    found.sort(key=lambda item: -_explained(item[0], item[1], xy_nm, parts, elsewhere))
    for course, width in found:
        choices, alike = _explaining(course, width, xy_nm[left], parts[left], elsewhere)
        for choice in choices:
            if not _counts(choice, lines, xy_nm, settings):
                continue
            own = _inside(choice.course, choice.half_width_nm, xy_nm)
            density = np.count_nonzero(own & left) / choice.course.length_nm
            contrast = _contrast(choice.course, xy_nm, choice.half_width_nm)
            if contrast < settings.contrast or density < _FAINTEST * densest:
                continue
            other = choices[1] if alike and choice is choices[0] else None
            lines.append(_Line(choice.course, choice.half_width_nm, contrast, other))
            densest = max(densest, density)
            left &= ~own
            break
    axons = (_axon(i, lines, xy_nm) for i in range(len(lines)))
    return sorted(axons, key=lambda axon: -axon.course.length_nm)


def _elsewhere(found: list[tuple[Course, float]], xy: Floats) -> float:
    """Labels for each nm2 that are on no line."""
    free = np.ones(len(xy), np.bool_)
    for course, width in found:
        free &= ~_inside(course, 1.5 * width, xy)
    number = float(labels(xy[free]).sum()) if free.any() else 0.0
    return max(number, 1.0) / max(float(np.ptp(xy, axis=0).prod()), 1.0)


def _explained(course: Course, width: float, xy: Floats, parts: Floats, elsewhere: float) -> float:
    """Log likelihood ratio of a line or of the arc beside it; number of molecules of the line where there are many."""
    arc = arc_near(course, xy, parts, elsewhere)
    if arc is None:
        return float(np.count_nonzero(_inside(course, width, xy)))
    return max(arc[1].gain, stretch_of(course, xy, parts, elsewhere).gain)


def _explaining(
    course: Course, width: float, xy: Floats, parts: Floats, elsewhere: float
) -> tuple[list[_Choice], bool]:
    """What explains the labels around a line, the best first; whether two do it about as well.

    Among many molecules that is the dense part of the line. With few, whose gaps would end it, the stretch that
    explains most, and the arc beside it.
    """
    arc = arc_near(course, xy, parts, elsewhere)
    if arc is None:
        rest = _trimmed(course, xy, width)
        return ([] if rest is None else [_Choice(rest, width, 0.0)]), False
    bent = _Choice(arc[0], arc[1].half_width_nm, arc[1].gain)
    followed = stretch_of(course, xy, parts, elsewhere)
    part = _part(course, followed.first_nm, followed.last_nm)
    if part is None:
        return [bent], False
    along = _Choice(part, width, followed.gain)
    longer = max(bent.course.length_nm - part.length_nm, 0.0) / 1000
    if bent.gain < along.gain - _SURELY:
        return [along], False
    if bent.gain < along.gain + _SURELY + _SURELY_EACH_UM * longer:
        return [along, bent], True
    return [bent, along], False


def _counts(choice: _Choice, lines: list[_Line], xy: Floats, settings: TraceSettings) -> bool:
    """Whether a line is long enough, beside those that there are, and no row of clusters."""
    if choice.course.length_nm < 1000 * settings.shortest_um:
        return False
    taken = np.zeros(len(choice.course.points_nm), np.bool_)
    for line in lines:
        taken |= _inside(line.course, line.half_width_nm, choice.course.points_nm)
    if taken.mean() > _WITHIN:
        return False
    return _filled(choice.course, choice.half_width_nm, xy) >= _FILLED


def _inside(course: Course, width: float, xy: Floats) -> NDArray[np.bool_]:
    along, away = course.coordinates(xy)
    inside: NDArray[np.bool_] = (np.abs(away) <= width) & (along >= 0) & (along <= course.length_nm)
    return inside


def _axon(number: int, lines: list[_Line], xy: Floats) -> Axon:
    line = lines[number]
    others = [(other.course, other.half_width_nm) for i, other in enumerate(lines) if i != number]
    free = np.ones(len(xy), np.bool_)
    for other, other_width in others:
        free &= ~_inside(other, other_width, xy)
    starts: list[_Line | _Choice] = [line, line.other] if line.other else [line]
    best = averaged([start.course for start in starts], xy[free], max(start.half_width_nm for start in starts))
    width, error = best.half_width_nm, best.length_error
    course = _between_its_ends(best.course, xy[free], width)
    along, away = course.coordinates(xy)
    own = free & _inside(course, width, xy)
    crossed = np.zeros(len(course.points_nm), np.bool_)
    for other, other_width in others:
        there, beside = other.coordinates(course.points_nm)
        crossed |= (np.abs(beside) < width + other_width) & (there > -width) & (there < other.length_nm + width)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], crossed, [False]])))
    step: float = course.length_nm / (len(crossed) - 1)
    rows = np.flatnonzero(own)
    stretches = edges.reshape(-1, 2).astype(np.float64) * step
    return Axon(
        course, width, rows, along[rows], away[rows], line.contrast, stretches, error, float(labels(xy[rows]).sum())
    )


def _half_width(line: Course, xy: Floats) -> float:
    """Distance from the line at which the density has fallen to what lies around."""
    along, away = line.coordinates(xy)
    inside = (along >= 0) & (along <= line.length_nm) & (np.abs(away) < 1500)
    counts, edges = np.histogram(np.abs(away[inside]), bins=30, range=(0, 1500))
    counts = counts / (2 * line.length_nm * np.diff(edges))
    around = float(np.median(counts[15:]))
    core = float(counts[:3].mean())
    peak = max(core, float(counts[:10].max()))
    below = np.flatnonzero(counts < around + 0.2 * (peak - around))
    below = below[below >= 2]
    return float(np.clip(edges[below[0]] + 25 if len(below) else 300.0, 150.0, 800.0))


def _trimmed(course: Course, xy: Floats, width: float) -> Course | None:
    """The longest part of the line along which molecules are dense, or None.

    Dense is a window with a seventh of what the densest quarter has, since few labels leave long gaps, and with more
    than what lies beside.
    """
    along, away = course.coordinates(xy)
    bins = max(int(course.length_nm / _PIECE_NM), 1) + 2 * _BEYOND
    piece = np.floor(along / _PIECE_NM).astype(np.int64) + _BEYOND
    known = (piece >= 0) & (piece < bins)
    own = np.bincount(piece[known & (np.abs(away) < width)], minlength=bins)
    beside = known & (np.abs(away) > 1.5 * width) & (np.abs(away) < 3 * width)
    around = np.count_nonzero(beside) / bins / 1.5 * _WINDOW
    window = np.convolve(own, np.ones(_WINDOW), "same")
    usual = float(np.percentile(window[window > 0], 75)) if window.any() else 1.0
    dense = window >= max(_END * usual, 2 * around + 3)
    # gaps within a line are bridged, as over missing rings
    closed = np.convolve(dense, np.ones(_BRIDGE), "same") > 0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], closed, [False]])))
    if not len(edges):
        return None
    runs = edges.reshape(-1, 2)
    low, high = runs[np.diff(runs, axis=1).argmax()]
    inside = np.flatnonzero(dense[low:high]) + low
    first, last = (inside[0] - _BEYOND) * _PIECE_NM, (inside[-1] + 1 - _BEYOND) * _PIECE_NM
    rows = known & (np.abs(away) < width) & (along >= first) & (along <= last)
    if np.count_nonzero(rows) < _FEWEST:
        return None
    return _part(course, float(along[rows].min()), float(along[rows].max()))


def _between_its_ends(course: Course, xy: Floats, width: float) -> Course:
    """The line from where the axon most probably begins to where it ends.

    Labels have one density within the axon, gaps aside, and the one beside it beyond its ends. Half a ring that is cut
    off moves it, and rings that are made of labels beyond the end wander: either changes the mean spacing by a
    nanometre or two.
    """
    along, away = course.coordinates(xy)
    reach = course.length_nm + 2 * _BEYOND * _PIECE_NM
    known = (along > -_BEYOND * _PIECE_NM) & (along < course.length_nm + _BEYOND * _PIECE_NM) & (abs(away) < 3 * width)
    order = np.argsort(along[known])
    along, away, xy = along[known][order], away[known][order], xy[known][order]
    parts = labels(xy)
    own = np.abs(away) < width
    inside = parts[own & (along >= 0) & (along <= course.length_nm)].sum() / course.length_nm
    beside = max(parts[np.abs(away) > 1.5 * width].sum() / 1.5 / reach, _CLEANEST * inside)
    if inside <= beside:
        return course
    places, gain = along[own], parts[own] * math.log(inside / beside)
    until = np.cumsum(gain) - np.cumsum(_gap_costs(np.diff(places, prepend=places[:1]), inside, beside))
    since = np.minimum.accumulate(until - gain)
    last = int(np.argmax(until - since))
    first = int(np.argmin((until - gain)[: last + 1]))
    # what a line loses when it is brought to equal steps again
    margin = 2 * STEP_NM
    return _part(course, float(places[first]) - margin, float(places[last]) + margin) or course


def _gap_costs(gaps: Floats, inside: float, beside: float) -> Floats:
    """Log likelihood that each gap between labels costs if the axon goes on over it.

    Labels come ring by ring, and several rings in a row may have none, more often than labels spread evenly would leave
    such gaps. How often, is told by the gaps themselves: beyond one ring they have a rate of their own.
    """
    beyond = gaps[gaps > _RING_NM] - _RING_NM
    rate = min((len(beyond) + 1) / (beyond.sum() + _RING_NM), inside)
    costs: Floats = (inside - beside) * np.minimum(gaps, _RING_NM)
    costs += max(rate - beside, 0.0) * np.maximum(gaps - _RING_NM, 0.0)
    return costs


def _part(course: Course, low: float, high: float) -> Course | None:
    """The line between two distances along it; straight on beyond its ends."""
    points, tangents = course.points_nm, course.tangents
    places = np.linspace(0, course.length_nm, len(points))
    kept = points[(places > low) & (places < high)]
    if len(kept) < _FEWEST:
        return None
    before = [points[:1] + low * tangents[:1]] if low < 0 else []
    after = [points[-1:] + (high - course.length_nm) * tangents[-1:]] if high > course.length_nm else []
    return through(np.concatenate([*before, kept, *after]))


def _contrast(course: Course, xy: Floats, width: float) -> float:
    """Density inside over the larger one of both sides; 0 where it could be chance."""
    along, away = course.coordinates(xy)
    on = (along >= 0) & (along <= course.length_nm)
    inside = np.count_nonzero(on & (np.abs(away) < width)) / (2 * width)
    # what another axon beside it adds in some places must not hide it
    pieces = np.clip((along / max(course.length_nm / 12, 1.0)).astype(np.int64), 0, 11)
    sides = []
    for sign in (-1, 1):
        beside = on & (sign * away > 1.4 * width) & (sign * away < 3.0 * width)
        counts = np.bincount(pieces[beside], minlength=12)
        sides.append(12 * float(np.median(counts)) / (1.6 * width))
    most = max(sides)
    noise = math.sqrt((inside + most) / (2 * width)) + 1e-12
    if (inside - most) / noise < _SURE:
        return 0.0
    return inside / max(most, 0.02 * inside)


def _filled(course: Course, width: float, xy: Floats) -> float:
    """Fraction of the line along which there is something: a row of clusters is no axon."""
    along, _ = course.coordinates(xy[_inside(course, width, xy)])
    own = np.bincount((along / _PIECE_NM).astype(np.int64), minlength=int(course.length_nm / _PIECE_NM) + 1)
    window = np.convolve(own, np.ones(3), "valid")
    return float((window >= max(0.15 * window.mean(), 1)).mean())


def _lines(xy: Floats, settings: TraceSettings) -> list[Course]:
    for clear in _SEEDS:
        lines, _ = max((_lines_of_scale(xy, scale, 1000 * settings.shortest_um, clear) for scale in _SCALES_NM),
                       key=lambda found: found[1])  # fmt: skip
        if lines:
            return lines
    return []


def _lines_of_scale(xy: Floats, scale: float, shortest: float, clear: float) -> tuple[list[Course], float]:
    pixel = 0.4 * scale
    margin = 3 * max(_LENGTH_NM, _FLANK * scale)
    low = xy.min(axis=0) - margin
    extent = np.ptp(xy, axis=0) + 2 * margin
    pixel = max(pixel, math.sqrt(float(extent.prod()) / _LARGEST_FIELD_PX))
    ridge = _ridges(xy, low, extent, scale, pixel)
    taken = np.zeros(ridge.shape, np.bool_)
    lines, total = [], 0.0
    order = _seeds(ridge, clear)
    at = 0
    for _ in range(_MOST):
        at = _next(taken.reshape(-1), order, at)
        if at >= len(order):
            break
        direction, row, column = np.unravel_index(order[at], ridge.shape)
        steps, strength = _follow(ridge, taken, float(row), float(column), int(direction), _GAP_NM / pixel)
        _take(taken, steps, 1.7 * scale / pixel, round(_DIRECTIONS * 25 / 180))
        line = low + pixel * (steps[:, 1::-1] + 0.5)
        if len(line) * pixel >= 0.7 * shortest:
            lines.append(through(line))
            total += strength * pixel
    return lines, total


def _ridges(xy: Floats, low: Floats, extent: Floats, scale: float, pixel: float) -> NDArray[np.float32]:
    """`(directions, rows, columns)`: by how many standard deviations each place is denser than what lies beside it."""
    from scipy import fft

    shape = [int(np.ceil(extent[1] / pixel)), int(np.ceil(extent[0] / pixel))]
    padded = [fft.next_fast_len(n, real=True) for n in shape]
    column, row = ((xy - low) / pixel).astype(np.int64).T
    # single precision: half the time, and far below the noise of counts
    image = np.zeros(padded, np.float32)
    np.add.at(image, (row, column), 1 / pixel**2)
    spectrum = fft.rfft2(image)
    ky = (2 * np.pi * fft.fftfreq(padded[0], pixel)[:, None]).astype(np.float32)
    kx = (2 * np.pi * fft.rfftfreq(padded[1], pixel)[None]).astype(np.float32)
    # variance of a density that is measured with the narrow filter
    unit = 1 / (4 * np.pi * _LENGTH_NM * scale)
    result = np.empty((_DIRECTIONS, *shape), np.float32)
    for direction in range(_DIRECTIONS):
        angle = math.pi * direction / _DIRECTIONS
        lengthwise = (kx * math.cos(angle) + ky * math.sin(angle)) * _LENGTH_NM
        across = (ky * math.cos(angle) - kx * math.sin(angle)) * scale
        narrow = np.exp(-0.5 * (lengthwise**2 + across**2))
        wide = np.exp(-0.5 * (lengthwise**2 + (_FLANK * across) ** 2))
        flank = np.maximum(fft.irfft2(spectrum * wide, s=padded), 0)
        difference = fft.irfft2(spectrum * (narrow - wide), s=padded)
        result[direction] = (difference / np.sqrt(unit * (flank + unit)))[: shape[0], : shape[1]]
    return result


def _seeds(ridge: NDArray[np.float32], clear: float) -> NDArray[np.int64]:
    """Places and directions to begin from, the clearest first: not where lines cross."""
    places = np.flatnonzero(ridge >= clear)
    direction, where = np.divmod(places, ridge[0].size)
    flat = ridge.reshape(len(ridge), -1)
    other = np.zeros(len(places), np.float32)
    apart = round(_DIRECTIONS * 40 / 180)
    for turn in range(apart, _DIRECTIONS - apart + 1):
        np.maximum(other, flat[(direction + turn) % _DIRECTIONS, where], out=other)
    seeds: NDArray[np.int64] = places[np.argsort(other - flat[direction, where], kind="stable")]
    return seeds


@njit(cache=True, nogil=True)
def _next(taken: NDArray[np.bool_], order: NDArray[np.int64], at: int) -> int:
    while at < len(order) and taken[order[at]]:
        at += 1
    return at


@njit(cache=True, nogil=True)
def _value(ridge: NDArray[np.float32], angle: float, y: float, x: float) -> float:
    """Interpolated in the plane and between directions; far below nothing outside."""
    directions, rows, columns = ridge.shape
    i, j = int(np.floor(y)), int(np.floor(x))
    if i < 0 or j < 0 or i >= rows - 1 or j >= columns - 1:
        return -1e3
    dy, dx = y - i, x - j
    turn = angle / np.pi * directions
    d = int(np.floor(turn))
    part = turn - d
    total = 0.0
    for k in range(2):
        plane = ridge[(d + k) % directions]
        value = (1 - dy) * ((1 - dx) * plane[i, j] + dx * plane[i, j + 1]) + dy * (
            (1 - dx) * plane[i + 1, j] + dx * plane[i + 1, j + 1]
        )
        total += value * (part if k else 1 - part)
    return total


@njit(cache=True, nogil=True)
def _been(places: NDArray[np.float64], y: float, x: float, angle: float) -> bool:
    """Whether a line has come back to where it was, in the same direction."""
    for k in range(len(places) - _LOOP):
        near = abs(places[k, 0] - y) < 2.0 and abs(places[k, 1] - x) < 2.0
        if near and np.cos(places[k, 2] - angle) > 0.8:
            return True
    return False


@njit(cache=True, nogil=True)
def _half(
    ridge: NDArray[np.float32], taken: NDArray[np.bool_], y: float, x: float, angle: float, longest_gap: float
) -> tuple[NDArray[np.float64], float]:
    """Places (y, x, angle), a pixel apart, from a place on in one direction."""
    most = 4 * (ridge.shape[1] + ridge.shape[2])
    places = np.empty((most, 3))
    n, kept, total, kept_total = 0, 0, 0.0, 0.0
    gap = 0.0
    while n < most:
        best, turn = -1e9, 0.0
        # an arc a few pixels long in every direction that a bend allows
        for option in range(-_BENDS, _BENDS + 1):
            bend = option * _BEND
            a, yy, xx, value = angle, y, x, 0.0
            for _ in range(_AHEAD):
                a += bend
                yy += np.sin(a)
                xx += np.cos(a)
                value += _value(ridge, a, yy, xx)
            # where lines cross, the straighter way is the likelier
            value -= _STRAIGHT * abs(option) * abs(value)
            if value > best:
                best, turn = value, bend
        angle += turn
        y += np.sin(angle)
        x += np.cos(angle)
        # towards the middle of the ridge
        left = _value(ridge, angle, y + 0.7 * np.cos(angle), x - 0.7 * np.sin(angle))
        right = _value(ridge, angle, y - 0.7 * np.cos(angle), x + 0.7 * np.sin(angle))
        here = _value(ridge, angle, y, x)
        curve = left + right - 2 * here
        if curve < -1e-6 and here > -100:
            shift = min(max(0.35 * (left - right) / -curve, -0.3), 0.3)
            y += shift * np.cos(angle)
            x -= shift * np.sin(angle)
        if here < -100 or _been(places[:n], y, x, angle):
            break
        places[n, 0], places[n, 1], places[n, 2] = y, x, angle
        n += 1
        total += here
        direction = int(np.rint(angle / np.pi * len(ridge))) % len(ridge)
        if here >= _FOLLOW and not taken[direction, int(y), int(x)]:
            gap, kept, kept_total = 0.0, n, total
        else:
            gap += 1.0
            if gap > longest_gap:
                break
    return places[:kept], kept_total


def _follow(
    ridge: NDArray[np.float32], taken: NDArray[np.bool_], row: float, column: float, direction: int, gap: float
) -> tuple[Floats, float]:
    angle = np.pi * direction / _DIRECTIONS
    ahead, more = _half(ridge, taken, row, column, angle, gap)
    behind, rest = _half(ridge, taken, row, column, angle + np.pi, gap)
    return np.concatenate([behind[::-1], [[row, column, angle]], ahead]), more + rest


@njit(cache=True, nogil=True)
def _take(taken: NDArray[np.bool_], steps: NDArray[np.float64], radius: float, spread: int) -> None:
    """Mark what lies on a line in nearly its direction."""
    directions, rows, columns = taken.shape
    reach = int(np.ceil(radius))
    for k in range(len(steps)):
        d = int(np.rint(steps[k, 2] / np.pi * directions))
        i, j = int(np.rint(steps[k, 0])), int(np.rint(steps[k, 1]))
        for di in range(-reach, reach + 1):
            for dj in range(-reach, reach + 1):
                y, x = i + di, j + dj
                if di * di + dj * dj <= radius * radius and 0 <= y < rows and 0 <= x < columns:
                    for o in range(-spread, spread + 1):
                        taken[(d + o) % directions, y, x] = True
