"""Features: hand-made values, and properties that hold for every input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from lucule.classify import NORMALISATIONS, FeatureSettings, features
from lucule.classify.features import coordinates
from lucule.core import InputError
from lucule.space import NeighbourGrid

D = [3.0, 4.0, 6.0, 12.0]
CASES = [
    ("distances", D, D),
    ("distances_minmax", D, [0, 1 / 9, 3 / 9, 1]),
    ("distances_l2", D, np.array(D) / np.sqrt(205)),
    ("distances_first", D, [1, 4 / 3, 2, 4]),
    ("distances_last", D, [0.25, 1 / 3, 0.5, 1]),
    ("distances_median", D, np.array(D) / 5),
    ("distances_median", [3.0, 4.0, 6.0], [0.75, 1, 1.5]),
    ("differences", D, [3, 1, 2, 6]),
    ("differences_minmax", D, [0.4, 0, 0.2, 1]),
    ("differences_l2", D, np.array([3, 1, 2, 6]) / np.sqrt(50)),
    ("log_densities", D, np.log([0.25 * 16, 0.5 * 9, 0.75 * 4, 1])),
    # duplicates: no NaN
    ("differences_minmax", [0.0, 0.0, 0.0], [0, 0, 0]),
    ("differences_minmax", [2.0, 4.0, 6.0], [0, 0, 0]),
    ("distances_minmax", [5.0, 5.0], [0, 0]),
    ("distances_first", [0.0, 2.0, 4.0], [0, 1, 2]),
    ("distances_l2", [0.0, 0.0], [0, 0]),
    ("distances_median", [0.0, 0.0, 9.0], [0, 0, 0]),
    ("log_densities", [0.0, 0.0, 0.0], [0, 0, 0]),
    ("log_densities", [0.0, 1.0, 2.0], np.log([4 / 3, 8 / 3, 1])),
    # missing neighbours continue the density of the known ones
    ("distances", [2.0, np.inf, np.inf, np.inf], [2, 2 * 2**0.5, 2 * 3**0.5, 4]),
    ("distances", [1.0, 3.0, np.inf], [1, 3, 3 * 1.5**0.5]),
    ("distances", [np.inf, np.inf], [0, 0]),
    ("log_densities", [5.0, np.inf, np.inf], [0, 0, 0]),
]


@pytest.mark.parametrize(("name", "distances", "expected"), CASES)
def test_values_by_hand(name, distances, expected):
    np.testing.assert_allclose(features(np.array([distances], np.float32), name)[0], expected, rtol=1e-6, atol=1e-6)


def test_missing_neighbours_in_three_dimensions():
    row = np.array([[2.0] + [np.inf] * 7], np.float32)
    assert features(row, "distances", dims=3)[0, -1] == pytest.approx(4)


def test_all_names_are_tested():
    assert {name for name, *_ in CASES} == set(NORMALISATIONS)


@pytest.mark.parametrize("name", NORMALISATIONS)
@given(raw=arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.sampled_from(
    [0.0, 0.001, 1.0, 7.5, 7.5, 250.0, 60000.0, np.inf])), dims=st.sampled_from([2, 3]))  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_always_finite_rows_independent_input_untouched(name, raw, dims):
    distances = np.sort(raw, axis=1)
    before = distances.copy()
    result = features(distances, name, dims=dims)
    assert result.shape == distances.shape
    assert result.dtype == np.float32
    assert np.isfinite(result).all()
    assert np.array_equal(before, distances)
    assert np.array_equal(features(distances[-1:], name, dims=dims), result[-1:])
    if name.endswith("minmax"):
        assert result.min() >= 0
        assert result.max() <= 1


@pytest.mark.parametrize("name", [name for name in NORMALISATIONS if name not in ("distances", "differences")])
def test_scaled_features_do_not_know_lengths(name):
    distances = np.sort(np.random.default_rng(0).random((20, 50), np.float32) + 0.01, axis=1)
    np.testing.assert_allclose(features(distances, name), features(512 * distances, name), rtol=1e-4, atol=1e-5)


def test_uniform_points_have_log_densities_around_zero():
    """Within d_j of a point of a Poisson process lie j others: the mean density is the same at every scale."""
    radii = np.sort(np.sqrt(np.random.default_rng(1).random((20000, 50), np.float32)), axis=1)
    assert np.abs(features(radii, "log_densities")[:, 5:].mean(axis=0)).max() < 0.15


def test_empty_input():
    assert features(np.empty((0, 100), np.float32), "differences_minmax").shape == (0, 100)


def test_unknown_normalisation():
    with pytest.raises(InputError, match="differences_minmax"):
        features(np.ones((1, 2), np.float32), "norm-self")
    with pytest.raises(InputError, match="differences_minmax"):
        FeatureSettings.parse({"k": 3, "normalisation": "norm-self"})


def test_coordinates_are_relative_and_scaled():
    rng = np.random.default_rng(0)
    points = (rng.random((50, 3)) * 1000).astype(np.float32)
    distances, indices = NeighbourGrid(points).neighbours(10)
    rows = np.arange(50)
    seen = coordinates(points, rows, indices).reshape(50, 3, 10)
    np.testing.assert_allclose(np.linalg.norm(seen, axis=1), distances / distances[:, -1:], rtol=1e-4)
    # moved, enlarged, in other order
    order = rng.permutation(50)
    other = 3 * points[order] + np.float32(7)
    again = coordinates(other, rows, NeighbourGrid(other).neighbours(10)[1]).reshape(50, 3, 10)
    np.testing.assert_allclose(again, seen[order], atol=1e-4)
    assert FeatureSettings(k=10, normalisation="coordinates", dims=3).width == 30


def test_coordinates_of_few_or_identical_points_are_finite():
    points = np.zeros((3, 2), np.float32)
    assert not coordinates(points, np.arange(3), NeighbourGrid(points).neighbours(5)[1]).any()
    alone = points[:1]
    assert coordinates(alone, np.array([0]), NeighbourGrid(alone).neighbours(2)[1]).tolist() == [[0.0] * 4]
