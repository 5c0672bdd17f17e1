"""The hidden random walk of the rings' phase along an axon, compiled.

Seen from a row of rings of exactly equal distances, real rings run ahead or fall behind: their offset is a random walk
from ring to ring, whose variance grows by that of one spacing each time. It is followed on a circle of states, from one
short step along the axon to the next. An offset changes half-way between two of its rings, and once only: one that
moves on waits until it is half-way there.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FINE: Final = 4
"""Entries of a profile for each state of the offset."""
STEPS: Final = 16
"""Steps along the axon for each period."""
# so many factors of a profile cannot leave the range of a double
_MOST_AT_ONCE: Final = 16


@njit(cache=True, nogil=True)
def profile(period: float, width: float, background: float, states: int) -> Floats:
    """Density of molecules against the distance from the nearest ring, over one period, with the mean 1.

    A normal distribution of standard deviation `width`, wrapped around the period, on a flat `background`, which is the
    fraction of the molecules that are in no ring.
    """
    n = FINE * states
    values = np.empty(n)
    for i in range(n):
        total = 0.0
        for turn in range(-3, 4):
            distance = (i / n + turn) * period
            total += np.exp(-0.5 * (distance / width) ** 2)
        values[i] = total
    shape: Floats = background + (1.0 - background) * values * (n / values.sum())
    return shape


@njit(cache=True, nogil=True)
def kicks(sd: float) -> Floats:
    """Probabilities of moving by -h to h states between one ring and the next, for a standard deviation in states."""
    half = max(int(np.ceil(3.5 * sd)), 1)
    values = np.empty(2 * half + 1)
    for i in range(len(values)):
        values[i] = np.exp(-0.5 * ((i - half) / max(sd, 1e-3)) ** 2)
    weights: Floats = values / values.sum()
    return weights


@njit(cache=True, nogil=True)
def _normalize(values: Floats) -> float:
    """Divide by the sum; its logarithm."""
    total = values.sum()
    values /= total
    return float(np.log(total))


@njit(cache=True, nogil=True)
def _unrolled(profile_: Floats) -> Floats:
    """`(FINE, 2 states)`: the profile so that what one molecule says of all states lies side by side."""
    states = len(profile_) // FINE
    rows = np.empty((FINE, 2 * states))
    for rest in range(FINE):
        for i in range(2 * states):
            rows[rest, i] = profile_[(FINE * (2 * states - 1 - i) + rest) % len(profile_)]
    return rows


@njit(cache=True, nogil=True)
def forward(along: Floats, period: float, moves: Floats, in_rings: float, profile_: Floats, kept: Floats) -> float:
    """Log likelihood ratio of rings against molecules anywhere.

    Parameters
    ----------
    along
        `(n,)` sorted positions along the axon, nm, from 0.
    period
        Mean distance between neighbouring rings, nm.
    moves
        What `kicks` gives.
    in_rings
        Fraction of the molecules that are in rings.
    profile_
        What `profile` gives; the number of states is a multiple of `STEPS`.
    kept
        `(steps, 2 states)` gets what is proportional to the filtered probability of every offset, first those that may
        move, then those that wait; or has no rows.
    """
    states = len(profile_) // FINE
    rows = _unrolled(profile_)
    half, block = len(moves) // 2, states // STEPS
    # second half: offsets that moved on to where it is not yet half-way, and have to wait until it is
    now, moved = np.zeros(2 * states), np.empty(block + 2 * half)
    now[:states] = 1.0 / states
    total, i = 0.0, 0
    step = period / STEPS
    steps = len(kept) if len(kept) else int(along[-1] / step) + 1
    crowd = crowding(along, period, steps)
    table = pulled(moves, in_rings, crowd.max(), states)
    for at in range(steps):
        first = _between_rings(at, block)
        if at > 0:
            row = table[crowd[at]]
            moved[:] = 0.0
            for state in range(block):
                weight = now[first + state]
                for move in range(len(moves)):
                    moved[state + move] += row[move] * weight
            now[first : first + block] = now[states + first : states + first + block]
            now[states + first : states + first + block] = 0.0
            for to in range(len(moved)):
                now[_place(first, to - half, block, states)] += moved[to]
        end = (at + 1) * step
        while i < len(along) and (along[i] < end or at == steps - 1):
            place = int(np.rint(along[i] / period * len(profile_))) % len(profile_)
            # state s meets the profile at place - FINE s
            seen, shift = rows[place % FINE], states - 1 - place // FINE
            for state in range(states):
                now[state] *= seen[shift + state]
                now[states + state] *= seen[shift + state]
            i += 1
            if i % _MOST_AT_ONCE == 0:
                total += _normalize(now)
        if len(kept):
            kept[at] = now
    return total + _normalize(now)


@njit(cache=True, nogil=True)
def crowding(along: Floats, period: float, steps: int) -> NDArray[np.int64]:
    """Number of molecules within half a period of every step."""
    counts = np.empty(steps, np.int64)
    low, high = 0, 0
    for at in range(steps):
        middle = at * period / STEPS
        while low < len(along) and along[low] < middle - period / 2:
            low += 1
        while high < len(along) and along[high] < middle + period / 2:
            high += 1
        counts[at] = high - low
    return counts


@njit(cache=True, nogil=True)
def pulled(moves: Floats, in_rings: float, most: int, states: int) -> Floats:
    """`(most + 1, moves)` moves with the weight that the spacing's length gives to so many molecules of both rings.

    A ring and half of the gaps beside it hold the molecules that this stretch of the axon has. The longer the stretch,
    the more it means that they are all in the ring. The profile is made for the mean period; a spacing longer by d
    gives each molecule the factor 1 + d / period.
    """
    half = len(moves) // 2
    table = np.empty((most + 1, len(moves)))
    table[0] = moves
    for move in range(len(moves)):
        each = (1.0 + (move - half) / states) ** in_rings
        for molecules in range(most):
            table[molecules + 1, move] = table[molecules, move] * each
    return table


@njit(cache=True, nogil=True)
def _between_rings(at: int, block: int) -> int:
    """First of the states that lie half-way between two rings at this step: only they move.

    An offset that could move at any place would run along with the molecules of one ring, from the first to the last,
    and make the rings look narrower and their spacings wilder than they are.
    """
    return ((at + STEPS // 2) % STEPS) * block


@njit(cache=True, nogil=True)
def _place(first: int, beyond: int, block: int, states: int) -> int:
    """Index of the offset `first + beyond` after a move: among those that wait where it lies behind the block.

    There it is not yet half-way between its rings. Were it to move again when it is, one ring would move several times
    along the axon, and a spacing as long as two would cost as little as some that are a little too long.
    """
    to = first + beyond
    # a remainder would take most of the time; no move is longer than the circle
    to += states if to < 0 else -states if to >= states else 0
    return to + states if beyond >= block else to


@njit(cache=True, nogil=True)
def scan(along: Floats, periods: Floats, spacing_sd: float, width: float, background: float, states: int) -> Floats:
    """`forward` at every one of `periods`; `spacing_sd` and `width` are fractions of the period."""
    result = np.empty(len(periods))
    nothing = np.empty((0, 2 * states))
    # in units of the period profile and moves are the same for all
    shape, moves = profile(1.0, width, background, states), kicks(spacing_sd * states)
    in_rings = 1.0 - background
    for i in range(len(periods)):
        result[i] = forward(along, periods[i], moves, in_rings, shape, nothing)
    return result


@njit(cache=True, nogil=True)
def backward(kept: Floats, table: Floats, crowd: NDArray[np.int64], uniform: Floats) -> Floats:
    """One course of the offset, in states and unwrapped, drawn from its distribution given all molecules.

    Parameters
    ----------
    kept
        What `forward` filled.
    table
        What `pulled` gives for the most molecules in `crowd`.
    crowd
        `(steps,)` what `crowding` gives.
    uniform
        `(steps,)` numbers between 0 and 1.
    """
    steps, states = kept.shape[0], kept.shape[1] // 2
    half, block = table.shape[1] // 2, states // STEPS
    course = np.empty(steps)
    at_end = np.cumsum(kept[-1])
    state = min(int(np.searchsorted(at_end, uniform[-1] * at_end[-1])), 2 * states - 1)
    place = float(state % states)
    course[-1] = place
    weight = np.empty(block + 1)
    for at in range(steps - 2, -1, -1):
        first, row = _between_rings(at + 1, block), table[crowd[at + 1]]
        offset = state % states
        beyond = (offset - first + half) % states - half
        reached = beyond < block + half and (beyond >= block) == (state >= states)
        # without a move: the block got what waited for it, all others kept what they had
        stayed = offset + states if 0 <= beyond < block else state
        total = kept[at, stayed]
        weight[0] = total
        for before in range(block):
            move = beyond - before + half
            if reached and 0 <= move < len(row):
                total += row[move] * kept[at, first + before]
            weight[before + 1] = total
        chosen = min(int(np.searchsorted(weight, uniform[at] * total)), block)
        state = first + chosen - 1 if chosen > 0 else stayed
        place -= beyond - (chosen - 1) if chosen > 0 else 0
        course[at] = place
    return course
