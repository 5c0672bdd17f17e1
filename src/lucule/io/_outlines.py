"""Outlines of the pixels of masks and label images, along the pixel edges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from shapely import MultiPolygon, Polygon


def outlines(labels: NDArray[Any]) -> dict[int, Polygon | MultiPolygon]:
    """The area of each label but 0, in pixels: pixel (row 0, column 0) reaches from (0, 0) to (1, 1).

    A mask with one value only gives one entry for each connected part, numbered from 1.

    Examples
    --------
    >>> found = outlines(np.array([[0, 7, 7], [0, 7, 5]]))
    >>> {label: area.area for label, area in found.items()}
    {5: 1.0, 7: 3.0}
    """
    import shapely

    rows, starts, ends, values = _runs(labels)
    boxes = shapely.box(starts, rows, ends, rows + 1)
    areas = {
        # the union keeps a point at every row along straight edges; simplifying by 0 takes them out
        int(value): shapely.simplify(shapely.union_all(boxes[values == value]), 0)
        for value in np.unique(values)
    }
    if len(areas) == 1:
        parts = shapely.get_parts(next(iter(areas.values())))
        return {number + 1: part for number, part in enumerate(parts)}
    return areas


def _runs(labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Stretches of one label in one row: row, first column, column after the last, label."""
    padded = np.pad(labels, ((0, 0), (1, 1)))
    rows, edges = np.nonzero(padded[:, 1:] != padded[:, :-1])
    # between two changes the label is constant; what follows the last change of a row is background
    values = labels[rows, np.minimum(edges, labels.shape[1] - 1)] * (edges < labels.shape[1])
    inside = np.flatnonzero(values)
    return rows[inside], edges[inside], edges[inside + 1], values[inside]
