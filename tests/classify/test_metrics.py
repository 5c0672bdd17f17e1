"""Scores agree with scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from lucule.classify import score
from lucule.core import InputError


@pytest.mark.parametrize("classes", [2, 3])
def test_agreement_with_scikit_learn(classes):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, classes, 500)
    labels = np.where(rng.random(500) < 0.7, truth, rng.integers(0, classes, 500))
    scores = score(truth, labels, classes=classes)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(truth, labels)
    np.testing.assert_allclose(scores.precision, precision)
    np.testing.assert_allclose(scores.recall, recall)
    np.testing.assert_allclose(scores.f1, f1)
    np.testing.assert_array_equal(scores.confusion, metrics.confusion_matrix(truth, labels))
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(truth, labels, average="weighted")
    expected = {"accuracy": np.mean(truth == labels), "f1": f1, "precision": precision, "recall": recall}
    assert scores.weighted() == pytest.approx(expected)


def test_one_class_only():
    scores = score([0, 0, 0, 0], [0, 0, 0, 1])
    assert scores.accuracy == 0.75
    assert scores.weighted()["recall"] == 0.75
    assert np.isnan(scores.recall[1])


def test_empty():
    assert np.isnan(score([], []).accuracy)


@pytest.mark.parametrize(("truth", "labels"), [([0], [0, 1]), ([0], [2]), ([-1], [0])])
def test_wrong_labels_are_refused(truth, labels):
    with pytest.raises(InputError):
        score(truth, labels)
