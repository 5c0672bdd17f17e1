"""Comparing conditions: rank tests, effect sizes, intervals."""

from lucule.stats.comparison import Comparison, compare
from lucule.stats.effects import cliffs_delta, hodges_lehmann
from lucule.stats.ranks import Adjustment, KruskalWallis, Pair, adjusted, dunn, kruskal_wallis

__all__ = [
    "Adjustment",
    "Comparison",
    "KruskalWallis",
    "Pair",
    "adjusted",
    "cliffs_delta",
    "compare",
    "dunn",
    "hodges_lehmann",
    "kruskal_wallis",
]
