"""Group, outline and measure clusters; two channels against each other."""

from lucule.cluster.grouping import group
from lucule.cluster.joining import concat
from lucule.cluster.measuring import measure
from lucule.cluster.overlap import Overlap, overlap
from lucule.cluster.result import Clusters

__all__ = ["Clusters", "Overlap", "concat", "group", "measure", "overlap"]
