"""Grouping: what it promises whatever the data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lucule.cluster import group
from lucule.cluster.places import distinct
from lucule.cluster.reach import gap, majority, spacing
from lucule.core import ColumnError, InputError, Localizations, Region


def table(points, label, **columns):
    points = np.asarray(points, np.float32)
    label = np.broadcast_to(label, len(points)).astype(np.uint8)
    axes = dict(zip("xyz", points.T, strict=False))
    return Localizations({**axes, "label": label, **columns})


def blob(centre, n, radius, seed=0, dims=2):
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=(n, dims))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return np.asarray(centre) + radius * direction * rng.random((n, 1)) ** (1 / dims)


def background(n, size, away_from, radius, seed=9):
    points = np.random.default_rng(seed).uniform(0, size, (n, 2))
    distance = np.linalg.norm(points[:, None] - np.asarray(away_from)[None], axis=2).min(axis=1)
    return points[distance > radius]


def partition(cluster):
    """The grouping without its numbers."""
    return {frozenset(np.flatnonzero(cluster == number).tolist()) for number in np.unique(cluster[cluster >= 0])}


def field(seed=0):
    """Labelled clusters in a background, 3 % of the labels wrong."""
    rng = np.random.default_rng(seed)
    centres = [(300, 300), (900, 400), (500, 1200), (1400, 1400)]
    free = background(120, 1800, centres, 60)
    points = np.concatenate([blob(c, 15 + 5 * i, 40, i) for i, c in enumerate(centres)] + [free])
    label = np.r_[np.ones(len(points) - len(free)), np.zeros(len(free))].astype(np.uint8)
    label = np.where(rng.random(len(label)) < 0.03, 1 - label, label)
    return points.astype(np.float32), label


@pytest.mark.parametrize("dims", [2, 3])
def test_separate_clusters_are_found(dims):
    centres = np.array([[1000.0, 500, 0], [200, 300, 200], [600, 900, -200]])[:, :dims]
    points = np.concatenate([blob(c, 30, 40, i, dims) for i, c in enumerate(centres)])
    cluster = group(table(points, 1))["cluster"]
    # numbered as they are read, from the top
    assert cluster.dtype == np.int32
    assert [set(cluster[30 * i : 30 * (i + 1)]) for i in range(3)] == [{1}, {0}, {2}]


def test_clusters_that_nearly_touch_stay_apart():
    # two discs of 100 points and radius 50, 125 between their centres: a gap of 25, points about 9 apart
    points = np.concatenate([blob((100, 100), 100, 50, 1), blob((225, 100), 100, 50, 2)])
    cluster = group(table(points, 1))["cluster"]
    assert np.unique(cluster).tolist() == [0, 1]
    assert set(cluster[:100]) & set(cluster[100:]) == set()


def test_a_wrong_label_inside_does_not_cut_a_cluster():
    points = np.concatenate([blob((500, 500), 60, 50), background(60, 1000, [(500, 500)], 70)])
    label = np.r_[np.ones(60), np.zeros(len(points) - 60)].astype(np.uint8)
    label[[3, 17, 29, 44]] = 0
    cluster = group(table(points, label))["cluster"]
    assert set(cluster[:60][label[:60] == 1]) == {0}
    assert set(cluster[label == 0]) == {-1}


def test_single_wrong_labels_in_the_background_are_no_clusters():
    points, _ = field()
    label = np.zeros(len(points), np.uint8)
    label[-120::17] = 1
    grouped = group(table(points, label))
    assert (grouped["cluster"] == -1).all()
    assert (grouped["label"] == label).all()  # the label stays as it was


@pytest.mark.parametrize(("min_points", "expected"), [(1, {0, 1, 2}), (3, {0, 1}), (4, {0}), (6, set())])
def test_small_components_are_no_clusters(min_points, expected):
    x = [0, 4, 8, 12, 16, 1000, 1004, 1008, 2000]
    free = [(x, y) for x in range(0, 2500, 100) for y in (-90, 90)]
    points = np.concatenate([np.column_stack([x, np.arange(9) * 0.1]), free])
    label = np.r_[np.ones(9), np.zeros(len(free))]
    # no single localization is more than chance
    cluster = group(table(points, label), min_points=min_points, false_discovery_rate=1)["cluster"]
    assert set(cluster[cluster >= 0]) == expected


def test_triples_and_quadruples_stay_apart():
    rng = np.random.default_rng(3)
    centres = np.array([(x, y) for x in range(0, 3000, 300) for y in range(0, 3000, 300)], float)
    n = rng.integers(3, 5, len(centres))
    points = np.repeat(centres, n, axis=0) + rng.normal(0, 8, (n.sum(), 2))
    cluster = group(table(points, 1))["cluster"]
    truth = np.repeat(np.arange(len(centres)), n)
    found = partition(cluster) & partition(truth)
    assert len(found) >= 0.9 * len(centres)


@settings(max_examples=12, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 5))
def test_the_order_of_rows_does_not_matter(random, seed):
    points, label = field(seed)
    order = list(range(len(points)))
    random.shuffle(order)
    cluster = group(table(points, label))["cluster"]
    assert group(table(points[order], label[order]))["cluster"].tolist() == cluster[order].tolist()


@settings(max_examples=12, deadline=None)
@given(st.floats(0, 2 * np.pi), st.floats(0.01, 100), st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)))
def test_place_rotation_and_scale_do_not_matter(angle, scale, shift):
    points, label = field()
    cosine, sine = np.cos(angle), np.sin(angle)
    turned = points.astype(float) @ [[cosine, sine], [-sine, cosine]] * scale + np.asarray(shift) * scale
    moved = Localizations({"x": turned[:, 0], "y": turned[:, 1], "label": label})
    assert partition(group(moved)["cluster"]) == partition(group(table(points, label))["cluster"])


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.float32, st.tuples(st.integers(0, 40), st.sampled_from([2, 3])), elements=st.integers(0, 6).map(float)),
    st.data(),
)
def test_any_table_gives_valid_clusters(points, data):
    label = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(points), max_size=len(points))), np.uint8)
    min_points = data.draw(st.integers(1, 4))
    cluster = group(table(points, label), min_points=min_points)["cluster"]
    assert (cluster[label == 0] == -1).all()
    numbers, sizes = np.unique(cluster[cluster >= 0], return_counts=True)
    assert numbers.tolist() == list(range(len(numbers)))
    assert (sizes >= min_points).all()
    for number in numbers:
        assert len(np.unique(label[cluster == number])) == 1
    # localizations of one class at one place share their fate
    for own in np.unique(np.column_stack([points, label]), axis=0):
        same = (np.column_stack([points, label]) == own).all(axis=1)
        assert len(np.unique(cluster[same])) == 1


def test_classes_fields_and_channels_are_never_joined():
    key = np.repeat(np.arange(8), 20)
    # two classes side by side, the same in two channels and two fields
    points = np.tile(np.concatenate([blob((0, 0), 20, 30), blob((100, 0), 20, 30)]), (4, 1))
    locs = table(points, 1 + key % 2, channel=(key // 2 % 2).astype(np.uint8), field=(key // 4).astype(np.uint16))
    cluster = group(locs)["cluster"]
    # field by field, channel by channel, class by class
    assert cluster.tolist() == key.tolist()


def test_only_localizations_inside_a_region_are_looked_at():
    points, label = field()
    region = Region.rectangle(0, 0, 1000, 1000)
    whole, inside = table(points, label), region.contains(points)
    cluster = group(whole, region=region)["cluster"]
    assert (cluster[~inside] == -1).all()
    assert cluster[inside].tolist() == group(whole.crop(region))["cluster"].tolist()


def test_many_localizations_at_one_place():
    n = 1_000_000
    grouped = group(table(np.full((n, 2), 123.0), 1))
    assert (grouped["cluster"] == 0).all()
    # they do not change what happens around them
    points, label = field()
    doubled = np.concatenate([points, np.repeat(points[:5], 1000, axis=0)])
    cluster = group(table(doubled, np.r_[label, np.repeat(label[:5], 1000)]))["cluster"]
    assert cluster[: len(points)].tolist() == group(table(points, label))["cluster"].tolist()


@pytest.mark.parametrize(("n", "label"), [(0, 1), (1, 1), (1, 0), (2, 1), (50, 0)])
def test_tables_without_clusters(n, label):
    grouped = group(table(np.random.default_rng(0).uniform(0, 1000, (n, 2)), label))
    assert grouped["cluster"].dtype == np.int32
    assert grouped["cluster"].tolist() == [-1] * n


def test_what_is_missing_or_wrong_is_said():
    with pytest.raises(ColumnError, match=r"no column label.*lucule classify"):
        group(Localizations({"x": [1.0], "y": [2.0]}))
    for wrong in (0, -3, 2.5):
        with pytest.raises(InputError, match=r"Allowed: whole numbers from 1"):
            group(table([[0, 0]], 1), min_points=wrong)
    for wrong in (0, -0.1, 1.5, np.nan):
        with pytest.raises(InputError, match=r"Allowed: above 0, at most 1"):
            group(table([[0, 0]], 1), false_discovery_rate=wrong)


def test_one_step_is_recorded():
    grouped = group(table([[0, 0]], 1), min_points=5)
    (recorded,) = grouped.meta.history
    assert recorded.function.endswith("group")
    assert recorded.parameters == {"min_points": 5, "false_discovery_rate": 0.1, "region": None}


def test_progress_counts_the_clustered_localizations():
    advanced = []

    class Counting:
        def task(self, name, total=None, unit=""):
            assert (name, total, unit) == ("Group", int((labels > 0).sum()), "localizations")
            return self

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        def advance(self, amount=1):
            advanced.append(amount)

    points, labels = field()
    group(table(points, labels), progress=Counting())
    assert sum(advanced) == (labels > 0).sum()


def test_majority_ends_where_the_lead_is_largest():
    # neighbours below 10 are clustered
    indices = np.array(
        [[0, 1, 99, 2, 3, 99, 99, 4], [99, 98, 0, 1, 97, 96, 95, 94], [0, 1, 2, 3, 4, 5, 6, 7]], np.int32
    )
    distances = np.tile(np.arange(1, 9, dtype=np.float32), (3, 1))
    assert majority(distances, indices, 10).tolist() == [6.0, 1.0, np.inf]
    # fewer neighbours than asked for
    indices[2, 4:], distances[2, 4:] = -1, np.inf
    assert majority(distances, indices, 10).tolist() == [6.0, 1.0, np.inf]


@pytest.mark.parametrize(("dims", "expected"), [(2, 15.0), (3, 10 * 2.25 ** (1 / 3))])
def test_spacing_is_where_nine_neighbours_are_expected(dims, expected):
    distances = np.array([[1, 2, 3, 10]], np.float32)
    assert spacing(distances, 100, dims) == pytest.approx(expected)
    assert spacing(np.full((1, 4), np.inf, np.float32), 1, dims).tolist() == [np.inf]


def test_gap_counts_only_when_nothing_reaches_across():
    # point 0 has two near neighbours and a third far off, which itself reaches 5 or 50
    distances = np.array([[1, 1, 10, 11]] + [[1, 1, 1, 1]] * 4, np.float32)
    indices = np.array([[1, 2, 3, 4]] + [[0, 1, 2, 3]] * 4, np.int32)
    for far, expected in ((5.0, 10.0), (50.0, 20.0)):
        reaches = np.array([20, 20, 20, far, 20], np.float32)
        assert gap(distances, indices, reaches)[0] == expected


def test_distinct_places_are_in_reading_order():
    points = np.array([[3, 1, 0], [1, 1, 5], [1, 1, 2], [9, 0, 0], [1, 1, 5], [-0.0, 2, 0], [0.0, 2, 0]], np.float32)
    places, place_of = distinct(points)
    assert places.tolist() == [[9, 0, 0], [1, 1, 2], [1, 1, 5], [3, 1, 0], [0, 2, 0]]
    assert (places[place_of] == points).all()
    assert distinct(np.empty((0, 2), np.float32))[0].shape == (0, 2)
