"""A drift curve: how far the sample had moved in each frame, with its uncertainty, and a table corrected by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from lucule.core import Localizations
from lucule.process.series import frames

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class DriftCurve:
    """Drift at some frames, interpolated smoothly between them; its mean over the movie is 0.

    Attributes
    ----------
    frame
        Frames of the knots, ascending, `(k,)`; the middles of the segments of the movie.
    nm
        How far the sample had moved, `(k, 2)` or `(k, 3)`.
    error_nm
        Standard error from resampling, of the same shape; NaN where it was not made.
    method
        `fiducials`, `rcc`, `aim` or `entropy`.
    why
        Why this method, and with what settings.
    warnings
        What the reader should know.
    """

    frame: Floats
    nm: Floats
    error_nm: Floats
    method: str
    why: str
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Short, for the history of a table."""
        extent = " x ".join(f"{size:.1f}" for size in np.ptp(self.nm, axis=0))
        return f"{self.method}, {len(self.frame)} knots, {extent} nm"

    def at(self, frame: ArrayLike) -> Floats:
        """Drift in any frame, `(n, d)`; before the first knot and after the last one the curve goes on straight."""
        wanted = np.asarray(frame, np.float64)
        if len(self.frame) == 1:
            return np.repeat(self.nm, len(wanted), axis=0)
        if len(self.frame) < 4:
            return np.column_stack([_linear(wanted, self.frame, column) for column in self.nm.T])
        from scipy.interpolate import Akima1DInterpolator

        inside = np.clip(wanted, self.frame[0], self.frame[-1])
        result = np.atleast_2d(Akima1DInterpolator(self.frame, self.nm, axis=0)(inside))
        # half a segment lies outside at each end
        for end, other, beyond in ((0, 1, wanted < self.frame[0]), (-1, -2, wanted > self.frame[-1])):
            slope = (self.nm[end] - self.nm[other]) / (self.frame[end] - self.frame[other])
            result[beyond] += (wanted[beyond] - self.frame[end])[:, None] * slope
        return result

    def error_at(self, frame: ArrayLike) -> Floats:
        """Standard error in any frame, `(n, d)`."""
        wanted = np.asarray(frame, np.float64)
        return np.column_stack([np.interp(wanted, self.frame, column) for column in self.error_nm.T])

    def table(self) -> pl.DataFrame:
        """One row for each knot: frame, drift and the 95 % interval of each axis."""
        columns: dict[str, Any] = {"frame": self.frame}
        for i, axis in enumerate("xyz"[: self.nm.shape[1]]):
            columns |= {
                f"{axis}_nm": self.nm[:, i],
                f"{axis}_low_nm": self.nm[:, i] - 1.96 * self.error_nm[:, i],
                f"{axis}_high_nm": self.nm[:, i] + 1.96 * self.error_nm[:, i],
            }
        return pl.DataFrame(columns)

    def summary(self) -> dict[str, Any]:
        """Method, extent and uncertainty."""
        found: dict[str, Any] = {"method": self.method, "why": self.why, "knots": len(self.frame)}
        for i, axis in enumerate("xyz"[: self.nm.shape[1]]):
            found[f"drift_{axis}_nm"] = float(np.ptp(self.nm[:, i]))
        lateral, axial = self.error_nm[:, :2], self.error_nm[:, 2:]
        found["drift_error_nm"] = float(np.sqrt(np.nanmean(lateral**2) * 2)) if np.isfinite(lateral).any() else None
        if self.nm.shape[1] == 3:
            found["drift_z_error_nm"] = float(np.sqrt(np.nanmean(axial**2))) if np.isfinite(axial).any() else None
        return found


def _linear(wanted: Floats, frame: Floats, values: Floats) -> Floats:
    slope = (values[-1] - values[0]) / (frame[-1] - frame[0])
    result: Floats = np.interp(wanted, frame, values)
    result += np.minimum(wanted - frame[0], 0) * slope + np.maximum(wanted - frame[-1], 0) * slope
    return result


def shifted(locs: Localizations, curve: DriftCurve) -> Localizations:
    """Take the drift off the positions; z is left alone by a curve in the plane."""
    if not len(locs):
        return locs
    frame = frames(locs, "Drift correction")
    low = int(frame.min())
    drift = curve.at(np.arange(low, int(frame.max()) + 1))[frame - low]
    moved = [
        pl.Series(axis, (locs[axis] - drift[:, i]).astype(np.float32))
        for i, axis in enumerate("xyz"[: drift.shape[1]])
        if axis in locs
    ]
    return Localizations(locs.data.with_columns(moved), locs.meta)
