"""Group, outline and measure clusters; published methods that find them, and scores."""

from lucule.cluster import methods, scores
from lucule.cluster.grouping import group
from lucule.cluster.measuring import measure
from lucule.cluster.methods import find_clusters
from lucule.cluster.result import Clusters
from lucule.cluster.ripley import PairStatistics, ripley

__all__ = ["Clusters", "PairStatistics", "find_clusters", "group", "measure", "methods", "ripley", "scores"]
