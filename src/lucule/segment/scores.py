"""How well a segmentation agrees with the truth: pixels as in the paper, and objects one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lucule.core import InputError

GOOD_DICE: Final = 0.75
"""From this Dice score on an object counts as segmented well (Linke et al. 2025, Results)."""
_FOUND: Final = 0.1


@dataclass(frozen=True, slots=True)
class Scores:
    """Agreement of labels with the truth.

    Attributes
    ----------
    dice
        2 TP / (2 TP + FP + FN) over pixels of objects (equation 1 of the paper).
    pixel_accuracy
        (TP + TN) / all pixels (equation 2).
    objects
        Number of true objects.
    recall, precision
        True objects found with a Dice score of at least `GOOD_DICE`, and found ones that are such; each object counts
        once.
    seen
        True objects of which something was found.
    duplicates
        Found objects that lie mostly in a true object that another one fits better, over the true ones.
    """

    dice: float
    pixel_accuracy: float
    objects: int
    recall: float
    precision: float
    seen: float
    duplicates: float


def scores(truth: ArrayLike, found: ArrayLike) -> Scores:
    """Compare two images of labels, 0 = none.

    Raises
    ------
    InputError
        They differ in shape.

    Examples
    --------
    >>> truth = np.array([[1, 1, 0, 2, 2, 0]])
    >>> result = scores(truth, [[5, 5, 0, 0, 7, 0]])
    >>> round(result.dice, 3), result.recall, result.seen
    (0.857, 0.5, 1.0)
    """
    true, got = np.asarray(truth), np.asarray(found)
    if true.shape != got.shape:
        raise InputError("Labels and truth differ in shape", received=f"{got.shape}, {true.shape}")
    inside, positive = true > 0, got > 0
    both = int((inside & positive).sum())
    dice = 2 * both / max(int(inside.sum()) + int(positive.sum()), 1)
    shared, true_area, found_area = _overlaps(true, got)
    n, m = shared.shape
    if not n or not m:
        empty = 1.0 if n == m else 0.0
        return Scores(dice, float((inside == positive).mean()), n, empty, empty, empty, 0.0)
    each = 2 * shared / (true_area[:, None] + found_area[None, :])
    pairs = int((each >= GOOD_DICE).any(axis=1).sum())
    within = shared > 0.5 * found_area[None, :]
    best = each.argmax(axis=1)
    extra = within.sum() - within[np.arange(n), best].sum()
    seen = shared.sum(axis=1) >= _FOUND * true_area
    return Scores(
        dice,
        float((inside == positive).mean()),
        n,
        pairs / n,
        int((each >= GOOD_DICE).any(axis=0).sum()) / m,
        float(seen.mean()),
        int(extra) / n,
    )


def _overlaps(true: NDArray[Any], got: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]]:
    """Shared pixels of true and found objects, and the pixels of each."""
    first, rows = np.unique(true, return_inverse=True)
    second, columns = np.unique(got, return_inverse=True)
    counts = np.bincount(rows.ravel() * len(second) + columns.ravel(), minlength=len(first) * len(second))
    table = counts.reshape(len(first), len(second))
    areas = table.sum(axis=1)[first > 0], table.sum(axis=0)[second > 0]
    return table[first > 0][:, second > 0], *areas
