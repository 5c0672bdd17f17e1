"""Fields of textbook point processes, which share no code with the simulator that networks are trained on.

Thomas (Gaussian) and Matern (disc) cluster processes and straight segments, whose structures overlap as chance has it
and have 8, 15, 40 or 100 points on average within one and the same field; and complete spatial randomness.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lucule.simulate.varied_fields import FEWEST_MOLECULES, Field

_POINTS: Final = (8, 15, 40, 100)
_BACKGROUND: Final = (0.2, 1.0, 2.0)
"""Of the points of structures."""

Points = NDArray[np.float64]


def _thomas(rng: np.random.Generator, n: int) -> Points:
    return rng.normal(0, rng.uniform(10, 60), (n, 2))


def _matern(rng: np.random.Generator, n: int) -> Points:
    angle, radius = rng.uniform(0, 2 * np.pi, n), rng.uniform(20, 120) * np.sqrt(rng.random(n))
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])


def _segment(rng: np.random.Generator, n: int) -> Points:
    angle, along = rng.uniform(0, np.pi), rng.uniform(-0.5, 0.5, n) * rng.uniform(100, 600)
    return np.outer(along, [np.cos(angle), np.sin(angle)]) + rng.normal(0, 8, (n, 2))


PROCESSES: Final[dict[str, Callable[[np.random.Generator, int], Points] | None]] = {
    "Thomas process": _thomas,
    "Matern process": _matern,
    "segments": _segment,
    "complete randomness": None,
}


def textbook_field(process: str, *, blinking: bool, seed: int | tuple[int, ...]) -> Field:
    """Draw one field of 3 to 8 um side with 5 to 60 structures.

    With blinking, a molecule is seen 2.9 times on average (geometric) at errors around 15 nm; without, once at 10 nm.

    Examples
    --------
    >>> field = textbook_field("segments", blinking=False, seed=1)
    >>> len(field) == len(field.molecule) and int(field.cluster.max()) >= 4
    True
    """
    rng = np.random.default_rng(seed)
    side, structures = rng.uniform(3000, 8000), int(rng.integers(5, 61))
    shape = PROCESSES[process]
    parts, owner = [np.empty((0, 2))], [np.empty(0, np.int64)]
    for number in range(structures if shape is not None else 0):
        n = max(FEWEST_MOLECULES, int(rng.poisson(rng.choice(_POINTS))))
        parts.append(rng.uniform(0, side, 2) + shape(rng, n))
        owner.append(np.full(n, number))
    free = int(rng.choice(_BACKGROUND) * max(sum(map(len, parts)), 300))
    molecules = np.concatenate([*parts, rng.uniform(0, side, (free, 2))])
    cluster = np.concatenate([*owner, np.full(free, -1)])

    times = rng.geometric(0.35, len(molecules)) if blinking else np.ones(len(molecules), np.int64)
    who = rng.permutation(np.repeat(np.arange(len(molecules)), times))
    error = np.exp(rng.normal(np.log(15), 0.3, len(who))) if blinking else np.full(len(who), 10.0)
    frame = rng.uniform(0, 10_000, len(molecules))[who] + rng.exponential(60, len(who)) * blinking
    return Field(
        points=(molecules[who] + error[:, None] * rng.normal(size=(len(who), 2))).astype(np.float32),
        frame=frame.astype(np.uint32),
        error=np.column_stack([error, error]).astype(np.float32),
        photons=(1000 * (10 / error) ** 2).astype(np.float32),
        molecule=who.astype(np.int32),
        cluster=cluster[who].astype(np.int32),
        label=(cluster[who] >= 0).astype(np.uint8),
    )
