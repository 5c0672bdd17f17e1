"""Localizations that have nothing to do with each other: those of different fields and channels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

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
