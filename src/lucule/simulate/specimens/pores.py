"""Nuclear pores: two rings of eight corners (Thevathasan et al. 2019, Nat Methods 16:1045)."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from lucule.simulate.specimens.base import Drawn, NotNegative, ObjectSpecimen, each, round_objects, truth_table
from lucule.simulate.varied import NotNegativeVaried, PositiveVaried, Varied, constant


class NuclearPore(ObjectSpecimen):
    """A nuclear pore complex seen from above; the defaults are those of Nup96.

    `part` numbers the corners, those of the upper ring first.

    Attributes
    ----------
    corners
        Symmetry of the rings.
    copies
        Epitopes of each corner of each ring.
    radius_nm, ring_distance_nm
        Radius of both rings and distance between them, nm.
    twist_deg
        Angle between the corners of the two rings, degrees.
    copy_distance_nm
        Distance between neighbouring copies of a corner, along the ring, nm.
    tilt_deg
        Angle between the pore's axis and z, in a random direction, degrees.
    ellipticity
        Relative difference of the two diameters of an elliptic deformation.
    jitter_nm
        Standard deviation per axis of each corner's place, nm.
    """

    kind: Literal["nuclear_pore"]
    corners: Annotated[int, Field(ge=3)] = 8
    copies: Annotated[int, Field(ge=1)] = 2
    radius_nm: PositiveVaried = constant(53.5)
    ring_distance_nm: NotNegativeVaried = constant(50)
    twist_deg: Varied = constant(8.8)
    copy_distance_nm: NotNegative = 12.0
    tilt_deg: NotNegativeVaried = constant(0)
    ellipticity: NotNegativeVaried = constant(0)
    jitter_nm: NotNegative = 0.0

    def objects(self, rng: np.random.Generator, n: int) -> Drawn:
        """Draw `n` pores."""
        radius, distance, twist = (p.draw(rng, n) for p in (self.radius_nm, self.ring_distance_nm, self.twist_deg))
        tilt, ellipticity = self.tilt_deg.draw(rng, n), self.ellipticity.draw(rng, n)
        sites = 2 * self.corners
        ring, corner = np.divmod(np.arange(sites), self.corners)
        azimuth = 2 * np.pi * corner / self.corners + np.radians(np.outer(twist, ring - 0.5))
        spread = (np.arange(self.copies) - (self.copies - 1) / 2) * self.copy_distance_nm
        angle = azimuth[:, :, None] + spread / radius[:, None, None]
        height = np.outer(distance, 0.5 - ring)[:, :, None]
        outward = np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=-1)  # (n, sites, copies, 3)
        xyz = outward * radius[:, None, None, None]
        xyz[..., 2] += height
        xyz = xyz + rng.normal(size=(n, sites, 1, 3)) * self.jitter_nm
        xyz = _squeezed(rng, xyz, ellipticity)
        towards = rng.uniform(0, 2 * np.pi, n)
        xyz, normal = (_tilted(a, np.radians(tilt), towards) for a in (xyz, outward))
        truth = truth_table(
            n,
            radius_nm=radius,
            ring_distance_nm=distance,
            twist_deg=twist,
            tilt_deg=tilt,
            ellipticity=ellipticity,
        )
        per_pore = sites * self.copies
        return Drawn(
            xyz.reshape(-1, 3),
            each(np.full(n, per_pore)),
            truth,
            normal.reshape(-1, 3),
            np.tile(np.repeat(np.arange(sites, dtype=np.int32), self.copies), n),
            round_objects(
                radius * (1 + ellipticity / 2) + distance / 2 * np.sin(np.radians(tilt)) + 4 * self.jitter_nm
            ),
        )


def _squeezed(rng: np.random.Generator, xyz: np.ndarray, ellipticity: np.ndarray) -> np.ndarray:
    """Points `(n, ..., 3)` stretched along a random direction in the plane and squeezed across it."""
    towards = rng.uniform(0, np.pi, len(xyz))
    grown, c, s = ellipticity / 2, np.cos(towards), np.sin(towards)
    wide = (slice(None), None, None)
    along = xyz[..., 0] * c[wide] + xyz[..., 1] * s[wide]
    across = -xyz[..., 0] * s[wide] + xyz[..., 1] * c[wide]
    along, across = along * (1 + grown)[wide], across * (1 - grown)[wide]
    return np.stack([along * c[wide] - across * s[wide], along * s[wide] + across * c[wide], xyz[..., 2]], axis=-1)


def _tilted(vectors: np.ndarray, tilt: np.ndarray, towards: np.ndarray) -> np.ndarray:
    """Vectors `(n, ..., 3)` turned by `tilt` about an axis in the plane, so that z leans `towards` an azimuth."""
    wide = (slice(None), None, None)
    c, s, ct, st = np.cos(towards)[wide], np.sin(towards)[wide], np.cos(tilt)[wide], np.sin(tilt)[wide]
    along = vectors[..., 0] * c + vectors[..., 1] * s
    across = -vectors[..., 0] * s + vectors[..., 1] * c
    height = vectors[..., 2]
    along, height = along * ct + height * st, -along * st + height * ct
    return np.stack([along * c - across * s, along * s + across * c, height], axis=-1)
