"""What a network and the frames say of an emitter, and how it becomes what is true on average.

A network is too sure here and too careful there. Two laws, fitted after training on frames it has not seen
(`lucule.localize.calibrate`), correct it: a power law for the standard deviations, and a logistic law for the
probabilities. The latter weighs evidence that the network does not use: whether the neighbouring frames hold the same
molecule in the same place, how bright it is for its error, and how far the frame moved it away from where the network
had it. Where there are no neighbouring frames nothing can be seen again, and the network is less to be trusted.
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
        In how many of the frames around each is seen again.
    single
        Whether its frame is the only one.
    """

    frame: NDArray[np.int64]
    p: Floats
    values: Floats
    errors: Floats
    said: Floats
    moved: Floats
    again: NDArray[np.int64]
    single: NDArray[np.bool_]


def evidence(found: Emitters) -> Floats:
    """What speaks for and against each emitter, as the inputs of a logistic law, `(n, 8)`.

    In columns: 1; the network's log odds; whether its frame is the only one; whether it is seen again in one frame; in
    two or more; the logarithm of its photons over their error; m and m squared, where m is log(1 + distance moved / 10
    nm).
    """
    signal = np.log(np.maximum(1 / found.errors[:, 3], _LEAST_SIGNAL))
    moved = np.log1p(found.moved * np.hypot(*found.errors[:, :2].T) / _MOVED_NM)
    return np.column_stack(
        [
            np.ones(len(found.p)),
            log_odds(found.p),
            found.single,
            found.again == 1,
            found.again >= 2,
            signal,
            moved,
            moved**2,
        ]
    )


def log_odds(p: ArrayLike) -> Floats:
    """Logarithm of p / (1 - p), finite for all probabilities."""
    odds: Floats = logit(np.clip(p, _NEAR, 1 - _NEAR))
    return odds


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
        Weights of `evidence` in a logistic law; None: the network's word is all that counts.

    Examples
    --------
    >>> laws = Laws([(0.0, 1.0, 0.0, 0.0)] * 4, (2.0, 0.5))
    >>> round(float(laws.of_network(laws.said(0.3))), 6)
    0.3
    """

    of_sigma: Sequence[Sequence[float]]
    of_p: Sequence[float]
    of_evidence: Sequence[float] | None = None

    def sigma(self, found: Emitters, column: int) -> Floats:
        """Calibrated standard deviations of column 0 (x) to 3 (photons)."""
        a, b, c, d = self.of_sigma[column]
        calibrated: Floats = (
            np.exp(a) * found.errors[:, column] ** b * found.said[:, column] ** c * (1 + found.moved) ** d
        )
        return calibrated

    def p(self, found: Emitters) -> Floats:
        """Calibrated probabilities."""
        if self.of_evidence is None:
            return self.of_network(found.p)
        calibrated: Floats = expit(evidence(found) @ np.asarray(self.of_evidence))
        return calibrated

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
        """Probability, as the network says it, from which an emitter may turn out to have one above a limit."""
        said = float(self.said(limit))
        return said if self.of_evidence is None else min(said, CANDIDATES)
