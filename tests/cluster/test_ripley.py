"""Ripley's functions: weights against geometry and sampling, curves against what is known."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from lucule.cluster import ripley as ripley_function
from lucule.cluster.edge_correction import edges_of, isotropic, overlaps
from lucule.core import InputError, Localizations, Region

SQUARE = Region.rectangle(0, 0, 1000, 1000)
HOLE = [[300, 300], [700, 250], [650, 700], [350, 600]]
HOLED = Region.polygon([[0, 0], [1000, 100], [900, 900], [500, 850], [100, 1000]], holes=[HOLE])


def random_in(region, n, seed=0):
    rng = np.random.default_rng(seed)
    x_min, y_min, x_max, y_max = region.bounds
    points = rng.uniform([x_min, y_min], [x_max, y_max], (8 * n, 2)).astype(np.float32)
    return points[region.contains(points)][:n]


def table(points):
    return Localizations(dict(zip("xyz", np.asarray(points, np.float32).T, strict=False)))


@pytest.mark.parametrize("region", [SQUARE, HOLED])
def test_fraction_of_a_circle_inside(region):
    centres = random_in(region, 200).astype(float)
    radii = np.random.default_rng(1).uniform(5, 500, 200)
    angle = (np.arange(20_000) + 0.5) * 2 * np.pi / 20_000
    expected = [
        shapely.intersects_xy(region.shape, x + r * np.cos(angle), y + r * np.sin(angle)).mean()
        for (x, y), r in zip(centres, radii, strict=True)
    ]
    seen = np.asarray(expected) > 0.01
    np.testing.assert_allclose(isotropic(centres, radii, edges_of(region))[seen], np.array(expected)[seen], atol=5e-4)


def test_circles_that_touch_the_border():
    edges = edges_of(SQUARE)
    centres = np.array([[500.0, 500], [100, 500], [0, 0], [300, 400]])
    # touching all four sides, one side, two sides along their length, and through a corner
    assert isotropic(centres, np.array([500.0, 100, 50, 500]), edges)[:3] == pytest.approx([1, 1, 0.25], abs=1e-9)
    assert 0 < isotropic(centres, np.array([500.0, 100, 50, 500]), edges)[3] < 1


@pytest.mark.parametrize("region", [SQUARE, HOLED])
def test_overlap_of_a_moved_region(region):
    shifts = np.vstack([np.zeros(2), np.random.default_rng(2).uniform(-900, 900, (60, 2)), [[0, 100], [100, 0]]])
    expected = [
        shapely.intersection(region.shape, shapely.transform(region.shape, lambda p, s=shift: p + s)).area
        for shift in shifts
    ]
    np.testing.assert_allclose(overlaps(shifts, edges_of(region)), expected, rtol=1e-9, atol=1e-4)


def brute_force(points, region, radii, correction):
    """K by the formula, every weight from its definition."""
    angle = (np.arange(4000) + 0.5) * 2 * np.pi / 4000
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    total = np.zeros(len(radii))
    for i, p in enumerate(points):
        for j, q in enumerate(points):
            d = np.linalg.norm(p - q)
            if i == j or d > radii[-1]:
                continue
            if correction == "isotropic":
                weight = 1 / shapely.intersects_xy(region.shape, *(p + d * circle).T).mean()
            else:
                moved = shapely.transform(region.shape, lambda v, s=q - p: v + s)
                weight = region.shape.area / region.shape.intersection(moved).area
            total += weight * (d <= radii)
    return total * region.shape.area / (len(points) * (len(points) - 1))


@pytest.mark.parametrize("correction", ["isotropic", "translation"])
@pytest.mark.parametrize("region", [SQUARE, HOLED])
def test_k_is_that_of_its_definition(region, correction):
    points, radii = random_in(region, 40, seed=5), np.array([60.0, 150, 250])
    found = ripley_function(table(points), region=region, radii_nm=radii, correction=correction)
    np.testing.assert_allclose(found.k, brute_force(points.astype(float), region, radii, correction), rtol=3e-3)


@pytest.mark.parametrize("correction", ["isotropic", "translation"])
def test_random_localizations_have_h_of_zero_in_any_region(correction):
    radii = np.array([30.0, 100, 200])
    h, g = [], []
    for seed in range(12):
        result = ripley_function(
            table(random_in(HOLED, 800, seed)), region=HOLED, radii_nm=radii, correction=correction
        )
        h.append(result.h)
        g.append(result.g)
    assert np.abs(np.mean(h, axis=0)).max() < 0.6
    assert np.abs(np.mean(g, axis=0) - 1).max() < 0.02
    # without correction it would be missed by far
    assert ripley_function(table(random_in(HOLED, 800)), region=HOLED, radii_nm=radii, correction="none").h[-1] < -20


def test_clusters_show_at_their_size():
    rng = np.random.default_rng(4)
    parents, sigma = rng.uniform(0, 5000, (150, 2)), 20.0
    points = (np.repeat(parents, 20, axis=0) + rng.normal(0, sigma, (3000, 2))) % 5000
    region = Region.rectangle(0, 0, 5000, 5000)
    result = ripley_function(table(points), region=region, radii_nm=np.arange(5, 205, 5.0))
    # Thomas process: K = pi r^2 + (1 - exp(-r^2 / 4 sigma^2)) / parents per area (Diggle 2013)
    r = result.radii_nm
    expected = np.pi * r**2 + (1 - np.exp(-(r**2) / (4 * sigma**2))) * 25e6 / 150 * 19 / 20
    np.testing.assert_allclose(result.k[8:], expected[8:], rtol=0.12)
    assert 40 < result.peak_nm < 90
    assert result.g[0] > 20
    assert result.g[-1] == pytest.approx(1, abs=0.3)


def test_3d():
    rng = np.random.default_rng(1)
    points = rng.uniform(0, [2000, 2000, 1000], (4000, 3))
    result = ripley_function(table(points), radii_nm=[50, 100, 200], correction="translation")
    assert np.abs(result.h).max() < 2
    assert "k_nm3" in result.table().columns
    with pytest.raises(InputError, match="2D"):
        ripley_function(table(points))


def test_table_and_plot():
    result = ripley_function(table(random_in(SQUARE, 100)), region=SQUARE)
    assert result.table().columns == ["r_nm", "k_nm2", "l_nm", "h_nm", "g", "pairs"]
    assert result.radii_nm[-1] == 250
    for what in "klhg":
        assert len(result.plot(what).lines) == 2
    with pytest.raises(InputError, match="no such function"):
        result.plot("f")


def test_what_cannot_be_used_is_named():
    locs = table(random_in(SQUARE, 30))
    with pytest.raises(InputError, match="ascending"):
        ripley_function(locs, radii_nm=[10, 5])
    with pytest.raises(InputError, match="so far"):
        ripley_function(locs, region=SQUARE, radii_nm=[900])
    two = Region.union([Region.rectangle(0, 0, 400, 1000), Region.rectangle(500, 0, 1000, 1000)])
    with pytest.raises(InputError, match="one piece"):
        ripley_function(locs, region=two)
    with pytest.raises(InputError, match="two localizations"):
        ripley_function(table(np.zeros((1, 2))))
    with pytest.raises(InputError, match="two localizations"):
        ripley_function(table(np.zeros((5, 2))))
    with pytest.raises(InputError, match="several"):
        ripley_function(locs.with_columns(channel=np.arange(30) % 2))
