"""Group, outline and measure clusters."""

from lucule.cluster.grouping import group
from lucule.cluster.measuring import measure
from lucule.cluster.result import Clusters

__all__ = ["Clusters", "group", "measure"]
