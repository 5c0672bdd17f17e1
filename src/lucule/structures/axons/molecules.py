"""From localizations to molecules: repeated localizations of one molecule must count once."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from lucule import space
from lucule.core import Localizations

Floats = NDArray[np.float64]

_REACH: Final = 3.0
# of the median precision: what is less sure comes to lie far from its molecule and passes for another one
_UNSURE: Final = 2.0
_UNKNOWN_PRECISION_NM: Final = 8.0


def molecules(locs: Localizations) -> Floats:
    """Middles `(n, 2)` of spots no larger than the localization error, nm.

    A dye blinks several times, and may come back at any time; all that is seen of it lies within its localization
    error. Localizations are joined from where they are densest, within 3 times the median precision (8 nm where none
    is given). Molecules nearer than that become one, which loses some evidence and adds none. Localizations of more
    than twice the median precision are left out: they would make molecules that are none.

    Examples
    --------
    >>> locs = Localizations({"x": [0.0, 2.0, 4.0, 90.0], "y": [0.0] * 4, "x_err": [5.0] * 4, "y_err": [5.0] * 4})
    >>> molecules(locs)[:, 0].tolist()
    [2.0, 90.0]
    """
    locs = _sure(locs)
    xy = locs.xy().astype(np.float64)
    reach = _REACH * precision_nm(locs)
    neighbours = np.zeros(len(xy), np.int64)
    firsts, seconds = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
    for first, second, _ in space.pair_batches(locs.xy(), reach):
        firsts.append(first)
        seconds.append(second)
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    np.add.at(neighbours, first, 1)
    order = np.argsort(first, kind="stable")
    starts = np.concatenate([[0], np.cumsum(neighbours)])
    spot = _spots(np.argsort(-neighbours, kind="stable"), starts, second[order])
    size = np.bincount(spot)
    return np.column_stack([np.bincount(spot, xy[:, axis]) / size for axis in range(2)])


def _sure(locs: Localizations) -> Localizations:
    """Those whose precision is known to be poor left out."""
    if not {"x_err", "y_err"} <= set(locs.columns):
        return locs
    worst = pl.max_horizontal("x_err", "y_err")
    return locs.filter((worst <= _UNSURE * precision_nm(locs)) | worst.is_null() | worst.is_nan())


def precision_nm(locs: Localizations) -> float:
    """Median localization precision in the plane, nm; 8 where the table does not tell it."""
    if not {"x_err", "y_err"} <= set(locs.columns):
        return _UNKNOWN_PRECISION_NM
    errors = np.concatenate([locs["x_err"], locs["y_err"]]).astype(np.float64)
    known = errors[np.isfinite(errors) & (errors > 0)]
    return float(np.median(known)) if len(known) else _UNKNOWN_PRECISION_NM


@njit(cache=True, nogil=True)
def _spots(order: NDArray[np.int64], starts: NDArray[np.int64], others: NDArray[np.int32]) -> NDArray[np.int64]:
    spot = np.full(len(order), -1, np.int64)
    number = 0
    for row in order:
        if spot[row] >= 0:
            continue
        spot[row] = number
        for at in range(starts[row], starts[row + 1]):
            if spot[others[at]] < 0:
                spot[others[at]] = number
        number += 1
    return spot
