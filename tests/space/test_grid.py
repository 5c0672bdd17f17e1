"""Exact neighbours, against scipy's and by properties that any neighbour search must have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numba import get_num_threads, set_num_threads
from scipy.spatial import cKDTree

from lucule.core import InputError
from lucule.space import NeighbourGrid


def uniform(n, dims, rng):
    return rng.uniform(0, 10_000, (n, dims))


def clusters(n, dims, rng):
    centres = rng.uniform(0, 10_000, (max(n // 100, 1), dims))
    points = centres[rng.integers(len(centres), size=n)] + rng.normal(0, 12, (n, dims))
    return np.where(rng.random((n, 1)) < 0.5, points, rng.uniform(0, 10_000, (n, dims)))


def two_densities(n, dims, rng):
    clump = rng.uniform(0, 10, (n // 2, dims)) + 70_000
    return np.concatenate([clump, rng.uniform(0, 100_000, (n - n // 2, dims))])


def line(n, dims, rng):
    points = np.full((n, dims), 7.0)
    points[:, 0] = rng.uniform(0, 1000, n)
    return points


def lattice(n, dims, rng):
    return rng.integers(0, 12, (n, dims)) * 100.0


def identical(n, dims, rng):
    return np.full((n, dims), 123.25)


def far_from_origin(n, dims, rng):
    return 990_000 + rng.uniform(0, 10_000, (n, dims))


PATTERNS = [uniform, clusters, two_densities, line, lattice, identical, far_from_origin]


def brute_force(points, k):
    """Neighbours by distance and then row, from float32 differences."""
    squared = ((points[:, None] - points[None]) ** 2).sum(axis=2, dtype=np.float32)
    distances = np.sqrt(squared)
    order = np.argsort(distances, axis=1, kind="stable")
    order = order[order != np.arange(len(points))[:, None]].reshape(len(points), -1)[:, :k]
    return np.take_along_axis(distances, order, axis=1), order


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_distances_are_those_of_scipy(pattern, dims):
    points = pattern(3000, dims, np.random.default_rng(1)).astype(np.float32)
    grid = NeighbourGrid(points)
    for k in (1, 10, 130, 1000):
        expected = cKDTree(points.astype(np.float64)).query(points.astype(np.float64), k + 1)[0][:, 1:]
        np.testing.assert_allclose(grid.distances(k), expected, rtol=3e-7)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_neighbours_come_by_distance_and_then_by_row(pattern, dims):
    points = pattern(700, dims, np.random.default_rng(2)).astype(np.float32)
    grid = NeighbourGrid(points)
    for k in (1, 7, 150):
        distances, indices = grid.neighbours(k)
        expected_distances, expected_indices = brute_force(points, k)
        np.testing.assert_allclose(distances, expected_distances, rtol=3e-7)
        np.testing.assert_array_equal(distances, grid.distances(k))
        # numpy may round a sum of three squares differently, so compare the rows where distances are exact in both
        if pattern in (lattice, identical):
            np.testing.assert_array_equal(indices, expected_indices)
        found = np.linalg.norm(points[indices] - points[:, None], axis=2)
        np.testing.assert_allclose(found, distances, rtol=3e-7)
        assert (np.diff(np.sort(indices, axis=1), axis=1) > 0).all()
        assert (indices != np.arange(len(points))[:, None]).all()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_results_do_not_depend_on_order_batches_or_threads(pattern):
    rng = np.random.default_rng(3)
    points = pattern(2500, 2, rng).astype(np.float32)
    expected = NeighbourGrid(points).distances(20)
    shuffled = rng.permutation(len(points))
    np.testing.assert_array_equal(NeighbourGrid(points[shuffled]).distances(20), expected[shuffled])
    for size in (70, 10_000) if pattern is clusters else (700,):
        result = np.full_like(expected, np.nan)
        for rows, distances in NeighbourGrid(points).batches(20, size=size):
            assert len(rows) <= size
            result[rows] = distances
        np.testing.assert_array_equal(result, expected)
    threads = get_num_threads()
    set_num_threads(1)
    try:
        np.testing.assert_array_equal(NeighbourGrid(points).distances(20), expected)
    finally:
        set_num_threads(threads)


def test_neighbour_batches_give_what_neighbours_gives():
    points = clusters(1500, 3, np.random.default_rng(4))
    grid = NeighbourGrid(points)
    distances, indices = grid.neighbours(12)
    seen = 0
    for rows, batch_distances, batch_indices in grid.neighbour_batches(12, size=400):
        np.testing.assert_array_equal(batch_distances, distances[rows])
        np.testing.assert_array_equal(batch_indices, indices[rows])
        seen += len(rows)
    assert seen == len(points)


def test_some_rows_only():
    points = clusters(2000, 2, np.random.default_rng(5)).astype(np.float32)
    grid = NeighbourGrid(points)
    rows = np.array([1999, 3, 3, 1000, 0])
    for k in (1, 50):
        distances, indices = grid.neighbours(k)
        some_distances, some_indices = grid.neighbours(k, rows=rows)
        np.testing.assert_array_equal(some_distances, distances[rows])
        np.testing.assert_array_equal(some_indices, indices[rows])
        np.testing.assert_array_equal(grid.distances(k, rows=rows), distances[rows])
    assert grid.distances(4, rows=[]).shape == (0, 4)


@pytest.mark.parametrize("n", [0, 1, 2, 5, 17])
def test_fewer_points_than_neighbours(n):
    points = np.random.default_rng(6).uniform(0, 100, (n, 2))
    distances, indices = NeighbourGrid(points).neighbours(6)
    assert distances.shape == indices.shape == (n, 6)
    present = max(min(n - 1, 6), 0)
    assert np.isfinite(distances[:, :present]).all()
    assert (indices[:, :present] >= 0).all()
    assert np.isinf(distances[:, present:]).all()
    assert (indices[:, present:] == -1).all()
    assert [len(rows) for rows, _ in NeighbourGrid(points).batches(6, size=3)] == [3] * (n // 3) + [n % 3] * (n % 3 > 0)


def test_a_million_identical_points():
    grid = NeighbourGrid(np.full((1_000_000, 2), 5.0, np.float32))
    distances, indices = grid.neighbours(100, rows=np.arange(0, 1_000_000, 1000))
    assert (distances == 0).all()
    np.testing.assert_array_equal(indices[0], np.arange(1, 101))
    np.testing.assert_array_equal(indices[-1], np.arange(100))
    assert not grid.distances(100, rows=np.arange(200_000)).any()


def test_float64_positions_keep_what_float32_at_their_place_would_lose():
    points = 3e6 + np.random.default_rng(7).uniform(0, 1000, (500, 2))
    expected = cKDTree(points).query(points, 6)[0][:, 1:]
    assert abs(NeighbourGrid(points).distances(5) - expected).max() < 1e-4
    # while positions that float32 holds are taken as they are
    local = points.astype(np.float32)
    np.testing.assert_array_equal(
        NeighbourGrid(local.astype(np.float64)).distances(5), NeighbourGrid(local).distances(5)
    )


@given(
    points=arrays(np.float32, st.tuples(st.integers(2, 60), st.sampled_from([2, 3])), elements=st.integers(-4, 4)),
    k=st.integers(1, 70),
)
@settings(max_examples=60, deadline=None)
def test_ties_and_duplicates(points, k):
    distances, indices = NeighbourGrid(points).neighbours(k)
    expected_distances, expected_indices = brute_force(points, k)
    present = min(k, len(points) - 1)
    np.testing.assert_array_equal(distances[:, :present], expected_distances)
    np.testing.assert_array_equal(indices[:, :present], expected_indices)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_counts_within_a_radius(pattern, dims):
    points = pattern(1000, dims, np.random.default_rng(8)).astype(np.float32)
    distances, _ = brute_force(points, len(points) - 1)
    radii = np.linspace(0, 400, len(points)).astype(np.float32)
    for radius in (0.0, 55.5, radii):
        counts = NeighbourGrid(points).count_within(radius)
        expected = (distances <= np.reshape(radius, (-1, 1))).sum(axis=1)
        # a distance that equals the radius to the last bit may round either way in numpy
        assert (counts == expected).mean() > 0.999


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((4, 4)), "shape \\(4, 4\\)"),
        (np.zeros(4), "shape \\(4,\\)"),
        ([["a", "b"]], "numbers of shape"),
        ([[0.0, np.nan], [1.0, 2.0]], "1 of 2 points are not finite"),
        ([[0.0, np.inf]], "row 0"),
        ([[0.0, 0.0], [1e20, 0.0]], "too far apart"),
    ],
)
def test_points_that_cannot_be_used(points, message):
    with pytest.raises(InputError, match=message):
        NeighbourGrid(points)


@pytest.mark.parametrize("k", [0, -1, 2.5, None, 100_001])
def test_k_out_of_range(k):
    with pytest.raises(InputError, match="1 to 100,000"):
        NeighbourGrid(np.zeros((3, 2))).distances(k)


@pytest.mark.parametrize("rows", [[3], [-1], [0.5], [[0, 1]]])
def test_rows_out_of_range(rows):
    with pytest.raises(InputError, match="Rows"):
        NeighbourGrid(np.zeros((3, 2))).neighbours(1, rows=rows)


@pytest.mark.parametrize("radius", [-1.0, np.nan, [1.0, 2.0]])
def test_radius_out_of_range(radius):
    with pytest.raises(InputError, match="radius"):
        NeighbourGrid(np.zeros((3, 2))).count_within(radius)


def test_batch_size_out_of_range():
    with pytest.raises(InputError, match="batch size"):
        list(NeighbourGrid(np.zeros((3, 2))).batches(1, size=0))


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_points_given_are_left_as_they_are(order):
    points = np.array(clusters(500, 2, np.random.default_rng(9)), np.float32, order=order)
    before = points.copy()
    expected = NeighbourGrid(before.tolist()).distances(3)
    points.flags.writeable = False
    np.testing.assert_array_equal(NeighbourGrid(points).distances(3), expected)
    np.testing.assert_array_equal(points, before)
