"""The Bayesian score, integrated by hand; proposals against their definition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from lucule.cluster import scores
from lucule.cluster.methods.bayesian import Bayesian, Scores, proposals, toroidal_counts
from lucule.cluster.methods.common import Sample
from lucule.core import InputError, Region

SQUARE = Region.rectangle(0, 0, 100, 100)


def sample(points, errors=0.0, region=SQUARE):
    points = np.asarray(points, np.float32)
    return Sample(points, np.broadcast_to(np.asarray(errors, np.float32), points.shape).copy(), region)


def test_the_score_of_a_small_field_is_the_integral_of_its_model():
    points = np.array([[20.0, 30], [24, 33], [26, 29], [70, 80], [74, 81], [50, 10]], np.float32)
    errors = np.array([[2.0, 3], [4, 2], [1, 1], [3, 3], [2, 5], [2, 2]], np.float32)
    settings = Bayesian(cluster_sd_nm=(3, 10), cluster_sd_weights=(1, 3), background=0.4, concentration=2)
    own = np.array([0, 0, 0, 1, 1, -1], np.int32)
    likelihood = np.log(1 / 1e4)  # the one of background
    for members in ([0, 1, 2], [3, 4]):
        both = 0.0
        for sd, prior in ((3, 0.25), (10, 0.75)):
            axes = 1.0
            for axis in range(2):
                width = np.sqrt(sd**2 + errors[members, axis].astype(float) ** 2)
                axes *= integrate.quad(
                    lambda mu, a=axis, w=width, m=members: stats.norm.pdf(points[m, a], mu, w).prod() / 100,
                    0, 100, points=points[members, axis].astype(float), epsabs=1e-14,
                )[0]  # fmt: skip
            both += prior * axes
        likelihood += np.log(both)
    # 5 of 6 clustered, in clusters of 3 and 2: alpha^2 gamma(alpha) gamma(3) gamma(2) / gamma(alpha + 5)
    prior = np.log(0.4 * 0.6**5 * 2**2 * 1 * 2 * 1 / 720)
    score = Scores(sample(points, errors), settings)
    assert score.prior(np.array([3, 2]), 1) == pytest.approx(prior)
    assert score.of(own) == pytest.approx(likelihood + prior, rel=1e-6)


def test_a_cluster_at_the_border_knows_that_its_centre_lies_inside():
    score = Scores(sample([[0.5, 50], [1, 50]]), Bayesian(cluster_sd_nm=(20,)))
    expected = sum(
        np.log(integrate.quad(lambda mu, v=v: stats.norm.pdf(v, mu, 20).prod() / 100, 0, 100, epsabs=1e-14)[0])
        for v in (np.array([0.5, 1.0]), np.array([50.0, 50.0]))
    )
    assert score.clusters(np.array([0, 0], np.int32))[0] == pytest.approx(expected, rel=1e-6)


def test_neighbours_are_counted_across_the_sides():
    points = np.random.default_rng(1).uniform(0, 100, (60, 2)).astype(np.float32)
    difference = np.abs(points[:, None] - points[None])
    wrapped = np.minimum(difference, 100 - difference)
    expected = (np.linalg.norm(wrapped, axis=2) <= 30).sum(axis=1) - 1
    assert (toroidal_counts(sample(points), 30) == expected).all()


def test_the_best_proposal_is_the_truth():
    rng = np.random.default_rng(6)
    centres = np.array([[300.0, 300], [700, 400], [500, 800]])
    points = np.concatenate(
        [np.repeat(centres, 40, axis=0) + rng.normal(0, 12, (120, 2)), rng.uniform(0, 1000, (80, 2))]
    )
    found = proposals(
        sample(points, region=Region.rectangle(0, 0, 1000, 1000)),
        Bayesian(radii_nm=(10, 60, 10), thresholds_nm=(20, 300, 20)),
    )
    truth = np.append(np.repeat(np.arange(3), 40), np.full(80, -1))
    assert scores.rand_index(truth, found.best) > 0.9
    best = found.table.sort("score").row(-1, named=True)
    assert best["clustered"] == (found.best >= 0).sum()
    assert found.table["clustered"].is_between(0, 200).all()


def test_random_localizations_are_background():
    points = np.random.default_rng(3).uniform(0, 1000, (150, 2))
    best = proposals(
        sample(points, region=Region.rectangle(0, 0, 1000, 1000)),
        Bayesian(radii_nm=(10, 60, 10), thresholds_nm=(20, 300, 20)),
    ).best
    assert (best >= 0).mean() < 0.1


def test_settings_that_make_no_sense():
    for values in (
        {"radii_nm": (0, 10, 5)},
        {"thresholds_nm": (1, 500, 1e-6)},
        {"cluster_sd_nm": ()},
        {"cluster_sd_weights": (1.0,)},
        {"background": 1},
    ):
        with pytest.raises(InputError):
            Bayesian.parse(values)
