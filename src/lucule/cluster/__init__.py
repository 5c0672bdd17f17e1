"""Find, group, outline and measure clusters; published methods, scores, two channels against each other."""

from lucule.cluster import methods, scores
from lucule.cluster.affinities import from_affinities
from lucule.cluster.grouping import group
from lucule.cluster.joining import concat
from lucule.cluster.measuring import measure
from lucule.cluster.methods import find_clusters
from lucule.cluster.overlap import Overlap, overlap
from lucule.cluster.result import Clusters
from lucule.cluster.ripley import PairStatistics, ripley
from lucule.cluster.single_molecules import without_single_molecules

__all__ = [
    "Clusters",
    "Overlap",
    "PairStatistics",
    "concat",
    "find_clusters",
    "from_affinities",
    "group",
    "measure",
    "methods",
    "overlap",
    "ripley",
    "scores",
    "without_single_molecules",
]
