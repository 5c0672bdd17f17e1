"""The area over which localizations lie."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from lucule.cluster.area import occupied_area


def cell():
    """A cell outline of about 110 um2 with three lobes."""
    angle = np.linspace(0, 2 * np.pi, 200)
    radius = 6000 * (1 + 0.15 * np.sin(3 * angle + 1) + 0.08 * np.sin(7 * angle))
    return shapely.Polygon(np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]))


def inside(shape, density_per_um2, rng, half=15_000):
    points = rng.uniform(-half, half, (int(density_per_um2 * (2 * half / 1000) ** 2), 2))
    return points[shapely.contains_xy(shape, *points.T)]


@pytest.mark.parametrize("density_per_um2", [5, 50, 500])
def test_filled_square(density_per_um2):
    points = np.random.default_rng(0).uniform(0, 10_000, (100 * density_per_um2, 2))
    assert occupied_area(points) == pytest.approx(100, rel=0.04)


@pytest.mark.parametrize("density_per_um2", [5, 50, 500])
@pytest.mark.parametrize("background", [0.0, 0.05])
def test_cell_in_an_empty_or_sparse_field(density_per_um2, background):
    rng = np.random.default_rng(1)
    points = inside(cell(), density_per_um2, rng)
    sparse = inside(shapely.box(-15_000, -15_000, 15_000, 15_000).difference(cell()), background * density_per_um2, rng)
    area = occupied_area(np.concatenate([points, sparse]))
    assert area == pytest.approx(cell().area / 1e6, rel=0.04 if background == 0 else 0.1)


def test_uneven_cell():
    points = inside(cell(), 100, np.random.default_rng(2))
    kept = np.random.default_rng(3).random(len(points)) < np.interp(points[:, 0], [-7000, 7000], [0.2, 1])
    assert occupied_area(points[kept]) == pytest.approx(cell().area / 1e6, rel=0.08)


def test_two_cells_far_apart():
    rng = np.random.default_rng(4)
    points = inside(cell(), 50, rng)
    assert occupied_area(np.concatenate([points, points + 100_000])) == pytest.approx(2 * cell().area / 1e6, rel=0.05)


@pytest.mark.parametrize("points", [np.empty((0, 2)), np.zeros((1000, 2)), np.arange(38.0).reshape(19, 2)])
def test_too_few_places(points):
    assert occupied_area(points) is None


def test_order_and_duplicates_do_not_matter():
    rng = np.random.default_rng(5)
    points = inside(cell(), 20, rng)
    again = np.concatenate([points, points[:500]])[rng.permutation(len(points) + 500)]
    assert occupied_area(again) == occupied_area(points)
