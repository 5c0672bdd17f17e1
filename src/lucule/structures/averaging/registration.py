"""Template-free registration: poses and average are found together by expectation and maximisation.

All poses of a grid are weighed by their probability and the particles are added up in all of them, so that a particle
that fits in several ways (as a pore with few labels does) is not forced into one. The density starts blurred and is
sharpened step by step, from random poses, several times; the start whose average best predicts particles that are not
in it wins. No particle is ever compared with an average that it is part of.

The likelihood of all poses at once: Sigworth 1998, J Struct Biol 122:328. Sums of Gaussians instead of pictures, and
the hot spots that pictures give: Heydarian et al. 2018, Nat Methods 15:781.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numba import get_num_threads
from numpy.typing import NDArray

from lucule.structures.averaging import kernels
from lucule.structures.averaging.density import Grid, log_tables
from lucule.structures.averaging.particles import Particles
from lucule.structures.averaging.poses import around, offsets, plane_rotations, random_rotations, space_rotations

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# groups of particles that are left out together
FOLDS: Final = 10
# how many of the most probable poses of a particle are added up, and the least of the best one's probability
_MOST_POSES: Final = 400
_LEAST: Final = 1e-3
# weight of the evidence while the average forms; below 1, chance patterns of labels fade instead of growing
_TEMPER: Final = 0.5
# poses whose log likelihood is so little below that of the best one are as good: one is drawn by lot
_AS_GOOD: Final = 1.5
_WIDTH_CLASSES: Final = 3
# part of the rotations that is tried with all shifts, and their least number
_PROMISING: Final = {2: 0.15, 3: 0.04}
_FEWEST_ROTATIONS: Final = 30
# poses of the coarse grid that are refined in space, and how far from them at most
_CANDIDATES: Final = 12
_WIDEST_STEP_DEG: Final = 8.0
# shifts each way at most
_MOST_STEPS: Final = {2: 6, 3: 2}


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """Poses of all particles and the densities of the folds.

    Attributes
    ----------
    rotations, shifts_nm
        Best pose of each particle, `(k, 3, 3)` and `(k, 3)`.
    folds
        Fold of each particle.
    densities
        `(folds, z, y, x)`: what the particles of each fold add up to.
    evidence
        Log of the mean likelihood over all poses of each particle, by the average of the other folds.
    score
        Weighted log likelihood in the best pose, in units of a uniform density.
    """

    rotations: Floats
    shifts_nm: Floats
    folds: Ints
    densities: Floats
    evidence: Floats
    score: Floats

    @property
    def density(self) -> Floats:
        """The average of all particles."""
        total: Floats = self.densities.sum(axis=0)
        return total


def folds_of(number: int, rng: np.random.Generator) -> Ints:
    """A fold for each particle, by lot."""
    folds = np.arange(number) % min(FOLDS, number)
    return rng.permutation(folds).astype(np.int64)


def width_classes(particles: Particles) -> tuple[NDArray[np.int32], Floats]:
    """Class of precision of each localization, and what each class is blurred by more than the sharpest third, nm."""
    edges = np.quantile(particles.sigma_nm, np.linspace(0, 1, _WIDTH_CLASSES + 1)[1:-1])
    classes = np.searchsorted(edges, particles.sigma_nm).astype(np.int32)
    typical = np.array([np.median(particles.sigma_nm[classes == c]) if (classes == c).any() else edges[0]
                        for c in range(_WIDTH_CLASSES)])  # fmt: skip
    return classes, np.sqrt(np.maximum(typical**2 - typical[0] ** 2, 0))


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """One step of the search: blur, grid of poses, weight of the evidence."""

    blur_nm: float
    rotations: Floats
    steps: Ints
    temper: float = _TEMPER

    def turned(self, rng: np.random.Generator, *, flat: bool, tilt_deg: float) -> Search:
        """The same search with its grid of rotations turned at random, so that no pose is favoured by the grid."""
        if flat or tilt_deg >= 180.0:
            return replace(self, rotations=self.rotations @ random_rotations(1, rng, flat=flat)[0])
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """What stays the same during a registration."""

    particles: Particles
    grid: Grid
    classes: NDArray[np.int32]
    extra_nm: Floats
    tilt_deg: float

    @classmethod
    def of(cls, particles: Particles, grid: Grid, tilt_deg: float) -> Problem:
        """Prepare particles."""
        classes, extra = width_classes(particles)
        return cls(particles, grid, classes, extra, tilt_deg)

    def tables(self, densities: Floats, fold: int, blur_nm: float) -> NDArray[np.float32]:
        """Log densities of all folds but one, for each class of precision."""
        others = np.maximum(densities.sum(axis=0) - densities[fold], 0)
        return log_tables(others, np.sqrt(blur_nm**2 + self.extra_nm**2), self.grid)


def random_state(problem: Problem, folds: Ints, rng: np.random.Generator, number_of_folds: int) -> State:
    """All particles in random orientations."""
    number = len(problem.particles)
    rotations = random_rotations(number, rng, flat=problem.grid.flat, tilt_deg=problem.tilt_deg)
    state = State(rotations, np.zeros((number, 3)), folds, np.zeros((number_of_folds, *problem.grid.shape)),
                  np.zeros(number), np.zeros(number))  # fmt: skip
    return replace(state, densities=added(problem, state))


def added(problem: Problem, state: State, use: NDArray[np.bool_] | None = None) -> Floats:
    """Densities of the folds, every particle in its best pose alone."""
    densities = np.zeros_like(state.densities)
    for k in range(len(problem.particles)):
        if use is None or use[k]:
            add_particle(problem, state, k, densities[state.folds[k]])
    return densities


def add_particle(problem: Problem, state: State, k: int, density: Floats) -> None:
    """Add one particle, in its best pose, to a density."""
    particles, grid = problem.particles, problem.grid
    rows = slice(particles.starts[k], particles.starts[k + 1])
    kernels.add_up(
        particles.points_nm[rows], particles.weight[rows], state.rotations[k : k + 1], state.shifts_nm[k : k + 1],
        np.ones(1), grid.shape, grid.origin_nm, grid.voxel_nm, density,
    )  # fmt: skip


def weigh(problem: Problem, state: State, search: Search, rng: np.random.Generator) -> State:
    """One step of expectation and maximisation: weigh all poses of each particle, and add the particles up anew.

    Of poses that fit alike, one is drawn: were the best always taken, gaps and crowds of labels would be laid on each
    other, and the average would show them.
    """
    particles, grid = problem.particles, problem.grid
    moves = search.steps * grid.voxel_nm
    shifts = grid.strides(search.steps)
    densities = np.zeros_like(state.densities)
    rotations, shift_nm = state.rotations.copy(), state.shifts_nm.copy()
    evidence, score = state.evidence.copy(), state.score.copy()
    poses = len(search.rotations) * len(shifts)
    lots = rng.random(len(particles))
    # few shifts (in space none) tell which rotations are worth trying with all of them
    squared = (search.steps**2).sum(axis=1)
    near = np.flatnonzero(squared <= np.unique(squared)[1 if grid.flat else 0])
    most = max(
        int(_PROMISING[2 if grid.flat else 3] * len(search.rotations)),
        min(_FEWEST_ROTATIONS, len(search.rotations) - 1),
    )

    def work(fold: int) -> None:
        tables = problem.tables(state.densities, fold, search.blur_nm)
        trial = np.empty((len(search.rotations), len(near)))
        for k in np.flatnonzero(state.folds == fold):
            rows = slice(particles.starts[k], particles.starts[k + 1])
            # the search is around the centre found so far, which is a place in the particle
            centre = state.rotations[k].T @ state.shifts_nm[k]
            points = particles.points_nm[rows] + centre
            weight = particles.weight[rows]
            place = (tables, grid.shape, grid.pad, grid.origin_nm, grid.voxel_nm)
            kernels.score_grid(points, weight, problem.classes[rows], search.rotations, shifts[near], *place, trial)
            promising = np.argpartition(-trial.max(axis=1), most)[:most]
            fits = np.empty((most, len(shifts)))
            kernels.score_grid(points, weight, problem.classes[rows], search.rotations[promising], shifts, *place, fits)
            logs = search.temper * fits.reshape(-1)
            top = float(logs.max())
            likely = np.flatnonzero(logs > top + np.log(_LEAST))
            if len(likely) > _MOST_POSES:
                likely = likely[np.argpartition(-logs[likely], _MOST_POSES)[:_MOST_POSES]]
            probability = np.exp(logs[likely] - top)
            evidence[k] = top + np.log(np.exp(logs - top).sum() / poses)
            probability /= probability.sum()
            g, s = np.divmod(likely, len(shifts))
            g = promising[g]
            kernels.add_up(
                points, weight, search.rotations[g], moves[s], probability, grid.shape,
                grid.origin_nm, grid.voxel_nm, densities[fold],
            )  # fmt: skip
            alike = np.where(logs[likely] > top - search.temper * _AS_GOOD, probability, 0.0)
            drawn = _drawn(alike, lots[k])
            score[k] = top / search.temper
            rotations[k] = search.rotations[g[drawn]]
            mean = centre + probability @ np.einsum("gji,gj->gi", search.rotations[g], moves[s])
            shift_nm[k] = rotations[k] @ mean

    with ThreadPoolExecutor(get_num_threads()) as pool:
        list(pool.map(work, range(len(state.densities))))
    return State(rotations, shift_nm, state.folds, densities, evidence, score)


def plan(
    problem: Problem, blur_nm: Floats, reach_nm: float, rng: np.random.Generator, finest_deg: float
) -> list[Search]:
    """Searches from the most to the least blurred, with grids as fine as each blur needs."""
    radius, flat, voxel = problem.particles.radius_nm, problem.grid.flat, problem.grid.voxel_nm
    searches = []
    for blur in blur_nm:
        step_deg = float(np.clip(np.degrees(0.7 * blur / radius), finest_deg, 20.0))
        if flat:
            rotations = plane_rotations(int(np.ceil(360 / step_deg)), rng.uniform(0, 360))
        else:
            rotations = space_rotations(step_deg, rng, problem.tilt_deg)
        every = max(round(0.7 * blur / voxel), 1)
        reach = int(
            np.clip(
                np.ceil(max(reach_nm, blur) / (every * voxel)),
                1,
                min(_MOST_STEPS[2 if flat else 3], problem.grid.pad[0] // every),
            )
        )
        searches.append(Search(float(blur), rotations, every * offsets(reach, flat=flat)))
        reach_nm *= 0.9
    return searches


def settled(
    problem: Problem, rows: slice, start: tuple[Floats, Floats], tables: NDArray[np.float32],
    steps: tuple[float, float], halvings: int,
) -> tuple[Floats, Floats, float]:  # fmt: skip
    """Best pose of one particle near `start`, by ever smaller steps (degrees and nm), and its score."""
    particles, grid = problem.particles, problem.grid
    points, weight, classes = particles.points_nm[rows], particles.weight[rows], problem.classes[rows]
    unit = offsets(1, flat=grid.flat).astype(np.float64)
    (rotation, shift), (degrees, nm), score = start, steps, -np.inf

    def fits_of(rotations: Floats, moves: Floats) -> Floats:
        fits = np.empty((len(rotations), len(moves)))
        kernels.score_between(points, weight, classes, rotations, moves, tables, grid.shape, grid.origin_nm,
                              grid.voxel_nm, fits)  # fmt: skip
        return fits

    for _ in range(halvings):
        for _ in range(4):
            # angles and shifts by turns: far fewer poses than all pairs of them
            tried = around(degrees, flat=grid.flat) @ rotation
            turns = fits_of(tried, shift[None])[:, 0]
            g = int(np.argmax(turns))
            rotation, moves = tried[g], shift + nm * unit
            shifted = fits_of(rotation[None], moves)[0]
            at = int(np.argmax(shifted))
            shift, score = moves[at], float(shifted[at])
            if 2 * g + 1 == len(tried) and 2 * at + 1 == len(moves):
                break
        degrees, nm = degrees / 2, nm / 2
    return rotation, shift, score


def resettle(problem: Problem, state: State, search: Search, blur_nm: float, rng: np.random.Generator) -> State:
    """Best pose of each particle anywhere: the most promising ones of a coarse grid, each refined at a finer blur.

    In space a grid as fine as the final blur would have far too many rotations.
    """
    particles, grid = problem.particles, problem.grid
    rotations, shift_nm, score = state.rotations.copy(), state.shifts_nm.copy(), state.score.copy()
    lots = rng.random(len(particles))
    none = np.zeros(1, np.int64)
    nm = 0.7 * blur_nm
    degrees = min(float(np.degrees(search.blur_nm / particles.radius_nm)), _WIDEST_STEP_DEG)

    def work(fold: int) -> None:
        coarse = problem.tables(state.densities, fold, search.blur_nm)
        fine = problem.tables(state.densities, fold, blur_nm)
        trial = np.empty((len(search.rotations), 1))
        for k in np.flatnonzero(state.folds == fold):
            rows = slice(particles.starts[k], particles.starts[k + 1])
            centre = state.rotations[k].T @ state.shifts_nm[k]
            kernels.score_grid(particles.points_nm[rows] + centre, particles.weight[rows], problem.classes[rows],
                               search.rotations, none, coarse, grid.shape, grid.pad, grid.origin_nm, grid.voxel_nm,
                               trial)  # fmt: skip
            most = min(_CANDIDATES, len(trial) - 1)
            tried = [search.rotations[g] for g in np.argpartition(-trial[:, 0], most)[:most]]
            found = [
                settled(problem, rows, (r, r @ centre), fine, (degrees, nm), 3) for r in (state.rotations[k], *tried)
            ]
            fits = np.array([fit for *_, fit in found])
            alike = np.where(fits > fits.max() - _AS_GOOD, np.exp(2 * (fits - fits.max())), 0.0)
            drawn = _drawn(alike, lots[k])
            rotations[k], shift_nm[k], score[k] = found[drawn]

    with ThreadPoolExecutor(get_num_threads()) as pool:
        list(pool.map(work, range(len(state.densities))))
    return replace(state, rotations=rotations, shifts_nm=shift_nm, score=score)


def _drawn(weights: Floats, lot: float) -> int:
    """Number of an item drawn with these weights by a lot between 0 and 1."""
    upto = np.cumsum(weights)
    return min(int(np.searchsorted(upto, lot * upto[-1], side="right")), len(weights) - 1)


def refine(problem: Problem, state: State, blur_nm: float, step_deg: float, step_nm: float, halvings: int) -> State:
    """Best pose near the present one of each particle, by ever smaller steps."""
    particles = problem.particles
    rotations, shift_nm, score = state.rotations.copy(), state.shifts_nm.copy(), state.score.copy()

    def work(fold: int) -> None:
        tables = problem.tables(state.densities, fold, blur_nm)
        for k in np.flatnonzero(state.folds == fold):
            rows = slice(particles.starts[k], particles.starts[k + 1])
            start = (rotations[k], shift_nm[k])
            rotations[k], shift_nm[k], score[k] = settled(problem, rows, start, tables, (step_deg, step_nm), halvings)

    with ThreadPoolExecutor(get_num_threads()) as pool:
        list(pool.map(work, range(len(state.densities))))
    return replace(state, rotations=rotations, shifts_nm=shift_nm, score=score)
