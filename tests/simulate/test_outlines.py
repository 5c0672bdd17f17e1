"""Outlines: area, inside and margin agree with each other and with the polygon."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.simulate import Cell, Square


@pytest.fixture(params=[1, 2, 3])
def cell(request):
    return Cell.draw(np.random.default_rng(request.param), centre_nm=(20000, 21000), radius_nm=(10000, 14000))


def test_cell_spans_the_radii(cell):
    assert cell.radii_nm.min() == pytest.approx(10000)
    assert cell.radii_nm.max() == pytest.approx(14000)
    assert np.abs(np.diff(cell.radii_nm)).max() < 150  # a closed, smooth outline
    assert abs(cell.radii_nm[0] - cell.radii_nm[-1]) < 150


def test_cell_and_its_polygon_agree(cell):
    region = cell.region()
    assert region.area_um2 == pytest.approx(cell.area_um2, rel=1e-4)
    points = np.random.default_rng(0).uniform(5000, 36000, (20000, 2))
    assert (cell.contains(points) != region.contains(points)).mean() < 1e-3


def test_circle():
    circle = Cell((0.0, 0.0), np.full(1440, 5000.0))
    assert circle.area_um2 == pytest.approx(np.pi * 25)
    angles = np.linspace(-np.pi, np.pi, 1001)
    ring = np.column_stack([np.cos(angles), np.sin(angles)])
    assert circle.contains(ring * 4999.99).all()
    assert not circle.contains(ring * 5000.01).any()


@pytest.mark.parametrize("margin", [5, 100, 1500])
def test_shrunk_cell_keeps_its_distance(cell, margin):
    inside = cell.shrunk(margin).uniform(np.random.default_rng(0), 500)
    angles = np.linspace(0, 2 * np.pi, 64)
    ring = margin * np.column_stack([np.cos(angles), np.sin(angles)])
    assert cell.contains((inside[:, None] + 0.999 * ring).reshape(-1, 2)).all()


def test_points_are_uniform(cell):
    points = cell.uniform(np.random.default_rng(0), 50_000)
    assert cell.contains(points).all()
    left = points[:, 0] < 20000
    region = cell.region()
    half = region.shape.intersection(Square((0.0, 0.0), 20000.0).region().shape.union(
        Square((0.0, 20000.0), 20000.0).region().shape)).area / region.shape.area  # fmt: skip
    assert left.mean() == pytest.approx(half, abs=4 * 0.5 / np.sqrt(50_000))


def test_square():
    square = Square((0.0, 0.0), 1000.0)
    assert square.area_um2 == 1
    assert square.shrunk(100).bounds_nm == (100, 100, 900, 900)
    assert square.shrunk(600).area_um2 == 0
