"""Many sarcomeres: one distance, two, or none; the average."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.core import Localizations
from lucule.structures.sarcomeres import as_movie, average, combine, measure


def test_the_mean_and_its_interval() -> None:
    rng = np.random.default_rng(1)
    inside, found = 0, []
    for _ in range(200):
        error = rng.uniform(2, 6, 12)
        distance = combine(120 + rng.normal(0, 3, 12) + rng.normal(0, error), error)
        if distance.nm is None:
            continue
        found.append(distance.nm)
        inside += distance.interval_nm[0] < 120 < distance.interval_nm[1]
    assert len(found) > 190  # two populations are not seen where there is one
    assert abs(np.mean(found) - 120) < 0.5
    assert inside / len(found) == pytest.approx(0.95, abs=0.04)


def test_two_populations_are_said_and_not_averaged() -> None:
    rng = np.random.default_rng(2)
    nm = np.r_[100 + rng.normal(0, 4, 10), 150 + rng.normal(0, 4, 14)]
    distance = combine(nm, np.full(24, 4.0))
    assert distance.nm is None
    assert "two populations: 1" in distance.reason or "two populations: 9" in distance.reason


@pytest.mark.parametrize(
    ("found", "reason"), [(0, "no double line was found"), (4, "4 double lines were found, and none")]
)
def test_nothing_measured(found, reason) -> None:
    distance = combine(np.empty(0), np.empty(0), found)
    assert distance.nm is None
    assert distance.reason.startswith(reason)


def test_a_single_sarcomere_keeps_its_own_interval() -> None:
    distance = combine(np.array([120.0]), np.array([3.0]))
    assert distance.interval_nm == pytest.approx((114.12, 125.88))
    assert distance.spread_nm is None


@pytest.fixture(scope="module")
def measured():
    rng = np.random.default_rng(3)
    parts, number = [], []
    for k in range(12):
        v = 700 * np.sqrt(rng.random(1500)) * np.cos(rng.uniform(0, 2 * np.pi, 1500))
        xy = np.column_stack([rng.choice([-55, 55], 1500) + rng.normal(0, 12, 1500), v])
        angle = rng.uniform(0, np.pi)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        parts.append(xy @ turn.T + [3000 * k, 0])
        number.append(np.full(1500, k, np.int32))
    xy = np.vstack(parts)
    locs = Localizations(
        {"x": xy[:, 0], "y": xy[:, 1], "x_err": np.full(len(xy), 10.0), "y_err": np.full(len(xy), 10.0)}
    )
    return measure(locs, np.concatenate(number))


def test_the_table_and_the_summary(measured) -> None:
    assert measured.rows.height == 12
    summary = measured.summary()
    assert summary["line_distance_nm"] == pytest.approx(110, abs=1.5)
    low, high = summary["line_distance_nm_interval"]
    assert low < 110 < high
    assert summary["line_length_nm"] == pytest.approx(1400, abs=40)
    assert summary["line_distance_nm_reason"] is None


def test_the_average_is_a_double_line(measured) -> None:
    result = average(measured.aligned)
    assert result.sarcomeres == 12
    assert result.density.sum() * 25e-6 == pytest.approx(1, abs=0.02)
    profile = result.density.sum(axis=0)
    at = (result.u_nm[1:] + result.u_nm[:-1]) / 2
    assert abs(at[at > 0][profile[at > 0].argmax()] - 55) < 12
    assert abs(at[at < 0][profile[at < 0].argmax()] + 55) < 12
    assert result.axial.density.sum() * 5 == pytest.approx(1)
    movie = as_movie(measured.aligned)
    assert len(movie) == measured.aligned.height
    assert movie["frame"].max() // 4 == 11


def test_nothing_is_averaged_from_nothing() -> None:
    locs = Localizations({"x": np.empty(0), "y": np.empty(0)})
    empty = measure(locs, np.empty(0, np.int32))
    assert average(empty.aligned) is None
    assert empty.summary()["line_distance_nm"] is None


def test_background_between_the_lines_is_off_them() -> None:
    rng = np.random.default_rng(9)
    on = np.column_stack([rng.choice([-100.0, 100.0], 3000), rng.uniform(-700, 700, 3000)]) + rng.normal(
        0, 10, (3000, 2)
    )
    between = np.column_stack([rng.uniform(-40, 40, 60), rng.uniform(-700, 700, 60)])
    xy = np.vstack([on, between]) + 2000
    locs = Localizations({"x": xy[:, 0], "y": xy[:, 1], "x_err": np.full(len(xy), 10.0)})
    off = measure(locs, np.zeros(len(xy), np.int32)).off_lines
    assert off[:3000].mean() < 0.01
    assert off[3000:].mean() > 0.95
    assert not measure(locs, np.full(len(xy), -1, np.int32)).off_lines.any()
