"""Microtubules: networks of hollow tubes, helices for structure-based training, the three tubes of the challenge."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import polars as pl
from pydantic import Field

from lucule.simulate.curves import Curve, worm_like_chain
from lucule.simulate.specimens.base import (
    Drawn,
    FieldSpecimen,
    FloatArray,
    NotNegative,
    Positive,
    Space,
    truth_table,
)
from lucule.simulate.varied import PositiveVaried, Varied, constant

PROTOFILAMENTS = 13
DIMER_NM = 8.0
# a three-start helix: three monomers of 4 nm in one turn of 13 protofilaments
RISE_NM = 3 * 4.0 / PROTOFILAMENTS


class Microtubules(FieldSpecimen):
    """A network of hollow tubes with random bends (worm-like chains), cut off where they leave the field or cell.

    Attributes
    ----------
    count
        Number of tubes.
    length_um
        Contour length, um.
    persistence_um
        Persistence length, um; in cells a few tens of um, far below that of free microtubules.
    steepest_deg
        Largest angle between a tube and the plane, degrees: in a thin cell tubes lie flat rather than go up and down.
    radius_nm, wall_nm
        Radius of the tube (25 nm wide), and thickness of its wall (uniform), nm.
    epitopes_per_um
        Epitopes for a um of length; 1625 is one for each tubulin dimer.
    lattice
        Whether epitopes sit on the lattice of 13 protofilaments (then `epitopes_per_um` is a random part of it) or
        anywhere on the tube.
    """

    kind: Literal["microtubules"]
    count: Annotated[int, Field(ge=1)] = 20
    length_um: PositiveVaried = constant(15)
    persistence_um: PositiveVaried = constant(30)
    steepest_deg: Annotated[float, Field(gt=0, le=90)] = 20.0
    radius_nm: Positive = 12.5
    wall_nm: NotNegative = 0.0
    epitopes_per_um: Annotated[float, Field(gt=0)] = 1625.0
    lattice: bool = False

    def fill(self, rng: np.random.Generator, space: Space) -> Drawn:
        """Draw tubes that start anywhere in the space, in any direction."""
        starts = np.column_stack([space.outline.uniform(rng, self.count), rng.uniform(*space.z_nm, self.count)])
        azimuth = rng.uniform(0, 2 * np.pi, self.count)
        flat = np.radians(rng.uniform(-1, 1, self.count) * min(self.steepest_deg, 20.0)) * (
            space.z_nm[1] > space.z_nm[0]
        )
        heading = np.column_stack([np.cos(azimuth), np.sin(azimuth), np.tan(flat)])
        curves = []
        for i in range(self.count):
            length, persistence = 1000 * self.length_um.one(rng), 1000 * self.persistence_um.one(rng)
            flat_field = space.z_nm[1] == space.z_nm[0]
            curves.append(
                worm_like_chain(
                    rng,
                    length,
                    persistence,
                    start_nm=starts[i],
                    direction=heading[i],
                    z_nm=None if flat_field else space.z_nm,
                    steepest_deg=self.steepest_deg,
                    step_nm=20.0,
                )
            )
        parts = [self._wall(rng, curve) for curve in curves]
        truth = _tube_truth(curves, radius_nm=self.radius_nm)
        xyz = np.concatenate([points for points, _ in parts])
        owner = np.repeat(np.arange(self.count, dtype=np.int32), [len(points) for points, _ in parts])
        drawn = Drawn(xyz, owner, truth, np.concatenate([normals for _, normals in parts]))
        return drawn.kept(space.outline.contains(xyz[:, :2]))

    def _wall(self, rng: np.random.Generator, curve: Curve) -> tuple[FloatArray, FloatArray]:
        length = curve.length_nm
        if self.lattice:
            dimers = int(length / DIMER_NM)
            filament = np.tile(np.arange(PROTOFILAMENTS), dimers)
            along = np.repeat(np.arange(dimers) * DIMER_NM, PROTOFILAMENTS) + filament * RISE_NM
            angle = 2 * np.pi * filament / PROTOFILAMENTS
            taken = rng.random(len(along)) < self.epitopes_per_um / 1000 * DIMER_NM / PROTOFILAMENTS
            along, angle = along[taken], angle[taken]
        else:
            along = rng.uniform(0, length, rng.poisson(self.epitopes_per_um * length / 1000))
            angle = rng.uniform(0, 2 * np.pi, len(along))
        radius = self.radius_nm + (rng.random(len(along)) - 0.5) * self.wall_nm
        return curve.around(along, angle, radius)


class Helices(FieldSpecimen):
    """Interlaced helices along a bent axis through the whole depth, for structure-based training (LUENN 2023).

    Each group of helices is one structure; `part` is the number of the helix.

    Attributes
    ----------
    count
        Number of groups.
    helices
        Helices of a group, at equal angles around the common axis.
    seeds
        Epitopes of each helix.
    helix_radius_nm, turns
        Radius of the helices around their axis, nm, and number of turns from one end to the other.
    tube_radius_nm
        Radius of the tube on whose surface the epitopes of a helix lie, nm; 0 puts them on the line.
    """

    kind: Literal["helices"]
    count: Annotated[int, Field(ge=1)] = 1
    helices: Annotated[int, Field(ge=1)] = 3
    seeds: Annotated[int, Field(ge=1)] = 5000
    helix_radius_nm: PositiveVaried = Varied(low=100, high=500)
    turns: PositiveVaried = Varied(low=1, high=4)
    tube_radius_nm: NotNegative = 12.5

    def fill(self, rng: np.random.Generator, space: Space) -> Drawn:
        """Draw helices whose axis runs from one side of the space to the opposite one, and through its depth."""
        x0, y0, x1, y1 = space.outline.bounds_nm
        points, normals, parts, radii, turns, axes = [], [], [], [], [], []
        for _ in range(self.count):
            radius, turn = self.helix_radius_nm.one(rng), self.turns.one(rng)
            low, high = space.z_nm
            axis = Curve.through(_crossing(rng, (x0, y0, x1, y1), (low + min(radius, (high - low) / 4),
                                                                   high - min(radius, (high - low) / 4))))  # fmt: skip
            for helix in range(self.helices):
                fine = np.linspace(0, axis.length_nm, max(int(axis.length_nm / 10), 8))
                angle = 2 * np.pi * (turn * fine / axis.length_nm + helix / self.helices)
                strand = Curve.through(axis.around(fine, angle, radius)[0], step_nm=10.0)
                along = rng.uniform(0, strand.length_nm, self.seeds)
                xyz, normal = strand.around(along, rng.uniform(0, 2 * np.pi, self.seeds), self.tube_radius_nm)
                points.append(xyz)
                normals.append(normal)
                parts.append(np.full(self.seeds, helix, np.int32))
            radii.append(radius)
            turns.append(turn)
            axes.append(axis)
        owner = np.repeat(np.arange(self.count, dtype=np.int32), self.helices * self.seeds)
        truth = _tube_truth(axes, helix_radius_nm=np.array(radii), turns=np.array(turns))
        return Drawn(np.concatenate(points), owner, truth, np.concatenate(normals), np.concatenate(parts))


class ThreeTubes(FieldSpecimen):
    """Three bent tubes that cross the field at different depths, as in the 3D data sets of the SMLM Challenge 2016.

    Attributes
    ----------
    radius_nm, wall_nm
        Radius of the tubes and thickness of their wall, nm.
    epitopes_per_um
        Epitopes for a um of length.
    depths_nm
        z of both ends of each tube, nm.
    bend
        Standard deviation of the sideways shift of the two inner control points, as a fraction of the field.
    """

    kind: Literal["three_tubes"]
    radius_nm: Positive = 12.0
    wall_nm: NotNegative = 6.0
    epitopes_per_um: Annotated[float, Field(gt=0)] = 1000.0
    depths_nm: tuple[tuple[float, float], ...] = ((-700.0, 710.0), (340.0, -200.0), (-200.0, 210.0))
    bend: NotNegative = 0.08

    def fill(self, rng: np.random.Generator, space: Space) -> Drawn:
        """Draw the tubes, turned at random as one."""
        curves = [
            Curve.through(_crossing(rng, space.outline.bounds_nm, depths, bend=self.bend)) for depths in self.depths_nm
        ]
        points, normals = [], []
        for curve in curves:
            along = rng.uniform(0, curve.length_nm, rng.poisson(self.epitopes_per_um * curve.length_nm / 1000))
            radius = self.radius_nm + (rng.random(len(along)) - 0.5) * self.wall_nm
            xyz, normal = curve.around(along, rng.uniform(0, 2 * np.pi, len(along)), radius)
            points.append(xyz)
            normals.append(normal)
        owner = np.repeat(np.arange(len(curves), dtype=np.int32), [len(xyz) for xyz in points])
        truth = _tube_truth(curves, radius_nm=self.radius_nm)
        drawn = Drawn(np.concatenate(points), owner, truth, np.concatenate(normals))
        return drawn.kept(space.outline.contains(drawn.xyz[:, :2]))


def _crossing(
    rng: np.random.Generator,
    bounds_nm: tuple[float, float, float, float],
    depths_nm: tuple[float, float],
    *,
    bend: float = 0.12,
) -> FloatArray:
    """Four control points of a curve that crosses the field near its middle, in any direction, `(4, 3)`."""
    x0, y0, x1, y1 = bounds_nm
    size = min(x1 - x0, y1 - y0)
    angle = rng.uniform(0, 2 * np.pi)
    along = np.array([-0.5, -1 / 6, 1 / 6, 0.5]) * 0.95 * size
    across = rng.normal(0, bend, 4) * size
    x = (x0 + x1) / 2 + along * np.cos(angle) - across * np.sin(angle)
    y = (y0 + y1) / 2 + along * np.sin(angle) + across * np.cos(angle)
    return np.column_stack([x, y, np.linspace(depths_nm[0], depths_nm[1], 4)])


def _tube_truth(curves: list[Curve], **columns: object) -> pl.DataFrame:
    middle = np.array([curve.points_nm[len(curve.points_nm) // 2] for curve in curves])
    span = np.array([curve.points_nm[-1] - curve.points_nm[0] for curve in curves])
    return truth_table(
        len(curves),
        x=middle[:, 0],
        y=middle[:, 1],
        z=middle[:, 2],
        angle_deg=np.degrees(np.arctan2(span[:, 1], span[:, 0])),
        length_nm=np.array([curve.length_nm for curve in curves]),
        **columns,
    )
