"""What is there besides structures: uniform epitopes and small vesicles."""

from __future__ import annotations

from typing import Literal

import numpy as np

from lucule.simulate.specimens.base import Drawn, FieldSpecimen, NotNegative, Space, each, truth_table, unit_sphere
from lucule.simulate.varied import NotNegativeVaried, PositiveVaried, constant


class Uniform(FieldSpecimen):
    """Single epitopes anywhere (complete spatial randomness), in no structure.

    Attributes
    ----------
    density_per_um2
        Epitopes for a um2, through the whole axial range (Poisson).
    """

    kind: Literal["uniform"]
    density_per_um2: NotNegativeVaried

    def fill(self, rng: np.random.Generator, space: Space) -> Drawn:
        """Draw the epitopes."""
        n = int(rng.poisson(self.density_per_um2.one(rng) * space.outline.area_um2))
        xyz = np.column_stack([space.outline.uniform(rng, n), rng.uniform(*space.z_nm, n)])
        return Drawn(xyz, np.full(n, -1, np.int32), truth_table(0), unit_sphere(rng, n))


class Vesicles(FieldSpecimen):
    """Small vesicles, each a compact group of epitopes (the noise of Varga et al. 2023).

    Attributes
    ----------
    density_per_um2
        Vesicles for a um2 (Poisson).
    radius_nm
        Radius of the shell on which the epitopes lie, nm; 0 for a point.
    epitopes
        Epitopes of a vesicle.
    max_dz_nm
        Largest distance of a vesicle from z = 0, nm.
    """

    kind: Literal["vesicles"]
    density_per_um2: NotNegativeVaried
    radius_nm: NotNegativeVaried = constant(0)
    epitopes: PositiveVaried = constant(1)
    max_dz_nm: NotNegative = 300.0

    def fill(self, rng: np.random.Generator, space: Space) -> Drawn:
        """Draw the vesicles."""
        n = int(rng.poisson(self.density_per_um2.one(rng) * space.outline.area_um2))
        xy = space.outline.uniform(rng, n)
        z = rng.uniform(-self.max_dz_nm, self.max_dz_nm, n)
        radius = self.radius_nm.draw(rng, n)
        owner = each(self.epitopes.counts(rng, n))
        direction = unit_sphere(rng, len(owner))
        xyz = np.column_stack([xy, z])[owner] + direction * radius[owner, None]
        truth = truth_table(n, x=xy[:, 0], y=xy[:, 1], z=z, radius_nm=radius)
        return Drawn(xyz, owner, truth, direction)
