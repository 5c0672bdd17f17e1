"""Endoplasmic-reticulum-like networks: tubes that meet at three-way junctions, and flat sheets between them."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from scipy.spatial import Voronoi

from lucule.simulate.specimens.base import Drawn, FieldSpecimen, FloatArray, Fraction, Positive, Space, truth_table


class Reticulum(FieldSpecimen):
    """A polygonal network of tubes; some of its meshes are filled by sheets (two membranes).

    Structures are single tubes and sheets; the truth tells them apart by `form`.

    Attributes
    ----------
    mesh_um
        Typical distance across a mesh, um.
    tube_diameter_nm, sheet_thickness_nm
        Diameter of tubes and distance between the two membranes of a sheet, nm.
    sheet_fraction
        Fraction of the meshes that are sheets, those nearest to the middle of the field or cell.
    epitopes_per_um2
        Epitopes for a um2 of membrane.
    regularity
        Rounds of Lloyd's relaxation: 0 gives meshes of very different size, 3 nearly equal ones.
    """

    kind: Literal["reticulum"]
    mesh_um: Positive = 1.5
    tube_diameter_nm: Positive = 100.0
    sheet_thickness_nm: Positive = 50.0
    sheet_fraction: Fraction = 0.15
    epitopes_per_um2: Positive = 500.0
    regularity: Annotated[int, Field(ge=0, le=20)] = 2

    def fill(self, rng: np.random.Generator, space: Space) -> Drawn:
        """Draw the network at the depth in the middle of the space, gently undulating in z."""
        x0, y0, x1, y1 = space.outline.bounds_nm
        mesh = 1000 * self.mesh_um
        low, high = np.array([x0, y0]) - mesh, np.array([x1, y1]) + mesh
        seeds = rng.uniform(low, high, (max(int(np.prod((high - low) / mesh)), 8), 2))
        diagram = Voronoi(seeds)
        for _ in range(self.regularity):
            diagram = Voronoi(_centroids(diagram, low, high))
        edges, sheets = self._form(diagram, (low, high), space)
        vertices = diagram.vertices
        heights = self._heights(rng, vertices, space)

        a, b = np.column_stack([vertices, heights])[edges.T]
        tube_xyz, tube_normal, tube_owner = self._tubes(rng, a, b)
        sheet_xyz, sheet_normal, sheet_owner, centres = self._sheets(rng, sheets, vertices, heights)
        length = np.linalg.norm(b - a, axis=1)
        middle = np.concatenate([(a + b) / 2, centres])
        angle = np.concatenate([np.degrees(np.arctan2(b[:, 1] - a[:, 1], b[:, 0] - a[:, 0])), np.zeros(len(sheets))])
        truth = truth_table(
            len(middle),
            object=np.zeros(len(middle), np.int32),
            x=middle[:, 0],
            y=middle[:, 1],
            z=middle[:, 2],
            angle_deg=angle,
            form=np.array(["tube"] * len(a) + ["sheet"] * len(sheets), dtype=object),
            length_nm=np.concatenate([length, np.full(len(sheets), np.nan)]),
        )
        xyz = np.concatenate([tube_xyz, sheet_xyz])
        owner = np.concatenate([tube_owner, sheet_owner + len(a)]).astype(np.int32)
        drawn = Drawn(xyz, owner, truth, np.concatenate([tube_normal, sheet_normal]))
        return drawn.kept(space.outline.contains(xyz[:, :2]))

    def _form(
        self, diagram: Voronoi, box: tuple[FloatArray, FloatArray], space: Space
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Edges that are tubes, and the polygons that are sheets."""
        near = ((diagram.vertices > box[0]) & (diagram.vertices < box[1])).all(axis=1)
        cells = [np.array(diagram.regions[region]) for region in diagram.point_region]
        closed = [i for i, cell in enumerate(cells) if len(cell) and (cell >= 0).all() and near[cell].all()]
        inside = [i for i in closed if space.outline.contains(diagram.points[i : i + 1])[0]]
        x0, y0, x1, y1 = space.outline.bounds_nm
        to_middle = np.linalg.norm(diagram.points[inside] - [(x0 + x1) / 2, (y0 + y1) / 2], axis=1)
        flat = {inside[i] for i in np.argsort(to_middle)[: round(self.sheet_fraction * len(inside))]}
        pairs = np.array(diagram.ridge_vertices)
        whole = (pairs >= 0).all(axis=1) & near[pairs].all(axis=1)
        # an edge between two sheets lies within their common sheet
        within = np.array([a in flat and b in flat for a, b in diagram.ridge_points])
        return pairs[whole & ~within], [cells[i] for i in sorted(flat)]

    def _heights(self, rng: np.random.Generator, vertices: FloatArray, space: Space) -> FloatArray:
        low, high = space.z_nm
        room = max((high - low) / 2 - self.tube_diameter_nm / 2, 0.0)
        phase, heading = rng.uniform(0, 2 * np.pi, 3), rng.uniform(0, 2 * np.pi, 3)
        waves = [
            np.sin(2 * np.pi * (vertices @ [np.cos(h), np.sin(h)]) / (8000 * self.mesh_um) + p)
            for p, h in zip(phase, heading, strict=True)
        ]
        height: FloatArray = (low + high) / 2 + room * np.sum(waves, axis=0) / 3
        return height

    def _tubes(
        self, rng: np.random.Generator, a: FloatArray, b: FloatArray
    ) -> tuple[FloatArray, FloatArray, np.ndarray]:
        length = np.linalg.norm(b - a, axis=1)
        area_um2 = np.pi * self.tube_diameter_nm * length / 1e6
        owner = np.repeat(np.arange(len(a)), rng.poisson(self.epitopes_per_um2 * area_um2))
        axis = ((b - a) / length[:, None])[owner]
        across = np.cross(axis, [0.0, 0.0, 1.0])
        across /= np.linalg.norm(across, axis=1, keepdims=True)
        angle = rng.uniform(0, 2 * np.pi, len(owner))[:, None]
        normal = np.cos(angle) * across + np.sin(angle) * np.cross(axis, across)
        centre = a[owner] + axis * (rng.random(len(owner)) * length[owner])[:, None]
        return centre + normal * self.tube_diameter_nm / 2, normal, owner

    def _sheets(
        self, rng: np.random.Generator, sheets: list[np.ndarray], vertices: FloatArray, heights: FloatArray
    ) -> tuple[FloatArray, FloatArray, np.ndarray, FloatArray]:
        """Epitopes on both membranes of every sheet: polygons cut into triangles around their middle."""
        corners, owners, centres = [], [], np.empty((len(sheets), 3))
        solid = np.column_stack([vertices, heights])
        for i, cell in enumerate(sheets):
            ring = solid[cell]
            centres[i] = ring.mean(axis=0)
            corners.append(np.stack([np.broadcast_to(centres[i], ring.shape), ring, np.roll(ring, -1, axis=0)], axis=1))
            owners.append(np.full(len(ring), i))
        if not sheets:
            return np.empty((0, 3)), np.empty((0, 3)), np.empty(0, np.int64), centres
        triangles, owner = np.concatenate(corners), np.concatenate(owners)
        edge1, edge2 = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
        area_um2 = np.abs(edge1[:, 0] * edge2[:, 1] - edge1[:, 1] * edge2[:, 0]) / 2e6
        of = np.repeat(np.arange(len(triangles)), rng.poisson(2 * self.epitopes_per_um2 * area_um2))
        u, v = rng.random((2, len(of), 1))
        over = u + v > 1
        u, v = np.where(over, 1 - u, u), np.where(over, 1 - v, v)
        side = rng.choice([-1.0, 1.0], len(of))
        xyz = triangles[of, 0] + u * edge1[of] + v * edge2[of]
        xyz[:, 2] += side * self.sheet_thickness_nm / 2
        normal = np.column_stack([np.zeros((len(of), 2)), side])
        return xyz, normal, owner[of], centres


def _centroids(diagram: Voronoi, low: FloatArray, high: FloatArray) -> FloatArray:
    """Middle of the corners of each cell; open cells keep their seed."""
    moved = diagram.points.copy()
    for i, region in enumerate(diagram.point_region):
        cell = diagram.regions[region]
        if cell and min(cell) >= 0:
            moved[i] = diagram.vertices[cell].mean(axis=0).clip(low, high)
    centres: FloatArray = moved
    return centres
