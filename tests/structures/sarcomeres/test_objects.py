"""Grouping, regions and filters."""

from __future__ import annotations

import numpy as np
import polars as pl

from lucule.core import Localizations, Region
from lucule.structures.sarcomeres import (
    FilterSettings,
    boxes_of,
    follow_up,
    group_by_centre,
    group_by_regions,
    grow_boxes,
)
from lucule.structures.sarcomeres.objects import largest_cluster


def two_lines(rng, n, centre, distance=120.0):
    x = rng.choice([-distance / 2, distance / 2], n) + rng.normal(0, 10, n)
    return np.column_stack([x, rng.uniform(-700, 700, n)]) + centre


def test_a_small_group_that_is_doubtful_is_none() -> None:
    rng = np.random.default_rng(5)
    sizes, places = (1500, 1200, 100, 100), np.array([[0, 0], [3000, 0], [6000, 0], [9000, 0]])
    centre = np.repeat(places, sizes, axis=0) + rng.normal(0, 50, (sum(sizes), 2))
    chance = np.repeat([0.99, 0.7, 0.7, 0.95], sizes)
    number = group_by_centre(chance, centre)
    # doubtful but large, and small but certain, are kept
    assert [int(number[i]) for i in (0, 1500, 2700, 2800)] == [0, 1, -1, 2]
    assert group_by_centre(np.ones(len(centre)), centre).max() == 3


def test_a_low_chance_counts_where_all_are_low() -> None:
    rng = np.random.default_rng(6)
    centre = np.repeat([[0, 0], [3000, 0]], 400, axis=0) + rng.normal(0, 50, (800, 2))
    chance = np.repeat([0.98, 0.4, 0.35, 0.1], [300, 100, 300, 100])
    number = group_by_centre(chance, centre)
    assert [int((number[a:b] >= 0).sum()) for a, b in ((0, 300), (300, 400), (400, 700), (700, 800))] == [
        300,
        0,
        300,
        0,
    ]


def test_neighbours_in_a_row_are_told_apart() -> None:
    rng = np.random.default_rng(1)
    centre = np.repeat([[0.0, 0.0], [2000.0, 0.0]], [500, 400], axis=0) + rng.normal(0, 100, (900, 2))
    number = group_by_centre(np.ones(900), centre)
    assert (number[:500] == 0).all()
    assert (number[500:] == 1).all()


def test_background_and_few_localizations_are_no_object() -> None:
    rng = np.random.default_rng(2)
    xy = rng.uniform(0, 20_000, (3000, 2))
    assert (group_by_centre(np.zeros(3000), xy) == -1).all()
    assert (group_by_centre(np.ones(20), np.zeros((20, 2))) == -1).all()
    assert len(group_by_centre(np.empty(0), np.empty((0, 2)))) == 0


def test_dbscan_agrees_with_scikit_learn() -> None:
    from sklearn.cluster import DBSCAN

    rng = np.random.default_rng(3)
    xy = np.vstack([rng.normal(0, 60, (300, 2)), rng.uniform(-2000, 2000, (200, 2))]).astype(np.float32)
    label = DBSCAN(eps=50, min_samples=5).fit_predict(xy)
    biggest = np.bincount(label[label >= 0]).argmax()
    assert largest_cluster(xy, np.arange(500), 50.0, 5).tolist() == np.flatnonzero(label == biggest).tolist()


def test_overlapping_regions_count_no_localization_twice() -> None:
    rng = np.random.default_rng(4)
    xy = np.vstack([two_lines(rng, 600, [0, 0]), two_lines(rng, 500, [1500, 0])])
    boxes = np.array([[-300, -800, 300, 800], [-200, -800, 400, 800], [1200, -800, 1800, 800]], float)
    number = group_by_regions(xy, np.ones(len(xy)), grow_boxes(boxes, xy), epsilon_nm=250.0)
    assert number.max() == 1
    assert np.bincount(number[number >= 0]).sum() <= len(xy)
    assert len(np.unique(number[600:])) == 1


def test_regions_grow_until_they_hold_enough() -> None:
    xy = np.random.default_rng(5).uniform(-6000, 6000, (2000, 2))
    (box,) = grow_boxes(np.array([[-50, -50, 50, 50]]), xy, fewest=350)
    inside = ((xy >= box[:2]) & (xy <= box[2:])).all(axis=1).sum()
    assert inside >= 350
    assert (box[2] - 1050) % 500 == 0
    assert np.isfinite(grow_boxes(np.array([[0, 0, 1, 1]]), xy[:5])).all()


def test_boxes_of_a_region_with_parts() -> None:
    region = Region.from_shape(Region.rectangle(0, 0, 10, 10).shape.union(Region.rectangle(50, 0, 60, 20).shape))
    assert sorted(boxes_of(region).tolist()) == [[0, 0, 10, 10], [50, 0, 60, 20]]


def test_filters_count_every_step() -> None:
    rng = np.random.default_rng(6)
    xy = np.vstack([two_lines(rng, 600, [0, 0]), [[240.0, 0.0]], two_lines(rng, 600, [4000, 0])])
    columns = {"x": xy[:, 0], "y": xy[:, 1], "x_err": np.r_[np.full(1200, 10.0), 30.0], "y_err": np.full(1201, 10.0)}
    locs = Localizations(columns | {"sigma_x": np.full(1201, 130.0), "sigma_y": np.full(1201, 130.0)})
    number = np.r_[np.zeros(601, np.int32), np.ones(600, np.int32)]
    left, steps = follow_up(
        locs, number, FilterSettings(outliers=5, dbscan_nm=250, sigma_nm=(112, 160), precision_nm=20)
    )
    assert steps["discarded"].sum() == (left < 0).sum()
    assert steps["before"][0] == 1201
    assert (steps["before"][1:] == steps["before"][:-1] - steps["discarded"][:-1]).all()
    assert steps.filter(pl.col("step") == "precision")["discarded"].item() == 1
    assert left[600] == -1


def test_nothing_to_filter() -> None:
    locs = Localizations({"x": np.empty(0), "y": np.empty(0)})
    left, steps = follow_up(locs, np.empty(0, np.int32))
    assert len(left) == 0
    assert steps["discarded"].sum() == 0
