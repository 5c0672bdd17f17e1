"""Matching and scores on cases that can be checked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.core import InputError
from lucule.localize import LocalizationScore, MatchSettings, checkerboard, efficiency, jaccard, match, score
from lucule.localize.scores import (
    calibration_error,
    correct_wobble,
    error_over_bound,
    faint,
    near_border,
    score_matches,
)

METHODS = ("hungarian", "greedy")


def at(*x):
    """Positions on the x axis."""
    return [[v, 0.0, 0.0] for v in x]


@pytest.mark.parametrize("method", METHODS)
def test_pairs_are_made_within_frames_only(method):
    matches = match([0, 1], at(0, 0), [1, 2], at(10, 0), MatchSettings(method=method))
    assert (matches.found.tolist(), matches.true.tolist()) == ([1], [0])
    assert (matches.wrong.tolist(), matches.missed.tolist()) == ([0], [1])
    assert matches.difference_nm.tolist() == [[-10.0, 0.0, 0.0]]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("position", "pairs"),
    [([250, 0, 0], 1), ([251, 0, 0], 0), ([177, 177, 0], 0), ([0, 0, 500], 1), ([0, 0, -501], 0), ([200, 100, 499], 1)],
)
def test_gates_of_the_challenge(method, position, pairs):
    assert len(match([0], [position], [0], at(0), MatchSettings(method=method)).found) == pairs


def test_without_an_axial_gate_depth_may_differ():
    assert len(match([0], [[0, 0, 5000]], [0], at(0), MatchSettings(axial_nm=None)).found) == 1


def test_hungarian_makes_more_pairs_where_greedy_takes_the_closest_first():
    # found 190 is 10 from the second emitter and 190 from the first; found 400 is 200 from the second only
    found, true = at(190, 400), at(0, 200)
    greedy = match([0, 0], found, [0, 0], true, MatchSettings(method="greedy"))
    assert (greedy.found.tolist(), greedy.true.tolist()) == ([0], [1])
    best = match([0, 0], found, [0, 0], true)
    assert (best.found.tolist(), best.true.tolist()) == ([0, 1], [0, 1])


def test_the_gate_comes_before_the_assignment():
    """An assignment without a gate would pair 0-400 and 300-0 for the smallest sum of roots, and then drop both."""
    found, true = at(0, 300), at(10, 700)
    matches = match([0, 0], found, [0, 0], true)
    assert (matches.found.tolist(), matches.true.tolist()) == ([0], [0])


def test_hungarian_keeps_distances_short_among_equal_numbers_of_pairs():
    matches = match([0, 0], at(0, 100), [0, 0], at(90, 10))
    assert matches.true.tolist() == [1, 0]


@pytest.mark.parametrize("method", METHODS)
def test_two_at_the_same_place_are_paired_once(method):
    matches = match([0, 0], at(0, 0), [0], at(0), MatchSettings(method=method))
    assert (len(matches.found), len(matches.wrong)) == (1, 1)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_on_either_side(method):
    settings = MatchSettings(method=method)
    assert match([], np.empty((0, 3)), [0], at(1), settings).missed.tolist() == [0]
    assert match([0], at(1), [], np.empty((0, 3)), settings).wrong.tolist() == [0]
    assert len(match([], [], [], [], settings).found) == 0


def test_positions_in_the_plane_have_no_depth():
    matches = match([0], [[3.0, 4.0]], [0], [[0.0, 0.0]])
    assert matches.difference_nm.tolist() == [[3.0, 4.0, 0.0]]


@pytest.mark.parametrize(("frame", "xyz"), [([0, 1], at(0)), ([0], [[np.nan, 0, 0]]), ([0], [[1.0]])])
def test_positions_that_make_no_sense_are_refused(frame, xyz):
    with pytest.raises(InputError):
        match(frame, xyz, [0], at(0))


def test_methods_agree_with_brute_force_on_random_frames():
    """The number of pairs of the Hungarian assignment is the largest possible one."""
    from itertools import permutations

    rng = np.random.default_rng(4)
    for _ in range(40):
        found, true = rng.uniform(0, 500, (4, 3)), rng.uniform(0, 500, (4, 3))
        inside = (np.linalg.norm((found[:, None] - true[None])[..., :2], axis=2) <= 250) & (
            abs(found[:, None, 2] - true[None, :, 2]) <= 500
        )
        most = max(sum(inside[i, p[i]] for i in range(4)) for p in permutations(range(4)))
        assert len(match([0] * 4, found, [0] * 4, true).found) == most
        assert len(match([0] * 4, found, [0] * 4, true, MatchSettings(method="greedy")).found) <= most


def test_scores_by_hand():
    """Three pairs, one wrong, two missed: JI 1/2, recall 3/5, precision 3/4."""
    scores = score([[30, 40, 0], [-30, 40, 60], [0, 0, -60]], wrong=1, missed=2)
    assert (scores.jaccard, scores.recall, scores.precision) == (0.5, 0.6, 0.75)
    assert scores.lateral_nm == pytest.approx(np.sqrt(5000 / 3))
    assert scores.axial_nm == pytest.approx(np.sqrt(7200 / 3))
    assert scores.volume_nm == pytest.approx(np.sqrt(12200 / 3))
    assert scores.efficiency_lateral == pytest.approx(1 - np.sqrt(0.25 + 0.5 / 3))
    assert scores.efficiency_axial == pytest.approx(1 - np.sqrt(0.25 + 0.25 * 0.24))
    assert scores.efficiency_3d == pytest.approx((scores.efficiency_lateral + scores.efficiency_axial) / 2)
    assert scores.table().height == 1


def test_perfect_and_empty_scores():
    assert score(np.zeros((4, 3)), 0, 0).efficiency_3d == 1.0
    nothing = score(np.empty((0, 3)), 0, 3)
    assert nothing.jaccard == 0
    assert np.isnan(nothing.lateral_nm)
    assert np.isnan(jaccard(0, 0, 0))
    assert efficiency(1.0, 100.0, 1.0) == 0.0


def test_what_is_left_out_counts_neither_way():
    # one pair with a faint emitter, one with a bright one, one faint emitter missed
    matches = match([0, 0], at(0, 1000), [0, 0, 0], at(10, 1000, 3000))
    scores = score_matches(matches, left_out=[True, False, True])
    assert (scores.pairs, scores.wrong, scores.missed, scores.lateral_nm) == (1, 0, 0, 0.0)


def test_border_and_faint_emitters():
    assert near_border(at(449, 451), (6400, 6400), 450).tolist() == [True, True]  # y is 0
    assert near_border([[500, 500, 0], [6000, 500, 0]], (6400, 6400), 450).tolist() == [False, True]
    assert near_border(np.empty((0, 3)), (6400, 6400), 450).tolist() == []
    assert faint([1, 2, 3, 4]).tolist() == [True, False, False, False]


def test_the_class_collects_and_leaves_out_the_border_and_the_faint():
    metric = LocalizationScore(size_nm=(6400, 6400), border_nm=450, photon_quantile=0.5)
    true = [[3000, 3000, 0], [3000, 1000, 0], [100, 100, 0], [5000, 5000, 0]]
    found = [[3000, 3010, 0], [100, 120, 0], [2000, 5000, 0]]
    metric.update([0] * 3, found, [0] * 4, true, [1000, 10, 1000, 10])
    scores = metric.compute()
    assert (scores.pairs, scores.wrong, scores.missed, scores.lateral_nm) == (1, 1, 0, 10.0)
    metric.reset()
    assert metric.compute().pairs == 0


def test_the_class_asks_for_what_it_needs():
    with pytest.raises(InputError, match="size of the field"):
        LocalizationScore(border_nm=450)
    with pytest.raises(InputError, match="photons"):
        LocalizationScore(photon_quantile=0.25).update([0], at(0), [0], at(0))


def test_many_small_calls_give_the_score_of_one_call():
    rng = np.random.default_rng(2)
    frames, true = np.repeat(np.arange(20), 5), rng.uniform(0, 6400, (100, 3)) * [1, 1, 0.1]
    found = true + rng.normal(0, 20, true.shape)
    whole, parts = LocalizationScore(), LocalizationScore()
    whole.update(frames, found, frames, true)
    for f in range(20):
        own = frames == f
        parts.update(frames[own], found[own], frames[own], true[own])
    assert whole.compute().table().row(0) == pytest.approx(parts.compute().table().row(0))


def test_wobble_is_subtracted_and_constant_beyond_the_ends():
    moved = correct_wobble([[0, 0, -500], [0, 0, 0], [0, 0, 500]], [-100, 100], [[10, 0], [30, -8]])
    assert moved.tolist() == [[-10, 0, -500], [-20, 4, 0], [-30, 8, 500]]


def test_checkerboard_of_structure_without_artefact_is_small_and_at_two_pixels_seen_only_there():
    rng = np.random.default_rng(3)
    xy = rng.uniform(0, 6400, (20_000, 2))
    line = np.column_stack([xy[:, 0], 0.3 * xy[:, 0] + rng.normal(0, 20, len(xy))])
    assert checkerboard(line, 100) < 5
    wide = 200 * np.floor(xy / 200) + 100 + 0.8 * (xy % 200 - 100)
    assert checkerboard(wide, 100, period_px=2.0) > 50


def test_error_over_bound_is_one_at_the_bound():
    rng = np.random.default_rng(0)
    bound = rng.uniform(5, 50, (20_000, 3))
    assert error_over_bound(bound * rng.standard_normal(bound.shape), bound) == pytest.approx([1, 1, 1], abs=0.02)


def test_calibration_error_by_hand():
    assert calibration_error([0.9, 0.9, 0.1, 0.1], [1, 0, 0, 0]) == pytest.approx((2 * 0.4 + 2 * 0.1) / 4)
    assert np.isnan(calibration_error([], []))
