"""Gaps between members are those of the best way from one to another, and keep apart what is plainly apart."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from lucule.cluster import from_affinities
from lucule.cluster.gaps import excess, find_gaps
from lucule.core import Localizations

RNG = np.random.default_rng(8)


def gaps_of(points, error=0.0):
    rows = np.arange(len(points))
    return find_gaps(len(points), [(rows, points.astype(np.float32), np.full(len(points), error, np.float32))])


def disc(centre, points, radius=40.0):
    r, a = radius * np.sqrt(RNG.random(points)), RNG.uniform(0, 2 * np.pi, points)
    return np.asarray(centre) + np.stack([r * np.cos(a), r * np.sin(a)], axis=1)


def weakly_for_one(points, odds=0.5, k=15):
    """A table whose members all are sure, and whose every pair of neighbours speaks weakly for one cluster."""
    distance = cdist(points, points)
    neighbours = np.argsort(distance, axis=1)[:, 1 : k + 1].astype(np.int32)
    probability = np.tile(np.array([0.05, 0.95], np.float32), (len(points), 1))
    return probability, neighbours, np.full(neighbours.shape, odds, np.float32)


@pytest.mark.parametrize("dims", [2, 3])
def test_they_are_those_of_the_way_whose_longest_step_is_shortest(dims):
    points = RNG.normal(0, 100, (60, dims)).astype(np.float32)
    distance = cdist(points, points)
    usual = np.sort(distance, axis=1)[:, 6] + 0.5
    way = np.maximum(distance, np.maximum(usual[:, None], usual))
    for middle in range(60):  # ways through one more point each time (Floyd and Warshall)
        way = np.minimum(way, np.maximum(way[:, middle, None], way[middle]))
    gaps = gaps_of(points)
    found = [[excess(gaps, i, j) for j in range(60) if j != i] for i in range(60)]
    expected = way / np.maximum(usual[:, None], usual)
    np.testing.assert_allclose(found, expected[~np.eye(60, dtype=bool)].reshape(60, 59), rtol=1e-5)


def test_two_discs_with_a_gap_are_two_clusters_and_a_bent_fibre_is_one():
    two = np.concatenate([disc((0, 0), 40), disc((180, 0), 40)])
    locs = Localizations({"x": two[:, 0], "y": two[:, 1]})
    # pairs between the discs need neighbours that reach across
    found = from_affinities(locs, *weakly_for_one(two, k=50), false_discovery_rate=1)["cluster"]
    np.testing.assert_array_equal(found, np.repeat([0, 1], 40))
    angle = np.linspace(0, np.pi, 80)
    fibre = 400 * np.stack([np.cos(angle), np.sin(angle)], axis=1) + RNG.normal(0, 6, (80, 2))
    locs = Localizations({"x": fibre[:, 0], "y": fibre[:, 1]})
    assert not from_affinities(locs, *weakly_for_one(fibre), false_discovery_rate=1)["cluster"].any()


def test_a_gap_within_the_error_is_none():
    molecules = np.array([[0.0, 0.0], [60.0, 0.0], [120.0, 0.0]])
    blinks = np.repeat(molecules, 20, axis=0) + RNG.normal(0, 2, (60, 2))
    columns = {"x": blinks[:, 0], "y": blinks[:, 1]}
    answer = weakly_for_one(blinks, k=45)
    exact = from_affinities(Localizations(columns), *answer, false_discovery_rate=1)["cluster"]
    np.testing.assert_array_equal(exact, np.repeat([0, 1, 2], 20))
    blurred = Localizations(columns | {"x_err": np.full(60, 20.0), "y_err": np.full(60, 20.0)})
    assert not from_affinities(blurred, *answer, false_discovery_rate=1)["cluster"].any()


def test_sure_pairs_are_stronger_than_a_gap():
    two = np.concatenate([disc((0, 0), 40), disc((180, 0), 40)])
    locs = Localizations({"x": two[:, 0], "y": two[:, 1]})
    assert not from_affinities(locs, *weakly_for_one(two, odds=5.0, k=50), false_discovery_rate=1)["cluster"].any()


@pytest.mark.parametrize("points", [0, 1, 2, 6])
def test_nothing_is_known_of_few(points):
    gaps = gaps_of(RNG.normal(0, 100, (points, 2)))
    assert all(excess(gaps, i, j) == 0 for i in range(points) for j in range(points) if i != j)


def test_identical_places_have_no_gap_and_other_patterns_are_none_of_ours():
    assert excess(gaps_of(np.zeros((20, 2))), 3, 17) == 1
    points = np.concatenate([disc((0, 0), 30), disc((0, 0), 30)])
    parts = [np.arange(first, first + 30) for first in (0, 30)]
    gaps = find_gaps(60, [(rows, points[rows].astype(np.float32), np.zeros(30, np.float32)) for rows in parts])
    assert excess(gaps, 3, 29) >= 1
    assert excess(gaps, 3, 33) == 0


def test_bad_errors_are_unknown_errors():
    points = RNG.normal(0, 100, (30, 2)).astype(np.float32)
    bad = find_gaps(30, [(np.arange(30), points, np.array([np.nan, np.inf, 0] * 10, np.float32))])
    np.testing.assert_array_equal(bad.usual_nm, gaps_of(points).usual_nm)
