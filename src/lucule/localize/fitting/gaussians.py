"""Maximum likelihood of one Gaussian of free width, integrated over the pixels: x, y, photons, background and width.

Same likelihood and same climb as in `emitters`, but everything is separable: profiles are made once for each axis, and
the Fisher matrix needs thirteen sums over the pixels of a row.
"""

from __future__ import annotations

from math import erf, exp, inf, log, pi, sqrt
from typing import Final, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lucule.localize.fitting.algebra import factor, inverse_diagonal, solve
from lucule.localize.fitting.emitters import ENOUGH, MAX_STEPS

Floats: TypeAlias = NDArray[np.float64]
Image: TypeAlias = NDArray[np.float32]

_SUMS: Final = {"contract", "reassoc", "nsz", "arcp"}
_LEAST_LIGHT: Final = 1e-3
_START_DAMPING: Final = 1e-3
_MOST_DAMPING: Final = 1e7
# narrower and wider spots than these, in pixels, are none
_NARROWEST, _WIDEST = 0.35, 8.0
_SYMMETRIC: Final = 5
_ELLIPTIC: Final = 6


@njit(cache=True, nogil=True)
def profile(position: float, sigma: float, out: Floats) -> None:
    """Light on each pixel, derivative by position, derivative by sigma, `(3, n)`, all in pixels."""
    scale, density = 1 / (sqrt(2.0) * sigma), 1 / (sqrt(2 * pi) * sigma)
    left = -position
    e0, g0 = erf(left * scale), density * exp(-((left * scale) ** 2))
    for i in range(out.shape[1]):
        right = left + 1
        e1, g1 = erf(right * scale), density * exp(-((right * scale) ** 2))
        out[0, i], out[1, i], out[2, i] = 0.5 * (e1 - e0), g0 - g1, (left * g0 - right * g1) / sigma
        left, e0, g0 = right, e1, g1


@njit(cache=True, nogil=True, fastmath=_SUMS)
def _expected(across: Floats, down: Floats, photons: float, background: float, floor: Floats, out: Floats) -> None:
    for r in range(out.shape[0]):
        share = photons * down[0, r]
        for c in range(out.shape[1]):
            out[r, c] = max(share * across[0, c] + background + floor[r, c], _LEAST_LIGHT)


@njit(cache=True, nogil=True)
def _misfit(seen: Floats, expected: Floats) -> float:
    total = 0.0
    for r in range(seen.shape[0]):
        for c in range(seen.shape[1]):
            total += expected[r, c] - seen[r, c] * log(expected[r, c])
    return total


@njit(cache=True, nogil=True, fastmath=_SUMS)
def _normal_equations(
    across: Floats, down: Floats, photons: float, seen: Floats, expected: Floats, fisher: Floats, score: Floats
) -> None:
    """Fisher matrix and score of (x, y, photons, background, sigma_x, sigma_y)."""
    fisher[:], score[:] = 0.0, 0.0
    n = photons
    px, dx, sx = across[0], across[1], across[2]
    for r in range(seen.shape[0]):
        w0 = wp = wpp = wd = wpd = wdd = ws = wps = wds = wss = q0 = qp = qd = qs = 0.0
        for c in range(seen.shape[1]):
            w = 1 / expected[r, c]
            q = seen[r, c] * w - 1
            p, d, s = px[c], dx[c], sx[c]
            wp_, wd_, ws_ = w * p, w * d, w * s
            w0 += w
            wp += wp_
            wd += wd_
            ws += ws_
            wpp += wp_ * p
            wpd += wp_ * d
            wps += wp_ * s
            wdd += wd_ * d
            wds += wd_ * s
            wss += ws_ * s
            q0 += q
            qp += q * p
            qd += q * d
            qs += q * s
        py, dy, sy = down[0, r], down[1, r], down[2, r]
        nn = n * n
        score[0] += n * py * qd
        score[1] += n * dy * qp
        score[2] += py * qp
        score[3] += q0
        score[4] += n * py * qs
        score[5] += n * sy * qp
        fisher[0, 0] += nn * py * py * wdd
        fisher[1, 0] += nn * py * dy * wpd
        fisher[1, 1] += nn * dy * dy * wpp
        fisher[2, 0] += n * py * py * wpd
        fisher[2, 1] += n * py * dy * wpp
        fisher[2, 2] += py * py * wpp
        fisher[3, 0] += n * py * wd
        fisher[3, 1] += n * dy * wp
        fisher[3, 2] += py * wp
        fisher[3, 3] += w0
        fisher[4, 0] += nn * py * py * wds
        fisher[4, 1] += nn * py * dy * wps
        fisher[4, 2] += n * py * py * wps
        fisher[4, 3] += n * py * ws
        fisher[4, 4] += nn * py * py * wss
        fisher[5, 0] += nn * py * sy * wpd
        fisher[5, 1] += nn * dy * sy * wpp
        fisher[5, 2] += n * py * sy * wpp
        fisher[5, 3] += n * sy * wp
        fisher[5, 4] += nn * py * sy * wps
        fisher[5, 5] += nn * sy * sy * wpp


