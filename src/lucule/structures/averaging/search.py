"""The course of a registration: several random starts, the best one sharpened, then every particle settled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lucule.structures.averaging.particles import chosen
from lucule.structures.averaging.registration import (
    Problem,
    Search,
    State,
    added,
    folds_of,
    plan,
    random_state,
    refine,
    resettle,
    weigh,
)

Floats = NDArray[np.float64]

# particles on which the starts are made; all others join the best of them
_STARTERS: Final = {2: 128, 3: 64}
_STEPS: Final = {2: 10, 3: 7}
_FINEST_DEG: Final = {2: 2.5, 3: 15.0}
# the search goes on at the last blur until the fit of a step grows less than this part
_SETTLED: Final = 0.01
_MOST_EXTRA: Final = 8
_REFINEMENTS: Final = 3
# rounds in space end when fewer than this part of the particles turned by more than so many degrees
_MOST_ROUNDS: Final = 8
_FEW_MOVED: Final = 0.05
_MOVED_DEG: Final = 20.0
# weight of the evidence when decisions are firm, and how often they are made
_DECIDED: Final = 2.0
_FIRM_STEPS: Final = 5
# weight of the evidence of a whole average, which leaves no doubt
_FIRM: Final = 50.0

Imposed = Callable[[State], State]


def _as_is(state: State) -> State:
    return state


def form(problem: Problem, blur_nm: float, *, starts: int, rng: np.random.Generator) -> State:
    """The best of several random starts, with all particles weighed by it."""
    dims = 2 if problem.grid.flat else 3
    number = len(problem.particles)
    most = min(number, _STARTERS[dims])
    folds = folds_of(number, rng)
    tries = []
    for _ in range(starts):
        which = np.sort(rng.permutation(number)[:most])
        part = part_of(problem, which)
        state = random_state(part, folds[which], rng, int(folds.max()) + 1)
        for search in schedule(problem, blur_nm, _STEPS[dims], rng):
            state = weigh(part, state, search, rng)
        tries.append((which, settle(part, state, search, rng)))
    which, found = max(tries, key=lambda tried: float(tried[1].evidence.sum()))
    everyone = random_state(problem, folds, rng, int(folds.max()) + 1)
    everyone.rotations[which], everyone.shifts_nm[which] = found.rotations, found.shifts_nm
    everyone = replace(everyone, densities=found.densities)
    for search in schedule(problem, blur_nm, 2, rng)[-1:] * 2:
        everyone = weigh(problem, everyone, search, rng)
    return firm(problem, everyone, blur_nm, rng) if problem.grid.flat else everywhere(problem, everyone, blur_nm, rng)


def firm(problem: Problem, state: State, blur_nm: float, rng: np.random.Generator) -> State:
    """The average with firmer decisions, if that predicts particles that are not in it better.

    Weighing gently keeps symmetrical structures whole, but leaves particles that one site alone tells from their mirror
    or turned twins in both poses. Deciding firmly does the opposite. The evidence knows which was right.
    """
    decided = state
    last = schedule(problem, blur_nm, 2, rng)[-1]
    for _ in range(_FIRM_STEPS):
        search = last.turned(rng, flat=True, tilt_deg=problem.tilt_deg)
        decided = weigh(problem, decided, replace(search, temper=_DECIDED), rng)
    gentle, strict = (evidence_of(problem, tried, blur_nm, np.random.default_rng(0)) for tried in (state, decided))
    return decided if strict > gentle else state


def everywhere(
    problem: Problem, state: State, blur_nm: float, rng: np.random.Generator, imposed: Imposed = _as_is
) -> State:
    """In space: look for better poses among all, at the final blur, until few particles find one."""
    for _ in range(_MOST_ROUNDS):
        search = schedule(problem, blur_nm, 2, rng)[0]
        before = state.rotations
        state = resettle(problem, imposed(state), search, blur_nm, rng)
        state = replace(state, densities=added(problem, state))
        turned = np.einsum("nij,nij->n", before, state.rotations)
        if float(np.mean(turned < 1 + 2 * np.cos(np.radians(_MOVED_DEG)))) < _FEW_MOVED:
            break
    return state


def part_of(problem: Problem, which: NDArray[np.int64]) -> Problem:
    """The same problem with some of the particles."""
    return Problem.of(chosen(problem.particles, which), problem.grid, problem.tilt_deg)


def schedule(problem: Problem, blur_nm: float, steps: int, rng: np.random.Generator) -> list[Search]:
    """Searches from a blur that hides all but the outline to the final one."""
    dims = 2 if problem.grid.flat else 3
    coarse = max(0.15 * problem.particles.radius_nm, 1.5 * blur_nm)
    reach = 2 * problem.particles.centre_error_nm
    return plan(problem, np.geomspace(coarse, blur_nm, steps), reach, rng, _FINEST_DEG[dims])


def settle(problem: Problem, state: State, search: Search, rng: np.random.Generator) -> State:
    """Repeat the last search until the particles fit no better."""
    for _ in range(_MOST_EXTRA):
        before = float(state.evidence.sum())
        turned = search.turned(rng, flat=problem.grid.flat, tilt_deg=problem.tilt_deg)
        state = weigh(problem, state, turned, rng)
        if float(state.evidence.sum()) - before < _SETTLED * abs(before):
            break
    return state


def evidence_of(problem: Problem, state: State, blur_nm: float, rng: np.random.Generator) -> float:
    """Log likelihood of all particles over all poses, each by the average without it."""
    return float(evidence_by_particle(problem, state, blur_nm, rng).sum())


def evidence_by_particle(problem: Problem, state: State, blur_nm: float, rng: np.random.Generator) -> Floats:
    """Log likelihood of each particle over all poses, by the average without it, `(k,)`."""
    search = replace(schedule(problem, blur_nm, 2, rng)[-1], temper=1.0)
    return weigh(problem, state, search, rng).evidence


def improve(problem: Problem, state: State, imposed: Imposed, blur_nm: float, rng: np.random.Generator) -> State:
    """Search all poses again with a symmetrical average."""
    search = schedule(problem, blur_nm, 2, rng)[-1]
    for _ in range(2):
        state = weigh(problem, imposed(state), search, rng)
    return state if problem.grid.flat else everywhere(problem, state, blur_nm, rng, imposed)


def sharpen(problem: Problem, state: State, blur_nm: float, imposed: Imposed = _as_is) -> State:
    """Settle each particle in its best pose near the present one, and add the particles up in these."""
    step_nm = 0.7 * blur_nm
    degrees = min(float(np.degrees(step_nm / problem.particles.radius_nm)), 10.0)
    for _ in range(_REFINEMENTS):
        state = refine(problem, imposed(state), blur_nm, degrees, step_nm, 4)
        state = replace(state, densities=added(problem, state))
    return state


def onto(problem: Problem, state: State, blur_nm: float) -> State:
    """Bring particles onto densities that stay as they are: all orientations first, then ever smaller steps."""
    rng = np.random.default_rng(0)
    for search in schedule(problem, blur_nm, 3, rng):
        state = replace(weigh(problem, state, replace(search, temper=_FIRM), rng), densities=state.densities)
    step_nm = blur_nm
    degrees = float(np.degrees(step_nm / problem.particles.radius_nm))
    return refine(problem, state, blur_nm, min(degrees, 10.0), step_nm, 6)
