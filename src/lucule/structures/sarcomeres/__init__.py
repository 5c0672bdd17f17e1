"""Sarcomeres: double lines, the distance of their lines, their shape and their average."""

from lucule.structures.sarcomeres.average import Average, as_movie, average
from lucule.structures.sarcomeres.complete import complete
from lucule.structures.sarcomeres.filters import FilterSettings, follow_up
from lucule.structures.sarcomeres.intervals import LineSettings
from lucule.structures.sarcomeres.line_distance import LineFit, line_distance
from lucule.structures.sarcomeres.measure import Distance, Sarcomeres, combine, errors_nm, measure
from lucule.structures.sarcomeres.objects import boxes_of, group_by_centre, group_by_regions, grow_boxes, sure
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
    "complete",
    "errors_nm",
    "follow_up",
    "group_by_centre",
    "group_by_regions",
    "grow_boxes",
    "line_distance",
    "measure",
    "sure",
    "with_learned_width",
]
