"""Outlines of clusters (Williamson et al. 2020, Methods and Supplementary Fig. 1)."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lucule.cluster import discs
from lucule.core import Task

RADIUS_PER_SPACING: Final = 1.2
"""Radius r of the outline over the mean distance between nearest neighbours of the cluster (paper)."""
HOLE_RADII: Final = 2.5
"""Holes into which no disc of so many r fits are filled."""
# the arcs of the erosion are concave and half as wide; at this resolution their error cancels that of the convex ones
_EROSION_QUARTER_POINTS: Final = 4
_PLACES_PER_CHUNK: Final = 4096


def outlines(
    places: NDArray[np.float64], starts: NDArray[np.int64], radius_nm: NDArray[np.float64], task: Task
) -> NDArray[Any]:
    """Outline of each cluster: the union of discs of radius 2r around its places, eroded by r.

    After an erosion by r no hole is smaller than a disc of radius r, and voids of that size open by chance in most
    large uniform clusters. A hole is kept when a disc of radius 2.5 r fits into it: the void among the localizations
    then has a radius of at least about 3.5 r, which by chance stays empty with a probability of 10^-6; one uniform
    cluster of 500 in a hundred has such a hole. Its area alone would not tell, since narrow bent gaps open far more
    often than round ones of the same area. (The paper's program drops holes below 0.5 r, comparing an area with a
    length.)

    Parameters
    ----------
    places
        Distinct positions `(p, 2)`, nm, sorted by cluster and within clusters by y.
    starts
        `(m + 1,)`: cluster i has the places `starts[i]` to `starts[i + 1]`.
    radius_nm
        Radius r of each cluster, `(m,)`; where it is NaN there is no outline.
    task
        Advanced by the number of clusters done.

    Returns
    -------
    shapes
        Shapely polygons or multipolygons `(m,)`, one for each cluster; None where there is no outline. Circles are
        polygons; areas are within 0.4 % of those with true circles (1.6 % for a lone disc).
    """
    shapes = np.full(len(radius_nm), None, dtype=object)
    # chunks of about equal work, each of whole clusters
    edges = np.searchsorted(starts, np.arange(0, len(places) + _PLACES_PER_CHUNK, _PLACES_PER_CHUNK))
    edges = np.unique(np.append(np.minimum(edges, len(radius_nm)), len(radius_nm)))

    def outline(chunk: tuple[int, int]) -> int:
        clusters = np.arange(*chunk)[np.isfinite(radius_nm[slice(*chunk)])]
        if clusters.size:
            shapes[clusters] = _outlines(places, starts, radius_nm, clusters)
        return chunk[1] - chunk[0]

    # shapely and the kernels release the interpreter lock
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done in pool.map(outline, zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
            task.advance(done)
    return shapes


def _outlines(
    places: NDArray[np.float64], starts: NDArray[np.int64], radius_nm: NDArray[np.float64], clusters: NDArray[np.int64]
) -> NDArray[Any]:
    import shapely

    counts = starts[clusters + 1] - starts[clusters]
    own_starts = np.concatenate([[0], np.cumsum(counts)])
    rows = np.arange(own_starts[-1]) + np.repeat(starts[clusters] - own_starts[:-1], counts)
    radius = radius_nm[clusters]
    unions = discs.unions(places[rows], own_starts, 2 * radius)
    shapes: NDArray[Any] = shapely.buffer(unions, -radius, quad_segs=_EROSION_QUARTER_POINTS)
    parts, owner = shapely.get_parts(shapes, return_index=True)
    for i in np.unique(owner[shapely.get_num_interior_rings(parts) > 0]):
        shapes[i] = _without_narrow_holes(parts[owner == i], HOLE_RADII * radius[i])
    return shapes


def _without_narrow_holes(parts: NDArray[Any], least_radius_nm: float) -> Any:
    import shapely

    kept = []
    for part in parts:
        wide = [hole for hole in part.interiors if not shapely.Polygon(hole).buffer(-least_radius_nm).is_empty]
        kept.append(shapely.Polygon(part.exterior, wide))
    return kept[0] if len(kept) == 1 else shapely.MultiPolygon(kept)
