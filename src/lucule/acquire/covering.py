"""Fields that cover an object larger than a field: as few as possible, with no more overlap than registration needs.

Rows of fields (or columns, whatever takes fewer) lie one pitch apart. Each row holds fields only where the outline is
between the middles of its overlaps with its neighbours, so that an object takes fields by its outline and not by its
box. Where all rows together are higher than the object, they are tried at several heights. No two fields of an object
are nearer to each other than the pitch along one of the axes.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# heights at which the rows are tried
_HEIGHTS: Final = 17
_EPSILON: Final = 1e-6


def covering(shape: Any, field_um: tuple[float, float], overlap: float) -> Floats:
    """Middles `(n, 2)` of fields that cover a shape completely.

    Parameters
    ----------
    shape
        Polygon, or several.
    field_um
        Width and height of a field.
    overlap
        Part of their width, or height, by which neighbours overlap; below 1.

    Examples
    --------
    >>> len(covering(shapely.Point(0, 0).buffer(5.5), (10.0, 10.0), 0.15))
    3
    """
    size = np.array(field_um, np.float64)
    upright = _in_rows(shape, size, overlap)
    turned = shapely.transform(shape, lambda xy: xy[:, ::-1])
    lying = [places[:, ::-1] for places in _in_rows(turned, size[::-1], overlap)]
    best: Floats = min([*upright, *lying], key=len)
    return best


def _in_rows(shape: Any, size: Floats, overlap: float) -> list[Floats]:
    """Coverings in rows at several heights, those in the middle first: of equal ones, the first is taken."""
    height, low, high = size[1], shape.bounds[1], shape.bounds[3]
    pitch = (1 - overlap) * height
    count = _number(high - low, height, pitch)
    spare = (count - 1) * pitch + height - (high - low)
    heights = np.linspace(0, 1, _HEIGHTS)
    return [
        _at_height(shape, low - part * spare, count, size, (1 - overlap) * size)
        for part in heights[np.argsort(np.abs(heights - 0.5), kind="stable")]
    ]


def _number(length: float, side: float, pitch: float) -> int:
    """How many fields, one pitch apart, a length needs."""
    return max(int(np.ceil((length - side) / pitch - _EPSILON)) + 1, 1)


def _at_height(shape: Any, low: float, count: int, size: Floats, pitch: Floats) -> Floats:
    x0, _, x1, _ = shape.bounds
    places = []
    for row in range(count):
        bottom = low + row * pitch[1]
        # up to the middles of its overlaps: beyond them, the next row sees it
        half = (size[1] - pitch[1]) / 2
        part = shapely.box(
            x0 - 1, bottom + (half if row else 0.0), x1 + 1, bottom + size[1] - (half if row < count - 1 else 0.0)
        )
        spans = _spans(shapely.intersection(shape, part))
        places += [(start + size[0] / 2, bottom + size[1] / 2) for start in _starts(spans, size[0], pitch[0])]
    return np.array(places)


def _spans(shape: Any) -> Floats:
    """Stretches of x in which there is something of a shape, `(n, 2)`, in order and apart from each other."""
    parts = [part for part in shapely.get_parts(shape) if not part.is_empty]
    bounds = sorted((part.bounds[0], part.bounds[2]) for part in parts)
    spans: list[list[float]] = []
    for first, last in bounds:
        if spans and first <= spans[-1][1]:
            spans[-1][1] = max(spans[-1][1], last)
        else:
            spans.append([first, last])
    return np.array(spans).reshape(-1, 2)


def _starts(spans: Floats, width: float, pitch: float) -> list[float]:
    """Where fields begin that cover all stretches of a row; what they reach beyond is the same on both sides."""
    found: list[float] = []
    left = [(float(first), float(last)) for first, last in spans]
    while left:
        # fields that follow each other at the pitch, until one ends where there is nothing
        run, (first, end) = [left[0][0]], left.pop(0)
        while True:
            reached = run[-1] + width
            while left and left[0][0] < reached:
                end = left.pop(0)[1]
            if end <= reached + _EPSILON:
                break
            run.append(run[-1] + pitch)
        beyond = (run[-1] + width - end) / 2
        nearest = found[-1] + pitch if found else -np.inf
        moved = max(first - beyond, nearest) - first
        found += [start + moved for start in run]
    return found
