"""Calibration after training, on made-up validations with known answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lucule.localize.calibrate import Validation, calibrated, p_law, sigma_law
from lucule.localize.predict import Laws
from lucule.models import find


def validation(n=4000, too_narrow=(2.0, 0.5, 1.0, 1.5), outliers=0.0, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.2, 1.0, n)
    hit = rng.random(n) < p
    sigma = rng.uniform(5, 20, (int(hit.sum()), 4))
    difference = sigma * too_narrow * rng.standard_normal(sigma.shape)
    swapped = rng.random(len(sigma)) < outliers
    difference[swapped] = 200 * rng.standard_normal((int(swapped.sum()), 4))
    ones = np.ones(n)
    return Validation(
        np.zeros((len(p), 2)),
        p,
        hit,
        difference,
        sigma,
        sigma,
        0 * p[hit],
        p[hit],
        ones,
        ones[hit],
        int(hit.sum()) + 100,
    )


def card():
    return find("XPILJZ").card.replace(features={"pixel_size_nm": [100, 100]}, scores={"train_loss": 1.0})


@pytest.mark.parametrize("outliers", [0.0, 0.03])
def test_widths_are_found_also_beside_mistaken_pairs(outliers):
    laws = calibrated(card(), validation(outliers=outliers)).features["sigma_law"]
    assert [np.exp(a) * 10 ** (b + c) / 10 for a, b, c, _ in laws] == pytest.approx([2.0, 0.5, 1.0, 1.5], rel=0.12)


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


def test_probabilities_are_corrected_and_the_correction_can_be_inverted():
    rng = np.random.default_rng(1)
    said = rng.uniform(0.02, 0.98, 20_000)
    true = said**0.4
    laws = Laws([(0.0, 1.0, 0.0, 0.0)] * 4, p_law(said, rng.random(len(said)) < true, np.ones(len(said))))
    assert np.abs(laws.p(said) - true).mean() < 0.03
    assert laws.said(laws.p(said)) == pytest.approx(said, abs=1e-6)


def test_scores_and_threshold_stand_on_the_card_beside_those_of_the_training():
    made = calibrated(card(), validation())
    assert made.scores["train_loss"] == 1.0
    assert made.scores["validation_calibration_error"] < 0.03
    assert made.features["pixel_size_nm"] == [100, 100]
    assert made.scores["validation_pull_x"] == pytest.approx(1.0, rel=0.05)


def test_the_threshold_rises_where_improbable_localizations_are_wrong():
    found = validation()
    never = replace(found, hit=found.hit & (found.p > 0.6), pair_p=np.clip(found.pair_p, 0.61, 1))
    n = len(found.p)
    spread = np.resize(found.sigma, (n, 4))
    always = Validation(found.xy, found.p, np.ones(n, bool), np.resize(found.difference, (n, 4)), spread, spread,
                        np.zeros(n), found.p, found.weight, found.weight, n)  # fmt: skip
    low, high = (calibrated(card(), v) for v in (always, never))
    assert low.features["threshold"] == pytest.approx(0.25)
    laws = Laws(high.features["sigma_law"], high.features["p_law"])
    assert laws.said(high.features["threshold"]) == pytest.approx(0.6, abs=0.02)


def test_every_scene_counts_alike():
    """A hundred pairs of one kind weigh as much as ten thousand of another, if their weights say so."""
    rng = np.random.default_rng(1)
    weight = np.repeat([1.0, 0.01], [1000, 100_000])
    size = np.repeat([2.0, 1.0], [1000, 100_000])
    sigma = np.full(len(size), 10.0)
    a, b, c, _ = sigma_law(10 * size * rng.standard_normal(len(size)), sigma, sigma, 0 * size, weight)
    assert 1.3 < np.exp(a) * 10 ** (b + c) / 10 < 1.6


def test_a_network_that_finds_nothing_keeps_its_errors():
    empty = Validation(
        np.empty((0, 2)), np.empty(0), np.empty(0, bool), *[np.empty((0, 4))] * 3, *[np.empty(0)] * 4, 50
    )
    made = calibrated(card(), empty)
    assert made.features["sigma_law"] == [[0.0, 1.0, 0.0, 0.0]] * 4
    assert made.features["p_law"] == [1.0, 0.0]
    assert 0 < made.features["threshold"] < 1
    assert made.scores["validation_recall"] == 0.0
