"""How a table is halved for a Fourier correlation, and why a random draw of single localizations is not the way.

A molecule that blinks several times, or stays on for several frames, is in both halves of a random draw. The halves then
agree about its position to within the precision whatever the structure, and the resolution looks better than it is.
Stretches of the movie that go as a whole to one half keep the frames of a blink together.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from lucule.core import InputError, Localizations

Split = Literal["blocks", "random", "halves"]
SPLITS: Final = ("blocks", "random", "halves")
_FEWEST_BLOCKS: Final = 10


def unit_of(locs: Localizations) -> Literal["frame", "event", "row"]:
    """What tells the order in time: frames, traces where there are no frames (MINFLUX), or nothing."""
    if "frame" in locs and locs["frame"].min() != locs["frame"].max():
        return "frame"
    if "event" in locs and locs["event"].min() != locs["event"].max():
        return "event"
    return "row"


def time_blocks(locs: Localizations, blocks: int) -> NDArray[np.int64]:
    """Number of the stretch of time in which each row lies, 0 to at most `blocks` - 1.

    Stretches have as many frames each, at least 4 (as many traces where there are no frames). Rows without any time are
    stretches of their own.

    Raises
    ------
    InputError
        The table has too few frames or traces to be halved in this way.
    """
    unit = unit_of(locs)
    if unit == "row":
        return np.arange(len(locs))
    if unit == "event":  # the numbers of traces have gaps
        time = np.unique(locs["event"], return_inverse=True)[1].astype(np.int64)
        least = 1
    else:
        time = locs["frame"].astype(np.int64)
        time = time - time.min()
        least = 4
    span = int(time.max()) + 1
    number = min(blocks, span // least)
    if number < _FEWEST_BLOCKS:
        raise InputError(
            "The table is too short to be halved by stretches of time", received=f"{span} {unit}s",
            allowed=f"{_FEWEST_BLOCKS * least} or more", next_step="use the split random, and mind its bias",
        )  # fmt: skip
    return time * number // span


def draw_halves(
    locs: Localizations, kind: Split, *, repeats: int, blocks: int, seed: int
) -> NDArray[np.bool_]:
    """Draw `repeats` halves, `(repeats, n)`; `halves` has only one: before and after the middle of the movie.

    Raises
    ------
    InputError
        The kind of split is unknown, or the table is too short for it.
    """
    if kind not in SPLITS:
        raise InputError("There is no such split", received=kind, allowed=", ".join(SPLITS))
    rng = np.random.default_rng(seed)
    if kind == "random":
        return np.array([_half_of(len(locs), rng) for _ in range(repeats)])
    block = time_blocks(locs, blocks if kind == "blocks" else len(locs))
    number = int(block.max()) + 1
    if kind == "halves":
        rank = np.argsort(np.argsort(block, kind="stable"), kind="stable")
        return (rank < len(locs) // 2)[None]
    return np.array([_half_of(number, rng)[block] for _ in range(repeats)])


def _half_of(number: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    half = np.zeros(number, np.bool_)
    half[rng.permutation(number)[: number // 2]] = True
    return half
