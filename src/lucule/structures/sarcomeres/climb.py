"""From a start to the maximum of the likelihood next to it, compiled: quasi-Newton steps within bounds."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lucule.structures.sarcomeres.likelihood import (
    BEND,
    DIVERGENCE,
    HALF,
    LOG_WIDTH,
    LOGIT_BACKGROUND,
    LOGIT_SHARE,
    MIDDLE,
    PARAMETERS,
    SLOPE,
    Floats,
    two_lines,
)

_ITERATIONS: Final = 200
_WIDTHS_NM: Final = (1.0, 90.0)
# converged: by how much the value falls, of its size, or how steep it is still
_LEAST_FALL: Final = 1e-10
_LEAST_SLOPE: Final = 1e-6
_ARMIJO: Final = 1e-4
_HALVINGS: Final = 25
# lengths in tens of nm, so that all parameters change by about one
_UNIT: Final = np.where(np.isin(np.arange(PARAMETERS), [MIDDLE, SLOPE, BEND, HALF, DIVERGENCE]), 10.0, 1.0)


def bounds(reach_nm: float) -> tuple[Floats, Floats]:
    """Lowest and highest values of the parameters, `(8,)` each."""
    lower, upper = np.full(PARAMETERS, -np.inf), np.full(PARAMETERS, np.inf)
    lower[HALF], upper[HALF] = 0.0, reach_nm
    lower[LOG_WIDTH], upper[LOG_WIDTH] = math.log(_WIDTHS_NM[0]), math.log(_WIDTHS_NM[1])
    lower[LOGIT_SHARE], upper[LOGIT_SHARE] = -4.0, 4.0
    lower[LOGIT_BACKGROUND], upper[LOGIT_BACKGROUND] = -9.0, 0.0
    return lower, upper


@njit(cache=True, nogil=True)
def scan(
    start: Floats,
    halves: Floats,
    middles: Floats,
    u: Floats,
    variance: Floats,
    nodes: Floats,
    shares: Floats,
    window: float,
) -> Floats:
    """Mean negative log-likelihood `(halves, middles)` of straight lines at half distances and middles, nm.

    Width and background are those of `start`; both lines have the same share.
    """
    width2 = np.exp(2 * start[LOG_WIDTH])
    b = 1 / (1 + np.exp(-start[LOGIT_BACKGROUND]))
    losses = np.zeros((halves.size, middles.size))
    for i in range(u.size):
        var = width2 + variance[i]
        height = 0.5 / np.sqrt(2 * np.pi * var)
        for h in range(halves.size):
            for m in range(middles.size):
                lines = 0.0
                for k in range(nodes.size):
                    a = u[i] - middles[m] + halves[h] + nodes[k]
                    c = u[i] - middles[m] - halves[h] - nodes[k]
                    lines += shares[k] * height * (np.exp(-0.5 * a * a / var) + np.exp(-0.5 * c * c / var))
                losses[h, m] -= np.log((1 - b) * lines + b / window + 1e-300) / u.size
    return losses


@njit(cache=True, nogil=True)
def climb(
    start: Floats,
    free: NDArray[np.int64],
    lower: Floats,
    upper: Floats,
    expected: Floats,
    expected_sd: Floats,
    count: float,
    u: Floats,
    t: Floats,
    variance: Floats,
    nodes: Floats,
    shares: Floats,
    window: float,
) -> tuple[float, Floats]:
    """Mean negative log-likelihood (with what was known before) and parameters of the maximum next to a start.

    Steps of Broyden, Fletcher, Goldfarb and Shanno with the whole matrix, which is small and begins with the products
    of the scores; parameters at a bound that want to leave stay there.

    Parameters
    ----------
    start
        `(8,)` parameters as in `lucule.structures.sarcomeres.likelihood`; those not in `free` stay as they are.
    expected, expected_sd, count
        What is known before, which weighs as one of `count` localizations.
    """
    m = free.size
    weight, scores = np.full(u.size, 1 / u.size), np.empty((u.size, PARAMETERS))
    theta = np.minimum(np.maximum(start, lower), upper)
    gradient, ahead = np.empty(m), np.empty(m)
    value = _value(
        theta, free, expected, expected_sd, count, u, t, variance, weight, nodes, shares, window, scores, gradient
    )
    inverse, step, change = _from_scores(scores, free, expected_sd, count), np.empty(m), np.empty(m)
    fresh = True
    for _ in range(_ITERATIONS):
        held = np.zeros(m, np.bool_)
        steepest = 0.0
        for i in range(m):
            at = theta[free[i]]
            held[i] = (at <= lower[free[i]] and gradient[i] > 0) or (at >= upper[free[i]] and gradient[i] < 0)
            if not held[i]:
                steepest = max(steepest, abs(gradient[i]))
        if steepest <= _LEAST_SLOPE:
            break
        length = 0.0
        for i in range(m):
            step[i] = 0.0
            if not held[i]:
                for j in range(m):
                    if not held[j]:
                        step[i] -= inverse[i, j] * gradient[j]
            length += step[i] * step[i]
        fraction = min(1.0, 1 / math.sqrt(length)) if fresh else 1.0
        tried, tried_value = theta.copy(), value
        found = False
        for _ in range(_HALVINGS):
            promised = 0.0
            for i in range(m):
                k = free[i]
                tried[k] = min(max(theta[k] + fraction * step[i] * _UNIT[k], lower[k]), upper[k])
                promised += gradient[i] * (tried[k] - theta[k]) / _UNIT[k]
            tried_value = _value(
                tried, free, expected, expected_sd, count, u, t, variance, weight, nodes, shares, window, scores, ahead
            )
            found = promised < 0 and tried_value <= value + _ARMIJO * promised
            if found:
                break
            # the lowest point of the parabola through value, slope and what was tried
            curved = tried_value - value - promised
            fraction *= min(max(-0.5 * promised / curved, 0.1), 0.5) if curved > 0 else 0.5
        if not found:
            if fresh:
                break
            two_lines(theta, u, t, variance, weight, nodes, shares, window, scores)
            inverse, fresh = _from_scores(scores, free, expected_sd, count), True
            continue
        fall = value - tried_value
        along, bent = 0.0, 0.0
        for i in range(m):
            step[i] = (tried[free[i]] - theta[free[i]]) / _UNIT[free[i]]
            change[i] = ahead[i] - gradient[i]
            along += step[i] * change[i]
            bent += change[i] * change[i]
            gradient[i] = ahead[i]
        theta, value = tried, tried_value
        if fall <= _LEAST_FALL * max(abs(value), 1.0):
            break
        if along > 1e-10 * bent:
            _update(inverse, step, change, along)
            fresh = False
    return value, theta


@njit(cache=True, nogil=True)
def _from_scores(scores: Floats, free: NDArray[np.int64], expected_sd: Floats, count: float) -> Floats:
    """The inverse of the second derivatives as the scores `(n, 8)`, each over n, let expect them."""
    m, n = free.size, scores.shape[0]
    curvature = 1e-3 * np.eye(m)
    for i in range(m):
        for j in range(m):
            for row in range(n):
                curvature[i, j] += n * scores[row, free[i]] * scores[row, free[j]] * _UNIT[free[i]] * _UNIT[free[j]]
        curvature[i, i] += (_UNIT[free[i]] / expected_sd[free[i]]) ** 2 / count
    inverse: Floats = np.linalg.inv(curvature)
    return inverse


@njit(cache=True, nogil=True)
def _update(inverse: Floats, step: Floats, change: Floats, along: float) -> None:
    """The inverse of the second derivatives after a step, as the change of the gradient shows them."""
    m = step.size
    moved = np.zeros(m)
    for i in range(m):
        for j in range(m):
            moved[i] += inverse[i, j] * change[j]
    bent = 0.0
    for i in range(m):
        bent += change[i] * moved[i]
    for i in range(m):
        for j in range(m):
            inverse[i, j] += (1 + bent / along) * step[i] * step[j] / along - (
                moved[i] * step[j] + step[i] * moved[j]
            ) / along


@njit(cache=True, nogil=True)
def _value(
    theta: Floats,
    free: NDArray[np.int64],
    expected: Floats,
    expected_sd: Floats,
    count: float,
    u: Floats,
    t: Floats,
    variance: Floats,
    weight: Floats,
    nodes: Floats,
    shares: Floats,
    window: float,
    scores: Floats,
    gradient: Floats,
) -> float:
    """Value, and its gradient by the free parameters in their units."""
    total = two_lines(theta, u, t, variance, weight, nodes, shares, window, scores)
    sums = np.zeros(PARAMETERS)
    for i in range(u.size):
        for k in range(PARAMETERS):
            sums[k] += scores[i, k]
    for k in range(PARAMETERS):
        away = (theta[k] - expected[k]) / expected_sd[k]
        total += 0.5 * away * away / count
        sums[k] -= away / expected_sd[k] / count
    for i in range(free.size):
        gradient[i] = -sums[free[i]] * _UNIT[free[i]]
    return total