@njit(cache=True, nogil=True)
def _tie(fisher: Floats, score: Floats) -> None:
    """Make the fifth parameter the width along both axes."""
    for a in range(4):
        fisher[4, a] += fisher[5, a]
    fisher[4, 4] += 2 * fisher[5, 4] + fisher[5, 5]
    score[4] += score[5]


@njit(cache=True, nogil=True)
def climb_gaussian(
    seen: Floats, floor: Floats, elliptic: bool, scale: float, values: Floats, errors: Floats, model_light: Floats
) -> tuple[float, bool]:
    """Move one Gaussian to the maximum of the likelihood.

    Parameters
    ----------
    seen, floor
        Photons plus the camera's variance, and that variance, `(rows, columns)`.
    elliptic
        Whether both axes have their own width.
    scale
        Variance over mean of the light.
    values
        x, y (pixels, from the outer corner of the first one), photons, background, sigma_x, sigma_y (pixels); start
        values in, maximum out.
    errors
        Their lower bounds, out; infinite where there is none.
    model_light
        What the model says of `seen`, out.

    Returns
    -------
    Negative log likelihood of `seen` in units of one count, and whether the top was reached.
    """
    size = _ELLIPTIC if elliptic else _SYMMETRIC
    rows, columns = seen.shape
    across, down = np.empty((3, columns)), np.empty((3, rows))
    expected, trial_expected = np.empty((rows, columns)), np.empty((rows, columns))
    fisher, score, damped, step = np.empty((6, 6)), np.empty(6), np.empty((6, 6)), np.empty(6)
    trial = values.copy()
    profile(values[0], values[4], across)
    profile(values[1], values[5], down)
    _expected(across, down, values[2], values[3], floor, expected)
    now = _misfit(seen, expected)
    damping, reached, fresh = _START_DAMPING, False, True
    dark = False
    for _ in range(MAX_STEPS):
        if fresh:
            _normal_equations(across, down, values[2], seen, expected, fisher, score)
            if not elliptic:
                _tie(fisher, score)
            # a background of nothing that is drawn below it stays where it is
            dark = values[3] <= 0 and score[3] < 0
        for a in range(size):
            for b in range(a):
                damped[a, b] = 0.0 if dark and (a == 3 or b == 3) else fisher[a, b]
            damped[a, a] = fisher[a, a] * (1 + damping)
            step[a] = 0.0 if dark and a == 3 else score[a]
        if not factor(damped, size):
            damping, fresh = 10 * damping, False
            if damping > _MOST_DAMPING:
                break
            continue
        solve(damped, size, step)
        left_to_gain = 0.0
        for a in range(size):
            left_to_gain += step[a] * score[a]
        _moved(values, step, elliptic, trial)
        if not (0 <= trial[0] <= columns and 0 <= trial[1] <= rows):
            break
        profile(trial[0], trial[4], across)
        profile(trial[1], trial[5], down)
        _expected(across, down, trial[2], trial[3], floor, trial_expected)
        then = _misfit(seen, trial_expected)
        fresh = then <= now + 1e-9 * abs(now)
        if fresh:
            values[:] = trial
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
    profile(values[0], values[4], across)
    profile(values[1], values[5], down)
    _expected(across, down, values[2], values[3], floor, model_light)
    _normal_equations(across, down, values[2], seen, model_light, fisher, score)
    if not elliptic:
        _tie(fisher, score)
    _errors(fisher, size, scale, errors)
    return now, reached


@njit(cache=True, nogil=True)
def _moved(values: Floats, step: Floats, elliptic: bool, trial: Floats) -> None:
    for a in range(2):
        trial[a] = values[a] + min(max(step[a], -1.0), 1.0)
    trial[2] = min(max(values[2] + step[2], 0.3 * values[2]), 3 * values[2])
    trial[3] = max(values[3] + step[3], 0.0)
    for a in (4, 5):
        change = step[a] if elliptic else step[4]
        wider = min(max(values[a] + change, 0.6 * values[a]), 1.6 * values[a])
        trial[a] = min(max(wider, _NARROWEST), _WIDEST)


@njit(cache=True, nogil=True)
def _errors(fisher: Floats, size: int, scale: float, errors: Floats) -> None:
    errors[:] = inf
    variance = np.empty(6)
    if not factor(fisher, size):
        return
    inverse_diagonal(fisher, size, variance)
    for a in range(size):
        errors[a] = sqrt(scale * variance[a])
    if size == _SYMMETRIC:
        errors[5] = errors[4]
