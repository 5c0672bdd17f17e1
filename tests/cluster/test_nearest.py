"""Distances between clusters."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from scipy.spatial import KDTree

from lucule.cluster import measure, nearest
from lucule.cluster.members import Members
from lucule.core import Localizations


def discs(centres, radius=20.0, n=40, dims=2, **columns):
    rng = np.random.default_rng(1)
    offset = rng.normal(size=(len(centres), n, dims))
    offset *= radius * rng.random((len(centres), n, 1)) ** (1 / dims) / np.linalg.norm(offset, axis=2, keepdims=True)
    points = (np.asarray(centres, float)[:, None] + offset).reshape(-1, dims)
    number = np.repeat(np.arange(len(centres)), n)
    per_point = {name: np.repeat(values, n) for name, values in columns.items()}
    return Localizations({**dict(zip("xyz", points.T, strict=False)), "cluster": number, **per_point})


def test_three_discs() -> None:
    clusters = measure(discs([(0, 0), (100, 0), (1000, 0)]))
    table = clusters.table()
    centre = table.select("x", "y").to_numpy()
    apart = [np.linalg.norm(centre[0] - centre[1])] * 2 + [np.linalg.norm(centre[1] - centre[2])]
    assert table["nearest_cluster_nm"].to_numpy() == pytest.approx(apart, rel=1e-4)
    shapes = clusters.outlines()
    edges = [shapely.distance(shapes[0], shapes[1])] * 2 + [shapely.distance(shapes[1], shapes[2])]
    assert table["nearest_edge_nm"].to_numpy() == pytest.approx(edges)
    assert 50 < edges[0] < 65


def test_fields_and_channels_do_not_see_each_other() -> None:
    table = measure(discs([(0, 0), (100, 0), (50, 0), (60, 0)], field=[0, 0, 1, 0], channel=[1, 1, 1, 2])).table()
    near = dict(zip(table["cluster"], table["nearest_cluster_nm"], strict=True))
    assert near[0] == pytest.approx(100, abs=10)
    assert np.isnan(near[2])
    assert np.isnan(near[3])


def test_touching_outlines_have_distance_zero() -> None:
    table = measure(discs([(0, 0), (30, 0)])).table()
    assert table["nearest_edge_nm"].to_list() == [0, 0]


def test_solids_agree_with_trying_all_pairs() -> None:
    rng = np.random.default_rng(4)
    # more clusters than candidates, one of them so long that its centre is far from what it nearly touches
    centres = rng.uniform(0, 1500, (60, 3))
    locs = discs(centres, radius=30, n=15, dims=3)
    rod = np.column_stack([np.linspace(0, 4000, 200), rng.normal(3000, 5, 200), rng.normal(0, 5, 200)])
    near_its_end = rng.normal([3900, 3050, 0], 5, (15, 3))
    points = np.concatenate([locs.xyz(), rod, near_its_end]).astype(np.float32)
    number = np.concatenate([locs["cluster"], np.full(200, 60), np.full(15, 61)]).astype(np.int32)
    members = Members.of(points, number, np.arange(len(points)))
    margin = rng.uniform(1, 10, 62)
    found = nearest.solid_distances(members.places, members.place_starts, margin, np.zeros(62, np.int64))
    gaps = np.full((62, 62), np.inf)
    for a in range(62):
        for b in range(62):
            if a != b:
                pairs = points[number == a][:, None].astype(float) - points[number == b][None].astype(float)
                gaps[a, b] = max(np.linalg.norm(pairs, axis=2).min() - margin[a] - margin[b], 0)
    assert found == pytest.approx(gaps.min(axis=1), abs=1e-3)
    assert found[60] < 60


def test_one_cluster_none_and_one_without_outline() -> None:
    assert np.isnan(measure(discs([(0, 0)])).table()["nearest_cluster_nm"][0])
    empty = measure(Localizations({"x": [], "y": [], "z": [], "cluster": []})).table()
    assert empty["nearest_edge_nm"].to_list() == []
    locs = discs([(0, 0), (200, 0)])
    two_places = locs.xy()[:2] + 90
    together = Localizations(
        {
            "x": np.append(locs["x"], two_places[:, 0]),
            "y": np.append(locs["y"], two_places[:, 1]),
            "cluster": np.append(locs["cluster"], [2, 2]),
        }
    )
    table = measure(together).table()
    assert table["nearest_cluster_nm"].is_finite().all()
    assert table["nearest_edge_nm"].is_finite().to_list() == [True, True, False]


def test_one_very_large_cluster_among_small_ones_is_no_burden() -> None:
    """All small clusters lie within the extent of the large one; trying all of its places each time takes minutes."""
    rng = np.random.default_rng(6)
    large = rng.uniform(-2000, 2000, (200_000, 3))
    large = large[np.abs(large[:, 0]) > 300]
    centres = rng.uniform([-250, -2000, -2000], [250, 2000, 2000], (2000, 3))
    small = (centres[:, None] + rng.normal(0, 5, (2000, 5, 3))).reshape(-1, 3)
    points = np.concatenate([small, large]).astype(np.float32)
    number = np.append(np.repeat(np.arange(2000), 5), np.full(len(large), 2000)).astype(np.int32)
    members = Members.of(points, number, np.arange(len(points)))
    found = nearest.solid_distances(members.places, members.place_starts, np.zeros(2001), np.zeros(2001, np.int64))
    assert np.isfinite(found).all()
    assert found[2000] == pytest.approx(KDTree(large).query(small)[0].min(), rel=1e-3)
