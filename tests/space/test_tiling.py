"""Tiles: every point once, and the right neighbours around them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lucule.core import InputError, Localizations
from lucule.space import NeighbourGrid, tiles

POINTS = arrays(
    np.float32,
    st.tuples(st.integers(0, 40), st.sampled_from([2, 3])),
    elements=st.floats(-1000, 1000, width=32),
)


@given(points=POINTS, size=st.sampled_from([50.0, 333.3, 5000.0]), halo=st.sampled_from([0.0, 20.0, 400.0]))
@settings(max_examples=80, deadline=None)
def test_every_point_once_and_the_halo_around(points, size, halo):
    found = list(tiles(points, size, halo))
    inside = np.concatenate([tile.inside for tile in found]) if found else np.empty(0)
    np.testing.assert_array_equal(np.sort(inside), np.arange(len(points)))
    for tile in found:
        x_min, y_min, x_max, y_max = tile.bounds
        assert x_max - x_min == pytest.approx(size)
        x, y = points[:, 0].astype(float), points[:, 1].astype(float)
        within = (x >= x_min) & (x < x_max) & (y >= y_min) & (y < y_max)
        np.testing.assert_array_equal(tile.inside, np.flatnonzero(within))
        gap = np.hypot(np.maximum(np.maximum(x_min - x, x - x_max), 0), np.maximum(np.maximum(y_min - y, y - y_max), 0))
        near = (gap <= halo) & ~within & (halo > 0)
        np.testing.assert_array_equal(tile.halo, np.flatnonzero(near))


def test_a_halo_as_wide_as_the_search_gives_the_result_of_the_whole():
    points = np.random.default_rng(1).uniform(0, 2000, (4000, 2)).astype(np.float32)
    expected = NeighbourGrid(points).distances(8)
    for size in (150.0, 700.0):
        result = np.empty_like(expected)
        for tile in tiles(points, size, halo_nm=float(expected.max())):
            rows = np.concatenate([tile.inside, tile.halo])
            result[tile.inside] = NeighbourGrid(points[rows]).distances(8, rows=np.arange(len(tile.inside)))
        np.testing.assert_array_equal(result, expected)


def test_a_table_and_its_positions_give_the_same_tiles():
    points = np.random.default_rng(2).uniform(0, 900, (50, 2)).astype(np.float32)
    from_table = list(tiles(Localizations({"x": points[:, 0], "y": points[:, 1]}), 100.0, 30.0))
    for a, b in zip(from_table, tiles(points, 100.0, 30.0), strict=True):
        np.testing.assert_array_equal(a.inside, b.inside)
        np.testing.assert_array_equal(a.halo, b.halo)
        assert a.bounds == b.bounds


def test_tiny_tiles_over_a_wide_field():
    points = np.array([[0.5, 0.5], [9e5, 9e5], [0.6, 0.5]])
    found = list(tiles(points, 1.0, 5.0))
    assert [tile.inside.tolist() for tile in found] == [[0, 2], [1]]


@pytest.mark.parametrize(
    ("size", "halo", "message"),
    [(0.0, 1.0, "tile size"), (np.inf, 1.0, "tile size"), (np.nan, 1.0, "tile size"), (1.0, -1.0, "halo")],
)
def test_sizes_out_of_range(size, halo, message):
    with pytest.raises(InputError, match=message):
        tiles(np.zeros((2, 2)), size, halo)


def test_positions_that_are_not_finite():
    with pytest.raises(InputError, match="not finite"):
        tiles([[0.0, np.nan]], 10.0)


def test_points_on_the_edges_of_tiles_and_halos():
    edges = np.arange(-200, 200) * 0.1
    points = np.column_stack([edges, np.zeros_like(edges)])
    for tile in tiles(points, 0.1, 0.3):
        assert tile.bounds[0] <= edges[tile.inside[0]] < tile.bounds[2]
    [left, _] = tiles([[550.0, 0.0], [1000.0, 0.0]], 50.0, 400.0)
    assert left.halo.tolist() == [1]
