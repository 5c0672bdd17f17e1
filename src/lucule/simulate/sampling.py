"""Random numbers inside compiled code: one short stream for each row of each frame.

A stream is a xoshiro256++ generator (Blackman and Vigna 2021) whose four words are drawn by SplitMix64 from a key, a
frame and a row. Nothing depends on threads or on how frames are cut into calls.
"""

from __future__ import annotations

from math import exp, floor, lgamma, log, sqrt
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)
_LAYERS: Final = 256
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


@njit(cache=True)
def poisson(state: NDArray[np.uint64], mean: float) -> float:
    """Draw from the Poisson distribution: inversion below 10, transformed rejection above (Hormann 1993, PTRS)."""
    if mean <= 0:
        return 0.0
    if mean < 10:
        u = uniform(state)
        term = exp(-mean)
        k = 0.0
        while u > term and k < 200:
            u -= term
            k += 1
            term *= mean / k
        return k
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
        v = v * v * v
        u = uniform(state)
        if u < 1 - 0.0331 * x**4 or log(u) < 0.5 * x * x + d * (1 - v + log(v)):
            return d * v
