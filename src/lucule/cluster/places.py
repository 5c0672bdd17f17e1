"""Distinct positions in an order that depends on nothing but the positions, and the box around them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def distinct(points: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Distinct rows of `points` in reading order: by y, then x, then z.

    Whatever is computed from them does not depend on the order in which the localizations came, and duplicates
    (10^6 identical ones, say) neither distort local densities nor cost anything.

    Parameters
    ----------
    points
        `(n, 2)` or `(n, 3)`, nm.

    Returns
    -------
    places, place_of
        `(m, d)` distinct positions, and `(n,)` the row of `places` at which each point lies.

    Examples
    --------
    >>> places, place_of = distinct(np.array([[5, 1], [2, 0], [5, 1], [1, 1]], np.float32))
    >>> places.tolist(), place_of.tolist()
    ([[2.0, 0.0], [1.0, 1.0], [5.0, 1.0]], [2, 0, 2, 1])
    """
    y_then_x_then_z = [1, 0, 2][: points.shape[1]]
    order = np.lexsort([points[:, axis] for axis in reversed(y_then_x_then_z)])
    ordered = points[order]
    new = np.ones(len(points), dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    place_of = np.empty(len(points), dtype=np.int64)
    place_of[order] = np.cumsum(new) - 1
    return ordered[new], place_of


def box_around(points: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners `(d,)` of the box over which points are spread, nm.

    On each side a little farther than the outermost point: by as much as random points fall short of their border on
    average (their range over n - 1).

    Examples
    --------
    >>> box_around(np.array([[0, 0], [2, 9], [10, 1]], np.float32))
    (array([-5. , -4.5]), array([15. , 13.5]))
    """
    low, high = points.min(axis=0).astype(np.float64), points.max(axis=0).astype(np.float64)
    margin = (high - low) / max(len(points) - 1, 1)
    return low - margin, high + margin
