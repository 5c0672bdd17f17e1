"""Voronoi tessellation: localizations whose cells are small, joined where the cells touch.

The local density of a localization is one over the area of its cell (3D: volume). Two published rules say which density
is high. SR-Tesseler takes a multiple of the mean density. ClusterViSu compares the cells with those of localizations
spread at random over the same region, and takes the area at which both distributions cross: below it there are more
cells than chance gives.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from lucule.cluster.cells import Cells, cells
from lucule.cluster.methods.common import NO_CLUSTER, Method, Sample, assigned
from lucule.cluster.places import distinct
from lucule.core import Config, Localizations, Region, step

# the distribution of random cells is known well enough from so many
_RANDOM_POINTS: Final = 5_000


class Voronoi(Config):
    """Settings of `voronoi`.

    Attributes
    ----------
    threshold
        `mean_density`: dense is what exceeds `density_factor` times the mean density of the region (SR-Tesseler).
        `random`: dense are cells smaller than the size at which the distribution of the cells crosses that of random
        localizations (ClusterViSu).
    density_factor
        For `mean_density`.
    random_fields
        For `random`: how many random fields are drawn. Where the cells differ from random ones no more than these do
        among themselves, there are no clusters.
    seed
        For `random`.
    min_points
        Fewest localizations of a cluster.
    """

    threshold: Literal["mean_density", "random"] = "mean_density"
    density_factor: float = Field(default=2.0, gt=0, allow_inf_nan=False)
    random_fields: int = Field(default=20, ge=2, le=1000)
    seed: int = Field(default=1, ge=0)
    min_points: int = Field(default=5, ge=1)


@step
def voronoi(locs: Localizations, settings: Voronoi | None = None, *, region: Region | None = None) -> Localizations:
    """Cluster by Voronoi tessellation.

    Parameters
    ----------
    locs
        Localizations, 2D or 3D.
    region
        Only localizations inside are looked at. Cells are cut at its border (in 3D at the box around it) and its area
        gives the mean density. By default the box around all localizations.

    Returns
    -------
    locs
        The table with `label` (1 = in a cluster) and `cluster` (-1 = none). Localizations that all lie on one line
        have no cells and are in no cluster.

    Notes
    -----
    Levet et al., Nat Methods 12:1065 (2015), SR-Tesseler; Andronov et al., Sci Rep 6:24084 (2016), ClusterViSu, and
    Bioinformatics 34:3004 (2018) for 3D. Several localizations at one place share its cell.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> points = np.concatenate([rng.normal(500, 10, (30, 2)), rng.uniform(0, 1000, (30, 2))])
    >>> found = voronoi(Localizations({"x": points[:, 0], "y": points[:, 1]}), Voronoi(min_points=10))
    >>> int(found["cluster"].max()), bool(found["label"][:30].mean() > 0.8)
    (0, True)
    """
    settings = settings or Voronoi()
    return assigned(locs, assign, settings, region, fewest=settings.min_points)


def assign(sample: Sample, settings: Voronoi) -> NDArray[np.integer]:
    """Cluster of each localization; see `Assign`."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    places, place_of = distinct(sample.points)
    found = cells(places.astype(np.float64), *sample.box, sample.region)
    if found is None:
        return np.full(len(sample.points), NO_CLUSTER, np.int32)
    # of each localization; several at one place share its cell
    own_size = found.sizes / np.bincount(place_of, minlength=len(places))
    if settings.threshold == "mean_density":
        limit = sample.size / (settings.density_factor * len(sample.points))
    else:
        limit = random_limit(found, sample, settings)
    dense = own_size < limit
    pairs = found.touching[dense[found.touching].all(axis=1)]
    graph = coo_array((np.ones(len(pairs), np.int8), tuple(pairs.T)), shape=(len(places),) * 2)
    _, piece = connected_components(graph, directed=False)
    return np.where(dense, piece, NO_CLUSTER)[place_of]


def random_limit(found: Cells, sample: Sample, settings: Voronoi) -> float:
    """Size at which the distribution of the cells crosses that of random localizations, nm2; 0 where it does not.

    Two densities cross where their cumulative distributions are farthest apart, so nothing need be binned.
    """
    n = len(found.sizes)
    rng = np.random.default_rng(settings.seed)
    draws = [np.sort(_random_sizes(sample, min(n, _RANDOM_POINTS), rng)) for _ in range(settings.random_fields)]
    pooled = np.sort(np.concatenate(draws))
    if not len(pooled):
        return 0.0
    scale = sample.size / n
    # each against all others, from which it differs by more than from the pool that it is part of
    apart = len(draws) / (len(draws) - 1)
    largest = max(apart * _excess(draw, pooled)[0] * np.sqrt(len(draw) / n) for draw in draws if len(draw))
    gap, limit = _excess(np.sort(found.sizes) / scale, pooled)
    return limit * scale if gap > largest else 0.0


def _excess(sizes: NDArray[np.float64], random: NDArray[np.float64]) -> tuple[float, float]:
    """How far the cumulative distribution of `sizes` rises above the random one at most, and where; both sorted."""
    gap = np.arange(1, len(sizes) + 1) / len(sizes) - np.searchsorted(random, sizes, side="right") / len(random)
    best = int(np.argmax(gap))
    return float(gap[best]), float(sizes[best])


def _random_sizes(sample: Sample, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Sizes of the cells of `n` random localizations in the region, over their mean."""
    low, high = sample.box
    points = np.empty((0, sample.dims))
    while len(points) < n:
        # a rectangle around the region holds more than the region
        drawn = rng.uniform(low, high, (2 * n, sample.dims)).astype(np.float32)
        inside = drawn if sample.region is None else drawn[sample.region.contains(drawn[:, :2])]
        points = np.concatenate([points, inside])[:n]
    found = cells(distinct(points.astype(np.float32))[0].astype(np.float64), low, high, sample.region)
    return np.empty(0) if found is None else found.sizes * len(found.sizes) / sample.size


METHOD = Method(
    "voronoi",
    Voronoi,
    voronoi,
    "touching Voronoi cells that are small, against the mean or against random localizations",
    "Levet et al., Nat Methods 12:1065 (2015); Andronov et al., Sci Rep 6:24084 (2016)",
)
