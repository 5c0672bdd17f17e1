"""The climb to the maximum of the likelihood: against a library's, from the same starts, within the same bounds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from lucule.structures.sarcomeres.climb import bounds, climb, scan
from lucule.structures.sarcomeres.intervals import LineSettings, before
from lucule.structures.sarcomeres.likelihood import HALF, LOG_WIDTH, PARAMETERS, two_lines

NODES, SHARES = np.zeros(1), np.ones(1)
WINDOW = 600.0


def double_line(rng, distance, *, n=1500, width=12.0, background=0.05):
    u = rng.choice([-distance / 2, distance / 2], n) + rng.normal(0, width, n)
    stray = rng.random(n) < background
    u[stray] = rng.uniform(-WINDOW / 2, WINDOW / 2, stray.sum())
    return u, rng.uniform(-1, 1, n), np.full(n, 64.0)


def start_at(half, settings):
    start = before(settings)[0].copy()
    start[HALF] = half
    return start


def by_scipy(start, free, settings, count, u, t, variance):
    """Value and parameters by L-BFGS-B."""
    (lower, upper), (expected, sd) = bounds(settings.reach_nm), before(settings)
    unit = np.where(np.isin(np.arange(PARAMETERS), np.arange(HALF + 2)), 10.0, 1.0)
    scores, weight = np.empty((len(u), PARAMETERS)), np.full(len(u), 1 / len(u))

    def value(scaled):
        theta = start.copy()
        theta[free] = scaled * unit[free]
        away = (theta - expected) / sd
        total = two_lines(theta, u, t, variance, weight, NODES, SHARES, WINDOW, scores)
        gradient = away / sd / count - scores.sum(axis=0)
        return total + 0.5 * away @ away / count, (gradient * unit)[free]

    found = minimize(
        value, start[free] / unit[free], jac=True, method="L-BFGS-B", options={"ftol": 1e-12, "gtol": 1e-7},
        bounds=list(zip(lower[free] / unit[free], upper[free] / unit[free], strict=True)),
    )  # fmt: skip
    theta = start.copy()
    theta[free] = found.x * unit[free]
    return found.fun, theta


@pytest.mark.parametrize("distance", [40, 80, 120, 200])
@pytest.mark.parametrize("spread", [0.1, 0.6])
def test_the_maximum_is_that_of_another_method(distance, spread) -> None:
    rng = np.random.default_rng(distance)
    data = double_line(rng, distance)
    settings = LineSettings(width_spread=spread)
    free = np.arange(PARAMETERS)
    for half in (0.35 * distance, 0.5 * distance, 0.6 * distance):
        start = start_at(half, settings)
        value, theta = climb(start, free, *bounds(300.0), *before(settings), 25.0, *data, NODES, SHARES, WINDOW)
        expected, there = by_scipy(start, free, settings, 25.0, *data)
        assert value == pytest.approx(expected, abs=1e-7)
        assert theta[HALF] == pytest.approx(there[HALF], abs=0.01)
        assert theta[LOG_WIDTH] == pytest.approx(there[LOG_WIDTH], abs=1e-3)


def test_parameters_stay_within_bounds_and_fixed_ones_where_they_are() -> None:
    rng = np.random.default_rng(3)
    u, t, variance = rng.normal(0, 2, 400), rng.uniform(-1, 1, 400), np.full(400, 64.0)
    settings = LineSettings(width_nm=20, width_spread=2.0)
    free = np.array([0, 3, 5, 6, 7])
    lower, upper = bounds(300.0)
    _, theta = climb(start_at(30.0, settings), free, lower, upper, *before(settings), 20.0, u, t, variance, NODES,
                     SHARES, WINDOW)  # fmt: skip
    assert (theta >= lower).all()
    assert (theta <= upper).all()
    assert theta[[1, 2, 4]].tolist() == [0, 0, 0]
    # narrower than the errors of its localizations: as narrow as a line may be
    assert theta[LOG_WIDTH] == pytest.approx(lower[LOG_WIDTH], abs=1.5)


def test_the_best_start_is_where_the_lines_are() -> None:
    u, _, variance = double_line(np.random.default_rng(4), 90)
    halves, middles = np.array([20.0, 45.0, 80.0]), np.array([-40.0, 0.0, 40.0])
    losses = scan(start_at(0.0, LineSettings()), halves, middles, u, variance, NODES, SHARES, WINDOW)
    assert np.unravel_index(losses.argmin(), losses.shape) == (1, 1)
    # the value of the likelihood itself
    theta = start_at(45.0, LineSettings())
    scores, weight = np.empty((len(u), PARAMETERS)), np.full(len(u), 1 / len(u))
    value = two_lines(theta, u, np.zeros(len(u)), variance, weight, NODES, SHARES, WINDOW, scores)
    assert losses[1, 1] == pytest.approx(value, rel=1e-9)
