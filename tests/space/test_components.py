"""Connected components and distances to chosen points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from lucule.core import InputError
from lucule.space import components, nearest_of


def reference(points, reach):
    """All pairs, in float32 as documented; numbered by first row."""
    squared = np.zeros((len(points), len(points)), np.float32)
    for axis in range(points.shape[1]):
        squared += (points[:, None, axis] - points[None, :, axis]) ** 2
    limit = np.minimum(reach[:, None], reach[None])
    _, labels = connected_components(coo_matrix(np.sqrt(squared) < limit), directed=False)
    member = reach > 0
    _, first, inverse = np.unique(labels[member], return_index=True, return_inverse=True)
    result = np.full(len(points), -1)
    result[member] = np.argsort(np.argsort(first))[inverse]
    return result


def pattern(n, dims, rng):
    centres = rng.uniform(0, 3000, (n // 40, dims))
    points = centres[rng.integers(len(centres), size=n)] + rng.normal(0, 20, (n, dims))
    return np.where(rng.random((n, 1)) < 0.6, points, rng.uniform(0, 3000, (n, dims))).astype(np.float32)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("scale", [3.0, 15.0, 40.0, 200.0])
def test_components_are_those_of_all_pairs(dims, scale):
    rng = np.random.default_rng(1)
    points = pattern(1200, dims, rng)
    reach = (scale * rng.exponential(1.0, len(points))).astype(np.float32)
    reach[rng.random(len(points)) < 0.2] = 0
    np.testing.assert_array_equal(components(points, reach), reference(points, reach))
    np.testing.assert_array_equal(components(points, scale), reference(points, np.full(len(points), scale)))


@given(
    points=arrays(np.float32, st.tuples(st.integers(1, 50), st.sampled_from([2, 3])), elements=st.integers(-4, 4)),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_components_of_points_on_a_lattice(points, data):
    reach = data.draw(arrays(np.float32, len(points), elements=st.sampled_from([0.0, 0.5, 1.0, 1.5, 3.0])))
    np.testing.assert_array_equal(components(points, reach), reference(points, reach))


def test_the_partition_does_not_depend_on_the_order_of_points():
    rng = np.random.default_rng(2)
    points = pattern(5000, 2, rng)
    reach = rng.uniform(0, 40, len(points))
    expected = components(points, reach)
    shuffled = rng.permutation(len(points))
    result = components(points[shuffled], reach[shuffled])
    pairs = np.unique(np.stack([expected[shuffled], result]), axis=1)
    assert len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]
    # numbers count up from 0 in the order of the first row
    _, first = np.unique(result[result >= 0], return_index=True)
    assert (np.diff(first) > 0).all()


def test_reach_is_exclusive_and_mutual():
    points = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 0.0], [15.0, 0.0]])
    np.testing.assert_array_equal(components(points, 10.0), [0, 1, 1, 1])
    np.testing.assert_array_equal(components(points, [100.0, 1.0, 1.0, 100.0]), [0, 1, 1, 0])
    np.testing.assert_array_equal(components(points, [np.nan, 1.0, 0.0, 100.0]), [-1, 0, -1, 1])


def test_dense_points_cost_no_more_than_sparse_ones():
    # 300,000 points in 5 x 5 um that all reach thousands of others, and as many in one place
    points = np.random.default_rng(3).uniform(0, 5000, (300_000, 2)).astype(np.float32)
    assert not components(points, 500.0).any()
    assert not components(np.zeros((300_000, 3)), 1.0).any()
    assert (components(np.zeros((10, 3)), 0.0) == -1).all()


def test_empty_and_single():
    assert components(np.empty((0, 2)), 1.0).shape == (0,)
    np.testing.assert_array_equal(components(np.zeros((1, 2)), 1.0), [0])
    assert nearest_of(np.empty((0, 3)), np.empty(0, bool)).shape == (0,)
    np.testing.assert_array_equal(nearest_of(np.zeros((1, 2)), np.ones(1, bool)), [np.inf])


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("fraction", [0.001, 0.5, 0.999])
def test_nearest_of_is_that_of_scipy(dims, fraction):
    rng = np.random.default_rng(4)
    points = pattern(5000, dims, rng)
    targets = rng.random(len(points)) < fraction
    targets[:2] = True
    near = cKDTree(points[targets]).query(points, 2)[0]
    np.testing.assert_allclose(nearest_of(points, targets), np.where(targets, near[:, 1], near[:, 0]), rtol=3e-7)


def test_nearest_of_identical_points_and_of_nothing():
    points = np.zeros((100_000, 2))
    targets = np.arange(100_000) % 2 == 0
    assert not nearest_of(points, targets).any()
    assert np.isinf(nearest_of(points, np.zeros(100_000, bool))).all()


@pytest.mark.parametrize("reach", [-1.0, [1.0, 2.0], [1.0, 2.0, -1.0]])
def test_reach_out_of_range(reach):
    with pytest.raises(InputError, match="reach"):
        components(np.zeros((3, 2)), reach)


@pytest.mark.parametrize("targets", [[True], [0, 1, 0]])
def test_targets_of_the_wrong_kind(targets):
    with pytest.raises(InputError, match="targets"):
        nearest_of(np.zeros((3, 2)), targets)


def test_a_mixture_of_reaches_does_not_try_all_pairs():
    rng = np.random.default_rng(5)
    points = rng.uniform(0, 50_000, (200_000, 2))
    far = rng.random(len(points)) < 0.3
    found = components(points, np.where(far, np.inf, 1e-3))
    assert (found[far] == found[far][0]).all()
    assert len(np.unique(found)) == (~far).sum() + 1
