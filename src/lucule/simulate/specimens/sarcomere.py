"""Sarcomeres: pairs of discs along a myofibril, which look like double lines from the side (Varga et al. 2023)."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from lucule.simulate.specimens.base import Drawn, NotNegative, ObjectSpecimen, along_objects, each, truth_table
from lucule.simulate.varied import NotNegativeVaried, PositiveVaried, Varied, constant


class Myofibril(ObjectSpecimen):
    """A myofibril along x: double lines (pairs of discs across it) at every sarcomere.

    Each double line is one structure; `part` is 0 or 1 for its two lines.

    Attributes
    ----------
    double_lines
        Number of double lines along the myofibril.
    sarcomere_length_nm
        L, from one double line to the next, nm.
    diameter_nm
        D, diameter of the discs, nm.
    line_distance_nm
        d, from one line of a double line to the other in the middle of the myofibril, nm.
    epitopes_per_um2
        Epitopes for a um2 of each labelled side of a disc.
    sides
        Labelled sides of every disc: `both` (as in TestSTORM) or `outer`, the one away from the other disc.
    thickness_nm
        Standard deviation of the epitopes along the myofibril around their disc, nm.
    register_jitter_nm
        Standard deviation of a double line around its place in the row, nm.
    tilt_deg
        Angle between a double line and the perpendicular to the myofibril, in the plane, degrees.
    axial_tilt_deg
        The same out of the plane, degrees.
    divergence_deg
        Angle between the two lines; they diverge (positive) or converge (negative) towards +y, degrees.
    bend_radius_um
        Radius of curvature of the myofibril in the plane, um; None for a straight one.
    """

    kind: Literal["myofibril"]
    double_lines: Annotated[int, Field(ge=1)] = 9
    sarcomere_length_nm: PositiveVaried = constant(3400)
    diameter_nm: PositiveVaried = constant(1500)
    line_distance_nm: PositiveVaried = constant(120)
    epitopes_per_um2: PositiveVaried = constant(40)
    sides: Literal["both", "outer"] = "both"
    thickness_nm: NotNegativeVaried = constant(0)
    register_jitter_nm: NotNegative = 0.0
    tilt_deg: Varied = constant(0)
    axial_tilt_deg: Varied = constant(0)
    divergence_deg: Varied = constant(0)
    bend_radius_um: PositiveVaried | None = None

    def objects(self, rng: np.random.Generator, n: int) -> Drawn:
        """Draw `n` myofibrils."""
        m = n * self.double_lines
        fibril = each(np.full(n, self.double_lines))
        place = np.tile(np.arange(self.double_lines) - (self.double_lines - 1) / 2, n)
        along = place * np.repeat(self.sarcomere_length_nm.draw(rng, n), self.double_lines)
        along = along + rng.normal(0, 1, m) * self.register_jitter_nm
        diameter, distance = self.diameter_nm.draw(rng, m), self.line_distance_nm.draw(rng, m)
        tilt, axial_tilt = self.tilt_deg.draw(rng, m), self.axial_tilt_deg.draw(rng, m)
        divergence, thickness = self.divergence_deg.draw(rng, m), self.thickness_nm.draw(rng, m)
        curvature = np.zeros(n)
        if self.bend_radius_um is not None:
            curvature = rng.choice([-1.0, 1.0], n) / (1000 * self.bend_radius_um.draw(rng, n))
        turn = along * curvature[fibril]
        x, y = _on_arc(along, curvature[fibril])

        sides = 2 if self.sides == "both" else 1
        density = self.epitopes_per_um2.draw(rng, m) * sides
        counts = rng.poisson(np.repeat(density * np.pi * (diameter / 2000) ** 2, 2))
        disc = each(counts)
        owner, line = disc // 2, disc % 2
        sign = np.where(line == 0, -1.0, 1.0)
        # position in the disc: u along the myofibril, v across it in the plane, w in depth
        radius = diameter[owner] / 2 * np.sqrt(rng.random(len(owner)))
        azimuth = rng.uniform(0, 2 * np.pi, len(owner))
        v, w = radius * np.cos(azimuth), radius * np.sin(azimuth)
        u = rng.normal(0, 1, len(owner)) * thickness[owner]
        face = sign if self.sides == "outer" else rng.choice([-1.0, 1.0], len(owner))
        local = np.column_stack([u, v, w])
        normal = np.column_stack([face, np.zeros_like(face), np.zeros_like(face)])
        opening = -sign * np.radians(divergence[owner]) / 2
        local, normal = _turned(local, opening), _turned(normal, opening)
        local[:, 0] += sign * distance[owner] / 2
        local, normal = (_turned(a, np.radians(axial_tilt[owner]), plane=(0, 2)) for a in (local, normal))
        whole = np.radians(tilt[owner]) + turn[owner]
        local, normal = _turned(local, whole), _turned(normal, whole)
        local[:, :2] += np.column_stack([x, y])[owner]

        truth = truth_table(
            m,
            object=fibril,
            x=x,
            y=y,
            angle_deg=np.degrees(turn) + tilt,
            line_distance_nm=distance,
            diameter_nm=diameter,
            tilt_deg=tilt,
            axial_tilt_deg=axial_tilt,
            divergence_deg=divergence,
            along_nm=along,
        )
        return Drawn(
            local, owner.astype(np.int32), truth, normal, line.astype(np.int32), self._circles(n, curvature, along)
        )

    def _circles(self, n: int, curvature: np.ndarray, along: np.ndarray) -> np.ndarray:
        """Circles along the myofibril, half a diameter apart, that hold its tilted double lines."""
        ends = np.abs(along).reshape(n, -1).max(axis=1)
        diameter = self.diameter_nm.limits[1]
        steps = int(4 * ends.max() / diameter) + 2
        owner = each(np.full(n, steps))
        spine = np.column_stack(_on_arc(np.tile(np.linspace(-1, 1, steps), n) * ends[owner], curvature[owner]))
        lean = max(map(abs, self.tilt_deg.limits + self.axial_tilt_deg.limits)) + max(
            map(abs, self.divergence_deg.limits)
        )
        reach = diameter / 4 + self.line_distance_nm.limits[1] / 2 + diameter / 2 * np.sin(np.radians(min(lean, 90)))
        return along_objects(owner, spine, np.hypot(reach + 4 * self.thickness_nm.limits[1], diameter / 2))


def _on_arc(along: np.ndarray, curvature: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Point at a distance along an arc that passes the origin in the direction of x."""
    half = along * curvature / 2
    chord = along * np.sinc(half / np.pi)
    return chord * np.cos(half), chord * np.sin(half)


def _turned(vectors: np.ndarray, angle: np.ndarray, plane: tuple[int, int] = (0, 1)) -> np.ndarray:
    """Vectors `(n, 3)` turned in a plane, from its first axis towards its second."""
    a, b = plane
    turned = vectors.copy()
    turned[:, a] = np.cos(angle) * vectors[:, a] - np.sin(angle) * vectors[:, b]
    turned[:, b] = np.sin(angle) * vectors[:, a] + np.cos(angle) * vectors[:, b]
    return turned
