"""Neighbourhoods and tiles: the only room that searches neighbours."""

from lucule.space.classes import nearest_among, nearest_of
from lucule.space.components import components
from lucule.space.grid import NeighbourGrid
from lucule.space.groups import nearest_in_group
from lucule.space.pairs import pair_batches
from lucule.space.spanning import spanning_tree
from lucule.space.tiling import Tile, tiles

__all__ = [
    "NeighbourGrid",
    "Tile",
    "components",
    "nearest_among",
    "nearest_in_group",
    "nearest_of",
    "pair_batches",
    "spanning_tree",
    "tiles",
]
