"""Rank tests of several groups: Kruskal and Wallis, and Dunn's test of all pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lucule.core import InputError

Adjustment = Literal["holm", "bonferroni", "none"]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class KruskalWallis:
    """Result of `kruskal_wallis`.

    Attributes
    ----------
    h, df, p
        Statistic, corrected for ties, degrees of freedom, and p from the chi-squared distribution.
    epsilon_squared
        Effect size from 0 (no difference) to 1 (groups do not overlap): H / (n - 1).
    n
        Values of all groups together.
    """

    h: float
    df: int
    p: float
    epsilon_squared: float
    n: int


@dataclass(frozen=True, slots=True)
class Pair:
    """One pair of Dunn's test.

    Attributes
    ----------
    first, second
        Positions of the two groups.
    z
        Difference of the mean ranks, second less first, over its standard error.
    p, p_adjusted
        Two-sided, for this pair alone and for all pairs together.
    """

    first: int
    second: int
    z: float
    p: float
    p_adjusted: float


def kruskal_wallis(groups: Sequence[ArrayLike]) -> KruskalWallis:
    """Test whether values of several groups come from one distribution, by their ranks.

    Parameters
    ----------
    groups
        At least two, each of one value or more, all finite.

    Raises
    ------
    InputError
        There are fewer than two groups, one is empty, a value is not finite, or all values are equal.

    Notes
    -----
    Kruskal and Wallis, J Am Stat Assoc 47:583, 1952. Effect size: Tomczak and Tomczak, Trends Sport Sci 21:19, 2014.
    The chi-squared distribution is rough for groups of fewer than 5 values.

    Examples
    --------
    >>> result = kruskal_wallis([[1, 2, 3, 4], [5, 6, 7, 8]])
    >>> round(result.h, 3), round(result.p, 4), round(result.epsilon_squared, 3)
    (5.333, 0.0209, 0.762)
    """
    from scipy.special import chdtrc

    sizes, ranks, _ = _ranked(groups)
    n = int(sizes.sum())
    explained = float(explained_by_groups(ranks, sizes))
    df = len(sizes) - 1
    return KruskalWallis((n - 1) * explained, df, float(chdtrc(df, (n - 1) * explained)), explained, n)


def midranks(values: Floats) -> Floats:
    """Ranks from 1 along the last axis; equal values share the mean of their ranks.

    Examples
    --------
    >>> midranks(np.array([[3.0, 1.0, 3.0], [5.0, 6.0, 7.0]])).tolist()
    [[2.5, 1.0, 2.5], [1.0, 2.0, 3.0]]
    """
    n = values.shape[-1]
    order = np.argsort(values, axis=-1)
    ordered = np.take_along_axis(values, order, axis=-1)
    changes = ordered[..., 1:] != ordered[..., :-1]
    edge = np.ones((*values.shape[:-1], 1), dtype=bool)
    position = np.arange(n)
    first = np.maximum.accumulate(np.where(np.concatenate([edge, changes], axis=-1), position, 0), axis=-1)
    ends = np.where(np.concatenate([changes, edge], axis=-1), position, n - 1)
    last = np.minimum.accumulate(ends[..., ::-1], axis=-1)[..., ::-1]
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, (first + last) / 2 + 1, axis=-1)
    return ranks


def explained_by_groups(ranks: Floats, sizes: Floats) -> Floats:
    """Share of the variance of the ranks that lies between groups; (n - 1) times that is H, corrected for ties.

    Parameters
    ----------
    ranks
        Mid-ranks, group by group, `(..., n)`.
    sizes
        Values of each group, `(g,)`.

    Returns
    -------
    share
        `(...)`; 0 where all ranks are equal.
    """
    n = ranks.shape[-1]
    middle = (n + 1) / 2
    sums = np.add.reduceat(ranks, _starts(sizes), axis=-1)
    between = (sizes * (sums / sizes - middle) ** 2).sum(axis=-1)
    total = ((ranks - middle) ** 2).sum(axis=-1)
    return np.divide(between, total, out=np.zeros_like(total), where=total > 0)


def dunn(groups: Sequence[ArrayLike], *, adjust: Adjustment = "holm") -> tuple[Pair, ...]:
    """Compare all pairs of groups by the mean ranks among all groups.

    Parameters
    ----------
    groups
        As for `kruskal_wallis`.
    adjust
        How p is adjusted for the number of pairs, see `adjusted`. `bonferroni` gives what GraphPad Prism prints.

    Returns
    -------
    pairs
        (0, 1), (0, 2), ... (1, 2), ...

    Raises
    ------
    InputError
        As for `kruskal_wallis`.

    Notes
    -----
    Dunn, Technometrics 6:241, 1964, with its correction for ties.

    Examples
    --------
    >>> [(pair.first, pair.second, round(pair.z, 2)) for pair in dunn([[1, 2, 3], [4, 5, 6], [7, 8, 9]])]
    [(0, 1, 1.34), (0, 2, 2.68), (1, 2, 1.34)]
    """
    from scipy.special import ndtr

    sizes, ranks, ties = _ranked(groups)
    n = int(sizes.sum())
    means = np.add.reduceat(ranks, _starts(sizes)) / sizes
    variance = n * (n + 1) / 12 - ties / (12 * (n - 1))
    indices = list(combinations(range(len(sizes)), 2))
    z = np.array([(means[j] - means[i]) / np.sqrt(variance * (1 / sizes[i] + 1 / sizes[j])) for i, j in indices])
    p = 2 * ndtr(-np.abs(z))
    together = adjusted(p, adjust)
    return tuple(Pair(i, j, float(z[k]), float(p[k]), float(together[k])) for k, (i, j) in enumerate(indices))


def adjusted(p: ArrayLike, how: Adjustment = "holm") -> Floats:
    """P values adjusted so that the chance of any false positive among them stays below the level.

    `bonferroni` multiplies by their number; `holm` (Scand J Stat 6:65, 1979) does so step by step, is never larger and
    holds under the same conditions; `none` leaves them as they are.

    Examples
    --------
    >>> adjusted([0.01, 0.04, 0.03], "holm").tolist(), adjusted([0.01, 0.04], "bonferroni").tolist()
    ([0.03, 0.06, 0.06], [0.02, 0.08])
    """
    values = np.asarray(p, np.float64)
    m = len(values)
    match how:
        case "none":
            return values.copy()
        case "bonferroni":
            return np.minimum(values * m, 1.0)
        case "holm":
            order = np.argsort(values, kind="stable")
            result = np.empty(m)
            result[order] = np.minimum(np.maximum.accumulate(values[order] * (m - np.arange(m))), 1.0)
            return result
        case _:
            raise InputError("Unknown adjustment", received=how, allowed=", ".join(get_args(Adjustment)))


def _ranked(groups: Sequence[ArrayLike]) -> tuple[Floats, Floats, float]:
    """Sizes of the groups, mid-ranks of all values in their order, and the sum of t^3 - t over ties of t values."""
    if isinstance(groups, Mapping):
        raise InputError(
            "Groups cannot be compared",
            received=f"a mapping with the keys {', '.join(map(str, groups))}",
            allowed="a sequence of groups",
            next_step="give list(groups.values())",
        )
    arrays = [np.asarray(group, np.float64).reshape(-1) for group in groups]
    if len(arrays) < 2 or any(len(values) == 0 for values in arrays):
        raise InputError(
            "Groups cannot be compared",
            received=f"groups of {', '.join(str(len(values)) for values in arrays) or 'nothing'}",
            allowed="at least two groups of one value or more",
        )
    values = np.concatenate(arrays)
    if not np.isfinite(values).all():
        raise InputError("Groups cannot be compared", received="values that are not finite", allowed="finite values")
    _, count = np.unique(values, return_counts=True)
    if len(count) == 1:
        raise InputError("Groups cannot be compared", received="all values are equal")
    sizes = np.array([len(own) for own in arrays], np.float64)
    return sizes, midranks(values), float((count.astype(np.float64) ** 3 - count).sum())


def _starts(sizes: Floats) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
