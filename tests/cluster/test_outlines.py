"""Outlines of clusters of known shape."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import shapely
from scipy.spatial import cKDTree

from lucule.cluster import outlines as room
from lucule.cluster.outlines import outlines
from lucule.core import SILENT


def lattice(spacing, inside):
    """Places on a square lattice in the area `inside(x, y)`, sorted by y."""
    axis = np.arange(-300, 300 + spacing, spacing)
    y, x = (values.ravel() for values in np.meshgrid(axis, axis, indexing="ij"))
    return np.column_stack([x, y])[inside(x, y)]


def outline(places, radius):
    with SILENT.task("") as task:
        return outlines(places, np.array([0, len(places)]), np.array([float(radius)]), task)[0]


def test_one_place_becomes_a_disc_of_radius_r():
    shape = outline(np.array([[5.0, 7.0]]), 10)
    assert shape.area == pytest.approx(np.pi * 100, rel=0.02)
    assert (shape.centroid.x, shape.centroid.y) == pytest.approx((5, 7))


def test_a_filled_square_grows_by_r():
    places = lattice(10, lambda x, y: (np.abs(x) <= 200) & (np.abs(y) <= 200))
    shape = outline(places, 12)
    # rounded corners; between two border places the erosion reaches back by less than r / 3
    assert 400**2 + 4 * 400 * 8 < shape.area < 400**2 + 4 * 400 * 12 + np.pi * 144
    assert shape.geom_type == "Polygon"


@pytest.mark.parametrize(("hole_radius", "kept"), [(100, True), (45, True), (25, False)])
def test_holes_are_kept_when_they_are_wide(hole_radius, kept):
    places = lattice(10, lambda x, y: (np.hypot(x, y) <= 200) & (np.hypot(x, y) > hole_radius))
    shape = outline(places, 12)
    assert len(shape.interiors) == kept
    if kept:
        area = shapely.Polygon(shape.interiors[0]).area
        assert area == pytest.approx(np.pi * (hole_radius - 12 + 5) ** 2, rel=0.3)


def test_narrow_gaps_of_random_discs_are_no_holes():
    rng = np.random.default_rng(4)
    holes = 0
    for _ in range(60):
        radius, angle = 100 * np.sqrt(rng.random(500)), rng.uniform(0, 2 * np.pi, 500)
        places = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
        spacing = cKDTree(places).query(places, 2)[0][:, 1].mean()
        shape = outline(places[np.argsort(places[:, 1])], 1.2 * spacing)
        holes += shapely.get_num_interior_rings(shapely.get_parts(shape)).sum()
    # by their area 25 of 60 had one
    assert holes <= 3


def test_a_filled_hole_counts_as_area():
    whole = lattice(10, lambda x, y: np.hypot(x, y) <= 200)
    pierced = lattice(10, lambda x, y: (np.hypot(x, y) <= 200) & (np.hypot(x, y) > 25))
    assert outline(pierced, 12).area == pytest.approx(outline(whole, 12).area)


def test_parts_apart_are_one_multipolygon():
    two = np.array([[0.0, 0], [10, 0], [5, 9], [500, 100], [510, 100], [505, 109]])
    shape = outline(two, 10)
    assert shape.geom_type == "MultiPolygon"
    assert len(shape.geoms) == 2


def test_clusters_without_a_radius_have_no_outline(monkeypatch):
    monkeypatch.setattr(room, "_PLACES_PER_CHUNK", 7)
    rng = np.random.default_rng(0)
    n = rng.integers(1, 12, 40)
    starts = np.concatenate([[0], np.cumsum(n)])
    places = np.concatenate([own[np.argsort(own[:, 1])] for own in (rng.normal(0, 10, (k, 2)) for k in n)])
    radius = np.where(np.arange(40) % 3 == 0, np.nan, 4.0)
    counted = []

    class Task:
        def advance(self, amount=1):
            counted.append(amount)

    with nullcontext(Task()) as task:
        shapes = outlines(places, starts, radius, task)
    assert [shape is None for shape in shapes] == np.isnan(radius).tolist()
    assert sum(counted) == 40
    # the same as one by one, whatever the chunks
    for i in (1, 20, 38):
        assert shapes[i].equals(outline(places[starts[i] : starts[i + 1]], 4.0))


def test_every_outline_is_valid_and_holds_its_places():
    rng = np.random.default_rng(5)
    for _ in range(30):
        places = rng.normal(0, 30, (int(rng.integers(3, 200)), 2))
        places = places[np.argsort(places[:, 1])]
        shape = outline(places, 6)
        assert shape.is_valid
        assert shapely.contains_xy(shape, *places.T).all()
