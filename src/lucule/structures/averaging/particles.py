"""Particles: groups of localizations that show the same structure, centred, with what each localization counts.

A dye that blinks ten times gives ten localizations of one site. If each of them counted in full, the sites that
happened to blink most would decide how a particle is turned, and their sum would be a hot spot. So a localization
counts by the inverse of how many of its own particle lie within its precision: resolved sites count alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lucule.core import ColumnError, InputError, Localizations
from lucule.space.threads import share

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

GROUP_COLUMNS: Final = ("particle", "cluster", "group", "field")
FEWEST_LOCALIZATIONS: Final = 4
FEWEST_PARTICLES: Final = 2
LARGEST_EXTENT_NM: Final = 5000.0
# a dye alone is a nanometre large: what is no larger is no particle of several
SMALLEST_EXTENT_NM: Final = 3.0
# reach of "the same site", in precisions
_SITE_REACH: Final = 2.0
# with so many localizations of its particle each one is compared at most: more would tell the same
_MOST_COMPARED: Final = 2000
# side of the cells that join localizations, in precisions, and how many cells a particle may fill on average
_CELL: Final = 1.0
_CELL_GROWTH: Final = 1.25
_MOST_CELLS: Final = {2: 200, 3: 100}
# localizations this many times less precise than the median count half
_IMPRECISE: Final = 2.0
# precision that is assumed where the table has none, nm
_USUAL_ERROR_NM: Final = 10.0
# even a single site, seen again and again, is wider than this many precisions
_SMALLEST_EXTENT: Final = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Particles:
    """Localizations sorted by particle; in 2D z is 0.

    Attributes
    ----------
    ids
        Number of each particle in its column, `(particles,)`.
    centres_nm
        What was taken off the positions of each particle, `(particles, 3)`.
    points_nm, errors_nm
        Centred positions and their precision, `(n, 3)`.
    weight
        What each localization counts, `(n,)`: by the sites it shares and by its precision.
    starts
        Rows of particle k are `starts[k]` to `starts[k + 1]`.
    rows
        Row of each localization in the table.
    flat
        Whether these are 2D.
    left_out
        Particles with too few localizations.
    """

    ids: Ints
    centres_nm: Floats
    points_nm: Floats
    errors_nm: Floats
    weight: Floats
    starts: Ints
    rows: Ints
    flat: bool
    left_out: Ints

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def owner(self) -> Ints:
        """Particle of each localization."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    @property
    def sigma_nm(self) -> Floats:
        """Precision in the plane of each localization, `(n,)`."""
        sigma: Floats = np.sqrt((self.errors_nm[:, :2] ** 2).mean(axis=1))
        return sigma

    @property
    def precision_nm(self) -> float:
        """Median precision in the plane."""
        return float(np.median(self.sigma_nm))

    @property
    def radius_nm(self) -> float:
        """Distance from the centre within which nearly all of the weight lies."""
        distance = np.sqrt((self.points_nm**2).sum(axis=1))
        order = np.argsort(distance)
        within = np.cumsum(self.weight[order])
        return float(distance[order][np.searchsorted(within, 0.97 * within[-1])])

    @property
    def centre_error_nm(self) -> float:
        """How far, along one axis, the centre of a particle with few labels lies from that of the structure."""
        spread = np.average((self.points_nm**2).sum(axis=1), weights=self.weight)
        return float(np.sqrt(spread / (2 if self.flat else 3) / np.median(self.sites)))

    @property
    def sites(self) -> Floats:
        """Total weight of each particle: about the number of its resolved sites."""
        return np.add.reduceat(self.weight, self.starts[:-1])


