"""Maximum likelihood of some emitters on some pixels, for any compiled PSF.

The light of every pixel is (nearly) Poisson distributed once the variance that the camera adds is added to data and
model alike (Huang et al. 2013, Nat Methods 10:653); an EM register widens all of it by one factor (Mortensen et al.
2010, Nat Methods 7:377). The likelihood is climbed by Fisher scoring with the damping of Levenberg and Marquardt
(Laurence and Chromy 2010, Nat Methods 7:338), and the Fisher matrix at the top gives the Cramer-Rao bound.
"""

from __future__ import annotations

from math import inf, log, sqrt
from typing import Final, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lucule.localize.fitting.algebra import factor, inverse_diagonal, solve
from lucule.simulate.optics import kernels
from lucule.simulate.optics.kernels import Model

Floats: TypeAlias = NDArray[np.float64]
Image: TypeAlias = NDArray[np.float32]

MAX_STEPS: Final = 60
# steps end when the next one would be this fraction of a standard deviation (squared)
ENOUGH: Final = 1e-4
_LEAST_LIGHT: Final = 1e-3
_SUMS: Final = {"contract", "reassoc", "nsz", "arcp"}
_START_DAMPING: Final = 1e-3
_MOST_DAMPING: Final = 1e7


@njit(cache=True, nogil=True, fastmath=_SUMS)
def _dot(a: Floats, b: Floats) -> float:
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@njit(cache=True, nogil=True, fastmath=_SUMS)
def _expected(light: Floats, photons: Floats, background: float, other: Floats, floor: Floats, out: Floats) -> None:
    for i in range(out.size):
        out[i] = background + other[i] + floor[i]
    for k in range(photons.size):
        for i in range(out.size):
            out[i] += photons[k] * light[k, 0, i]
    for i in range(out.size):
        out[i] = max(out[i], _LEAST_LIGHT)


@njit(cache=True, nogil=True)
def misfit(seen: Floats, expected: Floats) -> float:
    """Negative logarithm of the Poisson likelihood, but for what does not depend on the model."""
    total = 0.0
    for i in range(seen.size):
        total += expected[i] - seen[i] * log(expected[i])
    return total


@njit(cache=True, nogil=True)
def goodness(seen: Floats, expected: Floats, floor: Floats, scale: float, fourth: float) -> tuple[float, float, float]:
    """Log likelihood over that of a perfect fit, chi squared, and what its variance has more than `2 n`.

    `fourth` is the fourth cumulant of the light over its mean.
    """
    ratio = chi = more = 0.0
    for i in range(seen.size):
        difference = seen[i] - expected[i]
        ratio += difference
        if seen[i] > 0:
            ratio -= seen[i] * log(seen[i] / expected[i])
        variance = scale * expected[i]
        chi += difference * difference / variance
        more += fourth * max(expected[i] - floor[i], 0.0) / (variance * variance)
    return ratio / scale, chi, more


@njit(cache=True, nogil=True)
def _normal_equations(
    light: Floats, values: Floats, n: int, depth: int, seen: Floats, expected: Floats, work: Floats, fisher: Floats,
    score: Floats,
) -> None:  # fmt: skip
    """Fisher matrix and score of (background, then x, y, photons and z of each emitter)."""
    weight, excess, weighed = work[0], work[1], work[2]
    for i in range(seen.size):
        weight[i] = 1 / expected[i]
        excess[i] = seen[i] * weight[i] - 1
    fisher[0, 0], score[0] = 0.0, 0.0
    for i in range(seen.size):
        fisher[0, 0] += weight[i]
        score[0] += excess[i]
    per = 3 + depth
    for a in range(n * per):
        one, own = a // per, a % per
        photons = values[1 + 4 * one + 3]
        # columns of light: 0 the PSF, 1 to 3 its derivatives
        layer = 0 if own == 2 else (3 if own == 3 else own + 1)
        scale = 1.0 if own == 2 else photons
        row = light[one, layer]
        for i in range(seen.size):
            weighed[i] = weight[i] * row[i]
        score[1 + a] = scale * _dot(excess, row)
        fisher[1 + a, 0] = scale * _dot(weight, row)
        for b in range(a + 1):
            other, its = b // per, b % per
            its_layer = 0 if its == 2 else (3 if its == 3 else its + 1)
            its_scale = 1.0 if its == 2 else values[1 + 4 * other + 3]
            fisher[1 + a, 1 + b] = scale * its_scale * _dot(weighed, light[other, its_layer])


