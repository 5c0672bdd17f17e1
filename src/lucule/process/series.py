"""When each localization was seen: the order in which frames, fields of view and channels follow each other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lucule.core import ColumnError, Localizations


class Series(NamedTuple):
    """Rows in the order of their frames, one field of view and channel after the other.

    Attributes
    ----------
    order
        Rows of the table, sorted by field, channel, frame and x (then y, so that the order of the input is forgotten).
    time
        Time of each sorted row in frames; different fields and channels are further apart than any two frames of one.
    """

    order: NDArray[np.int64]
    time: NDArray[np.int64]


def frames(locs: Localizations, purpose: str) -> NDArray[np.int64]:
    """The frame of each row.

    Raises
    ------
    ColumnError
        The table has no column `frame`; the message names the `purpose`.
    """
    if "frame" not in locs:
        raise ColumnError(
            f"{purpose} needs to know when each localization was seen, and the table has no column frame",
            received=f"columns {', '.join(locs.columns)}",
            next_step="name the column of the file that holds it, for example --map frame=FRAME",
        )
    return locs["frame"].astype(np.int64)


def in_order(locs: Localizations, purpose: str) -> Series:
    """Sort the rows in time; localizations of other fields or channels are never neighbours in time.

    Raises
    ------
    ColumnError
        As `frames`.
    """
    time = frames(locs, purpose)
    group = np.zeros(len(locs), np.int64)
    for name in ("field", "channel"):
        if name in locs:
            group = group * 256 + locs[name]
    if len(locs):
        # two spans apart, so that no dark time bridges the gap between groups
        span = int(time.max() - time.min()) + 1
        time = time - time.min() + np.unique(group, return_inverse=True)[1] * 2 * span
    order = np.lexsort((locs["y"], locs["x"], time))
    return Series(order, time[order])
