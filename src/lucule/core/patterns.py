"""Localizations that have nothing to do with each other, by field and channel; and frames that tell no time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lucule.core.localizations import Localizations

PATTERNS: Final = ("field", "channel")
"""Columns that tell patterns apart."""


def patterns(locs: Localizations, rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Split `rows` by field and channel, in ascending order of both."""
    keys = [locs[name][rows] for name in PATTERNS if name in locs]
    if not keys:
        yield rows
        return
    order = np.lexsort(keys[::-1])
    changes = np.zeros(max(len(rows) - 1, 0), dtype=bool)
    for key in keys:
        changes |= np.diff(key[order].astype(np.int64)) != 0
    yield from np.split(rows[order], np.flatnonzero(changes) + 1)


def numbers_rows(frame: NDArray[np.integer[Any]]) -> bool:
    """Whether frames `(n,)` are the numbers of the rows, as some programs write them, and no times.

    Examples
    --------
    >>> numbers_rows(np.array([1, 2, 3, 4])), numbers_rows(np.array([1, 2, 2, 4]))
    (True, False)
    """
    return len(frame) > 0 and int(np.ptp(frame)) + 1 == len(frame) == len(np.unique(frame))
