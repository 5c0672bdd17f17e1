"""How large a difference is, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lucule.core import InputError
from lucule.stats.ranks import explained_by_groups, midranks

LEVEL: Final = 0.95
FEWEST_VALUES: Final = 6
"""Of five values even the smallest and the largest do not enclose the median with a probability of 95 %."""
# so many numbers are resampled at a time
_CHUNK: Final = 4_000_000

Floats = NDArray[np.float64]
Interval = tuple[float, float]


def cliffs_delta(first: ArrayLike, second: ArrayLike) -> float:
    """Probability that a value of `second` is larger than one of `first`, less the probability that it is smaller.

    From -1 to 1; the rank-biserial correlation is the same number (Cliff, Psychol Bull 114:494, 1993).

    Raises
    ------
    InputError
        A group is empty, or a value is not finite.

    Examples
    --------
    >>> cliffs_delta([1, 2, 3], [2, 4, 6]), cliffs_delta([1, 2], [1, 2])
    (0.6666666666666666, 0.0)
    """
    a, b = _two(first, second)
    a = np.sort(a)
    larger = np.searchsorted(a, b, side="left").sum()
    smaller = (len(a) - np.searchsorted(a, b, side="right")).sum()
    return float(larger - smaller) / (len(a) * len(b))


def hodges_lehmann(first: ArrayLike, second: ArrayLike) -> float:
    """Median of all differences between a value of `second` and one of `first`: by how much the groups are shifted.

    Raises
    ------
    InputError
        A group is empty, or a value is not finite.

    Examples
    --------
    >>> hodges_lehmann([1, 2, 3], [11, 12, 14])
    10.0
    """
    a, b = _two(first, second)
    return float(np.median(b[:, None] - a[None, :]))


def _two(first: ArrayLike, second: ArrayLike) -> tuple[Floats, Floats]:
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if not (a.size and b.size and np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError(
            "Two groups cannot be compared",
            received=f"groups of {a.size} and {b.size}, finite {np.isfinite(a).sum()} and {np.isfinite(b).sum()}",
            allowed="one value or more in each, all finite",
        )
    return a, b


def resampled(values: ArrayLike, resamples: int, rng: np.random.Generator) -> Floats:
    """Values drawn with replacement, `(resamples, n)`."""
    array = np.asarray(values, np.float64)
    return array[rng.integers(0, len(array), (resamples, len(array)))]


def medians(values: ArrayLike, resamples: int, rng: np.random.Generator) -> Floats:
    """Medians of values drawn with replacement, `(resamples,)`."""
    n = max(len(np.asarray(values)), 1)
    per_chunk = max(_CHUNK // n, 1)
    parts = [
        np.median(resampled(values, min(per_chunk, resamples - done), rng), axis=1)
        for done in range(0, resamples, per_chunk)
    ]
    return np.concatenate(parts)


def percentile_interval(drawn: Floats) -> Interval:
    """The middle 95 % of a bootstrap distribution."""
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def delta_interval(first: ArrayLike, second: ArrayLike, resamples: int, rng: np.random.Generator) -> Interval:
    """95 % interval of `cliffs_delta`, both groups resampled.

    Where the groups do not overlap the bootstrap has no spread. Then the limit is the delta that so many independent
    pairs as the smaller group has values would all fall on one side of with a probability of 2.5 %.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    delta = cliffs_delta(a, b)
    if abs(delta) == 1:
        limit = 2 * ((1 - LEVEL) / 2) ** (1 / min(len(a), len(b))) - 1
        return (limit, 1.0) if delta > 0 else (-1.0, -limit)
    sign = np.sign(b[:, None] - a[None, :])
    per_chunk = max(_CHUNK // (len(a) + len(b)), 1)
    drawn = []
    for done in range(0, resamples, per_chunk):
        count = min(per_chunk, resamples - done)
        # how often each value is drawn
        of_a = rng.multinomial(len(a), np.full(len(a), 1 / len(a)), count)
        of_b = rng.multinomial(len(b), np.full(len(b), 1 / len(b)), count)
        drawn.append(((of_b @ sign) * of_a).sum(axis=1) / (len(a) * len(b)))
    return percentile_interval(np.concatenate(drawn))


def epsilon_squared_interval(groups: Sequence[ArrayLike], resamples: int, rng: np.random.Generator) -> Interval:
    """95 % interval of the effect size of `kruskal_wallis`, every group resampled for itself.

    Resampled groups differ more than the groups themselves do, as these differ more than the populations. So the
    bootstrap distribution is shifted until its mean is the observed value, and cut off at 0 and 1.
    """
    arrays = [np.asarray(group, np.float64) for group in groups]
    sizes = np.array([len(group) for group in arrays], np.float64)
    observed = float(explained_by_groups(midranks(np.concatenate(arrays)), sizes))
    per_chunk = max(_CHUNK // int(sizes.sum()), 1)
    found = []
    for done in range(0, resamples, per_chunk):
        count = min(per_chunk, resamples - done)
        drawn = np.concatenate([resampled(group, count, rng) for group in arrays], axis=1)
        found.append(explained_by_groups(midranks(drawn), sizes))
    spread = np.concatenate(found)
    low, high = percentile_interval(spread - spread.mean() + observed)
    return max(low, 0.0), min(high, 1.0)
