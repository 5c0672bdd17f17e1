"""Unions of equal discs against GEOS."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lucule.cluster.discs import ARC_POINTS, unions

POLYGON_OVER_CIRCLE = ARC_POINTS / (2 * np.pi) * np.sin(2 * np.pi / ARC_POINTS)


def sorted_places(points):
    places = np.unique(np.asarray(points, float), axis=0)
    return places[np.lexsort((places[:, 0], places[:, 1]))]


def reference(places, radius):
    return shapely.union_all(shapely.buffer(shapely.points(places), radius, quad_segs=64))


def one_union(places, radius):
    return unions(places, np.array([0, len(places)]), np.array([float(radius)]))[0]


def assert_same(shape, expected):
    # polylines of 32 corners per circle lie inside the true arcs
    assert POLYGON_OVER_CIRCLE - 0.002 < shape.area / expected.area < 1.001
    assert shape.is_valid
    assert shapely.symmetric_difference(shape, expected).area < 0.008 * expected.area


@pytest.mark.parametrize("seed", range(30))
def test_random_places(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 120))
    places = sorted_places(rng.normal(0, 10, (n, 2)) + rng.uniform(-1e5, 1e5, 2))
    for size in (0.5, 2.0, 5.0):
        shape, expected = one_union(places, size), reference(places, size)
        assert_same(shape, expected)
        assert len(shape.geoms) == len(shapely.get_parts(expected))


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.float64, st.tuples(st.integers(1, 40), st.just(2)), elements=st.integers(0, 8).map(float)),
    st.sampled_from([0.5, 1.0, 2**-0.5, 2**0.5, 1.5, 2.0, 2.5, 1.25, 5**0.5, 5**0.5 / 2, 2.4]),
)
def test_places_on_a_lattice(points, radius):
    """Very many circles that touch, and very many through one point."""
    places = sorted_places(points)
    assert_same(one_union(places, radius), reference(places, radius))


def test_hexagonal_lattice_of_touching_discs():
    x, y = np.meshgrid(np.arange(9.0), np.arange(9.0))
    places = sorted_places(np.column_stack([(x + 0.5 * (y % 2)).ravel(), (y * 3**0.5 / 2).ravel()]))
    for radius in (0.5, 3**-0.5, 1.0):
        assert_same(one_union(places, radius), reference(places, radius))


def test_places_that_nearly_coincide():
    places = sorted_places([[0, 0], [0, 1e-12], [1e-9, 0], [3, 0], [3, 1e-8], [500, 500]])
    expected = reference(np.array([[0, 0], [3, 0], [500, 500]]), 5)
    assert_same(one_union(places, 5), expected)


def test_a_ring_has_a_hole_and_two_groups_are_two_parts():
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    ring = 100 * np.column_stack([np.cos(angle), np.sin(angle)])
    places = sorted_places(np.concatenate([ring, ring * 0.1 + [500, 0], [[500.0, 0]]]))
    shape = one_union(places, 20)
    assert sorted(len(part.interiors) for part in shape.geoms) == [0, 1]


def test_clusters_do_not_mix():
    rng = np.random.default_rng(0)
    clusters = [sorted_places(rng.normal(0, 10, (n, 2))) for n in (1, 7, 30, 2)]
    starts = np.cumsum([0, *(len(places) for places in clusters)])
    radius = np.array([3.0, 4.0, 2.0, 50.0])
    shapes = unions(np.concatenate(clusters), starts, radius)
    for shape, places, own in zip(shapes, clusters, radius, strict=True):
        assert shape.equals(one_union(places, own))


def test_no_clusters():
    assert len(unions(np.empty((0, 2)), np.array([0]), np.empty(0))) == 0
