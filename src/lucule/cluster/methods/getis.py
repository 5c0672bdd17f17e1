"""Local point pattern analysis: Ripley's L around every single localization, and a threshold.

L(r) of a localization is the radius at which random localizations of the same density have as many neighbours as it has
within r; it is r on average where nothing is clustered. Neighbours near the edge of the region count more, by the part
of the circle through them that lies inside (Ripley's correction, exact for any polygon with holes).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from lucule.cluster.edge_correction import edges_of, isotropic
from lucule.cluster.methods.common import NO_CLUSTER, Method, Sample, assigned
from lucule.core import Config, Localizations, Region, step
from lucule.space import NeighbourGrid, components, pair_batches


class Getis(Config):
    """Settings of `getis`.

    Attributes
    ----------
    radius_nm
        Radius r at which L is taken, nm; also how near clustered localizations of one cluster are to each other.
    threshold_nm
        L(r) above which a localization is clustered, nm. For random localizations L(r) is about r.
    min_points
        Fewest localizations of a cluster.
    edge_correction
        Whether to correct for what lies beyond the edge of the region.
    """

    radius_nm: float = Field(default=50.0, gt=0, allow_inf_nan=False)
    threshold_nm: float = Field(default=100.0, ge=0, allow_inf_nan=False)
    min_points: int = Field(default=3, ge=1)
    edge_correction: bool = True


@step
def getis(locs: Localizations, settings: Getis | None = None, *, region: Region | None = None) -> Localizations:
    """Cluster by Getis and Franklin's local point pattern analysis (2D).

    Parameters
    ----------
    locs
        Localizations in 2D.
    region
        Only localizations inside are looked at; its area and edges enter L. By default the rectangle around all.

    Returns
    -------
    locs
        The table with `label` (1 = in a cluster) and `cluster` (-1 = none).

    Raises
    ------
    InputError
        The table is in 3D.

    Notes
    -----
    Getis and Franklin, Ecology 68:473 (1987); for localization microscopy Owen et al., J Biophotonics 3:446 (2010).

    Examples
    --------
    >>> x = [0.0, 4.0, 8.0, 500.0, 1000.0]
    >>> locs = Localizations({"x": x, "y": [0.0, 0.0, 0.0, 1000.0, 300.0]})
    >>> getis(locs, Getis(radius_nm=20, threshold_nm=100))["cluster"].tolist()
    [0, 0, 0, -1, -1]
    """
    settings = settings or Getis()
    return assigned(locs, assign, settings, region, only_2d="Local point pattern analysis", fewest=settings.min_points)


def assign(sample: Sample, settings: Getis) -> NDArray[np.int32]:
    """Cluster of each localization; see `Assign`."""
    if len(sample.points) < 2 or not sample.size:
        return np.full(len(sample.points), NO_CLUSTER, np.int32)
    above = local_l(sample, settings.radius_nm, edge_correction=settings.edge_correction) > settings.threshold_nm
    reach = np.nextafter(np.float32(settings.radius_nm), np.float32(np.inf))
    return components(sample.points, np.where(above, reach, np.float32(0)))


def local_l(sample: Sample, radius_nm: float, *, edge_correction: bool = True) -> NDArray[np.float64]:
    """L(r) of each localization, `(n,)`, nm."""
    import shapely

    points = sample.points
    neighbours = NeighbourGrid(points).count_within(radius_nm).astype(np.float64)
    if edge_correction:
        low, high = sample.box
        region = sample.region or Region.rectangle(*low, *high)
        to_border = shapely.distance(shapely.points(points.astype(float)), region.shape.boundary)
        cut = np.flatnonzero(to_border < radius_nm)
        neighbours[cut] = 0
        edges = edges_of(region)
        for first, _, distance in pair_batches(points, radius_nm, cut):
            fraction = isotropic(points[first].astype(np.float64), distance.astype(np.float64), edges)
            neighbours += np.bincount(first, 1 / fraction, minlength=len(points))
    return np.sqrt(sample.size * neighbours / (np.pi * (len(points) - 1)))


METHOD = Method(
    "getis",
    Getis,
    getis,
    "Ripley's L around every localization, and a threshold (2D)",
    "Getis and Franklin, Ecology 68:473 (1987)",
)
