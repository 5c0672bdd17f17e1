"""Classes: particles of different structures told apart after they were registered together."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lucule.structures.averaging.density import blurred
from lucule.structures.averaging.registration import Problem, State, add_particle, added, refine
from lucule.structures.averaging.symmetry import Symmetry

Ints = NDArray[np.int64]

_ROUNDS: Final = 12
_STARTS: Final = 8
_COMPONENTS: Final = 8


def split(
    problem: Problem, state: State, number: int, blur_nm: float, symmetry: Symmetry, rng: np.random.Generator
) -> tuple[Ints, State]:
    """Assign every particle to the class whose average, made without it, fits it best.

    The first guess comes from the principal components of the aligned particles. Classes are numbered by size.
    """
    class_of = _first_guess(problem, state, number, blur_nm, rng)
    step = 0.5 * blur_nm
    degrees = float(np.degrees(step / problem.particles.radius_nm))
    states: list[State] = []
    for _ in range(_ROUNDS):
        states = []
        for c in range(number):
            alone = symmetry.imposed(replace(state, densities=added(problem, state, class_of == c)), problem.grid)
            states.append(refine(problem, alone, blur_nm, degrees, step, 2))
        # every class must be able to win: the fit is that of a density, whatever the number of its particles
        changed = np.argmax([s.score for s in states], axis=0)
        if (changed == class_of).all() or len(np.unique(changed)) < number:
            break
        class_of = changed
    order = np.argsort(-np.bincount(class_of, minlength=number), kind="stable")
    rank = np.argsort(order)
    rotations, shifts, score = (
        np.stack([getattr(s, name) for s in states])[class_of, np.arange(len(class_of))]
        for name in ("rotations", "shifts_nm", "score")
    )
    settled = replace(state, rotations=rotations, shifts_nm=shifts, score=score)
    return rank[class_of].astype(np.int64), replace(settled, densities=added(problem, settled))


def _first_guess(problem: Problem, state: State, number: int, blur_nm: float, rng: np.random.Generator) -> Ints:
    from sklearn.cluster import KMeans

    count = len(problem.particles)
    images = np.empty((count, int(np.prod(problem.grid.shape))), np.float32)
    for k in range(count):
        alone = np.zeros(problem.grid.shape)
        add_particle(problem, state, k, alone)
        images[k] = blurred(alone, 1.5 * blur_nm, problem.grid).reshape(-1)
    images /= np.maximum(images.sum(axis=1, keepdims=True), 1e-9)
    images -= images.mean(axis=0)
    left, strength, _ = np.linalg.svd(images, full_matrices=False)
    components = (left * strength)[:, : min(_COMPONENTS, count - 1)]
    found = KMeans(number, n_init=_STARTS, random_state=int(rng.integers(2**31))).fit_predict(components)
    return found.astype(np.int64)
