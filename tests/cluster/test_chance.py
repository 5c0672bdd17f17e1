"""Chance clumps of the background are no clusters."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import poisson

from lucule.cluster import group
from lucule.cluster.chance import expected_by_chance, unlikely
from lucule.cluster.places import distinct
from lucule.cluster.reach import nearest_members
from lucule.core import Localizations
from lucule.space import NeighbourGrid


def eager(points, fraction=0.12):
    """Labels as from a network that finds clusters everywhere: the densest places of whatever there is."""
    near = NeighbourGrid(points).distances(8)[:, -1]
    return (near < np.quantile(near, fraction)).astype(np.uint8)


def grouped(points, label, **options):
    axes = dict(zip("xyz", points.T, strict=False))
    return group(Localizations({**axes, "label": label}), **options)["cluster"]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("n", [500, 5000, 50_000])
def test_a_random_field_has_no_clusters(n, dims):
    points = np.random.default_rng(n).uniform(0, 5000, (n, dims)).astype(np.float32)
    label = eager(points)
    every = grouped(points, label, false_discovery_rate=1).max() + 1
    assert every > n / 200
    assert grouped(points, label).max() + 1 <= 0.02 * every + 1


def test_an_uneven_random_field_has_no_clusters():
    rng = np.random.default_rng(1)
    points = rng.uniform(0, 10_000, (60_000, 2)).astype(np.float32)
    points = points[rng.random(len(points)) < np.interp(points[:, 0], [0, 10_000], [0.05, 1])]
    near = NeighbourGrid(points).distances(100)
    label = (near[:, 7] < 0.22 * near[:, 99]).astype(np.uint8)  # dense for where they are
    every = grouped(points, label, false_discovery_rate=1).max() + 1
    assert every > 100
    assert grouped(points, label).max() + 1 <= 0.02 * every


@pytest.mark.parametrize("size_um", [6, 18])
def test_true_clusters_stay_whatever_the_size_of_the_field(size_um):
    rng = np.random.default_rng(2)
    side = 1000.0 * size_um
    centres = np.stack(np.meshgrid(*[np.arange(500, side, 1000)] * 2), axis=-1).reshape(-1, 2)
    clusters = np.repeat(centres, 12, axis=0) + rng.normal(0, 15, (12 * len(centres), 2))
    free = rng.uniform(0, side, (100 * size_um**2, 2))
    points = np.concatenate([clusters, free]).astype(np.float32)
    label = np.r_[np.ones(len(clusters), np.uint8), eager(points)[len(clusters) :]]
    cluster = grouped(points, label)
    found = np.unique(cluster[: len(clusters)])
    assert len(found[found >= 0]) >= 0.98 * len(centres)
    assert cluster.max() + 1 <= 1.12 * len(centres)


def test_without_background_all_groups_stay():
    rng = np.random.default_rng(3)
    points = np.concatenate([rng.normal(c, 10, (5, 2)) for c in (0, 300, 900)]).astype(np.float32)
    assert grouped(points, np.ones(15, np.uint8)).max() == 2


@pytest.mark.parametrize("dims", [2, 3])
def test_the_expected_number_is_that_of_a_poisson_process(dims):
    rng = np.random.default_rng(4)
    side, n_background, n_group = 2000.0, 4000, 200
    background = distinct(rng.uniform(0, side, (n_background, dims)).astype(np.float32))[0]
    direction = rng.normal(size=(n_group, dims))
    radius = 150 * rng.random((n_group, 1)) ** (1 / dims)
    own = side / 2 + radius * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    members = distinct(own.astype(np.float32))[0]
    volume = {2: np.pi * 150**2, 3: 4 / 3 * np.pi * 150**3}[dims]
    mean = n_background / side**dims * volume
    found = []
    for size in (int(mean + 2 * mean**0.5), int(mean + 6 * mean**0.5)):
        expected = expected_by_chance(
            members, nearest_members(members), np.zeros(n_group, np.int32), np.array([size]), background
        )
        # the volume is estimated from the members, too large by what lies outside of the border
        low, high = ((n_background + n_group) * poisson.sf(size - 2, share * mean) for share in (0.8, 1.6))
        assert low < expected[0] < high
        found.append(expected[0])
    assert found[0] > 3 * found[1]


def test_localizations_at_one_place_are_no_chance():
    background = distinct(np.random.default_rng(5).uniform(0, 1000, (500, 2)).astype(np.float32))[0]
    members = np.array([[500, 500]], np.float32)
    for size, expected in ((1, 501.0), (3, 0.0)):
        got = expected_by_chance(members, nearest_members(members), np.zeros(1, np.int32), np.array([size]), background)
        assert got.tolist() == [expected]


def test_rate():
    expected = np.array([0.0, 0.01, 0.3, 0.35, 3.0, 40.0])
    assert unlikely(expected, 0.1).tolist() == [True, True, True, True, False, False]
    assert unlikely(expected, 0.01).tolist() == [True, True, False, False, False, False]
    assert unlikely(expected, 1.0).all()
    assert unlikely(np.empty(0), 0.1).tolist() == []
    assert unlikely(np.array([5.0]), 0.1).tolist() == [False]
