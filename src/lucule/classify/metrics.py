"""How good labels are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lucule.core import InputError


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Agreement of labels with the truth.

    Attributes
    ----------
    confusion
        `(classes, classes)`, localizations of true class i (row) that were given label j (column).

    Examples
    --------
    >>> scores = score([0, 0, 1, 1], [0, 1, 1, 1])
    >>> scores.accuracy, scores.precision.tolist(), scores.recall.tolist()
    (0.75, [1.0, 0.6666666666666666], [0.5, 1.0])
    """

    confusion: NDArray[np.int64]

    @property
    def accuracy(self) -> float:
        """Fraction of correct labels; NaN for an empty table."""
        return _ratio(np.trace(self.confusion), self.confusion.sum())

    @property
    def precision(self) -> NDArray[np.float64]:
        """For each class, the fraction of its labels that are correct; NaN for a class that was never given."""
        return np.array([_ratio(*pair) for pair in zip(np.diag(self.confusion), self.confusion.sum(0), strict=True)])

    @property
    def recall(self) -> NDArray[np.float64]:
        """For each class, the fraction of its localizations that was found; NaN for a class that does not occur."""
        return np.array([_ratio(*pair) for pair in zip(np.diag(self.confusion), self.confusion.sum(1), strict=True)])

    @property
    def f1(self) -> NDArray[np.float64]:
        """For each class, the harmonic mean of precision and recall."""
        sizes = self.confusion.sum(0) + self.confusion.sum(1)
        return np.array([_ratio(2 * hit, size) for hit, size in zip(np.diag(self.confusion), sizes, strict=True)])

    def weighted(self) -> dict[str, float]:
        """Accuracy, and F1, precision and recall averaged over the classes by their size, as the paper gives them."""
        present = self.confusion.sum(1) > 0
        weights = self.confusion.sum(1)[present]
        means = {name: np.nan_to_num(getattr(self, name)[present]) for name in ("f1", "precision", "recall")}
        averages = {name: float(np.average(m, weights=weights)) if m.size else np.nan for name, m in means.items()}
        return {"accuracy": self.accuracy} | averages


def score(truth: ArrayLike, labels: ArrayLike, *, classes: int = 2) -> Scores:
    """Compare labels `(n,)` with the truth `(n,)`.

    Raises
    ------
    InputError
        The lengths differ, or a label is not one of `0 ... classes - 1`.
    """
    wanted, given = np.asarray(truth), np.asarray(labels)
    if wanted.shape != given.shape or wanted.ndim != 1:
        raise InputError("Labels and truth differ in length", received=f"{given.shape} and {wanted.shape}")
    for values in (wanted, given):
        if values.size and (values.min() < 0 or values.max() >= classes):
            raise InputError("Unknown class", received=int(values.max()), allowed=f"0 to {classes - 1}")
    flat = np.bincount(wanted.astype(np.int64) * classes + given.astype(np.int64), minlength=classes**2)
    return Scores(flat.reshape(classes, classes))


def _ratio(part: np.int64, whole: np.int64) -> float:
    return float(part / whole) if whole else float("nan")
