"""Drift from fiducials: beads that are there in nearly every frame, found by that and followed from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lucule.process.linking.kernel import chains

Floats = NDArray[np.float64]

PRESENT: Final = 0.8
_CELL_NM: Final = 300.0
_GAP_FRACTION: Final = 0.02
_LEAST_RADIUS_NM: Final = 40.0


@dataclass(frozen=True, slots=True, eq=False)
class Fiducials:
    """Beads of a movie.

    Attributes
    ----------
    rows
        Rows of the sorted table that are beads, and which bead each is.
    bead
        Number of the bead of each of these rows.
    count
        How many there are.
    spread_nm
        Root mean square difference between the paths of beads, once each has its mean taken off; 0 for a single one.
    """

    rows: NDArray[np.int64]
    bead: NDArray[np.int64]
    count: int
    spread_nm: float


def find_fiducials(time: NDArray[np.int64], points: NDArray[np.float32], *, precision_nm: float) -> Fiducials:
    """Find beads: chains of localizations, each near the last one, that span at least 80 % of the frames.

    Parameters
    ----------
    time
        Frames, ascending.
    points
        `(n, d)`, sorted like them.
    precision_nm
        Of the localizations: beads are followed within eight times this, 40 nm at least.
    """
    none = Fiducials(np.empty(0, np.int64), np.empty(0, np.int64), 0, 0.0)
    if not len(time):
        return none
    span = int(time[-1] - time[0]) + 1
    # only where as many localizations lie as a bead would give; it may drift over the border of cells
    cell = np.floor((points[:, :2] - points[:, :2].min(axis=0)) / _CELL_NM).astype(np.int64) + 1
    shape = cell.max(axis=0) + 2
    counts = np.bincount(cell[:, 0] * shape[1] + cell[:, 1], minlength=int(shape.prod())).reshape(shape)
    around = sum(np.roll(np.roll(counts, a, 0), b, 1) for a in (-1, 0, 1) for b in (-1, 0, 1))
    rows = np.flatnonzero((around >= PRESENT * span)[cell[:, 0], cell[:, 1]])
    if not len(rows):
        return none
    chain = chains(
        time[rows], points[rows, :2], radius=max(8 * precision_nm, _LEAST_RADIUS_NM), radius_z=np.inf,
        gap=max(5, int(_GAP_FRACTION * span)), follow=True,
    )  # fmt: skip
    length = np.bincount(chain)
    long = np.flatnonzero(length >= PRESENT * span)
    if not len(long):
        return none
    number = np.full(len(length), -1)
    number[long] = np.arange(len(long))
    kept = number[chain] >= 0
    rows, bead = rows[kept], number[chain[kept]]
    path = paths(time[rows], points[rows], bead, np.arange(time[0], time[-1] + 1))
    difference = np.nanmean(np.square(path - np.nanmean(path, axis=0)), axis=(0, 1))[:2]
    spread = float(np.sqrt(difference.sum())) if len(long) > 1 else 0.0
    return Fiducials(rows, bead, len(long), spread)


def paths(
    time: NDArray[np.int64], points: NDArray[np.float32], bead: NDArray[np.int64], at: NDArray[np.int64]
) -> Floats:
    """Path of each bead in every frame `at`, `(beads, frames, d)`, its mean taken off; gaps are bridged straight."""
    result = np.empty((int(bead.max()) + 1, len(at), points.shape[1]))
    for number in range(len(result)):
        own = bead == number
        for axis in range(points.shape[1]):
            result[number, :, axis] = np.interp(at, time[own], points[own, axis].astype(np.float64))
    return result - result.mean(axis=1, keepdims=True)
