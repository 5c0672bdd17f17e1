"""What every method promises, whatever it does."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings

from lucule.cluster import find_clusters, methods
from lucule.core import ColumnError, InputError, Localizations, Region
from lucule.testing import localizations

SETTINGS = {
    "dbscan": {"epsilon_nm": 20, "min_points": 6},
    "hdbscan": {"min_points": 10},
    "getis": {"radius_nm": 30, "threshold_nm": 80},
    "bayesian": {"radii_nm": (10, 50, 20), "thresholds_nm": (20, 200, 30), "cluster_sd_nm": (5, 10, 20, 40)},
    "voronoi": {"density_factor": 3},
    "tomato": {"radius_nm": 20, "persistence": 6},
    "kernel_density": {"bandwidth_nm": 15, "density_factor": 4},
    "focal": {"pixel_nm": 15, "min_density": 8},
}
CENTRES = np.array([[300.0, 300, 0], [1500, 500, 60], [700, 1600, -60]])
every = pytest.mark.parametrize("method", list(methods.METHODS))


def points(dims=2, seed=1):
    rng = np.random.default_rng(seed)
    clusters = np.concatenate([rng.normal(centre, 10, (40, 3)) for centre in CENTRES])
    free = rng.uniform([0, 0, -150], [2000, 2000, 150], (120, 3))
    return np.concatenate([clusters, free])[:, :dims].astype(np.float32)


def table(places, **columns):
    return Localizations({**dict(zip("xyz", np.asarray(places, np.float32).T, strict=False)), **columns})


def find(method, locs, **more):
    return find_clusters(locs, method, **(SETTINGS[method] | more))


def dims_of(method):
    return (2,) if method == "getis" else (2, 3)


def test_settings_are_given_for_every_method():
    assert set(SETTINGS) == set(methods.METHODS)


@every
def test_clear_clusters_are_found(method):
    for dims in dims_of(method):
        found = find(method, table(points(dims)))
        cluster = found["cluster"]
        main = [np.bincount(cluster[40 * i : 40 * (i + 1)] + 1).argmax() - 1 for i in range(3)]
        assert len(set(main)) == 3, dims
        assert -1 not in main
        for i, number in enumerate(main):
            assert (cluster[40 * i : 40 * (i + 1)] == number).mean() > 0.8, dims
        # clusters of HDBSCAN reach far into the background
        assert (cluster[120:] >= 0).mean() < (0.5 if method == "hdbscan" else 0.25), dims
        assert cluster.dtype == np.int32
        assert ((cluster >= 0) == (found["label"] == 1)).all()
        assert found["label"].dtype == np.uint8


@every
def test_order_of_rows_does_not_matter(method):
    for dims in dims_of(method):
        places = np.concatenate([points(dims), points(dims)[:30]])  # with duplicates
        shuffle = np.random.default_rng(3).permutation(len(places))
        one, other = find(method, table(places)), find(method, table(places[shuffle]))
        assert (one["cluster"][shuffle] == other["cluster"]).all(), dims


@every
def test_clusters_are_numbered_as_they_are_read(method):
    cluster = find(method, table(points()))["cluster"]
    y = points()[:, 1]
    tops = [y[cluster == number].min() for number in range(cluster.max() + 1)]
    assert tops == sorted(tops)


@every
@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_localizations(method, n):
    for dims in dims_of(method):
        found = find(method, table(points(dims)[120 : 120 + n]))
        assert (found["cluster"] == -1).all()
        assert len(found) == n


@every
def test_many_at_one_place_and_all_on_one_line(method):
    same = find(method, table(np.full((50, 2), 7.0)))
    assert len(set(same["cluster"])) == 1
    line = np.column_stack([np.r_[np.linspace(0, 50, 40), np.linspace(1000, 9000, 10)], np.zeros(50)])
    assert (find(method, table(line))["cluster"][40:] == -1).all()
    tilted = np.column_stack([np.arange(30.0), np.arange(30.0)])
    assert len(find(method, table(tilted))) == 30


@every
def test_fields_and_channels_are_apart(method):
    two = table(np.concatenate([points(), points()]), channel=np.repeat([0, 1], 240).astype(np.uint8))
    cluster, alone = find(method, two)["cluster"], find(method, table(points()))["cluster"]
    assert (cluster[:240] == alone).all()
    assert (cluster[240:] == np.where(alone >= 0, alone + alone.max() + 1, -1)).all()


@every
def test_a_region_hides_what_lies_outside(method):
    region = Region.polygon([[0, 0], [1990, 0], [1990, 1000], [0, 990]])
    locs = table(points())
    inside = region.contains(locs.xy())
    found = find_clusters(locs, method, region=region, **SETTINGS[method])["cluster"]
    assert (found[~inside] == -1).all()
    cropped = find_clusters(locs.crop(region), method, region=region, **SETTINGS[method])["cluster"]
    assert (found[inside] == cropped).all()
    assert (found[:80] >= 0).mean() > 0.7


@every
def test_other_columns_and_history_stay(method):
    locs = table(points(), photons=np.arange(240.0), chi2=np.arange(240))
    found = find(method, locs)
    assert found["photons"].tolist() == locs["photons"].tolist()
    assert "chi2" in found
    (last,) = found.meta.history[len(locs.meta.history) :]
    assert last.function.endswith(f".{method}")
    assert isinstance(last.parameters["settings"], dict)


@every
def test_a_wrong_key_is_named_with_what_is_allowed(method):
    with pytest.raises(InputError, match="epsilon_px is not a known key") as error:
        find_clusters(table(points()), method, epsilon_px=1)
    for key in methods.METHODS[method].settings.model_fields:
        assert key in str(error.value)


def test_unknown_method():
    with pytest.raises(InputError, match="dbscan, hdbscan"):
        find_clusters(table(points()), "kmeans")


def test_a_method_for_2d_says_so():
    with pytest.raises(InputError, match="2D only"):
        find("getis", table(points(3)))


def test_columns_that_are_missing_are_named():
    with pytest.raises(ColumnError):
        find_clusters(Localizations(pl.DataFrame({"x": [1.0]})), "dbscan")


def test_all_methods_are_described():
    described = methods.describe()
    assert [one["name"] for one in described] == list(methods.METHODS)
    assert "epsilon_nm=50" in described[0]["settings"]


@every
@settings(max_examples=25, deadline=None)
@given(locs=localizations(columns=("x", "y", "z", "x_err", "channel", "field"), vendor_columns=False))
def test_any_table(method, locs):
    if locs.is_3d and method == "getis":
        return
    found = find(method, locs)
    assert len(found) == len(locs)
    assert ((found["cluster"] >= 0) == (found["label"] == 1)).all()
    numbers = np.unique(found["cluster"][found["cluster"] >= 0])
    assert (numbers == np.arange(len(numbers))).all()
