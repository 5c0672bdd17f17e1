"""DBSCAN, exact and in linear memory.

A localization with at least `min_points` localizations within epsilon, itself included, is a core. Cores within epsilon
of each other are in one cluster, and so are the localizations within epsilon of a core. No neighbour list is ever made:
cores are found by counting, joined by searching a tree whose branches are passed over once they are one cluster, and
the rest asks for its nearest core.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from lucule.cluster.methods.common import Method, Sample, assigned
from lucule.core import Config, Localizations, Region, step
from lucule.space import NeighbourGrid, components, nearest_among


class Dbscan(Config):
    """Settings of `dbscan`.

    Attributes
    ----------
    epsilon_nm
        Radius of the neighbourhood, nm.
    min_points
        Localizations within it that make a core, the core itself included.
    """

    epsilon_nm: float = Field(default=50.0, gt=0, allow_inf_nan=False)
    min_points: int = Field(default=5, ge=1)


@step
def dbscan(locs: Localizations, settings: Dbscan | None = None, *, region: Region | None = None) -> Localizations:
    """Cluster by density-based spatial clustering of applications with noise.

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
    Ester et al., Proc. KDD 226 (1996). A localization within epsilon of cores of several clusters, which may belong to
    any of them by the definition, goes to the nearest core.

    Examples
    --------
    >>> locs = Localizations({"x": [0.0, 4.0, 8.0, 90.0], "y": [0.0] * 4})
    >>> dbscan(locs, Dbscan(epsilon_nm=5, min_points=3))["cluster"].tolist()
    [0, 0, 0, -1]
    """
    return assigned(locs, assign, settings or Dbscan(), region)


def assign(sample: Sample, settings: Dbscan) -> NDArray[np.int32]:
    """Cluster of each localization; see `Assign`."""
    points, epsilon = sample.points, settings.epsilon_nm
    core = NeighbourGrid(points).has_within(epsilon, settings.min_points - 1)
    # components joins what is nearer than the reach, and a distance of just epsilon counts here
    reach = np.nextafter(np.float32(epsilon), np.float32(np.inf))
    cluster = components(points, np.where(core, reach, np.float32(0)))
    cores, others = np.flatnonzero(core), np.flatnonzero(~core)
    _, nearest = nearest_among(points[others], points[cores], within=epsilon)
    border = nearest >= 0
    cluster[others[border]] = cluster[cores[nearest[border]]]
    return cluster


METHOD = Method(
    "dbscan",
    Dbscan,
    dbscan,
    "cores with enough neighbours within a radius, and what lies within that radius of them",
    "Ester et al., Proc. KDD 226 (1996)",
)
