"""Calibration after training, on made-up validations with known answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit

from lucule.localize.calibrate import Validation, calibrated, p_law, scores_at, sigma_law
from lucule.localize.laws import Emitters, Laws, evidence
from lucule.models import find

AS_SAID = [(0.0, 1.0, 0.0, 0.0)] * 4


def emitters(p, sigma=10.0, again=0, single=False, moved=0.0):
    """Emitters of which nothing but this is known; 100 photons for each of their error."""
    n = len(p)
    errors = np.broadcast_to(np.reshape(sigma, (-1, 1)) if np.ndim(sigma) == 1 else sigma, (n, 4)).copy()
    errors[:, 3] = 0.01
    again, single = np.broadcast_to(again, n), np.broadcast_to(single, n)
    moved = np.broadcast_to(moved, n)
    return Emitters(np.arange(n), np.asarray(p), np.zeros((n, 5)), errors, errors, moved, again, single)


def validation(n=4000, too_narrow=(2.0, 0.5, 1.0), outliers=0.0, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.25, 1.0, n)
    hit = rng.random(n) < p
    found = emitters(p, rng.uniform(5, 20, (n, 4)))
    pairs = np.flatnonzero(hit)
    difference = found.errors[pairs] * (*too_narrow, 1) * rng.standard_normal((len(pairs), 4))
    swapped = rng.random(len(pairs)) < outliers
    difference[swapped] = 200 * rng.standard_normal((int(swapped.sum()), 4))
    return Validation(found, hit, pairs, difference, np.ones(n), len(pairs) + 100)


NONE = Validation(emitters([]), np.empty(0, bool), np.empty(0, np.int64), np.empty((0, 4)), np.empty(0), 0)


def card():
    return find("XPILJZ").card.replace(features={"pixel_size_nm": [100, 100]}, scores={"train_loss": 1.0})


@pytest.mark.parametrize("outliers", [0.0, 0.03])
def test_widths_are_found_also_beside_mistaken_pairs(outliers):
    laws = calibrated(card(), validation(outliers=outliers), NONE).features["sigma_law"]
    assert [np.exp(a) * 10 ** (b + c) / 10 for a, b, c, _ in laws[:3]] == pytest.approx([2.0, 0.5, 1.0], rel=0.12)


def test_errors_that_are_exaggerated_where_they_are_small_are_corrected_there_only():
    rng = np.random.default_rng(1)
    true = rng.uniform(5, 50, 20_000)
    said = 7 * true**0.6
    ones = np.ones(len(true))
    a, b, c, _ = sigma_law(true * rng.standard_normal(len(true)), said, 30 * ones, 0 * ones, ones)
    assert np.exp(a) * said**b * 30.0**c == pytest.approx(true, rel=0.12)


def test_the_better_of_two_predictions_counts():
    rng = np.random.default_rng(1)
    true, other = rng.uniform(5, 50, (2, 20_000))
    difference = true * rng.standard_normal(len(true))
    none, ones = np.zeros(len(true)), np.ones(len(true))
    assert sigma_law(difference, true, other, none, ones)[1:3] == pytest.approx((1.0, 0.0), abs=0.06)
    assert sigma_law(difference, other, true, none, ones)[1:3] == pytest.approx((0.0, 1.0), abs=0.06)


def test_what_was_moved_far_is_less_certain():
    rng = np.random.default_rng(1)
    moved, sigma = rng.exponential(3, 20_000), np.full(20_000, 10.0)
    difference = 10 * (1 + moved) ** 0.7 * rng.standard_normal(20_000)
    assert sigma_law(difference, sigma, sigma, moved, np.ones(20_000))[3] == pytest.approx(0.7, abs=0.06)


def test_the_weights_of_evidence_are_found():
    rng = np.random.default_rng(1)
    n = 40_000
    found = emitters(
        rng.uniform(0.02, 0.98, n), rng.uniform(5, 50, n), rng.integers(0, 4, n), rng.random(n) < 0.3,
        rng.exponential(2, n),
    )  # fmt: skip
    found.errors[:, 3] = np.exp(-rng.uniform(1, 4, n))
    true = np.array([-1.5, 0.6, -0.8, 1.0, 2.0, 0.4, -0.5, -0.3])
    hit = rng.random(n) < expit(evidence(found) @ true)
    law = p_law(evidence(found), (0, 1, *[0] * 6), hit, np.ones(n))
    assert law == pytest.approx(true, abs=0.15)
    assert Laws(AS_SAID, (1, 0), law).p(found) == pytest.approx(expit(evidence(found) @ true), abs=0.05)


def test_probabilities_are_corrected_and_the_correction_can_be_inverted():
    rng = np.random.default_rng(1)
    said = rng.uniform(0.02, 0.98, 20_000)
    true = said**0.4
    inputs = np.column_stack([logit(said), np.ones(len(said))])
    laws = Laws(AS_SAID, p_law(inputs, (1, 0), rng.random(len(said)) < true, np.ones(len(said))))
    assert np.abs(laws.of_network(said) - true).mean() < 0.03
    assert laws.said(laws.of_network(said)) == pytest.approx(said, abs=1e-6)


def test_single_frames_count_for_the_evidence_only():
    movies, single = validation(seed=1), validation(seed=2)
    # in single frames as many are right, whatever the network says
    n = len(single.hit)
    hit = np.random.default_rng(3).random(n) < 0.3
    single = replace(single, found=replace(single.found, single=np.ones(n, bool)), hit=hit)
    with_them, without = (calibrated(card(), movies, s).features for s in (single, NONE))
    assert with_them["evidence_law"][2] < -1
    assert {k: v for k, v in with_them.items() if k in ("sigma_law", "p_law")} == {
        k: v for k, v in without.items() if k in ("sigma_law", "p_law")
    }


@pytest.mark.parametrize("hit", [np.ones(500, bool), np.zeros(500, bool), np.ones(5, bool), np.ones(0, bool)])
def test_where_nothing_can_be_learned_the_law_stays(hit):
    n = len(hit)
    assert p_law(np.ones((n, 2)), (1, 0), hit, np.ones(n)).tolist() == [1, 0]


def test_scores_and_threshold_stand_on_the_card_beside_those_of_the_training():
    made = calibrated(card(), validation(), NONE)
    assert made.scores["train_loss"] == 1.0
    assert made.scores["validation_calibration_error"] < 0.03
    assert made.features["pixel_size_nm"] == [100, 100]
    assert made.scores["validation_pull_x"] == pytest.approx(1.0, rel=0.05)


def test_the_threshold_rises_where_improbable_localizations_are_wrong():
    rng = np.random.default_rng(1)
    found = validation()
    n = len(found.hit)
    difference = found.found.errors * rng.standard_normal((n, 4))
    all_right = replace(found, hit=np.ones(n, bool), pairs=np.arange(n), difference=difference, emitters=n)
    # from above 0.6 on nearly all are right
    hit = rng.random(n) < np.where(found.found.p > 0.6, 0.98, 0.02)
    none_below = replace(found, hit=hit, pairs=np.flatnonzero(hit), difference=difference[hit], emitters=n)
    low, high = (calibrated(card(), v, NONE).features["threshold"] for v in (all_right, none_below))
    assert low == pytest.approx(0.3)
    assert high > 0.3


def test_scores_count_what_reaches_the_threshold():
    found = Validation(emitters([0.3, 0.6, 0.7, 0.9]), np.array([True, True, False, True]), np.array([0, 1, 3]),
                       np.zeros((3, 4)), np.ones(4), 5)  # fmt: skip
    scores = scores_at(found, Laws(AS_SAID, (1, 0)), 0.5)
    assert (scores.precision, scores.recall) == pytest.approx((2 / 3, 2 / 5))


def test_every_scene_counts_alike():
    """A hundred pairs of one kind weigh as much as ten thousand of another, if their weights say so."""
    rng = np.random.default_rng(1)
    weight = np.repeat([1.0, 0.01], [1000, 100_000])
    size = np.repeat([2.0, 1.0], [1000, 100_000])
    sigma = np.full(len(size), 10.0)
    a, b, c, _ = sigma_law(10 * size * rng.standard_normal(len(size)), sigma, sigma, 0 * size, weight)
    assert 1.3 < np.exp(a) * 10 ** (b + c) / 10 < 1.6


def test_a_network_that_finds_nothing_keeps_its_errors():
    made = calibrated(card(), replace(NONE, emitters=50), NONE)
    assert made.features["sigma_law"] == [[0.0, 1.0, 0.0, 0.0]] * 4
    assert made.features["p_law"] == [1.0, 0.0]
    assert made.features["evidence_law"] == [0, 1, 0, 0, 0, 0, 0, 0]
    assert 0 < made.features["threshold"] < 1
    assert made.scores["validation_recall"] == 0.0
