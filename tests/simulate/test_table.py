"""Simulated tables agree with their scenario, statistically and at the boundaries."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import cKDTree

from lucule.core import InputError
from lucule.simulate import Scenario, field_outline, load, simulate

CLUSTERED = Scenario(density_per_um2=100, points_per_cluster=20, fraction_clustered=0.5, radius_nm=60)
CASES = [
    CLUSTERED,
    CLUSTERED.replace(shape="gaussian"),
    CLUSTERED.replace(dims=3, radius_nm=100),
    CLUSTERED.replace(dims=3, radius_nm=100, shape="gaussian"),
    CLUSTERED.replace(outline="square", field_size_um=20),
    CLUSTERED.replace(fraction_clustered=1.0),
    CLUSTERED.replace(fraction_clustered=0.0),
]


def offsets_from_centres(locs, dims):
    """Positions of clustered points relative to the mean of their cluster, corrected for its own scatter."""
    points = locs.xyz()[:, :dims].astype(float)
    cluster = locs["true_cluster"]
    clustered = cluster >= 0
    count = np.bincount(cluster[clustered])
    centres = np.column_stack([np.bincount(cluster[clustered], points[clustered, d]) / count for d in range(dims)])
    n = count[cluster[clustered]][:, None]
    return (points[clustered] - centres[cluster[clustered]]) / np.sqrt(1 - 1 / n)


@pytest.mark.parametrize("scenario", CASES, ids=repr)
def test_numbers_are_those_asked(scenario):
    locs = simulate(scenario, seed=3)
    area = field_outline(scenario, seed=3).area_um2
    assert len(locs) / area == pytest.approx(scenario.density_per_um2, abs=scenario.points_per_cluster / area)
    assert locs["true_label"].mean() == pytest.approx(scenario.fraction_clustered, abs=1e-3)
    cluster = locs["true_cluster"]
    assert np.array_equal(cluster >= 0, locs["true_label"] == 1)
    assert set(np.bincount(cluster[cluster >= 0])) <= {scenario.points_per_cluster}
    assert locs["true_label"].dtype == np.uint8
    assert cluster.dtype == np.int32
    assert ("z" in locs) == (scenario.dims == 3)


@pytest.mark.parametrize(("dims", "expected"), [(2, 2 / 3), (3, 3 / 4)])
def test_discs_and_spheres_are_uniform(dims, expected):
    """The mean distance from the centre is 2/3 R in 2D and 3/4 R in 3D, and u = (r/R)^dims is uniform."""
    scenario = Scenario(density_per_um2=2500, points_per_cluster=2000, fraction_clustered=0.5, radius_nm=200, dims=dims)
    locs = simulate(scenario, seed=5)
    r = np.linalg.norm(offsets_from_centres(locs, dims), axis=1) / 200
    assert r.mean() == pytest.approx(expected, abs=0.005)
    assert stats.kstest(r[::50] ** dims, "uniform").pvalue > 1e-3
    assert r.max() < 1.1  # centres are known only through their points


def test_angles_are_uniform():
    scenario = Scenario(density_per_um2=500, points_per_cluster=500, fraction_clustered=0.5, radius_nm=100)
    x, y = offsets_from_centres(simulate(scenario, seed=2), 2).T
    assert stats.kstest(np.arctan2(y, x)[::10], stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3


@pytest.mark.parametrize(("dims", "sigma"), [(2, 60 / 2), (3, 60 / np.sqrt(5))])
def test_gaussian_clusters_have_the_stated_sigma(dims, sigma):
    locs = simulate(CLUSTERED.replace(shape="gaussian", dims=dims), seed=1)
    offsets = offsets_from_centres(locs, dims)
    np.testing.assert_allclose(offsets.std(axis=0), sigma, rtol=0.02)
    # 20 points share a mean, so single offsets are normal only after the correction for it
    assert stats.kstest(offsets[::19, 0] / sigma, "norm").pvalue > 1e-3


@pytest.mark.parametrize("dims", [2, 3])
def test_disc_and_gaussian_have_the_same_radius_of_gyration(dims):
    disc, gaussian = (
        np.mean(offsets_from_centres(simulate(CLUSTERED.replace(shape=s, dims=dims), seed=1), dims) ** 2)
        for s in ("disc", "gaussian")
    )
    assert disc == pytest.approx(gaussian, rel=0.03)


@pytest.mark.parametrize("scenario", CASES[:5], ids=repr)
def test_background_stays_out_of_clusters_and_centres_stay_apart(scenario):
    # enough points per cluster that their mean finds the centre to a few nm
    scenario = scenario.replace(points_per_cluster=200, density_per_um2=500, shape="disc")
    locs = simulate(scenario, seed=4)
    points, cluster = locs.xyz().astype(float), locs["true_cluster"]
    centres = np.array([points[cluster == c].mean(axis=0) for c in range(cluster.max() + 1)])
    nearest = cKDTree(centres).query(centres, k=2)[0][:, 1]
    assert nearest.min() > 2.2 * scenario.radius_nm * 0.85
    assert cKDTree(centres).query(points[cluster < 0])[0].min() > scenario.radius_nm * 0.85


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_without_clusters_positions_are_a_poisson_process(seed):
    """Quadrat counts have the variance of a Poisson process; nearest neighbours the distances of one."""
    scenario = Scenario(density_per_um2=50, outline="square", field_size_um=20)
    xy = simulate(scenario, seed=seed).xy().astype(float)
    counts = np.histogram2d(*xy.T, bins=20, range=[(0, 20000)] * 2)[0].ravel()
    dispersion = ((counts - counts.mean()) ** 2).sum() / counts.mean()
    assert 1e-3 < stats.chi2.sf(dispersion, len(counts) - 1) < 1 - 1e-3
    inner = ((xy > 1000) & (xy < 19000)).all(axis=1)
    nearest = cKDTree(xy).query(xy[inner], k=2)[0][:, 1]
    assert nearest.mean() == pytest.approx(1000 * 0.5 / np.sqrt(50), rel=0.02)


def test_z_fills_the_axial_range():
    z = simulate(Scenario(density_per_um2=100, dims=3, axial_range_nm=600), seed=1)["z"].astype(float)
    assert stats.kstest(z[::20], stats.uniform(-300, 600).cdf).pvalue > 1e-3


def test_localization_error_blurs_and_is_reported():
    sharp = simulate(CLUSTERED.replace(dims=3), seed=1)
    blurred = simulate(CLUSTERED.replace(dims=3, localization_error_nm=10, axial_error_nm=25), seed=1)
    assert "x_err" not in sharp
    assert (blurred["x_err"] == 10).all()
    assert (blurred["z_err"] == 25).all()
    np.testing.assert_array_equal(sharp["true_cluster"], blurred["true_cluster"])
    np.testing.assert_allclose((blurred.xyz() - sharp.xyz()).std(axis=0), [10, 10, 25], rtol=0.02)


def test_same_seed_same_bits_other_seed_other_bits():
    first, again, other = (simulate(CLUSTERED, seed=seed) for seed in (1, 1, 2))
    assert first.data.equals(again.data)
    assert not first.data.equals(other.data)
    assert first.meta == again.meta
    assert [step.seed for step in first.meta.history] == [1]
    assert first.meta.history[0].parameters["scenario"]["radius_nm"] == 60


def test_rows_come_in_random_order():
    cluster = simulate(CLUSTERED, seed=1)["true_cluster"]
    assert abs(np.corrcoef(np.arange(len(cluster)), cluster >= 0)[0, 1]) < 0.02


def test_localizations_lie_inside_the_outline():
    locs = simulate(CLUSTERED, seed=6)
    region = field_outline(CLUSTERED, seed=6)
    assert region.contains(locs.xy()).mean() > 0.9999  # but for rounding at the very edge
    assert 0 < locs["x"].min() < locs["x"].max() < 40000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"radius_nm": 2000, "density_per_um2": 1000}, "do not fit into the field"),
        ({"field_size_um": 0.2, "outline": "square", "radius_nm": 5}, "too small for one cluster"),
        ({"field_size_um": 0.01, "outline": "square", "fraction_clustered": 0}, "too small for one localization"),
    ],
)
def test_impossible_fields_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        simulate(CLUSTERED.replace(**changes), seed=1)


@pytest.mark.parametrize("seed", [-1, 1.5, None, "1"])
def test_wrong_seeds_are_refused(seed):
    with pytest.raises(InputError, match="seed"):
        simulate(load("csr"), seed=seed)


def test_dense_but_possible_fields_are_filled():
    scenario = Scenario(
        density_per_um2=500, points_per_cluster=10, fraction_clustered=0.9, radius_nm=52, outline="square",
        field_size_um=10,
    )  # fmt: skip
    locs = simulate(scenario, seed=1)
    assert locs["true_cluster"].max() + 1 == 4500  # clusters cover 38 % of the field
