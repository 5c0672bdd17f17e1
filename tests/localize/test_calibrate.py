"""Calibration after training, on made-up validations with known answers."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from scipy.special import expit, logit

from lucule.localize.calibrate import Validation, calibrated, evidence_laws, p_law, scores_at, sigma_law
from lucule.localize.laws import EVIDENCE, Emitters, Laws, evidence
from lucule.models import find

AS_SAID = [(0.0, 1.0, 0.0, 0.0)] * 4


def emitters(p, sigma=10.0, again=0, single=False, moved=0.0):
    """Emitters of which nothing but this is known; photons 100 times their error, here and in `again` frames around."""
    n = len(p)
    errors = np.broadcast_to(np.reshape(sigma, (-1, 1)) if np.ndim(sigma) == 1 else sigma, (n, 4)).copy()
    errors[:, 3] = 0.01
    again = 100.0 * (np.arange(4) < np.broadcast_to(again, n)[:, None])
    single = np.broadcast_to(single, n)
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
    return Validation(found, hit, pairs, difference, np.ones(n), np.full(n, 0.5), len(pairs) + 100)


NONE = Validation(emitters([]), np.empty(0, bool), np.empty(0, np.int64), np.empty((0, 4)), np.empty(0), np.empty(0), 0)


def card():
    return find("XPILJZ").card.replace(features={"pixel_size_nm": [100, 100]}, scores={"train_loss": 1.0})


@pytest.mark.parametrize("outliers", [0.0, 0.03])
def test_widths_are_found_also_beside_mistaken_pairs(outliers):
    laws = calibrated(card(), validation(outliers=outliers), NONE, NONE).features["sigma_law"]
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


def test_the_weights_of_evidence_are_found_for_either_kind_of_movie():
    rng = np.random.default_rng(1)
    n = 60_000
    p, sigma, again = rng.uniform(0.02, 0.98, n), rng.uniform(5, 50, n), rng.integers(0, 4, n)
    found = emitters(p, sigma, again, moved=rng.exponential(2, n))
    found.errors[:, 3] = np.exp(-rng.uniform(0, 4, n))
    lasting = rng.uniform(0.05, 0.95, n)
    true = np.array([[-1.5, 0.6, -0.8, -0.5, -1, 0.7, -0.5, -0.3, 0.5], [1.5, 0.6, 1.0, 2.0, 0, 0.4, -0.5, 0, -0.5]])
    odds = evidence(found) @ true.T
    hit = rng.random(n) < expit((1 - lasting) * odds[:, 0] + lasting * odds[:, 1])
    made = Validation(found, hit, np.empty(0, np.int64), np.empty((0, 4)), np.ones(n), lasting, n)
    parts = [
        replace(made, found=Emitters(*(getattr(found, f.name)[half] for f in fields(Emitters))), hit=hit[half],
                weight=made.weight[half], lasting=lasting[half])
        for half in (slice(0, n // 2), slice(n // 2, n))
    ]  # fmt: skip
    laws = evidence_laws(*parts, NONE)
    # the logarithms hang together with the constant, so that only what they say together is well known
    assert laws[:2, 1:5] == pytest.approx(true[:, 1:5], abs=0.25)
    assert laws[2].tolist() == [0, 1, *[0] * (EVIDENCE - 2)]
    p = expit((1 - lasting) * odds[:, 0] + lasting * odds[:, 1])
    assert np.abs(Laws(AS_SAID, (1, 0), laws).p(found, lasting) - p).mean() < 0.015


def test_the_weights_of_evidence_are_found_for_single_frames():
    rng = np.random.default_rng(1)
    n = 20_000
    found = emitters(rng.uniform(0.02, 0.98, n), rng.uniform(5, 50, n), single=True)
    hit = rng.random(n) < expit(0.5 * logit(found.p) - 1)
    made = Validation(found, hit, np.empty(0, np.int64), np.empty((0, 4)), np.ones(n), np.full(n, 0.5), n)
    laws = evidence_laws(NONE, NONE, made)
    assert laws[:2].tolist() == [[0, 1, *[0] * (EVIDENCE - 2)]] * 2
    p = Laws(AS_SAID, (1, 0), laws).p(found, 0.5)
    assert p == pytest.approx(expit(0.5 * logit(found.p) - 1), abs=0.04)


def test_probabilities_are_corrected_and_the_correction_can_be_inverted():
    rng = np.random.default_rng(1)
    said = rng.uniform(0.02, 0.98, 20_000)
    true = said**0.4
    inputs = np.column_stack([logit(said), np.ones(len(said))])
    laws = Laws(AS_SAID, p_law(inputs, (1, 0), rng.random(len(said)) < true, np.ones(len(said))))
    assert np.abs(laws.of_network(said) - true).mean() < 0.03
    assert laws.said(laws.of_network(said)) == pytest.approx(said, abs=1e-6)


def test_other_kinds_of_movie_count_for_evidence_and_threshold_only():
    other = validation(too_narrow=(5.0, 5.0, 5.0), seed=2)
    with_them, without = (calibrated(card(), validation(seed=1), o, o).features for o in (other, NONE))
    assert with_them["evidence_law"] != without["evidence_law"]
    assert [with_them[law] for law in ("sigma_law", "p_law")] == [without[law] for law in ("sigma_law", "p_law")]


@pytest.mark.parametrize("hit", [np.ones(500, bool), np.zeros(500, bool), np.ones(5, bool), np.ones(0, bool)])
def test_where_nothing_can_be_learned_the_law_stays(hit):
    n = len(hit)
    assert p_law(np.ones((n, 2)), (1, 0), hit, np.ones(n)).tolist() == [1, 0]


def test_scores_and_threshold_stand_on_the_card_beside_those_of_the_training():
    made = calibrated(card(), validation(), NONE, NONE)
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
    low, high = (calibrated(card(), v, NONE, NONE).features["threshold"] for v in (all_right, none_below))
    assert low == pytest.approx(0.3)
    assert high > 0.3


def test_scores_count_what_reaches_the_threshold():
    found = Validation(emitters([0.3, 0.6, 0.7, 0.9]), np.array([True, True, False, True]), np.array([0, 1, 3]),
                       np.zeros((3, 4)), np.ones(4), np.full(4, 0.5), 5)  # fmt: skip
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
    made = calibrated(card(), replace(NONE, emitters=50), NONE, NONE)
    assert made.features["sigma_law"] == [[0.0, 1.0, 0.0, 0.0]] * 4
    assert made.features["p_law"] == [1.0, 0.0]
    assert made.features["evidence_law"] == [[0, 1, 0, 0, 0, 0, 0, 0, 0]] * 3
    assert 0 < made.features["threshold"] < 1
    assert made.scores["validation_recall"] == 0.0
