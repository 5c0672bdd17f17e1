"""DBSCAN and HDBSCAN against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.cluster import scores
from lucule.cluster.methods import Dbscan, Hdbscan, dbscan, hdbscan
from lucule.cluster.methods.hdbscan import hierarchy
from lucule.core import InputError, Localizations
from lucule.space import NeighbourGrid, spanning_tree


def clustered(n, dims, seed):
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, 2000, (max(n // 100, 1), dims))
    points = np.repeat(centres, 50, axis=0) + rng.normal(0, 20, (50 * len(centres), dims))
    points = np.concatenate([points, rng.uniform(0, 2000, (n - len(points), dims)), points[: n // 20]])
    return rng.permutation(points).astype(np.float32)


def table(points):
    return Localizations(dict(zip("xyz", np.asarray(points).T, strict=False)))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("epsilon", "min_points"), [(8, 1), (15, 3), (30, 5), (60, 40), (5000, 5)])
def test_dbscan_is_that_of_scikit_learn(dims, epsilon, min_points):
    from sklearn.cluster import DBSCAN

    points = clustered(1500, dims, seed=dims)
    ours = dbscan(table(points), Dbscan(epsilon_nm=epsilon, min_points=min_points))["cluster"]
    theirs = DBSCAN(eps=epsilon, min_samples=min_points).fit(points)
    assert ((ours >= 0) == (theirs.labels_ >= 0)).all()
    core = np.zeros(len(points), bool)
    core[theirs.core_sample_indices_] = True
    assert scores.rand_index(theirs.labels_[core], ours[core]) == 1
    # a border point belongs to its nearest core
    for row in np.flatnonzero(~core & (ours >= 0))[:50]:
        distance = np.linalg.norm(points[core] - points[row], axis=1)
        assert ours[row] == ours[core][distance.argmin()]


def test_neighbours_at_just_epsilon_count():
    line = table(np.column_stack([np.arange(0, 50, 10.0), np.zeros(5)]))
    assert (dbscan(line, Dbscan(epsilon_nm=10, min_points=3))["cluster"] == 0).all()
    assert (dbscan(line, Dbscan(epsilon_nm=9.99, min_points=3))["cluster"] == -1).all()


def test_dense_data_cost_no_more_memory_than_sparse():
    import tracemalloc

    points = np.random.default_rng(1).uniform(0, 1000, (180_000, 2)).astype(np.float32)
    locs = table(points)
    dbscan(table(points[:1000]), Dbscan())
    tracemalloc.start()
    # 5,600 neighbours each: as lists, 4 GB
    found = dbscan(locs, Dbscan(epsilon_nm=100, min_points=10))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found["cluster"] == 0).all()
    assert peak < 100e6


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("core_points", [1, 5])
def test_the_spanning_tree_is_minimal(dims, core_points):
    from scipy.sparse.csgraph import minimum_spanning_tree
    from scipy.spatial.distance import cdist

    points = np.random.default_rng(4).uniform(0, 100, (300, dims)).astype(np.float32)
    distance = cdist(points, points)
    core = np.sort(distance, axis=1)[:, core_points - 1]
    reach = np.maximum(np.maximum(core[:, None], core[None]), distance)
    expected = np.sort(minimum_spanning_tree(np.where(np.eye(300), 0, reach)).data)
    _, length = hierarchy(points, core_points)
    np.testing.assert_allclose(length, expected, rtol=1e-5)


def test_the_spanning_tree_of_duplicates_joins_them_first():
    first, second, length = spanning_tree(np.array([[0, 0], [5, 0], [0, 0], [5, 0]], np.float32))
    assert sorted(zip(first[:2].tolist(), second[:2].tolist(), strict=True)) == [(0, 2), (1, 3)]
    assert length.tolist() == [0, 0, 5]
    with pytest.raises(InputError, match="core distances"):
        spanning_tree([[0.0, 0.0]], core=-1)


@pytest.mark.parametrize("selection", ["lasting", "leaves"])
@pytest.mark.parametrize("dims", [2, 3])
def test_hdbscan_without_ties_is_that_of_scikit_learn(dims, selection):
    from sklearn.cluster import HDBSCAN

    rng = np.random.default_rng(7)
    centres = rng.uniform(0, 2000, (12, dims))
    points = np.concatenate(
        [np.repeat(centres, 30, axis=0) + rng.normal(0, 20, (360, dims)), rng.uniform(0, 2000, (200, dims))]
    )
    points = points.astype(np.float32)
    method = {"lasting": "eom", "leaves": "leaf"}[selection]
    theirs = HDBSCAN(min_cluster_size=8, min_samples=1, cluster_selection_method=method, copy=True).fit_predict(points)
    ours = hdbscan(table(points), Hdbscan(min_points=8, core_points=1, selection=selection))["cluster"]
    assert scores.rand_index(theirs, ours) == 1


def test_hdbscan_with_ties_comes_near_that_of_scikit_learn():
    from sklearn.cluster import HDBSCAN

    points = clustered(2000, 2, seed=3)
    theirs = HDBSCAN(min_cluster_size=15, copy=True).fit_predict(points)
    ours = hdbscan(table(points), Hdbscan(min_points=15))["cluster"]
    assert scores.rand_index(theirs, ours) > 0.9
    assert abs((ours < 0).mean() - (theirs < 0).mean()) < 0.03


def test_what_is_joined_at_one_distance_falls_apart_at_once():
    # on a lattice all distances are equal: one cluster falls into single points, whatever the order of the joints
    lattice = np.stack(np.meshgrid(np.arange(8.0), np.arange(8.0)), -1).reshape(-1, 2)
    two = np.concatenate([lattice, lattice + 100])
    assert hdbscan(table(two), Hdbscan(min_points=5))["cluster"].tolist() == [0] * 64 + [1] * 64


def test_enough_neighbours_is_what_counting_says():
    points = clustered(1200, 2, seed=9)
    grid = NeighbourGrid(points)
    for radius, wanted in ((10, 1), (30, 7), (200, 300), (0, 1)):
        assert (grid.has_within(radius, wanted) == (grid.count_within(radius) >= wanted)).all()
