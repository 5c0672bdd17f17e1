"""Sarcomeres: double lines, the distance of their lines, their shape and their average."""

from lucule.structures.sarcomeres.average import Average, as_movie, average
from lucule.structures.sarcomeres.filters import FilterSettings, follow_up
from lucule.structures.sarcomeres.intervals import LineSettings
from lucule.structures.sarcomeres.line_distance import LineFit, line_distance
from lucule.structures.sarcomeres.measure import Distance, Sarcomeres, combine, measure
from lucule.structures.sarcomeres.objects import boxes_of, group_by_centre, group_by_regions, grow_boxes
from lucule.structures.sarcomeres.widths import with_learned_width

__all__ = [
    "Average",
    "Distance",
    "FilterSettings",
    "LineFit",
    "LineSettings",
    "Sarcomeres",
    "as_movie",
    "average",
    "boxes_of",
    "combine",
    "follow_up",
    "group_by_centre",
    "group_by_regions",
    "grow_boxes",
    "line_distance",
    "measure",
    "with_learned_width",
]
