"""Scores of clusters: those of scikit-learn where it has them, and what is said about the -1."""

from __future__ import annotations

import time

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lucule.cluster import scores
from lucule.core import InputError

groupings = st.integers(1, 60).flatmap(
    lambda n: st.tuples(*[arrays(np.int32, n, elements=st.integers(-1, 5)) for _ in range(2)])
)


@settings(max_examples=80, deadline=None)
@given(groupings)
def test_indices_are_those_of_scikit_learn(pair):
    from sklearn import metrics

    truth, found = pair
    assert scores.rand_index(truth, found) == pytest.approx(metrics.adjusted_rand_score(truth, found), abs=1e-9)
    ours, theirs = scores.mutual_information(truth, found), metrics.adjusted_mutual_info_score(truth, found)
    assert ours == pytest.approx(theirs, abs=1e-6)
    if (truth >= 0).any() or (found >= 0).any():
        assert scores.clustered_f1(truth, found) == pytest.approx(
            metrics.f1_score(truth >= 0, found >= 0, zero_division=0)
        )


def test_the_rand_index_of_clustered_localizations_looks_at_nothing_else():
    from sklearn import metrics

    rng = np.random.default_rng(3)
    truth, found = rng.integers(-1, 4, 200), rng.integers(-1, 4, 200)
    inside = truth >= 0
    # found noise is no group: every localization of it stands alone
    alone = np.where(found[inside] < 0, 100 + np.arange(inside.sum()), found[inside])
    assert scores.rand_index(truth, found, clustered_only=True) == pytest.approx(
        metrics.adjusted_rand_score(truth[inside], alone)
    )
    # what becomes of the background is not seen
    assert scores.rand_index([0, 0, 1, 1, -1, -1], [0, 0, 1, 1, 0, 7], clustered_only=True) == 1
    # and to find nothing is no agreement
    assert scores.rand_index([0, 0, 1, 1], [-1] * 4, clustered_only=True) == 0


def test_numbers_and_order_do_not_matter():
    rng = np.random.default_rng(1)
    truth, found = rng.integers(-1, 6, 300), rng.integers(-1, 9, 300)
    shuffle, rename = rng.permutation(300), np.append(rng.permutation(9) + 40, -1)
    for score in (scores.rand_index, scores.mutual_information, scores.cluster_jaccard, scores.clustered_accuracy):
        assert score(truth, found) == pytest.approx(score(truth[shuffle], rename[found][shuffle]))


def test_clusters_match_when_most_of_both_is_shared():
    truth = np.array([0] * 10 + [1] * 10 + [2] * 4 + [-1] * 6)
    # 0 whole; 1 cut in two, the larger part being 6 of 10; 2 swallowed by background
    found = np.array([7] * 10 + [3] * 6 + [4] * 4 + [5] * 4 + [5] * 6)
    assert [values.tolist() for values in scores.matches(truth, found)] == [[0, 1], [7, 3]]
    assert scores.cluster_jaccard(truth, found) == pytest.approx(2 / (3 + 4 - 2))
    assert scores.count_error(truth, found) == pytest.approx(1 / 3)
    points = np.column_stack([np.arange(30.0), np.zeros(30)])
    # the centre of ten in a row against that of the first six of them
    assert scores.centroid_errors(truth, found, points) == pytest.approx([0, 2])


def test_half_is_no_match():
    assert len(scores.matches([0, 0, 1, 1], [0, 0, 0, 0])[0]) == 0


def test_nothing_to_find():
    none = np.full(5, -1)
    assert scores.cluster_jaccard(none, none) == 1
    assert np.isnan(scores.count_error(none, none))
    assert np.isnan(scores.clustered_f1(none, none))
    assert scores.rand_index(none, none) == 1
    assert scores.area_iou([], []) == 1
    empty = np.empty(0, np.int32)
    assert all(np.isnan(f(empty, empty)) for f in (scores.rand_index, scores.mutual_information))
    assert len(scores.centroid_errors(none, none, np.zeros((5, 2)))) == 0


def test_areas_of_outlines():
    truth = [shapely.box(0, 0, 10, 10), None, shapely.box(20, 0, 30, 10)]
    found = [shapely.box(5, 0, 10, 10), shapely.box(9, 0, 12, 10), shapely.box(50, 0, 60, 10)]
    assert scores.area_iou(truth, found) == pytest.approx(50 / 320)
    assert scores.matched_area_ious(truth, found) == pytest.approx([0.5, 0.0])


def test_calibration():
    rng = np.random.default_rng(0)
    p = rng.random(100_000)
    assert scores.calibration_error(rng.random(100_000) < p, p) < 0.01
    assert scores.calibration_error(rng.random(100_000) < p**2, p) == pytest.approx(1 / 6, abs=0.01)
    with pytest.raises(InputError, match="0 to 1"):
        scores.calibration_error([True], [1.5])


def test_what_does_not_fit_is_named():
    with pytest.raises(InputError, match="length"):
        scores.rand_index([0, 1], [0])
    with pytest.raises(InputError, match="whole numbers"):
        scores.rand_index([0.5, 1.0], [0, 1])


def test_a_million_localizations_take_seconds():
    rng = np.random.default_rng(0)
    truth = np.where(rng.random(1_000_000) < 0.5, rng.integers(0, 20_000, 1_000_000), -1)
    found = np.where(rng.random(1_000_000) < 0.9, truth, rng.integers(-1, 20_000, 1_000_000))
    started = time.process_time()
    assert 0.5 < scores.rand_index(truth, found) < 1
    assert 0.5 < scores.mutual_information(truth, found) < 1
    assert scores.cluster_jaccard(truth, found) > 0.9
    assert time.process_time() - started < 15
