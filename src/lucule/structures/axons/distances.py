"""The published method: pairwise distances along the axon against sums of normal distributions.

Linke et al., Biophys. Rep. 5:100201 (2025), "Periodicity analysis of neural axons": distances between all pairs of
localizations, kept where the pair lies along the fitted course of the axon, are counted; the period is that of the sum
of normal distributions, one at each multiple of it, whose course correlates best with the counts.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BIN_NM: Final = 5.0
_MULTIPLES: Final = 4
_WIDTHS_NM: Final = (15.0, 25.0, 35.0, 50.0)
_ALIGNED_DEG: Final = 30.0
_MOST: Final = 6000


def pair_counts(along_nm: Floats, away_nm: Floats, *, reach_nm: float = 1300.0) -> tuple[Floats, Floats]:
    """Distances along the axon of the pairs that lie along it: middles of the bins, nm, and pairs in each.

    A pair lies along the axon where the line between both leaves its direction by 30 degrees at most.

    Examples
    --------
    >>> distance, counts = pair_counts(np.array([0.0, 200.0, 400.0]), np.zeros(3))
    >>> distance[counts > 0].tolist(), counts.sum()
    ([202.5, 402.5], np.float64(3.0))
    """
    order = np.argsort(along_nm, kind="stable")
    if len(order) > _MOST:
        order = order[:: -(-len(order) // _MOST)]
    along, away = along_nm[order], away_nm[order]
    edges = np.arange(0, reach_nm + BIN_NM, BIN_NM)
    counts = np.zeros(len(edges) - 1)
    steepest = np.tan(np.radians(_ALIGNED_DEG))
    for i, last in enumerate(np.searchsorted(along, along + reach_nm)):
        distance = along[i + 1 : last] - along[i]
        aligned = np.abs(away[i + 1 : last] - away[i]) <= steepest * distance
        counts += np.bincount((distance[aligned] / BIN_NM).astype(np.int64), minlength=len(counts))[: len(counts)]
    return edges[:-1] + BIN_NM / 2, counts


def linke(
    along_nm: Floats, away_nm: Floats, *, shortest_nm: float = 140.0, longest_nm: float = 300.0
) -> tuple[float, float]:
    """Period, nm, and the correlation at it, by the published method.

    Where the paper gives no number, these are taken: four multiples, widths of 15 to 50 nm, periods every 0.5 nm; the
    fall of the counts with distance is divided out by a straight line.
    """
    distance, counts = pair_counts(along_nm, away_nm, reach_nm=(_MULTIPLES + 0.5) * longest_nm)
    best = (float("nan"), -1.0)
    for period in np.arange(shortest_nm, longest_nm + 0.25, 0.5):
        multiples = period * np.arange(1, _MULTIPLES + 1)
        shown = (distance > 0.5 * period) & (distance < (_MULTIPLES + 0.5) * period)
        there = counts[shown]
        trend = np.polyval(np.polyfit(distance[shown], there, 1), distance[shown])
        for width in _WIDTHS_NM:
            model = np.exp(-0.5 * ((distance[shown, None] - multiples) / width) ** 2).sum(axis=1)
            score = correlation(there - trend, model)
            if score > best[1]:
                best = (float(period), score)
    return best


def correlation(a: Floats, b: Floats) -> float:
    """Pearson's correlation; 0 where one does not vary."""
    a, b = a - a.mean(), b - b.mean()
    norm = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / norm) if norm > 0 else 0.0
