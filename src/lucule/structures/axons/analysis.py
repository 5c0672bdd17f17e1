"""The whole way from a table to the period of every axon in it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.core import SILENT, Config, Localizations, Progress
from lucule.structures.axons.estimate import Period, PeriodSettings, period
from lucule.structures.axons.molecules import molecules
from lucule.structures.axons.tracing import Axon, TraceSettings, trace

Floats = NDArray[np.float64]

_SMALLEST_FIELD_NM = 1000.0
_FEWEST = 12


class Settings(Config):
    """How axons are found and their period is measured.

    Attributes
    ----------
    trace, period
        See `TraceSettings` and `PeriodSettings`.
    """

    trace: TraceSettings = TraceSettings()
    period: PeriodSettings = PeriodSettings()


@dataclass(frozen=True, slots=True, eq=False)
class Axons:
    """The axons of one field, the longest first.

    Attributes
    ----------
    axons, periods
        One each for every axon.
    molecules_nm
        `(n, 2)` molecules of the field, nm.
    reason
        Why there is no axon.
    """

    axons: tuple[Axon, ...]
    periods: tuple[Period, ...]
    molecules_nm: Floats
    reason: str | None = None

    def table(self) -> pl.DataFrame:
        """One row for each axon; what does not exist is null."""
        rows = [
            {
                "axon": number,
                "period_nm": found.period_nm,
                "period_low_nm": found.period_nm_interval[0] if found.period_nm_interval else None,
                "period_high_nm": found.period_nm_interval[1] if found.period_nm_interval else None,
                "reason": found.reason,
                "remark": found.remark,
                "p_value": _known(found.p_value),
                "length_nm": axon.course.length_nm,
                "length_error": _known(axon.length_error),
                "width_nm": 2 * axon.half_width_nm,
                "smallest_radius_nm": axon.course.smallest_radius_nm,
                "molecules": found.molecules,
                "rings": len(found.rings_nm) if found.period_nm else None,
                "spacing_sd_nm": _known(found.spacing_sd_nm),
                "ring_width_nm": _known(found.ring_width_nm),
                "in_rings": _known(found.in_rings),
                "contrast": axon.contrast,
            }
            for number, (axon, found) in enumerate(zip(self.axons, self.periods, strict=True))
        ]
        return pl.DataFrame(rows, schema=_SCHEMA)

    def courses(self) -> pl.DataFrame:
        """The centre lines: axon, distance along it, x, y, nm."""
        tables = [
            pl.DataFrame(
                {
                    "axon": np.full(len(axon.course.points_nm), number, np.int32),
                    "along_nm": np.linspace(0, axon.course.length_nm, len(axon.course.points_nm)),
                    "x_nm": axon.course.points_nm[:, 0],
                    "y_nm": axon.course.points_nm[:, 1],
                }
            )
            for number, axon in enumerate(self.axons)
        ]
        empty = pl.DataFrame(schema={"axon": pl.Int32, "along_nm": pl.Float64, "x_nm": pl.Float64, "y_nm": pl.Float64})
        return pl.concat([empty, *tables])

    def summary(self) -> dict[str, Any]:
        """Numbers of the whole, and of each axon."""
        found = [p.period_nm for p in self.periods if p.period_nm is not None]
        return {
            "axons": len(self.axons),
            "periodic": len(found),
            "reason": self.reason,
            "period_nm": float(np.median(found)) if found else None,
            "per_axon": [
                {
                    "axon": number,
                    "period_nm": own.period_nm,
                    "period_nm_interval": own.period_nm_interval,
                    "reason": own.reason,
                    "remark": own.remark,
                    "p_value": _known(own.p_value),
                    "length_um": axon.course.length_nm / 1000,
                    "rings": len(own.rings_nm) if own.period_nm else None,
                    "molecules": own.molecules,
                }
                for number, (axon, own) in enumerate(zip(self.axons, self.periods, strict=True))
            ],
        }


_SCHEMA = {
    "axon": pl.Int32,
    **dict.fromkeys(("period_nm", "period_low_nm", "period_high_nm"), pl.Float64),
    **dict.fromkeys(("reason", "remark"), pl.String),
    **dict.fromkeys(("p_value", "length_nm", "length_error", "width_nm", "smallest_radius_nm"), pl.Float64),
    **dict.fromkeys(("molecules", "rings"), pl.Int64),
    **dict.fromkeys(("spacing_sd_nm", "ring_width_nm", "in_rings", "contrast"), pl.Float64),
}


def measure(locs: Localizations, *, settings: Settings | None = None, progress: Progress = SILENT) -> Axons:
    """Find the axons of a table and measure the period of each.

    Fields of view and channels must be analysed one by one; z is not used, since rings seen from the side have their
    period in the plane.

    Examples
    --------
    >>> measure(Localizations({"x": [1.0, 900.0], "y": [1.0, 2.0]})).reason
    'only 2 molecules in the table'
    """
    settings = settings or Settings()
    if not len(locs):
        return Axons((), (), np.empty((0, 2)), "the table is empty")
    with progress.task("Find axons"):
        xy = molecules(locs)
        if len(xy) < _FEWEST:
            return Axons((), (), xy, f"only {len(xy)} molecules in the table")
        extent = float(np.ptp(xy, axis=0).max())
        if extent < _SMALLEST_FIELD_NM:
            reason = f"the field is {extent:.3g} nm wide: too small for an axon, or the unit of the positions is wrong"
            return Axons((), (), xy, reason)
        axons = tuple(trace(xy, settings=settings.trace))
    if not axons:
        shortest = settings.trace.shortest_um
        return Axons((), (), xy, f"nothing long and narrow of {shortest:g} um or more stands out from what lies beside")
    periods = []
    with progress.task("Periods", total=len(axons), unit="axons") as bar:
        for axon in axons:
            # with so few molecules that they do not tell it, there is no period either
            error = axon.length_error if math.isfinite(axon.length_error) else 0.0
            periods.append(period(axon.along_nm, length_error=error, labels=axon.labels, settings=settings.period))
            bar.advance()
    return Axons(axons, tuple(periods), xy)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
