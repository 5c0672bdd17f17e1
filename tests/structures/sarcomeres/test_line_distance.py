"""Line distance: against known lines, and where there is nothing to measure."""

from __future__ import annotations

import re

import numpy as np
import pytest

from lucule.core import InputError
from lucule.structures.sarcomeres import LineSettings, line_distance
from lucule.structures.sarcomeres.baselines import corrected, double_gaussian
from lucule.structures.sarcomeres.likelihood import PARAMETERS, linker_nodes, two_lines


def epitopes(rng, distance, *, number=100, repeats=20, error=10.0, width=5.0, length=1400.0, bend=0.0, opening=0.0):
    """Localizations of two lines, several of each epitope, with the number of the epitope."""
    v = rng.uniform(-length / 2, length / 2, number)
    side = rng.choice([-1.0, 1.0], number)
    u = side * (distance / 2 + opening * v / 2) + bend * v**2 / 2000 + rng.normal(0, width, number)
    owner = np.repeat(np.arange(number), rng.poisson(repeats, number))
    xy = np.column_stack([u, v])[owner] + rng.normal(0, error, (len(owner), 2))
    return xy, owner


# lines that overlap cannot tell their width and their distance both
WIDTH_KNOWN = LineSettings(width_nm=5, width_spread=0.25)


def turned(xy, degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return xy @ np.array([[c, s], [-s, c]]) + [5000, 9000]


@pytest.mark.parametrize(("distance", "error"), [(60, 5), (60, 20), (95.6, 10), (120, 25), (158, 10), (200, 15)])
def test_the_distance_is_unbiased_and_its_interval_holds(distance, error) -> None:
    rng = np.random.default_rng(1)
    found, inside = [], []
    for _ in range(30):
        xy, _ = epitopes(rng, distance, error=error)
        fit = line_distance(turned(xy, rng.uniform(0, 360)), error, settings=WIDTH_KNOWN)
        assert fit.reason is None
        found.append(fit.distance_nm - distance)
        inside.append(fit.interval_nm[0] < distance < fit.interval_nm[1])
    assert abs(np.mean(found)) < 1.0 + 2 * np.std(found) / np.sqrt(len(found))
    assert sum(inside) >= 24  # 95 % of 30 are 28.5


def test_blinking_widens_the_interval() -> None:
    rng = np.random.default_rng(2)
    once, _ = epitopes(rng, 120, number=3000, repeats=1)
    often, _ = epitopes(rng, 120, number=60, repeats=50)
    assert line_distance(often, 10.0).error_nm > 3 * line_distance(once, 10.0).error_nm


def test_known_groups_are_counted() -> None:
    xy, owner = epitopes(np.random.default_rng(3), 120)
    by_place, by_group = line_distance(xy, 10.0), line_distance(xy, 10.0, groups=owner)
    assert by_group.blocks > 60
    assert by_group.distance_nm == pytest.approx(by_place.distance_nm)
    assert by_group.error_nm == pytest.approx(by_place.error_nm, rel=0.5)


def test_bend_and_divergence_are_measured() -> None:
    xy, _ = epitopes(np.random.default_rng(4), 120, number=800, bend=0.1, opening=np.radians(4))
    fit = line_distance(turned(xy, 30), 10.0)
    assert abs(fit.bend_per_um) == pytest.approx(0.1, abs=0.03)
    assert abs(fit.divergence_deg) == pytest.approx(4, abs=0.8)
    assert fit.distance_nm == pytest.approx(120, abs=3)


def test_a_short_double_line_is_measured_across_its_lines() -> None:
    xy, _ = epitopes(np.random.default_rng(5), 150, number=200, length=250, error=6)
    fit = line_distance(turned(xy, 70), 6.0)
    assert fit.distance_nm == pytest.approx(150, abs=4)


def test_linkers_of_both_faces_do_not_hide_the_lines() -> None:
    rng = np.random.default_rng(6)
    xy, owner = epitopes(rng, 60, number=400, repeats=10, error=6, width=2)
    xy[:, 0] += 27 * rng.choice([-1, 1], len(owner))
    fit = line_distance(xy, 6.0, settings=LineSettings(linker_nm=27, linker="faces"))
    assert fit.distance_nm == pytest.approx(60, abs=3)


@pytest.mark.parametrize(
    ("xy", "reason"),
    [
        (np.zeros((0, 2)), "0 localizations"),
        (np.zeros((1, 2)), "1 localizations"),
        (np.zeros((400, 2)), "cannot be told apart|too few|converged"),
        (np.random.default_rng(7).normal(0, 12, (800, 2)), "cannot be told apart|too few|single line"),
    ],
)
def test_what_is_no_double_line_has_a_reason(xy, reason) -> None:
    fit = line_distance(xy, 10.0)
    assert fit.reason is not None
    assert np.isnan(fit.distance_nm)
    assert re.search(reason, fit.reason)


def test_a_single_line_has_no_distance() -> None:
    rng = np.random.default_rng(8)
    xy = np.column_stack([rng.normal(0, 11, 3000), rng.uniform(-700, 700, 3000)])
    assert line_distance(xy, 10.0).reason is not None


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(n, 2\)"):
        line_distance(np.zeros((40, 3)))


def test_scores_are_the_gradient() -> None:
    rng = np.random.default_rng(9)
    u, t = rng.normal(0, 60, 200), rng.uniform(-1, 1, 200)
    variance, weight = np.full(200, 80.0), np.ones(200)
    nodes, shares = linker_nodes(10, "faces")
    scores = np.empty((200, PARAMETERS))
    theta = np.array([3.0, 2.0, -4.0, 50.0, 5.0, 2.0, 0.3, -2.0])

    def value(at):
        return two_lines(at, u, t, variance, weight, nodes, shares, 600.0, scores)

    value(theta)
    gradient = -scores.sum(axis=0)
    for i in range(PARAMETERS):
        step = np.zeros(PARAMETERS)
        step[i] = 1e-4
        numeric = (value(theta + step) - value(theta - step)) / 2e-4
        assert gradient[i] == pytest.approx(numeric, rel=1e-4, abs=1e-4)


def test_baselines_agree_where_lines_are_clear_and_fall_short_where_they_overlap() -> None:
    rng = np.random.default_rng(10)
    clear = rng.choice([-80.0, 80.0], 20_000) + rng.normal(0, 15, 20_000)
    assert double_gaussian(clear)[0] == pytest.approx(160, abs=1.5)
    near = rng.choice([-30.0, 30.0], 20_000) + rng.normal(0, 25, 20_000)
    assert double_gaussian(near)[2] < 55  # the maxima of overlapping lines lie nearer to each other
    assert corrected(near, 24.0) == pytest.approx(60, abs=4)
