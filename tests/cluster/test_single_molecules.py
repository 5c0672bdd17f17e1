"""One molecule that blinks is no cluster, several molecules are; where nothing can be told all stay."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.cluster import without_single_molecules
from lucule.cluster.single_molecules import chance_of_several
from lucule.core import Localizations

ERROR_NM, FRAMES, BLINKS = 10.0, 20_000, 12


def table(singles=30, clusters=30, *, radius_nm=30.0, seed=1, **columns):
    """Groups of twelve blinks: molecules seen within 500 frames, and clusters seen all the time."""
    rng = np.random.default_rng(seed)
    n = singles + clusters
    group = np.repeat(np.arange(n), BLINKS)
    wide = group >= singles
    centre = np.stack([1000.0 * (np.arange(n) % 10), 1000.0 * (np.arange(n) // 10)], axis=1)
    xy = centre[group] + rng.normal(0, 1, (len(group), 2)) * np.hypot(ERROR_NM, np.where(wide, radius_nm, 0))[:, None]
    start = rng.uniform(0, FRAMES - 500, n)[group]
    frame = np.where(wide, rng.uniform(0, FRAMES, len(group)), start + rng.uniform(0, 500, len(group)))
    data = {"x": xy[:, 0], "y": xy[:, 1], "frame": frame.astype(np.uint32), "x_err": np.full(len(group), ERROR_NM),
            "y_err": np.full(len(group), ERROR_NM), "label": np.ones(len(group), np.uint8),
            "p_label": np.full(len(group), 0.8, np.float32), "cluster": group.astype(np.int32)}  # fmt: skip
    return Localizations(data | columns)


def with_background(locs, blinks=600):
    """The same with blinks beside it that are in no group, all of them far from each other."""
    far = {name: np.full(blinks, locs[name][0]) for name in locs.columns}
    far |= {"x": np.linspace(0, 9e4, blinks), "y": np.full(blinks, -5e3), "frame": np.arange(blinks) * 33 % FRAMES}
    far |= {"label": np.zeros(blinks), "p_label": np.full(blinks, 0.9), "cluster": np.full(blinks, -1)}
    return Localizations(
        {name: np.concatenate([locs[name], far[name]]).astype(locs[name].dtype) for name in locs.columns}
    )


def test_single_molecules_are_dropped_and_clusters_stay():
    locs = with_background(table())
    found = without_single_molecules(locs)
    single = (locs["cluster"] >= 0) & (locs["cluster"] < 30)
    assert (found["cluster"][single] == -1).all()
    assert (found["label"][single] == 0).all()
    assert (found["p_label"][single] > 0.5).all()
    # the others are numbered from 0 in their order and keep what was said of them
    kept = found["cluster"] >= 0
    assert found["cluster"].max() >= 27
    assert np.array_equal(np.unique(found["cluster"][kept]), np.arange(found["cluster"].max() + 1))
    assert (np.diff(found["cluster"][kept]) >= 0).all()
    assert np.array_equal(found["p_label"][kept], locs["p_label"][kept])


def test_clusters_narrower_than_the_errors_stay_where_no_molecule_blinks():
    locs = table(singles=0, clusters=60, radius_nm=0.0)
    assert without_single_molecules(locs)["cluster"].max() >= 57


def test_bleaching_does_not_make_clusters_into_molecules():
    rng = np.random.default_rng(2)
    locs = table(singles=0, clusters=60)
    early = locs.with_columns(frame=np.minimum(rng.exponential(FRAMES / 10, len(locs)), FRAMES).astype(np.uint32))
    assert without_single_molecules(early)["cluster"].max() == 59


@pytest.mark.parametrize("missing", ["frame", "x_err", "y_err"])
def test_without_frames_or_errors_nothing_is_dropped(missing):
    locs = table()
    assert without_single_molecules(Localizations(locs.data.drop(missing))).data.equals(locs.data.drop(missing))


@pytest.mark.parametrize("bad", [np.nan, 0.0, -1.0])
def test_errors_that_cannot_be_leave_all(bad):
    errors = np.full(60 * BLINKS, ERROR_NM)
    errors[3] = bad
    assert (chance_of_several(table(x_err=errors)) == 1).all()


def test_frames_that_number_the_rows_are_no_times():
    # as some programs write them, cluster by cluster
    locs = table(singles=0, clusters=60, frame=np.arange(60 * BLINKS, dtype=np.uint32))
    assert (chance_of_several(locs) == 1).all()


def test_frames_that_follow_the_place_are_no_times():
    locs = table(singles=0, clusters=60, radius_nm=100.0, frame=np.repeat(np.arange(60, dtype=np.uint32), BLINKS))
    assert (chance_of_several(locs) == 1).all()


def test_fields_are_judged_each_for_itself():
    one, other = table(60, 0), table(0, 60, radius_nm=0.0, seed=3)
    both = {name: np.concatenate([one[name], other[name]]) for name in one.columns}
    both["cluster"][len(one) :] += 60
    both["field"] = np.repeat([0, 1], [len(one), len(other)])
    chance = chance_of_several(Localizations(both))
    assert (chance[:60] < 0.5).all()
    assert (chance[60:] > 0.8).all()
    assert np.array_equal(chance[:60], chance_of_several(one))


def test_a_group_is_believed_more_beside_a_surer_one():
    def chance(sure: float, other: float) -> float:
        groups = table(0, 2)
        told = np.where(groups["cluster"] == 0, sure, other).astype(np.float32)
        return float(chance_of_several(with_background(groups.with_columns(p_label=told)))[0])

    assert chance(0.6, 0.55) < chance(0.6, 0.9) < chance(0.6, 0.99)
    assert chance(0.55, 0.9) < chance(0.8, 0.9) < chance(0.95, 0.9)


def test_depth_counts_where_its_error_is_known():
    rng = np.random.default_rng(4)
    depth = np.repeat(rng.uniform(-300, 300, 60), BLINKS)
    flat = with_background(table(z=depth + rng.normal(0, 20, 60 * BLINKS), z_err=np.full(60 * BLINKS, 20.0)))
    assert (without_single_molecules(flat)["cluster"][(flat["cluster"] >= 0) & (flat["cluster"] < 30)] == -1).all()


@pytest.mark.parametrize("rows", [0, 1])
def test_tables_with_nothing_in_them(rows):
    locs = table().filter("cluster < 0") if rows == 0 else table()
    locs = locs if rows == 0 else Localizations(locs.data.head(1).with_columns(cluster=-1))
    assert len(without_single_molecules(locs)) == rows
