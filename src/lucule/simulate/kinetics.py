"""Kernels of the continuous-time Markov chain: exact jump times under rates that may change with time.

Hazards are linear between knots in time (constant after the last), so that the integrated hazard is quadratic and the
time of the next jump follows from one exponential number by solving it (time rescaling): nothing is discretised and
nothing rejected. Every molecule draws from its own counter-based stream (splitmix64, Steele et al. 2014), which makes
results independent of threads and of how molecules are cut into pieces.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX2: Final = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_TO_UNIT: Final = 2.0**-53

RATE, LOGNORMAL, MEASURED = 0, 1, 2


class Chain(NamedTuple):
    """A Markov chain in the form that the kernels take; S states, K knots, M schedules.

    Attributes
    ----------
    brightness
        `(S,)`, relative emission of each state, 0 = dark.
    initial
        `(S,)`, cumulative probability of the first state.
    rates
        `(S, S)`, jumps per s while the schedule is at 1.
    schedule
        `(S, S)`, which row of `factors` scales a rate.
    knots_s
        `(K,)`, times, not decreasing.
    factors
        `(M, K)`, schedules at the knots; row 0 is 1 everywhere.
    hazard, cumulative
        `(S, K)`, total rate out of a state at the knots, and its integral from time 0.
    photon_model
        RATE, LOGNORMAL or MEASURED.
    photons
        Photons per s (RATE) or the mean per event (LOGNORMAL).
    event_sigma, molecule_sigma
        Widths of lognormal factors of mean 1, for each event and for each molecule.
    measured
        Sorted measured photon numbers (MEASURED), else empty.
    """

    brightness: FloatArray
    initial: FloatArray
    rates: FloatArray
    schedule: NDArray[np.int64]
    knots_s: FloatArray
    factors: FloatArray
    hazard: FloatArray
    cumulative: FloatArray
    photon_model: int
    photons: float
    event_sigma: float
    molecule_sigma: float
    measured: FloatArray


@njit(cache=True, inline="always")
def _scrambled(state: np.uint64) -> np.uint64:
    z = (state ^ (state >> _S30)) * _MIX1
    z = (z ^ (z >> _S27)) * _MIX2
    return z ^ (z >> _S31)


@njit(cache=True, inline="always")
def _open_unit(state: np.uint64) -> float:
    """A number in (0, 1]."""
    return (np.float64(_scrambled(state) >> _S11) + 1.0) * _TO_UNIT


@njit(cache=True)
def _first_state(key: np.uint64, molecule: int) -> np.uint64:
    return _scrambled(key ^ _scrambled(np.uint64(molecule) * _GOLDEN + _GOLDEN))


@njit(cache=True)
def _slope(hazard: FloatArray, knots: FloatArray, state: int, i: int) -> float:
    if i + 1 < len(knots) and knots[i + 1] > knots[i]:
        return float((hazard[state, i + 1] - hazard[state, i]) / (knots[i + 1] - knots[i]))
    return 0.0


@njit(cache=True)
def _knot_before(knots: FloatArray, t: float) -> int:
    return max(int(np.searchsorted(knots, t, side="right")) - 1, 0)


@njit(cache=True)
def _jump_time(
    state: int, t: float, exponential: float, knots: FloatArray, hazard: FloatArray, cumulative: FloatArray
) -> float:
    """When the integrated hazard from `t` reaches `exponential`; infinite if it never does."""
    if len(knots) == 1:
        return t + exponential / hazard[state, 0] if hazard[state, 0] > 0.0 else np.inf
    i = _knot_before(knots, t)
    since = t - knots[i]
    goal = cumulative[state, i] + (hazard[state, i] + 0.5 * _slope(hazard, knots, state, i) * since) * since
    goal += exponential
    j = max(np.searchsorted(cumulative[state], goal, side="right") - 1, i)
    missing = goal - cumulative[state, j]
    rate = hazard[state, j]
    # the root of a quadratic, written so that it also holds for slope 0
    divisor = rate + np.sqrt(max(rate * rate + 2.0 * _slope(hazard, knots, state, j) * missing, 0.0))
    if divisor <= 0.0:
        return np.inf
    return float(max(knots[j] + 2.0 * missing / divisor, t))


@njit(cache=True)
def _rate_at(
    state: int, target: int, i: int, weight: float, rates: FloatArray, schedule: NDArray[np.int64], factors: FloatArray
) -> float:
    """Rate of one transition between knot `i` and the next one."""
    row = schedule[state, target]
    if row == 0:
        return float(rates[state, target])
    following = min(i + 1, factors.shape[1] - 1)
    return float(rates[state, target] * (factors[row, i] * (1.0 - weight) + factors[row, following] * weight))


@njit(cache=True)
def _next_state(
    state: int,
    t: float,
    random: np.uint64,
    rates: FloatArray,
    schedule: NDArray[np.int64],
    knots: FloatArray,
    factors: FloatArray,
) -> int:
    """The state after a jump at `t`, in proportion to the rates at that moment."""
    i, weight = 0, 0.0
    if len(knots) > 1:
        i = _knot_before(knots, t)
        if i + 1 < len(knots) and knots[i + 1] > knots[i]:
            weight = (t - knots[i]) / (knots[i + 1] - knots[i])
    total, ways, chosen = 0.0, 0, state
    for target in range(len(rates)):
        if rates[state, target] > 0.0:
            total += _rate_at(state, target, i, weight, rates, schedule, factors)
            ways, chosen = ways + 1, target
    if ways == 1:
        return chosen
    goal, reached = _open_unit(random) * total, 0.0
    for target in range(len(rates)):
        rate = _rate_at(state, target, i, weight, rates, schedule, factors)
        if rate > 0.0:
            reached += rate
            chosen = target
            if reached >= goal:
                break
    return chosen


@njit(cache=True)
def _lognormal(u: float, v: float, sigma: float) -> float:
    """A lognormal number of mean 1 from two uniform ones (Box and Muller)."""
    return float(np.exp(sigma * np.sqrt(-2.0 * np.log(u)) * np.cos(2.0 * np.pi * v) - 0.5 * sigma * sigma))


@njit(cache=True)
def _one_molecule(
    key: np.uint64,
    molecule: int,
    chain: Chain,
    start_s: float,
    stop_s: float,
    offset: int,
    starts: FloatArray,
    ends: FloatArray,
    photons: FloatArray,
    fill: bool,
) -> int:
    """Follow one molecule; count its ON periods and, if asked, write them from `offset` on."""
    random = _first_state(key, molecule)
    random += _GOLDEN
    state = min(int(np.searchsorted(chain.initial, _open_unit(random))), len(chain.initial) - 1)
    own = 1.0
    if chain.molecule_sigma > 0.0:
        own = _lognormal(_open_unit(random + _GOLDEN), _open_unit(random + _GOLDEN + _GOLDEN), chain.molecule_sigma)
        random += _GOLDEN + _GOLDEN
    brightness, measured = chain.brightness, chain.measured
    rates, schedule, knots, factors = chain.rates, chain.schedule, chain.knots_s, chain.factors
    hazard, cumulative = chain.hazard, chain.cumulative
    t, events = start_s, 0
    while True:
        random += _GOLDEN
        until = _jump_time(state, t, -np.log(_open_unit(random)), knots, hazard, cumulative)
        if brightness[state] > 0.0 and until > t:
            amount = own * brightness[state]
            if chain.photon_model == RATE:
                amount *= chain.photons * (min(until, stop_s) - t)
            else:
                amount *= (min(until, stop_s) - t) / (until - t)
                if chain.photon_model == LOGNORMAL:
                    amount *= chain.photons
                else:
                    random += _GOLDEN
                    place = _open_unit(random) * (len(measured) - 1)
                    below = min(int(place), len(measured) - 1)
                    above = min(below + 1, len(measured) - 1)
                    amount *= measured[below] + (place - below) * (measured[above] - measured[below])
            if chain.event_sigma > 0.0:
                if fill:
                    amount *= _lognormal(_open_unit(random + _GOLDEN), _open_unit(random + _GOLDEN + _GOLDEN),
                                         chain.event_sigma)  # fmt: skip
                random += _GOLDEN + _GOLDEN
            if fill:
                starts[offset + events] = t
                ends[offset + events] = min(until, stop_s)
                photons[offset + events] = amount
            events += 1
        if until >= stop_s:
            return events
        random += _GOLDEN
        state = _next_state(state, until, random, rates, schedule, knots, factors)
        t = until


@njit(cache=True, parallel=True)
def count_events(key: np.uint64, first: int, n: int, chain: Chain, start_s: float, stop_s: float) -> NDArray[np.int64]:
    """Number of ON periods of each of `n` molecules, the first of which has the id `first`."""
    counts = np.empty(n, np.int64)
    none = np.empty(0)
    for i in prange(n):
        counts[i] = _one_molecule(key, first + i, chain, start_s, stop_s, 0, none, none, none, False)
    return counts


@njit(cache=True, parallel=True)
def fill_events(
    key: np.uint64, first: int, offsets: NDArray[np.int64], chain: Chain, start_s: float, stop_s: float
) -> tuple[NDArray[np.int32], FloatArray, FloatArray, FloatArray]:
    """Molecule, start, end and photons of every ON period; `offsets` are the running sums of `count_events`."""
    total = offsets[-1]
    molecule = np.empty(total, np.int32)
    starts, ends, photons = np.empty(total), np.empty(total), np.empty(total)
    for i in prange(len(offsets) - 1):
        _one_molecule(key, first + i, chain, start_s, stop_s, offsets[i], starts, ends, photons, True)
        for event in range(offsets[i], offsets[i + 1]):
            molecule[event] = first + i
    return molecule, starts, ends, photons


@njit(cache=True, parallel=True)
def begin(
    key: np.uint64, first: int, n: int, chain: Chain
) -> tuple[NDArray[np.int64], NDArray[np.uint64], FloatArray, FloatArray]:
    """State, random state, own brightness and exponential number left of `n` molecules at the start."""
    state, random = np.empty(n, np.int64), np.empty(n, np.uint64)
    own, remaining = np.ones(n), np.empty(n)
    for i in prange(n):
        r = _first_state(key, first + i) + _GOLDEN
        state[i] = min(int(np.searchsorted(chain.initial, _open_unit(r))), len(chain.initial) - 1)
        if chain.molecule_sigma > 0.0:
            own[i] = _lognormal(_open_unit(r + _GOLDEN), _open_unit(r + _GOLDEN + _GOLDEN), chain.molecule_sigma)
            r += _GOLDEN + _GOLDEN
        r += _GOLDEN
        remaining[i] = -np.log(_open_unit(r))
        random[i] = r
    return state, random, own, remaining


@njit(cache=True)
def _advance_one(
    i: int,
    state: NDArray[np.int64],
    random: NDArray[np.uint64],
    remaining: FloatArray,
    brightness: FloatArray,
    rates: FloatArray,
    duration_s: float,
) -> float:
    """Move one molecule on; brightness integrated over the time, s."""
    left, on_s = duration_s, 0.0
    while True:
        s = state[i]
        total = rates[s].sum()
        if total * left <= remaining[i]:
            remaining[i] -= total * left
            return float(on_s + brightness[s] * left)
        dwell = remaining[i] / total
        on_s += brightness[s] * dwell
        left -= dwell
        random[i] += _GOLDEN
        goal, reached = _open_unit(random[i]) * total, 0.0
        for target in range(len(rates)):
            if rates[s, target] > 0.0:
                reached += rates[s, target]
                state[i] = target
                if reached >= goal:
                    break
        random[i] += _GOLDEN
        remaining[i] = -np.log(_open_unit(random[i]))


@njit(cache=True, parallel=True)
def advance(
    state: NDArray[np.int64],
    random: NDArray[np.uint64],
    remaining: FloatArray,
    brightness: FloatArray,
    rates: FloatArray,
    duration_s: float,
) -> FloatArray:
    """Move molecules on by `duration_s` under constant rates `(S, S)`; brightness integrated over the time, s.

    `remaining` holds what is left of the exponential number of the current dwell, so that rates may change between
    calls and jump times stay exact.
    """
    on_s = np.empty(len(state))
    for i in prange(len(state)):
        on_s[i] = _advance_one(i, state, random, remaining, brightness, rates, duration_s)
    return on_s


@njit(cache=True)
def _frames_of(start: float, end: float, interval: float, exposure: float, first: int, last: int) -> tuple[int, int]:
    """First frame and one past the last frame whose exposure may overlap an event."""
    low = max(int(np.floor((start - exposure) / interval)) + 1, first)
    while low > first and (low - 1) * interval + exposure > start:
        low -= 1
    while low * interval + exposure <= start:
        low += 1
    high = min(int(np.ceil(end / interval)), last)
    while high > low and (high - 1) * interval >= end:
        high -= 1
    return low, max(high, low)


@njit(cache=True, parallel=True)
def count_frames(
    starts: FloatArray, ends: FloatArray, interval: float, exposure: float, first: int, last: int
) -> NDArray[np.int64]:
    """Number of frames (from `first` up to, not including, `last`) in which each event is seen."""
    counts = np.empty(len(starts), np.int64)
    for event in prange(len(starts)):
        low, high = _frames_of(starts[event], ends[event], interval, exposure, first, last)
        counts[event] = high - low
    return counts


@njit(cache=True, parallel=True)
def expose_events(
    offsets: NDArray[np.int64],
    starts: FloatArray,
    ends: FloatArray,
    photons: FloatArray,
    interval: float,
    exposure: float,
    first: int,
    last: int,
) -> tuple[NDArray[np.uint32], NDArray[np.int32], FloatArray]:
    """Frame, event and photons of each piece of an event that a frame collects, ordered by event."""
    total = offsets[-1]
    frame, owner, amount = np.empty(total, np.uint32), np.empty(total, np.int32), np.empty(total)
    for event in prange(len(starts)):
        low, high = _frames_of(starts[event], ends[event], interval, exposure, first, last)
        rate = photons[event] / (ends[event] - starts[event]) if ends[event] > starts[event] else 0.0
        for f in range(low, high):
            row = offsets[event] + f - low
            opened, closed = f * interval, f * interval + exposure
            frame[row] = f
            owner[row] = event
            amount[row] = rate * max(min(ends[event], closed) - max(starts[event], opened), 0.0)
    return frame, owner, amount


@njit(cache=True)
def order_by_frame(frame: NDArray[np.uint32], first: int, last: int) -> NDArray[np.int64]:
    """Stable order of rows by frame (counting sort)."""
    position = np.zeros(last - first + 1, np.int64)
    for f in frame:
        position[f - first + 1] += 1
    for f in range(1, len(position)):
        position[f] += position[f - 1]
    order = np.empty(len(frame), np.int64)
    for row in range(len(frame)):
        slot = frame[row] - first
        order[position[slot]] = row
        position[slot] += 1
    return order
