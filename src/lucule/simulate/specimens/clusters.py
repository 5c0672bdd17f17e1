"""Round clusters scattered over a cell or field, with localizations outside of them (after CAML)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from lucule.core import InputError
from lucule.simulate.clusters import Slab, around, outside, place
from lucule.simulate.specimens.base import Drawn, FieldSpecimen, Fraction, Positive, Space, truth_table


class Clusters(FieldSpecimen):
    """Clusters and unclustered epitopes with the four parameters of CAML (Williamson et al. 2020, Methods).

    Attributes
    ----------
    density_per_um2
        Epitopes per um2, clustered and not; in 3D counted through the whole axial range.
    points_per_cluster
        Epitopes of every cluster.
    fraction_clustered
        Fraction of the epitopes that are in clusters.
    radius_nm
        Radius R of a cluster, nm.
    shape
        `disc`: uniform within R (a sphere in 3D). `gaussian`: normal with the same radius of gyration.
    dims
        2 (all at z = 0) or 3.
    """

    kind: Literal["clusters"]
    density_per_um2: Positive
    points_per_cluster: int = Field(default=20, ge=1)
    fraction_clustered: Fraction = 0.5
    radius_nm: Positive = 50.0
    shape: Literal["disc", "gaussian"] = "disc"
    dims: Literal[2, 3] = 2

    def fill(self, rng: np.random.Generator, space: Space) -> Drawn:
        """Draw clusters at least 2.2 radii apart and epitopes outside of them; too many clusters are an InputError."""
        if self.dims == 3 and 2 * self.radius_nm > space.z_nm[1] - space.z_nm[0] and self.fraction_clustered > 0:
            raise InputError(
                "The clusters do not fit into the axial range",
                received=f"radius_nm={self.radius_nm:g}, axial range {space.z_nm[1] - space.z_nm[0]:g} nm",
                allowed="2 radius_nm <= axial_range_nm",
            )
        slab = Slab(space.outline, space.z_nm if self.dims == 3 else None)  # type: ignore[arg-type]
        total = self.density_per_um2 * space.outline.area_um2
        n = round(total * self.fraction_clustered / self.points_per_cluster)
        n_free = round(total * (1 - self.fraction_clustered))
        cells = place(rng, slab, n, self.radius_nm)
        owner = np.repeat(np.arange(n, dtype=np.int32), self.points_per_cluster)
        clustered = cells.centres_nm[owner] + around(rng, len(owner), self.radius_nm, shape=self.shape, dims=self.dims)
        free = outside(rng, slab, n_free, cells, self.radius_nm)
        x, y, z = cells.centres_nm.T
        truth = truth_table(n, x=x, y=y, z=z, radius_nm=self.radius_nm)
        return Drawn(np.concatenate([clustered, free]), np.concatenate([owner, np.full(n_free, -1, np.int32)]), truth)
