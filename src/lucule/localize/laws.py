"""What a network and the frames say of an emitter, and how it becomes what is true on average.

A network is too sure here and too careful there. Two kinds of laws, fitted after training on frames it has not seen
(`lucule.localize.calibrate`), correct it: power laws for the standard deviations, and logistic laws for the
probabilities. The latter weigh evidence that the network does not use: whether the neighbouring frames hold the same
molecule in the same place, how bright it is for its error, and how far the frame moved it away from where the network
had it.

What it says that an emitter is seen again, or is not, depends on how long the molecules of this movie are on. Where
most are on for several frames, being seen again speaks for an emitter. Where none is, the network, which has learned
from lasting ones, puts faint shadows of bright emitters into the frames beside, and these are "seen again" where their
original is. So there is one law for either kind of movie, and the movie itself, as a whole, says how far it lies
between the two (`persistence`). Where the movie is a single frame nothing can be seen again, and a third law holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

Floats: TypeAlias = NDArray[np.float64]

CANDIDATES: Final = 0.25
"""Probability, as the network says it, from which evidence is weighed."""
# probabilities nearer to 0 and 1 are not told apart
_NEAR: Final = 1e-4
# emitters moved by much less than this were not moved
_MOVED_NM: Final = 10.0
_LEAST_SIGNAL: Final = 0.1
# an emitter with so many times the error of its photons shines with a light of its own
_SHINES: Final = 5.0
# emitters that the network is so sure of tell how long molecules are on
_SURE: Final = 0.9
EVIDENCE: Final = 9
"""Number of the inputs of a law of evidence."""


@dataclass(frozen=True, eq=False)
class Emitters:
    """Emitters in a block of frames, as the network and the frames say, not calibrated.

    Attributes
    ----------
    frame
        Frame in the block.
    p
        Probability.
    values
        x, y, z in nm, photons, background, `(n, 5)`.
    errors
        Standard deviations of x, y, z in nm and of the logarithm of the photons, `(n, 4)`.
    said
        The same before refinement.
    moved
        How far refinement moved them sideways, in standard deviations after it.
    again
        Photons over their error of the same molecule in the frames around, 0 where it is not seen, `(n, frames)`.
    single
        Whether its frame is the only one.
    """

    frame: NDArray[np.int64]
    p: Floats
    values: Floats
    errors: Floats
    said: Floats
    moved: Floats
    again: Floats
    single: NDArray[np.bool_]


def evidence(found: Emitters) -> Floats:
    """What speaks for and against each emitter, as the inputs of a logistic law, `(n, 9)`.

    In columns: 1; the network's log odds; whether it is seen again, with a light of its own, in one frame; in two or
    more; whether it is seen again so without a light of its own; the logarithm of its photons over their error; m and
    m squared, where m is log(1 + distance moved / 10 nm); the logarithm of the network's error of its depth in nm.
    """
    signal = _signal(found)
    moved = np.log1p(found.moved * np.hypot(*found.errors[:, :2].T) / _MOVED_NM)
    again = (found.again >= _SHINES).sum(axis=1)
    return np.column_stack(
        [
            np.ones(len(found.p)),
            log_odds(found.p),
            again == 1,
            again >= 2,
            (again > 0) & (signal < _SHINES),
            np.log(np.maximum(signal, _LEAST_SIGNAL)),
            moved,
            moved**2,
            np.log(found.said[:, 2]),
        ]
    )


def _signal(found: Emitters) -> Floats:
    """Photons over their error."""
    return 1 / found.errors[:, 3]


def witnesses(found: Emitters) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which emitters tell how long molecules are on, sure and bright ones; and which of these are seen again."""
    sure = (found.p >= _SURE) & (_signal(found) >= _SHINES)
    return sure, sure & (found.again >= _SHINES).any(axis=1)


def persistence(sure: int, again: int) -> float:
    """How likely the next molecule of a movie is seen again, after so many sure ones (Laplace's rule of succession).

    Examples
    --------
    >>> persistence(0, 0), persistence(98, 98)
    (0.5, 0.99)
    """
    return (again + 1) / (sure + 2)


def log_odds(p: ArrayLike) -> Floats:
    """Logarithm of p / (1 - p), finite for all probabilities."""
    odds: Floats = logit(np.clip(p, _NEAR, 1 - _NEAR))
    return odds


def probability(odds: Floats, lasting: ArrayLike) -> Floats:
    """Probabilities between the log odds of `Laws.odds`, `(n, 2)`, for the persistence of a movie."""
    between = np.asarray(lasting)
    calibrated: Floats = expit((1 - between) * odds[:, 0] + between * odds[:, 1])
    return calibrated


@dataclass(frozen=True)
class Laws:
    """How what a network and the frames say becomes what is true on average.

    Attributes
    ----------
    of_sigma
        `a`, `b`, `c` and `d` of exp(a) s^b n^c (1 + m)^d, for x, y, z in nm and for the logarithm of the photons; s is
        the standard deviation after refinement, n the network's, m how far refinement moved the emitter, in s.
    of_p
        `a` and `b` of logistic(a logit(p) + b), for what the network says alone.
    of_evidence
        Weights of `evidence` in three logistic laws, `(3, 9)`: where no molecule is seen again, where all are, and in
        movies of one frame; None: the network's word is all that counts.

    Examples
    --------
    >>> laws = Laws([(0.0, 1.0, 0.0, 0.0)] * 4, (2.0, 0.5))
    >>> round(float(laws.of_network(laws.said(0.3))), 6)
    0.3
    """

    of_sigma: Sequence[Sequence[float]]
    of_p: Sequence[float]
    of_evidence: Sequence[Sequence[float]] | None = None

    def sigma(self, found: Emitters, column: int) -> Floats:
        """Calibrated standard deviations of column 0 (x) to 3 (photons)."""
        a, b, c, d = self.of_sigma[column]
        calibrated: Floats = (
            np.exp(a) * found.errors[:, column] ** b * found.said[:, column] ** c * (1 + found.moved) ** d
        )
        return calibrated

    def odds(self, found: Emitters) -> Floats:
        """Calibrated log odds where no molecule is seen again, and where all are, `(n, 2)`."""
        if self.of_evidence is None:
            a, b = self.of_p
            return np.repeat(a * log_odds(found.p)[:, None] + b, 2, axis=1)
        once, lasting, alone = (evidence(found) @ np.asarray(law) for law in self.of_evidence)
        return np.where(found.single[:, None], alone[:, None], np.column_stack([once, lasting]))

    def p(self, found: Emitters, lasting: ArrayLike) -> Floats:
        """Calibrated probabilities; `lasting` is the persistence of the movie of each."""
        return probability(self.odds(found), lasting)

    def of_network(self, p: ArrayLike) -> Floats:
        """Calibrated probabilities of emitters of which nothing is known but what the network says."""
        a, b = self.of_p
        calibrated: Floats = expit(a * log_odds(p) + b)
        return calibrated

    def said(self, p: ArrayLike) -> Floats:
        """Invert `of_network`."""
        a, b = self.of_p
        raw: Floats = expit((logit(np.clip(p, 1e-6, 1 - 1e-6)) - b) / a)
        return raw

    def candidates(self, limit: float) -> float:
        """Probability, as the network says it, of emitters that may turn out to have one above a limit.

        Laws of evidence know nothing of emitters less probable than those that they were fitted to: such ones are only
        looked at where the limit itself is as low.
        """
        return float(self.said(limit)) if self.of_evidence is None else min(limit, CANDIDATES)
