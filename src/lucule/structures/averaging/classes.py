"""Classes: particles of different structures told apart after they were registered together."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lucule.structures.averaging.density import blurred
from lucule.structures.averaging.particles import FEWEST_PARTICLES
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

    The first guess comes from the principal components of the aligned particles.
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
    rotations, shifts, score = (
        np.stack([getattr(s, name) for s in states])[class_of, np.arange(len(class_of))]
        for name in ("rotations", "shifts_nm", "score")
    )
    settled = replace(state, rotations=rotations, shifts_nm=shifts, score=score)
    return class_of, replace(settled, densities=added(problem, settled))


def with_members(class_of: Ints, outlier: NDArray[np.bool_]) -> tuple[Ints, NDArray[np.bool_]]:
    """Number classes by the particles that fit, the largest 0; particles of a class of too few are outliers.

    Of fewer than twice the fewest particles of an average no two halves can be averaged, which alone could tell
    whether they have anything in common.

    Parameters
    ----------
    class_of, outlier
        Class of each particle, and whether it does not fit, `(k,)`.

    Examples
    --------
    >>> class_of, outlier = with_members(np.array([0, 0, 1, 1, 1, 1, 1]), np.zeros(7, np.bool_))
    >>> class_of.tolist(), outlier.tolist()
    ([1, 1, 0, 0, 0, 0, 0], [True, True, False, False, False, False, False])
    """
    sizes = np.bincount(class_of[~outlier], minlength=int(class_of.max()) + 1)
    rank = np.argsort(np.argsort(-sizes, kind="stable"))
    few = sizes < 2 * FEWEST_PARTICLES
    few[sizes.argmax()] = False
    return rank[class_of].astype(np.int64), outlier | few[class_of]


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
