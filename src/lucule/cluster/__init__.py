"""Group, outline and measure clusters."""

from lucule.cluster.grouping import group
from lucule.cluster.measuring import measure
from lucule.cluster.result import Clusters
from lucule.cluster.ripley import PairStatistics, ripley

__all__ = ["Clusters", "PairStatistics", "group", "measure", "ripley"]
