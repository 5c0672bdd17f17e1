"""Positions as all searches want them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lucule.core import InputError

# squares of float32 distances must not overflow
_LARGEST_SPAN_NM: Final = 1e15


def require_points(points: ArrayLike) -> NDArray[Any]:
    """`(n, 2)` or `(n, 3)` finite numbers, as they are.

    Raises
    ------
    InputError
        Another shape, no numbers, positions that are not finite, or more than 2 ** 31 - 1 points.
    """
    values = np.asarray(points)
    if values.ndim != 2 or values.shape[1] not in (2, 3) or values.dtype.kind not in "fiu":
        raise InputError(
            "The points cannot be used",
            received=f"{values.dtype} of shape {values.shape}",
            allowed="numbers of shape (n, 2) or (n, 3), nm",
        )
    if len(values) >= 2**31:
        raise InputError("There are too many points", received=len(values), allowed=f"up to {2**31 - 1:,}")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        rows = np.flatnonzero(~np.isfinite(values).all(axis=1))
        first = ", ".join(str(row) for row in rows[:3])
        raise InputError(
            f"{rows.size} of {len(values)} points are not finite",
            received=f"NaN or infinite in row {first}{', ...' if rows.size > 3 else ''} (counted from 0)",
            allowed="finite positions in nm",
            next_step="remove these rows first",
        )
    return values


def as_float32(points: ArrayLike) -> NDArray[np.float32]:
    """Checked positions as float32, relative to their centre where float32 could not hold them as they are.

    Raises
    ------
    InputError
        As `require_points`, or positions so far apart that squared distances overflow.
    """
    values = require_points(points)
    if not len(values):
        return values.astype(np.float32)
    low, high = values.min(axis=0).astype(np.float64), values.max(axis=0).astype(np.float64)
    if (high - low).max() > _LARGEST_SPAN_NM:
        raise InputError(
            "The points lie too far apart",
            received=f"{(high - low).max():.3g} nm",
            allowed=f"up to {_LARGEST_SPAN_NM:.0e} nm",
            next_step="check the unit; positions are in nm",
        )
    if values.dtype == np.float32:
        return values
    exact = values.astype(np.float64)
    with np.errstate(over="ignore"):
        rounded = exact.astype(np.float32)
    return rounded if (rounded == exact).all() else (exact - 0.5 * (low + high)).astype(np.float32)
