"""Rotational symmetry of an average: where an n-fold axis would lie, and whether the particles speak against it.

A symmetry is accepted when the symmetrised average predicts particles that are not in it as well as the average itself,
over all poses. In the best pose alone the average itself would always win, because particles with few labels can be
turned so that their gaps coincide.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lucule.structures.averaging import kernels
from lucule.structures.averaging.density import Grid, blurred, centre_of, symmetrised
from lucule.structures.averaging.poses import around, cyclic, of_vectors, offsets
from lucule.structures.averaging.registration import Problem, State, refine
from lucule.structures.averaging.search import evidence_of

Floats = NDArray[np.float64]

ORDERS: Final = tuple(range(2, 13))
# part of the fit that a true symmetry may lose
ACCEPTED_LOSS: Final = 0.005
# orders that lose more than this in the best poses are not looked at further
_WORTH_A_LOOK: Final = 0.1
# fewer particles agree by chance with averages of any order
FEWEST_PARTICLES: Final = 6
# densest voxels that are compared with the turned density
_VOXELS: Final = 1500
_AXES_STEP_DEG: Final = 15.0


@dataclass(frozen=True, slots=True, eq=False)
class Symmetry:
    """An n-fold axis through a centre; order 1 is no symmetry.

    Attributes
    ----------
    order
        n.
    axis
        Direction of the axis, a unit vector.
    centre_nm
        A point on the axis.
    loss
        Part of the fit of the particles that symmetrising lost; 0 where nothing was tested.
    """

    order: int
    axis: Floats
    centre_nm: Floats
    loss: float = 0.0

    @property
    def rotations(self) -> Floats:
        """The rotations of the group, `(order, 3, 3)`."""
        return cyclic(self.order, self.axis)

    def equivalent(self, state: State, rng: np.random.Generator) -> State:
        """The same poses, each replaced by one of its equivalents drawn by lot, so that none is preferred."""
        drawn = self.rotations[rng.integers(0, self.order, len(state.rotations))]
        shifts = np.einsum("nij,nj->ni", drawn, state.shifts_nm - self.centre_nm) + self.centre_nm
        return replace(state, rotations=drawn @ state.rotations, shifts_nm=shifts)

    def imposed(self, state: State, grid: Grid) -> State:
        """The state with symmetrical densities."""
        if self.order == 1:
            return state
        rotations = self.rotations
        densities = np.stack([symmetrised(d, rotations, self.centre_nm, grid) for d in state.densities])
        return replace(state, densities=densities)


NONE: Final = Symmetry(1, np.array([0.0, 0.0, 1.0]), np.zeros(3))


def axis_of(density: Floats, grid: Grid, order: int, blur_nm: float) -> Symmetry:
    """The axis about which a density turned by 360 degrees / `order` covers itself best."""
    smooth = blurred(density, blur_nm, grid)
    flat = smooth.reshape(-1)
    dense = np.argsort(-flat, kind="stable")[: min(_VOXELS, len(flat))]
    k, j, i = np.unravel_index(dense, grid.shape)
    points = np.column_stack([axis[at] for axis, at in zip(grid.axes(), (i, j, k), strict=True)])
    middle = centre_of(smooth, grid)
    points = points - middle
    weight = flat[dense].astype(np.float64)
    table = flat.astype(np.float32)[None]
    classes = np.zeros(len(points), np.int32)
    turn = 2 * np.pi / order
    axes = np.array([[0.0, 0.0, 1.0]]) if grid.flat else _hemisphere(points, weight)
    moves = offsets(2, flat=grid.flat) * (2 * grid.voxel_nm) + middle

    def covered(rotations: Floats, at: Floats) -> tuple[int, int]:
        fits = np.empty((len(rotations), len(at)))
        kernels.score_between(
            points, weight, classes, rotations, at, table, grid.shape, grid.origin_nm, grid.voxel_nm, fits
        )
        g, s = np.unravel_index(int(np.argmax(fits)), fits.shape)
        return int(g), int(s)

    g, s = covered(of_vectors(turn * axes), moves)
    axis, move = axes[g], moves[s]
    degrees, nm = _AXES_STEP_DEG / 2, grid.voxel_nm
    for _ in range(6):
        tilted = axis[None] if grid.flat else np.einsum("nij,j->ni", around(degrees, flat=False), axis)
        tried = move + nm * offsets(1, flat=grid.flat)
        g, s = covered(of_vectors(turn * tilted), tried)
        axis, move = tilted[g], tried[s]
        degrees, nm = degrees / 2, nm / 2
    # a turn about c and the move m - (middle) satisfy m = c - R c, of which the part along the axis is free
    rotation = of_vectors(turn * axis[None])[0]
    centre = middle + np.linalg.pinv(np.eye(3) - rotation, rcond=1e-6) @ (move - middle)
    return Symmetry(order, axis / np.linalg.norm(axis), centre)


@dataclass(frozen=True, slots=True)
class Unchanged:
    """How well the average predicts particles that are not in it, before anything is made symmetrical.

    Attributes
    ----------
    evidence
        Over all poses.
    fit
        In the best pose of each particle.
    """

    evidence: float
    fit: float

    @classmethod
    def of(cls, problem: Problem, state: State, blur_nm: float) -> Unchanged:
        """Measure it."""
        evidence = evidence_of(problem, state, blur_nm, np.random.default_rng(0))
        return cls(evidence, _fit_of(problem, state, blur_nm))


def _fit_of(problem: Problem, state: State, blur_nm: float) -> float:
    step = 0.5 * blur_nm
    degrees = float(np.degrees(step / problem.particles.radius_nm))
    return float(refine(problem, state, blur_nm, degrees, step, 2).score.sum())


def loss_of(problem: Problem, state: State, symmetry: Symmetry, blur_nm: float, before: Unchanged) -> float:
    """Part of the fit that is lost when the average is made symmetrical."""
    turned = symmetry.imposed(state, problem.grid)
    in_best_pose = (before.fit - _fit_of(problem, turned, blur_nm)) / abs(before.fit)
    if in_best_pose > _WORTH_A_LOOK:
        return in_best_pose
    made = evidence_of(problem, turned, blur_nm, np.random.default_rng(0))
    return float((before.evidence - made) / abs(before.fit))


def detect(problem: Problem, state: State, blur_nm: float) -> tuple[Symmetry, dict[int, float]]:
    """The highest symmetry that the particles accept in the plane, and what each order would lose.

    Where orders are accepted that have nothing in common the average is round, and no order is meant. In space few
    particles accept any order, since a symmetrical average is less noisy: see `in_space.detect`.
    """
    losses, accepted = {}, []
    before = Unchanged.of(problem, state, blur_nm)
    for order in ORDERS:
        found = axis_of(state.density, problem.grid, order, blur_nm)
        losses[order] = loss_of(problem, state, found, blur_nm, before)
        if losses[order] <= ACCEPTED_LOSS:
            accepted.append(replace(found, loss=losses[order]))
    if not accepted:
        return NONE, losses
    highest = accepted[-1]
    return (highest if all(highest.order % s.order == 0 for s in accepted) else NONE), losses


def is_round(losses: dict[int, float]) -> bool:
    """Whether orders without a common multiple among them are all accepted."""
    accepted = [order for order, loss in losses.items() if loss <= ACCEPTED_LOSS]
    return bool(accepted) and any(max(accepted) % order for order in accepted)


def _hemisphere(points: Floats, weight: Floats) -> Floats:
    """Directions to try: the principal axes, and a spiral over half of the sphere."""
    _, principal = np.linalg.eigh((points * weight[:, None]).T @ points)
    number = int(np.ceil(2 * np.pi / np.radians(_AXES_STEP_DEG) ** 2))
    z = (np.arange(number) + 0.5) / number
    azimuth = np.pi * (1 + np.sqrt(5)) * np.arange(number)
    ring = np.sqrt(1 - z * z)
    return np.concatenate([principal.T, np.column_stack([ring * np.cos(azimuth), ring * np.sin(azimuth), z])])
