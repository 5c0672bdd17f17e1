"""How often and when the molecules of a varied field are seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Blinking:
    """Frames in which a molecule is seen.

    Attributes
    ----------
    mean
        Localizations of a molecule (geometric, at least one).
    frames
        Length of the movie.
    again
        Probability that the next localization is in the next frame (a long ON time).
    dark_frames
        Mean of the exponential dark time otherwise.
    bleaching
        Whether molecules appear early rather than at any time.
    """

    mean: float
    frames: int
    again: float
    dark_frames: float
    bleaching: bool

    @classmethod
    def draw(cls, rng: np.random.Generator, mean: float) -> Self:
        """Draw a movie whose molecules are seen `mean` times."""
        frames = int(np.exp(rng.uniform(np.log(2_000), np.log(50_000))))
        dark = float(np.exp(rng.uniform(np.log(2), np.log(frames / 5))))
        again = float(rng.uniform(0, 0.7)) if rng.random() < 0.5 else 0.0
        return cls(mean, frames, again, dark, bool(rng.random() < 0.5))


def blink(rng: np.random.Generator, molecules: int, blinking: Blinking) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Molecule and frame of every localization, `(n,)` each; those after the end of the movie are not seen.

    Examples
    --------
    >>> who, frame = blink(np.random.default_rng(1), 1000, Blinking(5, 20_000, 0.3, 50, False))
    >>> bool(4 < len(who) / 1000 < 6)
    True
    """
    times = rng.geometric(1 / blinking.mean, molecules)
    who = np.repeat(np.arange(molecules), times)
    start = (
        rng.exponential(blinking.frames / 3, molecules)
        if blinking.bleaching
        else rng.random(molecules) * blinking.frames
    )
    start = np.minimum(start, blinking.frames - 1)
    gap = np.where(rng.random(len(who)) < blinking.again, 1, 1 + rng.exponential(blinking.dark_frames, len(who)))
    first = np.cumsum(times) - times
    gap[first] = 0
    total = np.cumsum(gap)
    frame = (start[who] + total - total[first][who]).astype(np.int64)
    seen = frame < blinking.frames
    return who[seen], frame[seen]
