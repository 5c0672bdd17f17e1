"""ToMATo: hills of density, joined unless each rises high enough above the saddle between them.

Every localization climbs to its densest neighbour within the radius; whatever reaches the same peak is one hill. A hill
that rises less than the persistence above the saddle to a higher one is part of it, and a hill lower than the
persistence altogether is background (Chazal et al. 2013). Neighbours are asked for batch by batch and never kept.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field

from lucule.cluster.methods.common import NO_CLUSTER, Method, Sample, assigned
from lucule.core import Config, Localizations, Region, step
from lucule.space import NeighbourGrid, pair_batches


class Tomato(Config):
    """Settings of `tomato`.

    Attributes
    ----------
    radius_nm
        Localizations within it are neighbours, nm.
    persistence
        How many localizations (within the radius) a peak must have more than the saddle to a higher one.
    density
        How density is measured, always as the number of further localizations within the radius: `count` counts them;
        `nearest` expects as many as the distance to the nearest `neighbours` of them says; `distance_to_measure` as
        their mean squared distance says, which is the smoother.
    neighbours
        For `nearest` and `distance_to_measure`.
    min_points
        Fewest localizations of a cluster.
    """

    radius_nm: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    persistence: float = Field(default=8.0, ge=0, allow_inf_nan=False)
    density: Literal["count", "nearest", "distance_to_measure"] = "count"
    neighbours: int = Field(default=10, ge=1, le=1000)
    min_points: int = Field(default=3, ge=1)


@step
def tomato(locs: Localizations, settings: Tomato | None = None, *, region: Region | None = None) -> Localizations:
    """Cluster by the topological mode analysis tool.

    Parameters
    ----------
    locs
        Localizations, 2D or 3D.
    region
        Only localizations inside are looked at.

    Returns
    -------
    locs
        The table with `label` (1 = in a cluster) and `cluster` (-1 = none).

    Notes
    -----
    Chazal et al., J ACM 60:41 (2013); for localization microscopy, with the density `count`, Pike et al.,
    Bioinformatics 36:1614 (2020).

    Examples
    --------
    >>> x = [0.0, 4.0, 8.0, 60.0, 64.0, 68.0, 500.0]
    >>> locs = Localizations({"x": x, "y": [0.0] * 7})
    >>> tomato(locs, Tomato(radius_nm=20, persistence=2))["cluster"].tolist()
    [0, 0, 0, 1, 1, 1, -1]
    """
    settings = settings or Tomato()
    return assigned(locs, assign, settings, region, fewest=settings.min_points)


def assign(sample: Sample, settings: Tomato) -> NDArray[np.int64]:
    """Cluster of each localization; see `Assign`."""
    height = heights(sample.points, settings)
    peak = climb(sample.points, height, settings.radius_nm, settings.persistence)
    return np.where(height[peak] >= settings.persistence, peak, NO_CLUSTER)


def heights(points: NDArray[np.float32], settings: Tomato) -> NDArray[np.float64]:
    """Density at each point, `(n,)`, in localizations within the radius."""
    grid = NeighbourGrid(points)
    if settings.density == "count":
        return grid.count_within(settings.radius_nm).astype(np.float64)
    dims, k = points.shape[1], min(settings.neighbours, len(points) - 1)
    if k < 1:
        return np.zeros(len(points))
    radius = np.empty(len(points))
    for rows, distances in grid.batches(k):
        if settings.density == "nearest":
            radius[rows] = distances[:, -1]
        else:
            # in even density the mean squared distance in a ball is d / (d + 2) of its squared radius
            radius[rows] = np.sqrt((distances.astype(np.float64) ** 2).mean(axis=1) * (dims + 2) / dims)
    # localizations at one place are as dense as all of them could be
    smallest = settings.radius_nm * (k / len(points)) ** (1 / dims)
    return np.asarray(k * (settings.radius_nm / np.maximum(radius, smallest)) ** dims)


def climb(
    points: NDArray[np.float32], height: NDArray[np.float64], radius_nm: float, persistence: float
) -> NDArray[np.int64]:
    """Row of the peak to which each point belongs, `(n,)`."""
    order = np.argsort(-height, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    # everything below is in ranks: 0 is the highest point
    parents = np.arange(len(order))
    for first, second, _ in pair_batches(points, radius_nm, order):
        _climb(rank[first], rank[second], height[order], persistence, parents)
    _flatten(parents)
    return order[parents[rank]]


@njit(cache=True, nogil=True)
def _climb(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    height: NDArray[np.float64],
    persistence: float,
    parents: NDArray[np.int64],
) -> None:
    """Take points from the highest to the lowest; `first` is ascending, `second` are all neighbours of each."""
    start = 0
    while start < first.size:
        i = first[start]
        stop = start
        highest = i
        while stop < first.size and first[stop] == i:
            highest = min(highest, second[stop])
            stop += 1
        if highest < i:
            parents[i] = _peak(parents, highest)
            for j in second[start:stop]:
                if j >= i:
                    continue
                own, other = _peak(parents, i), _peak(parents, j)
                lower, upper = max(own, other), min(own, other)
                if lower != upper and height[lower] - height[i] < persistence:
                    parents[lower] = upper
        start = stop


@njit(cache=True)
def _peak(parents: NDArray[np.int64], i: int) -> int:
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i


@njit(cache=True, nogil=True)
def _flatten(parents: NDArray[np.int64]) -> None:
    for i in range(parents.size):
        parents[i] = _peak(parents, i)


METHOD = Method(
    "tomato",
    Tomato,
    tomato,
    "hills of density that rise high enough above the saddles between them",
    "Chazal et al., J ACM 60:41 (2013)",
)
