"""Kernel density: localizations in places where the smoothed density exceeds a multiple of the mean."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from lucule.cluster.methods.common import NO_CLUSTER, Method, Sample, assigned
from lucule.core import Config, Localizations, Region, step
from lucule.space import components, pair_batches

# what a Gaussian has beyond is 0.03 % in 2D, 0.1 % in 3D
_TRUNCATE: Final = 4.0
# two equal Gaussians are one hill up to this distance
_ONE_HILL: Final = 2.0


class Kernel(Config):
    """Settings of `kernel_density`.

    Attributes
    ----------
    bandwidth_nm
        Standard deviation of the Gaussian that spreads each localization, nm.
    density_factor
        Density, over the mean density of the region, from which a localization is clustered.
    min_points
        Fewest localizations of a cluster.
    """

    bandwidth_nm: float = Field(default=20.0, gt=0, allow_inf_nan=False)
    density_factor: float = Field(default=3.0, gt=0, allow_inf_nan=False)
    min_points: int = Field(default=5, ge=1)


@step
def kernel_density(
    locs: Localizations, settings: Kernel | None = None, *, region: Region | None = None
) -> Localizations:
    """Cluster by a threshold on the kernel density.

    The density at a localization is that of all others; those above the threshold are joined up to two bandwidths
    apart, the distance up to which two equal kernels make one hill.

    Parameters
    ----------
    locs
        Localizations, 2D or 3D.
    region
        Only localizations inside are looked at; its area gives the mean density. By default the box around all.

    Returns
    -------
    locs
        The table with `label` (1 = in a cluster) and `cluster` (-1 = none).

    Notes
    -----
    Silverman, Density Estimation for Statistics and Data Analysis (1986). Not corrected for the edge.

    Examples
    --------
    >>> x = [0.0, 4.0, 8.0, 500.0, 1000.0]
    >>> locs = Localizations({"x": x, "y": [0.0, 0.0, 0.0, 1000.0, 300.0]})
    >>> kernel_density(locs, Kernel(bandwidth_nm=10, min_points=3))["cluster"].tolist()
    [0, 0, 0, -1, -1]
    """
    settings = settings or Kernel()
    return assigned(locs, assign, settings, region, fewest=settings.min_points)


def assign(sample: Sample, settings: Kernel) -> NDArray[np.int32]:
    """Cluster of each localization; see `Assign`."""
    n = len(sample.points)
    if n < 2 or not sample.size:
        return np.full(n, NO_CLUSTER, np.int32)
    above = density(sample.points, settings.bandwidth_nm) >= settings.density_factor * n / sample.size
    return components(sample.points, np.where(above, np.float32(_ONE_HILL * settings.bandwidth_nm), np.float32(0)))


def density(points: NDArray[np.float32], bandwidth_nm: float) -> NDArray[np.float64]:
    """Density of all other points at each point, `(n,)`, per nm2 (3D: nm3)."""
    sums = np.zeros(len(points))
    for first, _, distance in pair_batches(points, _TRUNCATE * bandwidth_nm):
        sums += np.bincount(first, np.exp(-0.5 * (distance / bandwidth_nm) ** 2), minlength=len(points))
    return np.asarray(sums / (np.sqrt(2 * np.pi) * bandwidth_nm) ** points.shape[1])


METHOD = Method(
    "kernel_density",
    Kernel,
    kernel_density,
    "localizations where the smoothed density exceeds a multiple of the mean",
    "Silverman, Density Estimation (1986)",
)
