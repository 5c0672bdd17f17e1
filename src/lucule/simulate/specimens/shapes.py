"""Simple objects: spots, lines, rings and fibres."""

from __future__ import annotations

from typing import Literal

import numpy as np

from lucule.simulate.curves import worm_like_chain
from lucule.simulate.specimens.base import (
    Drawn,
    NotNegative,
    ObjectSpecimen,
    along_objects,
    each,
    round_objects,
    truth_table,
    unit_sphere,
)
from lucule.simulate.varied import NotNegativeVaried, PositiveVaried, constant


class Spot(ObjectSpecimen):
    """A round cluster: disc, Gaussian, full sphere or spherical shell.

    Attributes
    ----------
    epitopes
        Number of epitopes.
    radius_nm
        Radius, nm; for `gaussian` the standard deviation per axis times 2 (the same radius of gyration as a disc).
    shape
        `disc` and `gaussian` lie in the plane, `sphere` is full, `shell` is the surface only.
    """

    kind: Literal["spot"]
    epitopes: PositiveVaried = constant(30)
    radius_nm: PositiveVaried = constant(50)
    shape: Literal["disc", "gaussian", "sphere", "shell"] = "disc"

    def objects(self, rng: np.random.Generator, n: int) -> Drawn:
        """Draw `n` spots."""
        radius = self.radius_nm.draw(rng, n)
        owner = each(self.epitopes.counts(rng, n))
        r = radius[owner]
        direction = unit_sphere(rng, len(owner))
        normal = direction if self.shape in ("sphere", "shell") else None
        if self.shape == "shell":
            xyz = direction * r[:, None]
        elif self.shape == "sphere":
            xyz = direction * (r * np.cbrt(rng.random(len(owner))))[:, None]
        elif self.shape == "gaussian":
            xyz = np.column_stack([rng.normal(size=(len(owner), 2)) * r[:, None] / 2, np.zeros(len(owner))])
        else:
            angle, distance = rng.uniform(0, 2 * np.pi, len(owner)), r * np.sqrt(rng.random(len(owner)))
            xyz = np.column_stack([distance * np.cos(angle), distance * np.sin(angle), np.zeros(len(owner))])
        return Drawn(xyz, owner, truth_table(n, radius_nm=radius), normal, circles=round_objects(radius))


class Line(ObjectSpecimen):
    """A straight line along x.

    Attributes
    ----------
    length_nm, width_nm
        Length, and standard deviation across in y and z, nm.
    epitopes_per_um
        Epitopes for a um of length.
    """

    kind: Literal["line"]
    length_nm: PositiveVaried = constant(2000)
    width_nm: NotNegative = 0.0
    epitopes_per_um: PositiveVaried = constant(200)

    def objects(self, rng: np.random.Generator, n: int) -> Drawn:
        """Draw `n` lines."""
        length = self.length_nm.draw(rng, n)
        owner = each(rng.poisson(self.epitopes_per_um.draw(rng, n) * length / 1000))
        along = (rng.random(len(owner)) - 0.5) * length[owner]
        across = rng.normal(size=(len(owner), 2)) * self.width_nm
        steps = np.linspace(-0.5, 0.5, 21)
        spine = np.column_stack([np.outer(length, steps).ravel(), np.zeros(n * len(steps))])
        circles = along_objects(each(np.full(n, len(steps))), spine, np.repeat(length / 40 + 2 * self.width_nm, 21))
        return Drawn(np.column_stack([along, across]), owner, truth_table(n, length_nm=length), circles=circles)


class Ring(ObjectSpecimen):
    """A ring in the plane.

    Attributes
    ----------
    radius_nm, width_nm
        Radius, and standard deviation across, nm.
    epitopes
        Number of epitopes.
    """

    kind: Literal["ring"]
    radius_nm: PositiveVaried = constant(100)
    width_nm: NotNegative = 0.0
    epitopes: PositiveVaried = constant(40)

    def objects(self, rng: np.random.Generator, n: int) -> Drawn:
        """Draw `n` rings."""
        radius = self.radius_nm.draw(rng, n)
        owner = each(self.epitopes.counts(rng, n))
        angle = rng.uniform(0, 2 * np.pi, len(owner))
        outward = np.column_stack([np.cos(angle), np.sin(angle), np.zeros(len(owner))])
        xyz = outward * (radius[owner] + rng.normal(0, 1, len(owner)) * self.width_nm)[:, None]
        circles = round_objects(radius + 2 * self.width_nm)
        return Drawn(xyz, owner, truth_table(n, radius_nm=radius), outward, circles=circles)


class Fibre(ObjectSpecimen):
    """A bent fibre: a worm-like chain in the plane.

    Attributes
    ----------
    length_nm, persistence_nm
        Contour length and persistence length, nm.
    width_nm
        Standard deviation across, nm.
    epitopes_per_um
        Epitopes for a um of length.
    """

    kind: Literal["fibre"]
    length_nm: PositiveVaried = constant(3000)
    persistence_nm: PositiveVaried = constant(5000)
    width_nm: NotNegativeVaried = constant(5)
    epitopes_per_um: PositiveVaried = constant(200)

    def objects(self, rng: np.random.Generator, n: int) -> Drawn:
        """Draw `n` fibres."""
        length, persistence = self.length_nm.draw(rng, n), self.persistence_nm.draw(rng, n)
        width, density = self.width_nm.draw(rng, n), self.epitopes_per_um.draw(rng, n)
        points, owners, circles, chord = [], [], [], np.empty(n)
        for i in range(n):
            curve = worm_like_chain(rng, length[i], persistence[i], step_nm=20.0)
            curve = curve.moved(-curve.points_nm.mean(axis=0))
            along = rng.uniform(0, length[i], rng.poisson(density[i] * length[i] / 1000))
            position, _, normal, binormal = curve.at(along)
            across = rng.normal(size=(2, len(along), 1)) * width[i]
            points.append(position + across[0] * normal + across[1] * binormal)
            owners.append(np.full(len(along), i, np.int32))
            spine = curve.points_nm[::5, :2]
            circles.append(along_objects(np.full(len(spine), i, np.int32), spine, 60 + 2 * width[i]))
            chord[i] = np.linalg.norm(curve.points_nm[-1] - curve.points_nm[0])
        truth = truth_table(n, length_nm=length, persistence_nm=persistence, end_to_end_nm=chord)
        return Drawn(np.concatenate(points), np.concatenate(owners), truth, circles=np.concatenate(circles))
