"""Fields of one object joined into one table: residual errors of the stage taken off, overlaps counted once.

Every field lies where the stage said that it was. Where two overlap, both show the same molecules: how far one is
shifted against the other tells what the stage did wrong. All overlaps together give a correction for each field
(least squares). Every place of the plane belongs to one field, the one whose middle is nearest, so that nothing in an
overlap counts twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.acquire.plan import Stitching
from lucule.acquire.shifts import Shift, shift_between
from lucule.core import Localizations, step

Floats = NDArray[np.float64]

FIELD_OF_VIEW: Final = "field_of_view"
# a shift less sure than this is not followed, and no shift is surer than this
_LARGEST_ERROR_NM: Final = 30.0
_LEAST_ERROR_NM: Final = 2.0


@dataclass(frozen=True)
class Overlap:
    """What two fields that overlap say of each other.

    Attributes
    ----------
    fields
        Places of the two in the list of fields.
    shift
        How far the second shows the molecules away from where the first does; None: that could not be told.
    note
        Why the shift is not followed; None where it is.
    """

    fields: tuple[int, int]
    shift: Shift | None
    note: str | None = None

    def record(self, names: Sequence[int]) -> dict[str, Any]:
        """As it is written down."""
        values = {"fields": [names[number] for number in self.fields], "note": self.note}
        if self.shift is None:
            return values
        return values | {"x_nm": self.shift.x_nm, "y_nm": self.shift.y_nm, "error_nm": self.shift.error_nm}


@dataclass(frozen=True)
class Corrections:
    """What is taken off each field.

    Attributes
    ----------
    nm
        For each field, `(n, 2)`.
    overlaps
        What they follow from.
    residual_nm
        Root mean square of what the overlaps still say after it; None where none is followed.
    note
        Why nothing is corrected; None where something is, or nothing had to be.
    """

    nm: Floats
    overlaps: tuple[Overlap, ...]
    residual_nm: float | None
    note: str | None = None


def corrections(fields: Sequence[Localizations], settings: Stitching) -> Corrections:
    """Residual errors of the stage between the fields of an object, from their overlaps.

    Parameters
    ----------
    fields
        Tables with `meta.origin_nm`, `shape_px` and `pixel_size_nm`.
    settings
        What is not followed.
    """
    boxes = np.array([_box(field) for field in fields])
    none = np.zeros((len(fields), 2))
    if settings.largest_shift_nm == 0:
        return Corrections(none, (), None, "the plan trusts the stage")
    overlaps = []
    for i, j in combinations(range(len(fields)), 2):
        low, high = np.maximum(boxes[i, 0], boxes[j, 0]), np.minimum(boxes[i, 1], boxes[j, 1])
        if (high > low).all():
            overlaps.append(_overlap(fields, (i, j), low, high, settings))
    used = [overlap for overlap in overlaps if overlap.note is None]
    if not used:
        return Corrections(none, tuple(overlaps), None, "no overlap tells a shift" if overlaps else None)
    rows = np.zeros((len(used), len(fields)))
    values, errors = np.empty((len(used), 2)), np.empty(len(used))
    for row, overlap in enumerate(used):
        assert overlap.shift is not None  # noqa: S101 (its note would say so)
        rows[row, list(overlap.fields)] = -1.0, 1.0
        values[row] = overlap.shift.x_nm, overlap.shift.y_nm
        errors[row] = max(overlap.shift.error_nm, _LEAST_ERROR_NM)
    weights = 1 / errors[:, None]
    # of all solutions the shortest: the mean of fields that hang together stays where it is
    nm: Floats = np.asarray(np.linalg.lstsq(rows * weights, values * weights, rcond=None)[0], np.float64)
    residual = float(np.sqrt(np.mean(np.sum((rows @ nm - values) ** 2, axis=1))))
    if residual > settings.largest_residual_nm:
        note = f"the overlaps contradict each other by {residual:.0f} nm, more than {settings.largest_residual_nm:g} nm"
        return Corrections(none, tuple(overlaps), residual, note)
    return Corrections(nm, tuple(overlaps), residual)


def _overlap(
    fields: Sequence[Localizations], pair: tuple[int, int], low: Floats, high: Floats, settings: Stitching
) -> Overlap:
    reach = 2 * settings.largest_shift_nm
    first, second = (_within(fields[number], low - reach, high + reach) for number in pair)
    shift = shift_between(first, second, reach_nm=reach)
    if shift is None:
        fewer = min(len(first), len(second))
        return Overlap(pair, None, f"no common shift is seen ({fewer} localizations in the overlap)")
    if shift.error_nm > _LARGEST_ERROR_NM:
        return Overlap(pair, shift, f"the shift is uncertain by {shift.error_nm:.0f} nm")
    if shift.length_nm > settings.largest_shift_nm:
        return Overlap(pair, shift, f"{shift.length_nm:.0f} nm are more than {settings.largest_shift_nm:g} nm")
    return Overlap(pair, shift)


def _box(field: Localizations) -> Floats:
    """Lower and upper corner (x, y) of a field on the stage, nm."""
    corner = np.array(field.meta.origin_nm[:2])
    rows, columns = field.meta.shape_px or (0, 0)
    return np.array([corner, corner + np.array(field.meta.pixel_size_nm or (0.0, 0.0)) * (columns, rows)])


def _within(field: Localizations, low: Floats, high: Floats) -> Floats:
    """Positions on the stage inside a rectangle, relative to its corner: what both fields have in common."""
    xy: Floats = field.xy().astype(np.float64) + np.array(field.meta.origin_nm[:2]) - low
    return xy[((xy >= 0) & (xy < high - low)).all(axis=1)]


@step
def join(fields: Sequence[Localizations], names: Sequence[int], nm: Sequence[tuple[float, float]]) -> Localizations:
    """One table of all fields, with nothing in their overlaps counted twice.

    It is a table as one large camera would have given it: frame 0 is the first one of every field, so that densities
    and the course of the movie stay what they are. The column `field_of_view` says where a row comes from (`field`
    would say that fields are specimens of their own); `meta.origin_nm` is the corner of all fields together.

    Parameters
    ----------
    fields
        Tables with `meta.origin_nm`, `shape_px`, `pixel_size_nm` and `n_frames`.
    names
        Number of each field.
    nm
        What is taken off each field, (x, y); see `corrections`.
    """
    boxes = np.array([_box(field) - shift for field, shift in zip(fields, np.asarray(nm), strict=True)])
    middles, sizes = boxes.mean(axis=1), boxes[:, 1] - boxes[:, 0]
    corner = boxes[:, 0].min(axis=0)
    parts = []
    for number, (field, name) in enumerate(zip(fields, names, strict=True)):
        places = field.xy().astype(np.float64) + boxes[number, 0]
        own = np.ones(len(field), bool)
        here = _out(places, middles[number], sizes[number])
        for other in range(len(fields)):
            there = _out(places, middles[other], sizes[other])
            own &= (here < there) | ((here == there) & (number <= other))
        kept = field.data.filter(pl.Series(own)).with_columns(pl.lit(name, pl.UInt16).alias(FIELD_OF_VIEW))
        local = (places[own] - corner).astype(np.float32)
        parts.append(kept.with_columns(x=pl.Series(local[:, 0]), y=pl.Series(local[:, 1])))
    pixel = fields[0].meta.pixel_size_nm or (1.0, 1.0)
    columns, rows = np.ceil((boxes[:, 1].max(axis=0) - corner) / pixel).astype(int)
    meta = fields[0].meta.replace(
        n_frames=max(field.meta.n_frames or 0 for field in fields) or None,
        shape_px=(int(rows), int(columns)),
        origin_nm=(float(corner[0]), float(corner[1]), 0.0),
    )
    return Localizations(pl.concat(parts), meta)


def _out(places: Floats, middle: Floats, size: Floats) -> Floats:
    """How far places are from the middle of a field: 1 at its border, whatever its sides are."""
    found: Floats = (np.abs(places - middle) / (size / 2)).max(axis=1)
    return found