def collect(locs: Localizations, *, column: str | None = None, flat: bool | None = None) -> Particles:
    """Sort a table into particles.

    Parameters
    ----------
    locs
        Localizations; `x_err` and `y_err` are used where they are there.
    column
        Whole numbers that tell the particles apart; negative or missing: in none. By default the first of `particle`,
        `cluster`, `group` and `field` that the table has.
    flat
        Whether to average in the plane only; by default where the table has no depth.

    Raises
    ------
    ColumnError
        There is no such column, or it does not hold whole numbers.
    InputError
        Fewer than two particles have 4 localizations, or the groups are far too large or small for
        particles.

    Examples
    --------
    >>> table = Localizations({"x": [0.0, 10, 0, 10] * 2, "y": [0.0, 0, 10, 10] * 2, "group": [3] * 4 + [5] * 4})
    >>> len(collect(table))
    2
    """
    name = column or next((known for known in GROUP_COLUMNS if known in locs), None)
    if name is None or name not in locs:
        raise ColumnError(
            "Averaging needs a column that tells the particles apart"
            if name is None
            else f"The table has no column {name}",
            received="columns " + ", ".join(locs.columns),
            allowed="whole numbers, negative for localizations in no particle",
            next_step="pick particles (Picasso writes `group`), or group: lucule cluster TABLE --out NEW.parquet",
        )
    group = np.asarray(locs[name])
    if group.dtype.kind not in "iu":
        odd = np.ones(len(group), np.bool_)
        if group.dtype.kind == "f":
            # where the number is missing a localization is in no particle
            group = np.where(np.isnan(group), -1.0, group)
            odd = ~np.isfinite(group) | (group != np.round(group))
        if odd.any():
            raise ColumnError(
                f"Column {name} must hold whole numbers",
                received=f"{group[odd][0]!s} in row {int(np.flatnonzero(odd)[0])}, {int(odd.sum())} such rows",
                allowed="whole numbers, negative for localizations in no particle",
                next_step="number the particles, or name another column with --group",
            )
    group = group.astype(np.int64)
    rows = np.flatnonzero(group >= 0)
    rows = rows[np.argsort(group[rows], kind="stable")]
    ids, counts = np.unique(group[rows], return_counts=True)
    few = counts < FEWEST_LOCALIZATIONS
    if int((~few).sum()) < FEWEST_PARTICLES:
        raise InputError(
            "There are too few particles to average",
            received=f"{len(ids)} in {name}, {int((~few).sum())} with {FEWEST_LOCALIZATIONS} or more localizations",
            allowed=f"{FEWEST_PARTICLES} or more",
            next_step="name another column with --group, or pick more particles",
        )
    rows = rows[~np.repeat(few, counts)]
    starts = np.append(0, np.cumsum(counts[~few]))
    depth = locs.is_3d if flat is None else not flat
    if depth and not locs.is_3d:
        raise InputError("Averaging in 3D needs positions in z", next_step="average in the plane")
    points = locs.xyz()[rows].astype(np.float64)
    if not depth:
        points[:, 2] = 0.0
    errors = _errors(locs, depth=depth)[rows]
    weight = np.empty(len(rows))
    reach = _SITE_REACH * errors
    share(lambda a, b: _site_weights(points, reach, starts, a, b, weight), len(starts) - 1, least=1, most=64)
    for column_errors in errors.T:
        weight /= 1 + (column_errors / (_IMPRECISE * np.median(column_errors))) ** 4
    owner = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    total = np.add.reduceat(weight, starts[:-1])
    centres = np.add.reduceat(points * weight[:, None], starts[:-1], axis=0) / total[:, None]
    points -= centres[owner]
    found = Particles(ids[~few], centres, points, errors, weight, starts, rows, not depth, ids[few])
    _check_size(found, name)
    return found


