"""Averaging of particles: from a table to poses, symmetry, outliers, classes and aligned localizations."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from lucule.core import SILENT, Config, InputError, Localizations, Progress, step
from lucule.structures.averaging import in_space
from lucule.structures.averaging import symmetry as symmetries
from lucule.structures.averaging.classes import split, with_members
from lucule.structures.averaging.density import Grid, centre_of, symmetrised
from lucule.structures.averaging.particles import Particles, collect, joined
from lucule.structures.averaging.poses import angles_deg, plane_rotations, space_rotations
from lucule.structures.averaging.registration import Problem, State, added
from lucule.structures.averaging.search import evidence_by_particle, form, improve, onto, sharpen
from lucule.structures.averaging.symmetry import NONE, Symmetry

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# a particle is an outlier where its fit per site lies this many standard deviations below the median and is below half
# of it, or below chance; or where all fall into two groups that are so far apart, and the one fits less than this part
# of what the other does
_OUTLIER: Final = 4.0
_POORLY: Final = 2 / 3
# turns of which the mean makes an average round, in the plane, and how far apart they are in space
_ROUND_TURNS: Final = 36
_ROUND_STEP_DEG: Final = 45.0


class AverageSettings(Config):
    """How particles are averaged; the defaults need no change.

    Attributes
    ----------
    group
        Column that tells the particles apart; None: the first of particle, cluster, group and field.
    dimensions
        2 or 3; `auto`: 3 where the table has depth.
    symmetry
        `none`, `auto`, or the order of a rotational symmetry.
    classes
        Number of different structures among the particles.
    tilt_deg
        In 3D: largest angle between the z axis of a particle and that of the average; 180: any.
    blur_nm
        Width to which the average is smoothed at the end of the search; None: from the precision.
    starts
        Random starts of which the best is taken.
    """

    group: str | None = None
    dimensions: Literal["auto", 2, 3] = "auto"
    symmetry: Literal["none", "auto"] | Annotated[int, Field(ge=2, le=64)] = "auto"
    classes: Annotated[int, Field(ge=1, le=10)] = 1
    tilt_deg: Annotated[float, Field(gt=0, le=180)] = 180.0
    blur_nm: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    starts: Annotated[int, Field(ge=1, le=50)] = 2


@dataclass(frozen=True, slots=True, eq=False)
class Average:
    """Registered particles.

    Attributes
    ----------
    particles
        The localizations by particle.
    rotations, shifts_nm
        y = R x + t takes the centred points of each particle to the average, `(k, 3, 3)` and `(k, 3)`.
    score
        Log likelihood of each particle for one site, against localizations anywhere, by an average without it.
    outlier
        Particles that do not fit, `(k,)`.
    class_of
        Class of each particle, `(k,)`; 0 is the largest, of classes of too few all particles are outliers.
    symmetry
        Symmetry of the average, order 1 for none.
    losses
        Part of the fit that each tested order would lose.
    candidates
        Where the symmetry is not clear: log likelihood of each order that may be meant, less that of the best; 0 stands
        for round.
    density, grid
        The average of the `main` particles on a grid, `(z, y, x)`.
    blur_nm
        Final smoothing.
    warnings
        What the reader should know.
    """

    particles: Particles
    rotations: Floats
    shifts_nm: Floats
    score: Floats
    outlier: NDArray[np.bool_]
    class_of: Ints
    symmetry: Symmetry
    losses: dict[int, float]
    candidates: dict[int, float]
    density: Floats
    grid: Grid
    blur_nm: float
    warnings: tuple[str, ...]

    def points(self, *, symmetric: bool = False) -> Floats:
        """All localizations in the coordinates of the average `(n, 3)`; `symmetric`: turned about the axis, too."""
        owner = self.particles.owner
        points = np.einsum("nij,nj->ni", self.rotations[owner], self.particles.points_nm) + self.shifts_nm[owner]
        if not symmetric or self.symmetry.order == 1:
            return points
        centre = self.symmetry.centre_nm
        turned: Floats = np.concatenate([(points - centre) @ turn.T + centre for turn in self.symmetry.rotations])
        return turned

    @property
    def main(self) -> NDArray[np.bool_]:
        """Particles of the largest class that fit, `(k,)`."""
        result: NDArray[np.bool_] = ~self.outlier & (self.class_of == 0)
        return result

    @property
    def symmetric_density(self) -> Floats:
        """The density with its symmetry imposed."""
        if self.symmetry.order == 1:
            return self.density
        return symmetrised(self.density, self.symmetry.rotations, self.symmetry.centre_nm, self.grid)

    def table(self) -> pl.DataFrame:
        """One row for each particle: place, pose, weight, score, class, outlier."""
        # where the centre of the average lies in the table
        place = self.particles.centres_nm - np.einsum("nji,nj->ni", self.rotations, self.shifts_nm)
        columns: dict[str, Any] = {"particle": self.particles.ids}
        columns |= {axis: place[:, i] for i, axis in enumerate("xy" if self.particles.flat else "xyz")}
        columns["angle_deg"] = angles_deg(self.rotations)
        if not self.particles.flat:
            columns["tilt_deg"] = np.degrees(np.arccos(np.clip(self.rotations[:, 2, 2], -1, 1)))
            columns |= {f"r{i}{j}": self.rotations[:, i, j] for i in range(3) for j in range(3)}
        return pl.DataFrame(
            columns
            | {
                "localizations": np.diff(self.particles.starts),
                "weight": self.particles.sites,
                "score": self.score,
                "class": self.class_of,
                "outlier": self.outlier,
            }
        )

    def summary(self) -> dict[str, Any]:
        """The main numbers by name."""
        used = ~self.outlier
        per_class = np.bincount(self.class_of[used]).tolist()
        return {
            "particles": len(self.particles),
            "particles_averaged": int(used.sum()),
            "outliers": int(self.outlier.sum()),
            "left_out_too_few_localizations": len(self.particles.left_out),
            "classes": len(per_class),
            "particles_per_class": per_class,
            "dimensions": 2 if self.particles.flat else 3,
            "symmetry": self.symmetry.order,
            "symmetry_loss_percent": 100 * self.symmetry.loss,
            "symmetry_candidates": {str(order): evidence for order, evidence in self.candidates.items()},
            "median_score": float(np.median(self.score[used])),
            "blur_nm": self.blur_nm,
        }


def average(
    locs: Localizations,
    *,
    settings: AverageSettings = AverageSettings(),  # noqa: B008 (frozen)
    seed: int = 1,
    progress: Progress = SILENT,
) -> Average:
    """Find how particles must be turned and shifted to lie on each other, without a template.

    Parameters
    ----------
    locs
        Localizations with a column that tells the particles apart; `x_err`, `y_err`, `z_err` are used where known.
    settings
        Column, dimensions, symmetry, classes.
    seed
        Of the random starts.
    progress
        Shows the steps.

    Raises
    ------
    InputError
        There is no such column, or there are too few particles; see `collect`.

    Notes
    -----
    See `registration` for the method and its sources.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> triangle = np.array([[0.0, 0.0], [60.0, 0.0], [0.0, 90.0]])
    >>> turned = [triangle.repeat(8, axis=0) @ [[c, s], [-s, c]] for a in rng.uniform(0, 6.28, 20)
    ...           for c, s in [(np.cos(a), np.sin(a))]]
    >>> xy = np.concatenate(turned) + rng.normal(0, 3, (480, 2))
    >>> table = Localizations({"x": xy[:, 0], "y": xy[:, 1], "x_err": np.full(480, 3.0),
    ...                        "group": np.arange(20).repeat(24)})
    >>> found = average(table, settings=AverageSettings(symmetry="none"))
    >>> len(found.table()), int(found.outlier.sum())
    (20, 0)
    """
    flat = None if settings.dimensions == "auto" else settings.dimensions == 2
    full = collect(locs, column=settings.group, flat=flat)
    rng = np.random.default_rng(seed)
    warnings = []
    if len(full.left_out):
        warnings.append(f"{len(full.left_out)} particles have fewer than 4 localizations and are left out.")
    if "x_err" not in locs:
        warnings.append("The table has no x_err: a precision of 10 nm is assumed for all localizations.")
    elif not full.flat and "z_err" not in locs:
        warnings.append("The table has no z_err: the error in x is taken for that in z, which is usually larger.")
    problem, blur_nm = prepare(full, settings)
    with progress.task("Registration"):
        state = form(problem, blur_nm, starts=settings.starts, rng=rng)
        state = sharpen(problem, state, blur_nm)
    found, losses, candidates = NONE, {}, {}
    if settings.symmetry == "auto" and len(full) < symmetries.FEWEST_PARTICLES:
        warnings.append(
            f"{len(full)} particles do not tell a symmetry: none was looked for ({symmetries.FEWEST_PARTICLES} are "
            "needed). If it is known, name its order."
        )
    elif settings.symmetry == "auto":
        with progress.task("Symmetry"):
            if full.flat:
                found, losses = symmetries.detect(problem, state, blur_nm)
            else:
                found, losses, candidates = in_space.detect(problem, state, blur_nm)
        if candidates:
            warnings.append(not_certain(candidates))
        elif full.flat and symmetries.is_round(losses):
            warnings.append("Turned by any angle the average fits as well: it is round, and angles mean nothing.")
    elif settings.symmetry != "none":
        found = symmetries.axis_of(state.density, problem.grid, settings.symmetry, blur_nm)
        before = symmetries.Unchanged.of(problem, state, blur_nm)
        loss = symmetries.loss_of(problem, state, found, blur_nm, before)
        found = replace(found, loss=loss)
        if loss > symmetries.ACCEPTED_LOSS:
            warnings.append(
                f"The {found.order}-fold symmetry that was asked for loses {100 * loss:.0f} % of the fit: particles "
                "do not seem to have it."
            )
    if found.order > 1:
        impose = partial(found.imposed, grid=problem.grid)
        state = improve(problem, state, impose, blur_nm, rng)
        state = found.equivalent(sharpen(problem, state, blur_nm, impose), rng)
    class_of = np.zeros(len(full), np.int64)
    if settings.classes > 1:
        if len(full) < 2 * settings.classes:
            raise InputError("There are too few particles for so many classes", received=settings.classes,
                             allowed=f"up to {len(full) // 2}")  # fmt: skip
        with progress.task("Classes"):
            class_of, state = split(problem, state, settings.classes, blur_nm, found, rng)
    outlier, score = outliers(problem, state)
    if settings.classes > 1:
        fitting = int((~outlier).sum())
        class_of, outlier = with_members(class_of, outlier)
        if (left_out := fitting - int((~outlier).sum())) > 0:
            warnings.append(f"{left_out} particles are in classes of too few to be averaged, and count as outliers.")
    if 2 * outlier.sum() > len(full):
        warnings.append(
            f"{int(outlier.sum())} of {len(full)} particles do not fit the average: it is that of a minority."
        )
    density = added(problem, state, ~outlier & (class_of == 0)).sum(axis=0)
    return Average(full, state.rotations, state.shifts_nm, score, outlier, class_of, found, losses, candidates,
                   density, problem.grid, blur_nm, tuple(warnings))  # fmt: skip


@step
def aligned(locs: Localizations, average: Average, *, outliers: bool = False) -> Localizations:
    """The localizations in the coordinates of the average.

    Parameters
    ----------
    locs
        The table that was averaged.
    average
        Its registration.
    outliers
        Whether particles that do not fit are kept.

    Returns
    -------
    Localizations
        x, y (and z) relative to the centre of the average, with `particle` and `class`; others stay.
    """
    particles = average.particles
    owner = particles.owner
    keep = np.ones(len(owner), np.bool_) if outliers else ~average.outlier[owner]
    points = average.points()[keep]
    data = locs.data[particles.rows[keep]].drop("particle", "class", strict=False)
    moved = [pl.Series(axis, points[:, i]) for i, axis in enumerate("xy" if particles.flat else "xyz")]
    data = data.with_columns(
        *moved,
        pl.Series("particle", particles.ids[owner[keep]]),
        pl.Series("class", average.class_of[owner[keep]].astype(np.uint8)),
    )
    return Localizations(data, locs.meta.model_copy(update={"origin_nm": (0.0, 0.0, 0.0), "shape_px": None}))


def superposed(moving: Average, fixed: Average) -> Average:
    """The average `moving`, turned and shifted as a whole so that it lies on `fixed`."""
    grid, blur = fixed.grid, fixed.blur_nm
    whole = np.zeros(1, np.int64)
    at = ~moving.outlier[moving.particles.owner]
    points = moving.points()[at]
    weight = moving.particles.weight[at] / moving.particles.weight[at].sum() * float(np.median(moving.particles.sites))
    middle = np.average(points, axis=0, weights=weight)
    one = Particles(whole, middle[None], points - middle, moving.particles.errors_nm[at], weight,
                    np.array([0, len(points)]), np.arange(len(points)), grid.flat, whole)  # fmt: skip
    problem = Problem.of(joined(one), grid, 180.0)
    # two folds: one holds the fixed average, the other nothing but the one that moves
    still = np.stack([np.zeros(grid.shape), fixed.density])
    state = State(np.eye(3)[None], np.zeros((1, 3)), whole, still, np.zeros(1), np.zeros(1))
    state = onto(problem, state, blur)
    rotation, shift = state.rotations[0], state.shifts_nm[0] - state.rotations[0] @ middle
    return replace(
        moving, rotations=rotation @ moving.rotations, shifts_nm=moving.shifts_nm @ rotation.T + shift,
        symmetry=replace(moving.symmetry, axis=rotation @ moving.symmetry.axis,
                         centre_nm=rotation @ moving.symmetry.centre_nm + shift),
    )  # fmt: skip


def prepare(particles: Particles, settings: AverageSettings) -> tuple[Problem, float]:
    """The problem to solve and the final smoothing."""
    flat, radius = particles.flat, particles.radius_nm
    blur = settings.blur_nm or (0.9 if flat else 1.2) * particles.precision_nm
    blur = float(np.clip(blur, radius / 60, radius / 2))
    voxel = max(blur / 2, 0.0 if flat else radius / 20)
    reach = 2 * particles.centre_error_nm
    grid = Grid.around(radius + 2 * blur, voxel, flat=flat, pad=int(np.ceil(reach / voxel)) + 2)
    return Problem.of(joined(particles), grid, settings.tilt_deg), blur


def predicted(average: Average, others: Particles) -> Floats:
    """How much better an average describes particles that had no part in it than the same average made round, `(k,)`.

    Log likelihood over all poses. Particles of one structure gain; of particles that have nothing in common but their
    outline, an average shows what chance laid on each other, which others do not have.
    """
    grid, number = average.grid, len(others)
    problem = Problem.of(joined(others), grid, 180.0)
    turns = plane_rotations(_ROUND_TURNS) if grid.flat else space_rotations(_ROUND_STEP_DEG, np.random.default_rng(0))
    around = symmetrised(average.density, turns, centre_of(average.density, grid), grid)
    evidence = []
    for density in (average.density, around):
        # two folds: one holds the average, the other nothing but those that are described
        folds = np.stack([np.zeros(grid.shape), density])
        nothing = np.zeros(number)
        state = State(np.tile(np.eye(3), (number, 1, 1)), np.zeros((number, 3)), np.zeros(number, np.int64), folds,
                      nothing, nothing)  # fmt: skip
        evidence.append(evidence_by_particle(problem, state, average.blur_nm, np.random.default_rng(0)))
    gain: Floats = evidence[0] - evidence[1]
    return gain


def not_certain(candidates: dict[int, float]) -> str:
    """What the reader is told where several symmetries may be meant."""
    ordered = sorted(candidates, key=lambda order: -candidates[order])
    named = [f"{'round' if order == 0 else f'{order}-fold'} ({candidates[order]:+.1f})" for order in ordered]
    return (
        "The symmetry is not certain, and none is used. Possible, with the log likelihood less that of the best: "
        + ", ".join(named)
        + ". More particles tell; if it is known, name its order."
    )


def outliers(problem: Problem, state: State) -> tuple[NDArray[np.bool_], Floats]:
    """Particles that fit far worse than most, or than those that fit, and the fit of each for one site."""
    score = state.score / problem.particles.sites
    median = float(np.median(score))
    spread = 1.4826 * float(np.median(np.abs(score - median)))
    return (score < min(median - _OUTLIER * spread, median / 2)) | (score < 0) | (score < _parted(score)), score


def _parted(score: Floats) -> float:
    """Where scores fall into two groups, of which one fits and one does not, the border; else minus infinity."""
    order = np.sort(score)
    sizes = np.arange(1, len(order))
    sums, squares = np.cumsum(order)[:-1], np.cumsum(order**2)[:-1]
    low, high = sums / sizes, (order.sum() - sums) / (len(order) - sizes)
    within = squares - sizes * low**2 + (order @ order - squares) - (len(order) - sizes) * high**2
    cut = int(np.argmin(within))
    spread = math.sqrt(max(float(within[cut]), 0.0) / len(order))
    apart = high[cut] - low[cut] > _OUTLIER * spread and low[cut] < _POORLY * high[cut]
    return float(order[cut] + order[cut + 1]) / 2 if apart else -math.inf
