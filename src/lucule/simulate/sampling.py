"""Random numbers inside compiled code: one short stream for each row of each frame.

A stream is a xoshiro256++ generator (Blackman and Vigna 2021) whose four words are drawn by SplitMix64 from a key, a
frame and a row. Nothing depends on threads or on how frames are cut into calls.
"""

from __future__ import annotations

from functools import cache
from math import exp, floor, lgamma, log, sqrt
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)
_LAYERS: Final = 256
_TABLED_MEANS: Final = 256
_STEPS: Final = 8  # tabled means for each whole number
_TAIL: Final = 3.6541528853610088  # where the base layer of the 256-layer ziggurat ends (Marsaglia and Tsang 2000)


def _ziggurat() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Edges of the layers under exp(-x^2 / 2), and the curve there."""
    area = 0.00492867323399
    edge = np.empty(_LAYERS + 1)
    edge[0], edge[1] = area / np.exp(-0.5 * _TAIL**2), _TAIL
    for i in range(2, _LAYERS):
        edge[i] = np.sqrt(-2 * np.log(area / edge[i - 1] + np.exp(-0.5 * edge[i - 1] ** 2)))
    edge[_LAYERS] = 0.0
    return edge, np.exp(-0.5 * edge**2)


_EDGE, _CURVE = _ziggurat()


@njit(cache=True, inline="always")
def _rotate(x: np.uint64, k: int) -> np.uint64:
    return (x << np.uint64(k)) | (x >> np.uint64(64 - k))


@njit(cache=True)
def seed_stream(state: NDArray[np.uint64], key: np.uint64, frame: int, row: int) -> None:
    """Set the four words of a stream."""
    word = key
    for number in (np.uint64(frame), np.uint64(row)):
        word = (word ^ (number + np.uint64(1))) * _MIX_1
        word = (word ^ (word >> np.uint64(31))) * _MIX_2
        word ^= word >> np.uint64(29)
    for i in range(4):
        word += _GOLDEN
        mixed = (word ^ (word >> np.uint64(30))) * _MIX_1
        mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX_2
        state[i] = mixed ^ (mixed >> np.uint64(31))


@njit(cache=True, inline="always")
def _next(state: NDArray[np.uint64]) -> np.uint64:
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    result: np.uint64 = _rotate(s0 + s3, 23) + s0
    t = s1 << np.uint64(17)
    s2 ^= s0
    s3 ^= s1
    state[1] = s1 ^ s2
    state[0] = s0 ^ s3
    state[2] = s2 ^ t
    state[3] = _rotate(s3, 45)
    return result


@njit(cache=True, inline="always")
def uniform(state: NDArray[np.uint64]) -> float:
    """Draw from (0, 1), the ends excluded."""
    return (float(_next(state) >> np.uint64(12)) + 0.5) * 2.220446049250313e-16


@njit(cache=True)
def normal(state: NDArray[np.uint64]) -> float:
    """Draw from the standard normal distribution (ziggurat, Marsaglia and Tsang 2000)."""
    while True:
        bits = _next(state)
        layer = int(bits & np.uint64(_LAYERS - 1))
        signed = (float(bits >> np.uint64(12)) + 0.5) * 4.440892098500626e-16 - 1.0
        x = signed * _EDGE[layer]
        if abs(x) < _EDGE[layer + 1]:
            return float(x)
        if layer == 0:
            while True:
                a = -log(uniform(state)) / _TAIL
                b = -log(uniform(state))
                if b + b > a * a:
                    return _TAIL + a if x > 0 else -(_TAIL + a)
        top, bottom = _CURVE[layer + 1], _CURVE[layer]
        if bottom + uniform(state) * (top - bottom) < exp(-0.5 * x * x):
            return float(x)


@cache
def poisson_table() -> NDArray[np.float64]:
    """Alias tables of the means k / 8 for `poisson` (Walker 1977, Vose 1991), without what is rarer than 1 in 10^15.

    A row holds how many numbers are tabled, the lowest of them, and for each the other number that shares its place
    plus, as the fraction, its own share.
    """
    means = np.arange(_TABLED_MEANS * _STEPS) / _STEPS
    reach = (10 * np.sqrt(means) + 15).astype(np.int64)
    middle = means.astype(np.int64)
    table = np.zeros((len(means), 2 + int((2 * reach + 1).max())))
    table[:, 1] = np.maximum(middle - reach, 0)
    table[:, 0] = middle + reach + 1 - table[:, 1]
    _fill_aliases(table)
    return table


@njit(cache=True)
def _fill_aliases(table: NDArray[np.float64]) -> None:
    for row in range(len(table)):
        mean, n, lowest = row / _STEPS, int(table[row, 0]), table[row, 1]
        weight = np.zeros(n)
        weight[0] = 1.0
        if mean > 0:
            for i in range(n):
                weight[i] = exp((lowest + i) * log(mean) - mean - lgamma(lowest + i + 1))
        weight *= n / weight.sum()
        small, large = np.flatnonzero(weight < 1), np.flatnonzero(weight >= 1)
        few, many = len(small), len(large)
        waiting = np.concatenate((small, np.empty(many, np.int64)))
        for i in range(n):
            table[row, 2 + i] = i
        while few > 0 and many > 0:
            few, giver = few - 1, large[many - 1]
            taker = waiting[few]
            table[row, 2 + taker] = giver + weight[taker]
            weight[giver] -= 1 - weight[taker]
            if weight[giver] < 1:
                many -= 1
                waiting[few] = giver
                few += 1


@njit(cache=True)
def poisson(state: NDArray[np.uint64], table: NDArray[np.float64], mean: float) -> float:
    """Draw from the Poisson distribution, with `poisson_table()`: a tabled mean, and the rest by inversion.

    Sums of Poisson numbers are Poisson numbers of the sum of the means. Beyond the table: transformed rejection
    (Hormann 1993, PTRS).
    """
    if mean <= 0:
        return 0.0
    row = int(mean * _STEPS)
    if row < len(table):
        scaled = uniform(state) * table[row, 0]
        place = int(scaled)
        entry = table[row, 2 + place]
        other = int(entry)
        own = np.int64(
            scaled - place < entry - other
        )  # arithmetic, as a branch would be guessed wrong half of the time
        k = table[row, 1] + (other + own * (place - other))
        u = uniform(state)
        rest = mean - row / _STEPS
        if u < 1 - rest:  # below exp(-rest)
            return float(k)
        term = exp(-rest)
        more = 0.0
        while u > term and more < 100:
            u -= term
            more += 1
            term *= rest / more
        return float(k + more)
    root = sqrt(mean)
    b = 0.931 + 2.53 * root
    a = -0.059 + 0.02483 * b
    limit = 0.9277 - 3.6224 / (b - 2)
    while True:
        u = uniform(state) - 0.5
        v = uniform(state)
        us = 0.5 - abs(u)
        k = floor((2 * a / us + b) * u + mean + 0.43)
        if us >= 0.07 and v <= limit:
            return k
        if k < 0 or (us < 0.013 and v > us):
            continue
        inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
        if log(v * inverse_alpha / (a / (us * us) + b)) <= k * log(mean) - mean - lgamma(k + 1):
            return k


@njit(cache=True)
def gamma(state: NDArray[np.uint64], shape: float) -> float:
    """Draw from the gamma distribution of scale 1 and shape 1 or more (Marsaglia and Tsang 2000)."""
    if shape == 1.0:
        return -log(uniform(state))
    d = shape - 1 / 3
    c = 1 / sqrt(9 * d)
    while True:
        x = normal(state)
        v = 1 + c * x
        if v <= 0:
            continue
        u = uniform(state)
        square = x * x
        # -log of the chance is x^4 c^2 / 12 (1 - 0.8 c x + ...), less than twice the first term for c x > -0.5
        if c * x > -0.5 and u < 1 - square * square * c * c / 6:
            return d * v * v * v
        v = v * v * v
        if log(u) < 0.5 * square + d * (1 - v + log(v)):
            return d * v
