"""Drift during the movie of a field, taken off: the field as it lay at one instant."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from lucule.core import Localizations, LuculeError
from lucule.process import apply_drift, estimate_drift

Instant = Literal["start", "end"]


def between_colours(colour: int) -> Instant:
    """The instant of the movie of a colour, 0 or 1, at which the stage went from the first colour to the second."""
    return "start" if colour else "end"


@dataclass(frozen=True)
class FieldDrift:
    """How far a field drifted during its movie.

    Attributes
    ----------
    x_nm, y_nm
        Range of the drift along each axis; None where it could not be told.
    error_nm
        Standard error of the curve along an axis, root mean square.
    note
        Why it was not taken off; None where it was.
    """

    x_nm: float | None = None
    y_nm: float | None = None
    error_nm: float | None = None
    note: str | None = None

    def record(self, field: int) -> dict[str, Any]:
        """As it is written down."""
        return {"field": field, "x_nm": self.x_nm, "y_nm": self.y_nm, "error_nm": self.error_nm, "note": self.note}


def without_drift(locs: Localizations, *, as_at: Instant) -> tuple[Localizations, FieldDrift]:
    """Take the drift of a movie off, so that everything lies where it was at its first or last frame.

    The drift is left on, and the reason told, where it cannot be followed, or where it is no larger than its own error:
    taking it off would then add as much as it removes.

    Parameters
    ----------
    locs
        Localizations of one movie.
    as_at
        Of two colours that follow each other, the end of the first movie is the start of the second: told for that
        instant, both lie on each other.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> frame = np.sort(rng.integers(0, 1000, 20_000))
    >>> xy = rng.uniform(0, 9000, (300, 2))[rng.integers(0, 300, 20_000)] + rng.normal(0, 8, (20_000, 2))
    >>> moved = xy + np.outer(frame, (0.1, 0))
    >>> still, drift = without_drift(Localizations({"frame": frame, "x": moved[:, 0], "y": moved[:, 1]}), as_at="start")
    >>> bool(abs(drift.x_nm - 100) < 5 and abs(np.mean(still["x"] - xy[:, 0])) < 3)
    True
    """
    try:
        curve = estimate_drift(locs)
    except LuculeError as error:  # too few, or nothing that comes back
        return locs, FieldDrift(note=error.problem)
    x, y = (float(size) for size in np.ptp(curve.nm[:, :2], axis=0))
    squared = np.square(curve.error_nm[:, :2])
    if not np.isfinite(squared).all():
        return locs, FieldDrift(x, y, note="the error of the drift could not be told")
    error = float(np.sqrt(squared.mean()))
    drift = FieldDrift(x, y, error)
    if np.sqrt(np.square(curve.nm[:, :2]).mean()) <= error:
        return locs, replace(drift, note=f"the drift is not larger than its error of {error:.0f} nm")
    instant = 0 if as_at == "start" else (locs.meta.n_frames or int(locs["frame"].max()) + 1) - 1
    moved = replace(curve, nm=curve.nm - curve.at([instant]))
    return apply_drift(locs, moved), drift
