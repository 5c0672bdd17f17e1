"""Cutting a movie into segments that hold enough localizations each; frames without any do no harm."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lucule.core import InputError

Floats = NDArray[np.float64]

_FEWEST_SEGMENTS: Final = 3


class Segments(NamedTuple):
    """Segments of a movie.

    Attributes
    ----------
    of
        Segment of each row, `(n,)`, ascending in time.
    middle
        Mean frame of the localizations of each segment, `(k,)`.
    starts
        With rows sorted by time, where each segment starts; one more for the end.
    """

    of: NDArray[np.int64]
    middle: Floats
    starts: NDArray[np.int64]


def cut(frame: NDArray[np.int64], *, localizations: float, frames: int = 1, most: int = 1000) -> Segments:
    """Segments of equal numbers of frames, long enough for `localizations` on average and at least `frames` long.

    Segments with less than a fifth of the mean are joined with the next one, so that gaps in the movie are bridged.

    Parameters
    ----------
    frame
        Ascending.

    Raises
    ------
    InputError
        There would be fewer than three segments.
    """
    n = len(frame)
    span = int(frame[-1] - frame[0]) + 1 if n else 0
    number = int(min(n / localizations, span / frames, most)) if n else 0
    if number < _FEWEST_SEGMENTS:
        raise InputError(
            "There is too little data to follow the drift",
            received=f"{n} localizations in {span} frames",
            allowed=f"at least {_FEWEST_SEGMENTS} segments of {localizations:.0f} localizations",
            next_step="leave the drift uncorrected, or image fiducials",
        )
    raw = (frame - frame[0]) * number // span
    counts = np.bincount(raw, minlength=number)
    least = 0.2 * counts.mean()
    label = np.zeros(number, np.int64)
    current, held = 0, 0
    for segment in range(number):
        label[segment] = current
        held += counts[segment]
        if held >= least:
            current, held = current + 1, 0
    if held:  # the rest belongs to the last full one
        label[label == current] = max(current - 1, 0)
    of = label[raw]
    starts = np.append(np.flatnonzero(np.diff(of, prepend=-1)), n)
    middle = np.add.reduceat(frame.astype(np.float64), starts[:-1]) / np.diff(starts)
    return Segments(of, middle, starts)
