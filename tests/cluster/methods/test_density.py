"""The methods that look at local density, each against its definition."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from lucule.cluster.cells import cells
from lucule.cluster.methods import Focal, Getis, Tomato, Voronoi, find_clusters, focal, getis, tomato, voronoi
from lucule.cluster.methods.common import Sample
from lucule.cluster.methods.getis import local_l
from lucule.cluster.methods.kernel import density
from lucule.cluster.methods.tomato import heights
from lucule.core import InputError, Localizations, Region


def table(points):
    return Localizations(dict(zip("xyz", np.asarray(points, np.float32).T, strict=False)))


def uniform(n, dims=2, seed=0, size=1000):
    return np.random.default_rng(seed).uniform(0, size, (n, dims)).astype(np.float32)


def sample(points, region=None):
    points = np.asarray(points, np.float32)
    return Sample(points, np.zeros_like(points), region)


# Getis and Franklin


def test_local_l_of_random_localizations_is_the_radius_everywhere():
    holed = Region.polygon([[0, 0], [1000, 0], [1000, 1000], [0, 1000]], holes=[[[400, 400], [600, 400], [500, 600]]])
    values = []
    for seed in range(6):
        points = uniform(3000, seed=seed)
        points = points[holed.contains(points)]
        values.append((points, local_l(sample(points, holed), 60)))
    points, squared = np.concatenate([p for p, _ in values]), np.concatenate([v**2 for _, v in values])
    edge = (points < 60).any(axis=1)
    assert squared.mean() == pytest.approx(3600, rel=0.01)
    assert squared[edge].mean() == pytest.approx(3600, rel=0.07)
    # uncorrected, corners and sides would look empty
    bare = local_l(sample(points[: len(values[0][0])], holed), 60, edge_correction=False)
    assert (bare[edge[: len(bare)]] ** 2).mean() < 2900


def test_local_l_is_that_of_its_definition():
    points = np.array([[100.0, 100], [110, 100], [100, 130], [800, 800]])
    region = Region.rectangle(0, 0, 1000, 1000)
    expected = np.sqrt(1e6 * np.array([2, 1, 1, 0]) / (np.pi * 3))
    np.testing.assert_allclose(local_l(sample(points, region), 30), expected, rtol=1e-6)
    # 110 nm from the sides, a neighbour at 200 nm: part of the circle lies outside on both sides
    two = np.array([[110.0, 110.0], [310.0, 110.0]])
    outside = 2 * np.arccos(110 / 200)
    # both arcs outside overlap beyond the corner
    overlap = max(0.0, outside - np.pi / 2)
    fraction = (2 * np.pi - 2 * outside + overlap) / (2 * np.pi)
    assert local_l(sample(two, region), 250)[0] == pytest.approx(np.sqrt(1e6 / fraction / np.pi))


def test_getis_threshold():
    points = np.concatenate([uniform(400), np.random.default_rng(5).normal(500, 10, (60, 2))])
    cluster = getis(table(points), Getis(radius_nm=40, threshold_nm=100), region=Region.rectangle(0, 0, 1000, 1000))
    assert cluster["label"][400:].mean() > 0.95
    assert cluster["label"][:400].mean() < 0.1


# kernel density


@pytest.mark.parametrize("dims", [2, 3])
def test_kernel_density_is_the_sum_of_all_kernels(dims):
    points = uniform(300, dims, size=200)
    squared = ((points[:, None] - points[None]).astype(float) ** 2).sum(-1)
    kernels = np.exp(-squared / (2 * 15**2)) * ~np.eye(300, dtype=bool) / (2 * np.pi * 15**2) ** (dims / 2)
    # 4 standard deviations hold nearly all
    np.testing.assert_allclose(density(points, 15), kernels.sum(axis=1), rtol=0.004 if dims == 2 else 0.02)


# Voronoi


@pytest.mark.parametrize("region", [None, Region.polygon([[-20, 0], [1020, 100], [900, 1000], [500, 800], [50, 1000]],
                                                         holes=[[[200, 300], [500, 250], [400, 600]]])])  # fmt: skip
def test_areas_of_cells_are_those_of_shapely(region):
    points = np.concatenate([uniform(300, seed=2), np.random.default_rng(1).normal(300, 4, (100, 2))]).astype(float)
    if region is not None:
        points = points[region.contains(points)]
    low, high = (np.zeros(2), np.full(2, 1000.0)) if region is None else np.array(region.bounds).reshape(2, 2)
    box = shapely.box(*low, *high)
    polygons = shapely.voronoi_polygons(shapely.MultiPoint(points), extend_to=shapely.box(-9e3, -9e3, 9e3, 9e3)).geoms
    window = box if region is None else region.shape
    tree = shapely.STRtree(polygons)
    which = tree.query(shapely.points(points), predicate="within")
    expected = np.empty(len(points))
    expected[which[0]] = [shapely.intersection(polygons[i], window).area for i in which[1]]
    found = cells(points, low, high, region)
    np.testing.assert_allclose(found.sizes, expected, rtol=1e-6, atol=1e-3)
    assert found.sizes.sum() == pytest.approx(window.area)


def test_volumes_of_cells():
    from scipy.spatial import ConvexHull
    from scipy.spatial import Voronoi as Diagram

    points = np.random.default_rng(3).uniform(0, 100, (200, 3))
    found = cells(points, np.zeros(3), np.full(3, 100.0))
    assert found.sizes.sum() == pytest.approx(1e6)
    diagram = Diagram(points)
    whole = 0
    for row, place in enumerate(diagram.point_region):
        corners = diagram.regions[place]
        if -1 not in corners and ((diagram.vertices[corners] > 0) & (diagram.vertices[corners] < 100)).all():
            assert found.sizes[row] == pytest.approx(ConvexHull(diagram.vertices[corners]).volume)
            whole += 1
    assert whole > 20
    pairs = {tuple(sorted(pair)) for pair in diagram.ridge_points.tolist()}
    assert {tuple(pair) for pair in found.touching.tolist()} <= pairs


def test_a_lattice_has_equal_cells():
    for dims in (2, 3):
        lattice = np.stack(np.meshgrid(*[np.arange(6) * 10.0 + 5] * dims), -1).reshape(-1, dims)
        np.testing.assert_allclose(cells(lattice, np.zeros(dims), np.full(dims, 60.0)).sizes, 10.0**dims)


def test_no_cells_on_a_line():
    line = np.column_stack([np.arange(9.0), 2 * np.arange(9.0)])
    assert cells(line, np.zeros(2), np.array([9.0, 18.0])) is None
    assert (voronoi(table(line))["cluster"] == -1).all()


@pytest.mark.parametrize("threshold", ["mean_density", "random"])
@pytest.mark.parametrize("dims", [2, 3])
def test_voronoi_thresholds(threshold, dims):
    points = np.concatenate([uniform(600, dims), np.random.default_rng(5).normal(500, 15, (100, dims))])
    settings = Voronoi(threshold=threshold, min_points=20, density_factor=4)
    found = voronoi(table(points), settings)["label"]
    assert found[600:].mean() > 0.8
    assert found[:600].mean() < 0.1


def test_random_localizations_have_no_clusters_against_random_ones():
    settings = Voronoi(threshold="random", min_points=1)
    found = [voronoi(table(uniform(500, seed=seed)), settings)["label"].any() for seed in range(10)]
    assert np.mean(found) <= 0.2
    # while a multiple of the mean density always finds some
    assert voronoi(table(uniform(500)), Voronoi(min_points=1))["label"].any()


def test_localizations_at_one_place_share_its_cell():
    points = np.concatenate([uniform(50), np.repeat([[500.0, 500.0]], 10, axis=0)])
    found = voronoi(table(points), Voronoi(min_points=10))
    assert (found["cluster"][50:] == found["cluster"][50]).all()
    assert found["label"][50] == 1


# ToMATo


def test_two_hills_are_one_if_the_saddle_is_high():
    rng = np.random.default_rng(2)
    hills = np.concatenate([rng.normal([300, 300], 20, (150, 2)), rng.normal([370, 300], 20, (150, 2))])
    low, high = (tomato(table(hills), Tomato(radius_nm=20, persistence=p))["cluster"] for p in (10, 60))
    assert len(np.unique(low[low >= 0])) == 2
    assert len(np.unique(high[high >= 0])) <= 1
    # the border between them lies at the saddle
    assert abs(hills[low == 0, 0].mean() - hills[low == 1, 0].mean()) > 50


def test_hills_by_brute_force():
    """The published algorithm, by lists of neighbours."""
    points = np.round(np.random.default_rng(8).normal(0, 40, (250, 2)), 1).astype(np.float32)
    radius, tau = 15.0, 3.0
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    height = (distance <= radius).sum(axis=1) - 1
    order = np.lexsort([points[:, 0], points[:, 1], -height])
    parent = {}

    def peak(i):
        while parent[i] != i:
            i = parent[i]
        return i

    for i in order:
        around = [j for j in order if j in parent and distance[i, j] <= radius]
        parent[i] = peak(around[0]) if around else i
        for j in around:
            a, b = peak(i), peak(j)
            a, b = (a, b) if list(order).index(a) < list(order).index(b) else (b, a)
            if a != b and height[b] - height[i] < tau:
                parent[b] = a
    expected = np.array([peak(i) if height[peak(i)] >= tau else -1 for i in range(250)])
    found = tomato(table(points), Tomato(radius_nm=radius, persistence=tau, min_points=1))["cluster"]
    assert {frozenset(np.flatnonzero(found == c)) for c in np.unique(found)} == {
        frozenset(np.flatnonzero(expected == c)) for c in np.unique(expected)
    }


@pytest.mark.parametrize("dims", [2, 3])
def test_all_densities_count_localizations_within_the_radius(dims):
    points = uniform(8000, dims, size=1000 if dims == 2 else 300)
    inner = ((points > 100) & (points < points.max() - 100)).all(axis=1)
    means = [
        heights(points, Tomato(radius_nm=60, density=kind, neighbours=60))[inner].mean()
        for kind in ("count", "nearest", "distance_to_measure")
    ]
    assert means == pytest.approx([means[0]] * 3, rel=0.06)


# FOCAL


def test_focal_by_hand():
    # pixels of 10 nm from the outermost localizations: three, one and three in a row, and two of them far away
    x = [0, 1, 2, 15, 20, 21, 22, 100, 101]
    locs = table(np.column_stack([np.array(x, float), np.zeros(9)]))
    # densities 4, 7, 4, 2: at 5 the middle is a core and both others are borders
    assert focal(locs, Focal(pixel_nm=10, min_density=5, min_pixels=3))["cluster"].tolist() == [0] * 7 + [-1, -1]
    assert (focal(locs, Focal(pixel_nm=10, min_density=5, min_pixels=4))["cluster"] == -1).all()
    assert focal(locs, Focal(pixel_nm=10, min_density=2, min_pixels=1))["cluster"].tolist() == [0] * 7 + [1, 1]


def test_focal_pixels_connect_by_their_sides():
    corner = np.concatenate([np.full((5, 2), 5.0), np.full((5, 2), 15.0), [[0, 0]]])
    assert focal(table(corner), Focal(pixel_nm=10, min_density=4, min_pixels=1))["cluster"].max() == 1


def test_focal_of_a_grid_that_cannot_be_counted():
    for pixel in (1e-5, 1e-30):
        with pytest.raises(InputError, match="pixels"):
            find_clusters(table([[0.0, 0], [1e6, 1e6]]), "focal", pixel_nm=pixel)
