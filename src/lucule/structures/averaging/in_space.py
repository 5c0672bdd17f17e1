"""Which symmetry an average in space has: orders about one axis, asked of particles that are not in it.

All orders are compared as they predict each particle over all turns about the axis, in steps fine enough to tell
corners of a ring apart; a grid of all rotations in space is too coarse for that. Made symmetrical by any order an
average of few particles is less noisy and predicts better, so that every order is accepted: the true one must do
better than the others, and than the average made round. Whether it does is told by the particles, one by one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lucule.structures.averaging import kernels
from lucule.structures.averaging.poses import of_vectors, offsets
from lucule.structures.averaging.registration import Problem, State
from lucule.structures.averaging.search import part_of
from lucule.structures.averaging.symmetry import ACCEPTED_LOSS, NONE, ORDERS, Symmetry, axis_of

Floats = NDArray[np.float64]

ROUND: Final = 0
"""Stands among the candidates for an average that any turn leaves as it is."""
_ROUND_TURNS: Final = 24
# so many particles tell as much as is needed
_MOST: Final = 256
_TURN_DEG: Final = 3.0
# corners must not be blurred away: part of the blur of the search
_SHARPER: Final = 0.7
_SHIFT: Final = 0.5
# axes nearer than this are the same
_SAME_DEG: Final = 15.0
# an order is worse than the best if it is by so many standard errors, and by so much log likelihood in all
_CLEARLY: Final = 2.0
_LEAST: Final = 0.5
# turns about an axis that is not exactly known blur a little: a higher order may lose this part of what the best of the
# orders loses that have nothing to do with it. Twice the true order makes a false site for each true one and loses two
# thirds of that, or all of it where sites are hardly resolved
_SLIGHT: Final = 0.4


def detect(problem: Problem, state: State, blur_nm: float) -> tuple[Symmetry, dict[int, float], dict[int, float]]:
    """The highest symmetry that is clear, what each order would lose, and candidates where none is.

    Returns
    -------
    symmetry
        `NONE` where there is none or it is not clear.
    losses
        Part of the fit that each order loses.
    candidates
        Log likelihood of each order that may be meant, less that of the best; order 0 stands for round. Empty where
        the answer is clear.
    """
    problem, state = _some(problem, state)
    sharp = _SHARPER * blur_nm
    own = {order: axis_of(state.density, problem.grid, order, blur_nm) for order in ORDERS}
    # the axis that all have in common is the one about which it costs least to be round
    round_gains = []
    for axis in _apart(list(own.values())):
        before = _evidence(problem, state, state.densities, axis, sharp)
        round_gains.append((axis, before, _gains(problem, state, axis, _ROUND_TURNS, sharp, before)))
    round_gains.sort(key=lambda item: -float(item[2].sum()))
    fit, losses, clear = abs(float(state.score.sum())), {}, []
    for axis, before, around in round_gains:
        # orders whose own axis is another one are asked about theirs
        orders = [order for order in ORDERS if axis is round_gains[0][0] or not _apart([axis, own[order]])[1:]]
        gains = {ROUND: around} | {order: _gains(problem, state, axis, order, sharp, before) for order in orders}
        for order in orders:
            losses[order] = min(-float(gains[order].sum()) / fit, losses.get(order, np.inf))
        possible = [order for order in gains if order == ROUND or -float(gains[order].sum()) <= ACCEPTED_LOSS * fit]
        if possible == [ROUND]:
            continue
        best = max(possible, key=lambda order: float(gains[order].sum()))
        rivals = _rivals({order: gains[best] - gains[order] for order in gains}, possible)
        highest = max(rivals)
        if ROUND not in rivals and all(highest % order == 0 for order in rivals):
            clear.append(replace(axis, order=highest, loss=losses[highest]))
        elif axis is round_gains[0][0]:
            return NONE, losses, {order: float((gains[order] - gains[best]).sum()) for order in rivals}
    return max(clear, key=lambda found: found.order, default=NONE), losses, {}


def _rivals(shortfalls: dict[int, Floats], possible: list[int]) -> list[int]:
    """Possible orders that may be meant, by what each particle loses with every order against the best `(k,)`."""
    rivals = [order for order in possible if not _worse(shortfalls[order])]
    if ROUND in rivals:
        return rivals
    return [order for order in possible if order in rivals or (order != ROUND and _slight(shortfalls, order))]


def _slight(shortfalls: dict[int, Floats], order: int) -> bool:
    """Whether an order loses little beside those that neither divide it nor are divided by it."""
    unlike = [other for other in shortfalls if other == ROUND or (other % order and order % other)]
    least = min(float(shortfalls[other].sum()) for other in unlike)
    return float(shortfalls[order].sum()) < _SLIGHT * least


def _worse(shortfall: Floats) -> bool:
    """Whether something predicts particles clearly worse, by what each loses `(k,)`."""
    total = float(shortfall.sum())
    return total > max(_CLEARLY * float(shortfall.std()) * np.sqrt(len(shortfall)), _LEAST)


def _some(problem: Problem, state: State) -> tuple[Problem, State]:
    number = len(problem.particles)
    if number <= _MOST:
        return problem, state
    which = np.sort(np.random.default_rng(0).permutation(number)[:_MOST])
    part = part_of(problem, which)
    # the averages stay those of all particles
    return part, replace(
        state, rotations=state.rotations[which], shifts_nm=state.shifts_nm[which], folds=state.folds[which],
        evidence=state.evidence[which], score=state.score[which],
    )  # fmt: skip


def _apart(axes: list[Symmetry]) -> list[Symmetry]:
    """Those that differ in direction."""
    kept: list[Symmetry] = []
    for axis in axes:
        if all(abs(float(axis.axis @ other.axis)) < np.cos(np.radians(_SAME_DEG)) for other in kept):
            kept.append(axis)
    return kept


def _gains(problem: Problem, state: State, about: Symmetry, order: int, blur_nm: float, before: Floats) -> Floats:
    """Log likelihood that each particle gains over `before` by an average symmetrical about an axis, `(k,)`."""
    made = replace(about, order=order).imposed(state, problem.grid)
    return _evidence(problem, state, made.densities, about, blur_nm) - before


def _evidence(problem: Problem, state: State, densities: Floats, about: Symmetry, blur_nm: float) -> Floats:
    """Log likelihood of each particle over all turns about an axis and small shifts, by the average without it."""
    particles, grid = problem.particles, problem.grid
    turns = of_vectors(np.radians(np.arange(0.0, 360.0, _TURN_DEG))[:, None] * about.axis)
    moves = _SHIFT * blur_nm * offsets(1, flat=False) + about.centre_nm
    evidence = np.empty(len(particles))
    fits = np.empty((len(turns), len(moves)))
    for fold in np.unique(state.folds):
        tables = problem.tables(densities, fold, blur_nm)
        for k in np.flatnonzero(state.folds == fold):
            rows = slice(particles.starts[k], particles.starts[k + 1])
            points = particles.points_nm[rows] @ state.rotations[k].T + state.shifts_nm[k] - about.centre_nm
            kernels.score_between(
                points, particles.weight[rows], problem.classes[rows], turns, moves, tables, grid.shape,
                grid.origin_nm, grid.voxel_nm, fits,
            )  # fmt: skip
            top = float(fits.max())
            evidence[k] = top + np.log(np.exp(fits - top).mean())
    return evidence