@njit(cache=True, nogil=True)
def _parameter(a: int, per: int) -> int:
    """Place in (background, x, y, z, photons, x, ...) of a parameter of the normal equations."""
    if a == 0:
        return 0
    own = (a - 1) % per
    return 1 + 4 * ((a - 1) // per) + (3 if own == 2 else (2 if own == 3 else own))


@njit(cache=True, nogil=True)
def _light(model: Model, values: Floats, n: int, row: int, column: int, shape: tuple[int, int], out: Floats) -> None:
    for k in range(n):
        at = 1 + 4 * k
        patch = out[k].reshape((4, shape[0], shape[1]))
        kernels.patch(model, values[at], values[at + 1], values[at + 2], row, column, patch)


@njit(cache=True, nogil=True)
def climb(
    seen: Floats,
    floor: Floats,
    other: Floats,
    row: int,
    column: int,
    shape: tuple[int, int],
    model: Model,
    depth: int,
    bounds: Floats,
    scale: float,
    n: int,
    values: Floats,
    errors: Floats,
    model_light: Floats,
) -> tuple[float, bool]:
    """Move `n` emitters and their common background to the maximum of the likelihood.

    Parameters
    ----------
    seen, floor, other
        Photons plus the camera's variance, that variance, and light that is known already, of the pixels row by row.
    row, column, shape
        First pixel and size of the region.
    model
        The PSF.
    depth
        1 if z is free, else 0.
    bounds
        Lowest and highest z.
    scale
        Variance over mean of the light.
    n
        Number of emitters.
    values
        Background, then x, y, z, photons of each; start values in, maximum out.
    errors
        Their lower bounds, out; infinite where there is none.
    model_light
        What the model says of `seen`, out.

    Returns
    -------
    Negative log likelihood of `seen` in units of one count, and whether the top was reached.
    """
    pixels = seen.size
    per = 3 + depth
    size = 1 + n * per
    light, trial_light = np.empty((n, 4, pixels)), np.empty((n, 4, pixels))
    expected, trial_expected, work = np.empty(pixels), np.empty(pixels), np.empty((3, pixels))
    fisher, damped, score, step = np.empty((size, size)), np.empty((size, size)), np.empty(size), np.empty(size)
    trial = values.copy()
    held = np.zeros(size, np.bool_)
    left, top = column * model.pixel[0], row * model.pixel[1]
    right, bottom = left + shape[1] * model.pixel[0], top + shape[0] * model.pixel[1]
    _light(model, values, n, row, column, shape, light)
    _expected(light, values[4 : 1 + 4 * n : 4], values[0], other, floor, expected)
    now = misfit(seen, expected)
    damping, reached, fresh = _START_DAMPING, False, True
    for _ in range(MAX_STEPS):
        if fresh:
            _normal_equations(light, values, n, depth, seen, expected, work, fisher, score)
            for a in range(size):
                held[a] = _is_held(a, per, values, score[a], bounds)
        for a in range(size):
            for b in range(a + 1):
                damped[a, b] = 0.0 if held[a] or held[b] else fisher[a, b]
            damped[a, a] = 1.0 if held[a] else fisher[a, a] * (1 + damping)
            step[a] = 0.0 if held[a] else score[a]
        if not factor(damped, size):
            damping *= 10
            if damping > _MOST_DAMPING:
                break
            fresh = False
            continue
        solve(damped, size, step)
        left_to_gain = 0.0
        for a in range(size):
            left_to_gain += step[a] * (0.0 if held[a] else score[a])
        _moved(values, step, size, per, model, bounds, trial)
        if not _inside(trial, n, left, right, top, bottom):
            break
        _light(model, trial, n, row, column, shape, trial_light)
        _expected(trial_light, trial[4 : 1 + 4 * n : 4], trial[0], other, floor, trial_expected)
        then = misfit(seen, trial_expected)
        fresh = then <= now + 1e-9 * abs(now)
        if fresh:
            values[:] = trial
            light, trial_light = trial_light, light
            expected, trial_expected = trial_expected, expected
            now = then
            damping = max(0.1 * damping, 1e-9)
        else:
            damping *= 10
        if left_to_gain < ENOUGH * scale and damping < 1:
            reached = True
            break
        if damping > _MOST_DAMPING:
            break
    _normal_equations(light, values, n, depth, seen, expected, work, fisher, score)
    _errors(fisher, held, size, per, scale, errors)
    model_light[:] = expected
    return now, reached


@njit(cache=True, nogil=True)
def _is_held(a: int, per: int, values: Floats, score: float, bounds: Floats) -> bool:
    """Whether a parameter stands at its limit and is drawn beyond it."""
    at = _parameter(a, per)
    if at == 0:
        return values[0] <= 0 and score < 0
    if at % 4 == 3:
        return (values[at] <= bounds[0] and score < 0) or (values[at] >= bounds[1] and score > 0)
    return False


@njit(cache=True, nogil=True)
def _moved(values: Floats, step: Floats, size: int, per: int, model: Model, bounds: Floats, trial: Floats) -> None:
    trial[:] = values
    for a in range(size):
        at = _parameter(a, per)
        if at == 0:
            trial[0] = max(values[0] + step[0], 0.0)
        elif at % 4 == 0:
            trial[at] = min(max(values[at] + step[a], 0.3 * values[at]), 3 * values[at])
        elif at % 4 == 3:
            most = 0.15 * (bounds[1] - bounds[0])
            trial[at] = min(max(values[at] + min(max(step[a], -most), most), bounds[0]), bounds[1])
        else:
            most = model.pixel[at % 4 - 1]
            trial[at] = values[at] + min(max(step[a], -most), most)


@njit(cache=True, nogil=True)
def _inside(values: Floats, n: int, left: float, right: float, top: float, bottom: float) -> bool:
    for k in range(n):
        x, y = values[1 + 4 * k], values[2 + 4 * k]
        if not (left <= x <= right and top <= y <= bottom):
            return False
    return True


@njit(cache=True, nogil=True)
def _errors(fisher: Floats, held: NDArray[np.bool_], size: int, per: int, scale: float, errors: Floats) -> None:
    errors[:] = inf
    for a in range(size):
        for b in range(a):
            if held[a] or held[b]:
                fisher[a, b] = 0.0
        if held[a]:
            fisher[a, a] = 1.0
    variance = np.empty(size)
    if not factor(fisher, size):
        return
    inverse_diagonal(fisher, size, variance)
    for a in range(size):
        if not held[a]:
            errors[_parameter(a, per)] = sqrt(scale * variance[a])
