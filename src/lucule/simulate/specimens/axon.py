"""Axons with a membrane-associated periodic skeleton: rings at a period of about 190 nm (Xu et al. 2013)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from lucule.simulate.curves import Curve, worm_like_chain
from lucule.simulate.specimens.base import (
    Drawn,
    Fraction,
    NotNegative,
    ObjectSpecimen,
    along_objects,
    each,
    truth_table,
)
from lucule.simulate.varied import NotNegativeVaried, PositiveVaried, constant


class RingAxon(ObjectSpecimen):
    """Rings around a curved axon.

    Each axon is one structure; `part` is the number of the ring. `mean_spacing_nm` of the truth is the mean distance
    between neighbouring places of the row, missing rings included, along the axon; NaN where there are no rings.

    Attributes
    ----------
    length_um
        Length of the axon, um.
    period_nm
        Distance between rings, nm.
    diameter_nm
        Diameter of the rings, nm.
    persistence_um
        Persistence length of the axon's course, um.
    bend_radius_um
        Radius of the arc that the axon follows besides its random bends, um; None for straight on.
    arrangement
        Where the epitopes are: in `rings`; at `random` along the axon; or in `clusters` at random places on its
        surface, one for each ring that there would be. The latter two have no period.
    cluster_radius_nm
        Standard deviation of the epitopes of a cluster in each direction on the surface, nm.
    phase_jitter_nm
        Standard deviation of each ring around its place, nm; does not accumulate.
    spacing_jitter_nm
        Standard deviation of each spacing, nm; accumulates along the axon.
    missing
        Fraction of the rings that are absent.
    ring_tilt_deg
        Standard deviation of the angle between a ring and the perpendicular to the axon, degrees.
    epitopes_per_ring
        Mean number of epitopes of a ring (Poisson).
    width_nm, wall_nm
        Standard deviation of epitopes along the axon and of their distance from its middle, nm.
    """

    kind: Literal["ring_axon"]
    length_um: PositiveVaried = constant(10)
    period_nm: PositiveVaried = constant(190)
    diameter_nm: PositiveVaried = constant(400)
    persistence_um: PositiveVaried = constant(50)
    bend_radius_um: PositiveVaried | None = None
    arrangement: Literal["rings", "random", "clusters"] = "rings"
    cluster_radius_nm: NotNegative = 40.0
    phase_jitter_nm: NotNegative = 0.0
    spacing_jitter_nm: NotNegative = 0.0
    missing: Fraction = 0.0
    ring_tilt_deg: NotNegative = 0.0
    epitopes_per_ring: PositiveVaried = constant(20)
    width_nm: NotNegative = 5.0
    wall_nm: NotNegativeVaried = constant(0)

    def objects(self, rng: np.random.Generator, n: int) -> Drawn:
        """Draw `n` axons."""
        drawn = [self._one(rng, axon) for axon in range(n)]
        xyz, normal, part, rows, circles = zip(*drawn, strict=True)
        truth = truth_table(n, **{name: np.array([row[name] for row in rows]) for name in rows[0]})
        return Drawn(
            np.concatenate(xyz),
            each(np.array([len(points) for points in xyz])),
            truth,
            np.concatenate(normal),
            np.concatenate(part),
            np.concatenate(circles),
        )

    def _one(
        self, rng: np.random.Generator, axon: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, float], np.ndarray]:
        length, period = 1000 * self.length_um.one(rng), self.period_nm.one(rng)
        diameter, wall = self.diameter_nm.one(rng), self.wall_nm.one(rng)
        curve = worm_like_chain(rng, length, 1000 * self.persistence_um.one(rng), step_nm=20.0)
        if self.bend_radius_um is not None:
            curve = _bent(curve, 1000 * self.bend_radius_um.one(rng))
        curve = curve.moved(-curve.points_nm.mean(axis=0))

        rings = max(int(length / period), 1)
        spacing = period + rng.normal(0, 1, rings - 1) * self.spacing_jitter_nm
        place = np.concatenate([[0.0], spacing.cumsum()])
        place += rng.random() * max(length - place[-1], 0.0) + rng.normal(0, 1, rings) * self.phase_jitter_nm
        present = rng.random(rings) >= self.missing
        counts = np.where(present, rng.poisson(self.epitopes_per_ring.one(rng), rings), 0)

        ring = each(counts)
        angle = rng.uniform(0, 2 * np.pi, len(ring))
        radius = diameter / 2 + rng.normal(0, 1, len(ring)) * wall
        tilt = np.radians(rng.normal(0, 1, rings) * self.ring_tilt_deg)
        towards = rng.uniform(0, 2 * np.pi, rings)
        along = place[ring] + rng.normal(0, 1, len(ring)) * self.width_nm
        # a tilted ring lies ahead on one side of the axon and behind on the other
        along += radius * np.tan(tilt[ring]) * np.cos(angle - towards[ring])
        if self.arrangement == "random":
            along = rng.uniform(0, length, len(ring))
        elif self.arrangement == "clusters":
            place, middle = rng.uniform(0, length, rings), rng.uniform(0, 2 * np.pi, rings)
            along = place[ring] + rng.normal(0, 1, len(ring)) * self.cluster_radius_nm
            angle = middle[ring] + rng.normal(0, 1, len(ring)) * self.cluster_radius_nm / (diameter / 2)
        xyz, normal = curve.around(along, angle, radius)
        has_spacing = self.arrangement == "rings" and rings > 1
        first, last = curve.points_nm[0], curve.points_nm[-1]
        row = {
            "angle_deg": float(np.degrees(np.arctan2(last[1] - first[1], last[0] - first[0]))),
            "length_nm": length,
            "period_nm": period,
            "mean_spacing_nm": float((place[-1] - place[0]) / (rings - 1)) if has_spacing else float("nan"),
            "diameter_nm": diameter,
            "rings": float(rings),
            "missing_rings": float((~present).sum()),
        }
        spine = curve.points_nm[:: max(int(diameter / 40), 1), :2]
        owner = np.full(len(spine), axon, np.int32)
        return xyz, normal, ring.astype(np.int32), row, along_objects(owner, spine, 0.75 * diameter)


def _bent(curve: Curve, radius_nm: float) -> Curve:
    """The same curve with its directions turned steadily, as along an arc; lengths stay."""
    steps = np.diff(curve.points_nm, axis=0)
    turn = np.arange(len(steps)) * curve.step_nm / radius_nm
    x = steps[:, 0] * np.cos(turn) - steps[:, 1] * np.sin(turn)
    y = steps[:, 0] * np.sin(turn) + steps[:, 1] * np.cos(turn)
    bent = np.column_stack([x, y, steps[:, 2]]).cumsum(axis=0)
    return Curve.of(np.concatenate([np.zeros((1, 3)), bent]))
