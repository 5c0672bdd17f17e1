"""From labelled pixels to outlines and back; coordinates are pixels, (0, 0) is the outer corner of the first one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from shapely import Polygon


def fill(area: Any, shape: tuple[int, int]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the pixels of an image whose middle lies in a shapely polygon or multipolygon.

    Examples
    --------
    >>> import shapely
    >>> rows, columns = fill(shapely.box(1, 0, 3, 1), (2, 4))
    >>> rows.tolist(), columns.tolist()
    ([0, 0], [1, 2])
    """
    import shapely
    from skimage.draw import polygon2mask

    nothing = np.empty(0, np.intp), np.empty(0, np.intp)
    if area.is_empty:
        return nothing
    left, top, right, bottom = area.bounds
    row0, column0 = max(int(np.floor(top)), 0), max(int(np.floor(left)), 0)
    row1, column1 = min(int(np.ceil(bottom)), shape[0]), min(int(np.ceil(right)), shape[1])
    if row1 <= row0 or column1 <= column0:
        return nothing
    inside = np.zeros((row1 - row0, column1 - column0), np.bool_)
    corner = np.array([row0 + 0.5, column0 + 0.5])
    for part in shapely.get_parts(area):
        for ring in (part.exterior, *part.interiors):
            # parts do not overlap and holes lie in their part, so that crossing an outline changes the side
            inside ^= polygon2mask(inside.shape, np.asarray(ring.coords)[:, ::-1] - corner)  # type: ignore[no-untyped-call]
    rows, columns = np.nonzero(inside)
    return rows + row0, columns + column0


def contour(
    labels: NDArray[np.int32], probability: NDArray[np.float32], number: int, box: tuple[slice, slice]
) -> Polygon | None:
    """Outline of one object where the probability passes 0.5, between pixels; None where nothing encloses an area.

    Parameters
    ----------
    labels, probability
        `(rows, columns)`: number of the object of each pixel, and probability that it belongs to any.
    number, box
        Which object, and rows and columns around it.
    """
    import shapely
    from skimage.measure import find_contours

    rows, columns = (slice(max(part.start - 1, 0), part.stop + 1) for part in box)
    owner, height = labels[rows, columns], probability[rows, columns]
    # towards the background the probability itself tells where the border runs, towards other objects the labels do
    field = np.where(owner == number, np.maximum(height, 0.501), np.where(owner == 0, np.minimum(height, 0.499), 0.0))
    padded = np.pad(field, 1)
    rings = [ring for ring in find_contours(padded, 0.5) if len(ring) >= 4]
    if not rings:
        return None
    # one pixel was padded, and the middle of a pixel lies half a pixel from its corner
    shift = np.array([rows.start - 0.5, columns.start - 0.5])
    rings = [(ring + shift)[:, ::-1] for ring in rings]
    polygons = [shapely.make_valid(shapely.Polygon(ring)) for ring in rings]
    largest = max(polygons, key=lambda polygon: polygon.area)
    # all at once: what a network is unsure of may have thousands of holes
    shapely.prepare(largest)
    holes = [other for other in polygons if other is not largest and largest.contains(other)]
    if holes:
        largest = largest.difference(shapely.union_all(holes))
    parts = [part for part in shapely.get_parts(largest) if part.geom_type == "Polygon" and part.area > 0]
    return max(parts, key=lambda part: part.area) if parts else None