def joined(particles: Particles) -> Particles:
    """The same particles with localizations of one place joined: less to compute with, and hardly less to see.

    Places are cells of one precision, or larger ones where particles would fill too many of them.
    """
    most = _MOST_CELLS[2 if particles.flat else 3] * len(particles)
    side = _CELL * np.median(particles.errors_nm, axis=0)
    key = _cells(particles, side)
    while len(np.unique(key)) > most:
        side = side * _CELL_GROWTH
        key = _cells(particles, side)
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    weight = np.bincount(inverse, particles.weight)
    points, errors = (
        np.column_stack([np.bincount(inverse, particles.weight * axis) / weight for axis in values.T])
        for values in (particles.points_nm, particles.errors_nm)
    )
    counts = np.bincount(particles.owner[first], minlength=len(particles))
    return Particles(particles.ids, particles.centres_nm, points, errors, weight, np.append(0, np.cumsum(counts)),
                     particles.rows[first], particles.flat, particles.left_out)  # fmt: skip


def _cells(particles: Particles, side_nm: Floats) -> Ints:
    cell = np.floor(particles.points_nm / side_nm).astype(np.int64)
    cell -= cell.min(axis=0)
    size = cell.max(axis=0) + 1
    key: Ints = ((particles.owner * size[2] + cell[:, 2]) * size[1] + cell[:, 1]) * size[0] + cell[:, 0]
    return key


def chosen(particles: Particles, which: Ints) -> Particles:
    """Some of the particles, in the order given."""
    spans = [np.arange(particles.starts[k], particles.starts[k + 1]) for k in which]
    at = np.concatenate(spans)
    starts = np.append(0, np.cumsum([len(span) for span in spans]))
    return Particles(particles.ids[which], particles.centres_nm[which], particles.points_nm[at],
                     particles.errors_nm[at], particles.weight[at], starts, particles.rows[at], particles.flat,
                     particles.left_out)  # fmt: skip


def _errors(locs: Localizations, *, depth: bool) -> Floats:
    """Precision along each axis `(n, 3)`; the median of the table where one is missing."""
    errors = np.full((len(locs), 3), _USUAL_ERROR_NM)
    for i, axis in enumerate("xyz"):
        # where there is no error of its own the one in x is the best guess
        name = next((n for n in (f"{axis}_err", "x_err") if n in locs), None)
        if name is None:
            continue
        values = locs[name].astype(np.float64)
        known = np.isfinite(values) & (values > 0)
        errors[:, i] = np.where(known, values, np.median(values[known]) if known.any() else _USUAL_ERROR_NM)
    if not depth:
        errors[:, 2] = 1.0  # all z are 0: any number serves
    return errors


def _check_size(particles: Particles, name: str) -> None:
    radius = particles.radius_nm
    if radius > LARGEST_EXTENT_NM / 2:
        raise InputError(
            f"The groups in column {name} are far larger than particles",
            received=f"a radius of {radius:.4g} nm",
            allowed=f"up to {LARGEST_EXTENT_NM / 2:g} nm",
            next_step="check the unit of the positions (--unit), or name another column with --group",
        )
    if not radius > max(_SMALLEST_EXTENT * particles.precision_nm, SMALLEST_EXTENT_NM / 2):
        raise InputError(
            f"All localizations of each group in column {name} lie at one place",
            received=f"a radius of {radius:.2g} nm, with errors of {particles.precision_nm:.2g} nm",
            allowed=f"more than {SMALLEST_EXTENT_NM / 2:g} nm and than {_SMALLEST_EXTENT:g} of the localization error",
            next_step="check the unit of the positions (--unit) and the column",
        )


@njit(cache=True, nogil=True)
def _site_weights(points: Any, reach: Any, starts: Any, first: int, last: int, weight: Any) -> None:
    for k in range(first, last):
        every = (starts[k + 1] - starts[k]) // _MOST_COMPARED + 1
        for i in range(starts[k], starts[k + 1]):
            others = 0.0
            for j in range(starts[k], starts[k + 1], every):
                if j == i:
                    continue
                squared = 0.0
                for axis in range(3):
                    apart = points[i, axis] - points[j, axis]
                    squared += apart * apart / (reach[i, axis] ** 2 + reach[j, axis] ** 2)
                others += np.exp(-squared)
            weight[i] = 1.0 / (1.0 + every * others)
