"""What all methods share: how a table is taken apart and put together again.

A method sees one `Sample` at a time: the localizations of one field and channel in reading order (by y, then x, then
z), so that no result can depend on the order of the rows. It answers with a number for each; what the numbers are does
not matter, for clusters are numbered here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from lucule.cluster.places import box_around
from lucule.core import Config, InputError, Localizations, Region
from lucule.core.patterns import patterns

S = TypeVar("S", bound=Config)

NO_CLUSTER: Final = -1


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """The localizations of one field and channel.

    Attributes
    ----------
    points
        `(n, 2)` or `(n, 3)` float32, nm, in reading order.
    errors_nm
        Localization precision of each coordinate, `(n, d)`; 0 where the table has none.
    region
        Where the localizations were looked for, in x and y; None: in the box around them.
    """

    points: NDArray[np.float32]
    errors_nm: NDArray[np.float32]
    region: Region | None

    @property
    def dims(self) -> int:
        """2 or 3."""
        return int(self.points.shape[1])

    @property
    def box(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Corners `(d,)` of the box around the region, nm; where there is none, of that around the localizations."""
        low, high = box_around(self.points)
        if self.region is not None:
            low[:2], high[:2] = self.region.bounds[:2], self.region.bounds[2:]
        return low, high

    @property
    def size(self) -> float:
        """Area of the region in nm2; in 3D its volume in nm3, from the lowest to the highest localization."""
        low, high = self.box
        if self.region is None:
            return float((high - low).prod())
        return float(self.region.shape.area * (high - low)[2:].prod())


Assign = Callable[[Sample, S], NDArray[np.integer[Any]]]
"""Gives each localization of a sample the number of its cluster, -1 = none."""


@dataclass(frozen=True, slots=True)
class Method:
    """A method by name.

    Attributes
    ----------
    name
        How it is called in `find_clusters` and on the command line.
    settings
        The class of its settings.
    run
        `run(locs, settings, region=...)`, the public function of its module.
    what
        One line for users.
    source
        Where it was published.
    """

    name: str
    settings: type[Config]
    run: Callable[..., Localizations]
    what: str
    source: str


def assigned(
    locs: Localizations,
    assign: Assign[S],
    settings: S,
    region: Region | None,
    *,
    only_2d: str | None = None,
    fewest: int = 1,
) -> Localizations:
    """Apply a method to every field and channel of a table.

    Parameters
    ----------
    assign
        The method.
    region
        Only localizations inside are looked at; those outside get cluster -1.
    only_2d
        Name of a method that cannot work in 3D.
    fewest
        Clusters of fewer localizations are none.

    Returns
    -------
    locs
        The table in its order, with `cluster` (int32, -1 = none; numbered from 0 field by field, channel by channel,
        and within these in the order in which the topmost localizations of the clusters are read) and `label` (1 =
        in a cluster).

    Raises
    ------
    InputError
        The table is in 3D and the method is not.
    """
    if only_2d is not None and locs.is_3d:
        raise InputError(
            f"{only_2d} works in 2D only, and this table has z positions",
            allowed="tables without z, or with one z for all localizations",
            next_step="take another method, or leave z out: locs.with_columns(z=np.zeros(len(locs)))",
        )
    axes = "xyz" if locs.is_3d else "xy"
    points = np.column_stack([locs[axis] for axis in axes])
    errors = np.column_stack(
        [locs[f"{axis}_err"] if f"{axis}_err" in locs else np.zeros(len(locs), np.float32) for axis in axes]
    )
    errors = np.nan_to_num(errors, nan=0.0, posinf=0.0)
    inside = np.ones(len(locs), dtype=bool) if region is None else region.contains(locs.xy())
    cluster = np.full(len(locs), NO_CLUSTER, np.int32)
    used = 0
    for rows in patterns(locs, np.flatnonzero(inside)):
        if not len(rows):
            continue
        # errors come last, so that they decide only between localizations at the same place
        keys = [*errors[rows].T, *points[rows].T[[1, 0, 2][: len(axes)]][::-1]]
        ordered = rows[np.lexsort(keys)]
        numbers = assign(Sample(points[ordered], errors[ordered], region), settings)
        numbers = renumbered(numbers, fewest)
        cluster[ordered] = np.where(numbers >= 0, numbers + used, NO_CLUSTER)
        used += int(numbers.max(initial=-1)) + 1
    return locs.with_columns(label=(cluster >= 0).astype(np.uint8), cluster=cluster)


def renumbered(numbers: NDArray[np.integer[Any]], fewest: int = 1) -> NDArray[np.int32]:
    """Number clusters from 0 in the order of their first member; those with fewer than `fewest` members become -1.

    Examples
    --------
    >>> renumbered(np.array([7, -1, 3, 7, 5, 3]), fewest=2).tolist()
    [0, -1, 1, 0, -1, 1]
    """
    result = np.full(len(numbers), NO_CLUSTER, np.int32)
    members = np.flatnonzero(numbers >= 0)
    if not len(members):
        return result
    _, first, which, sizes = np.unique(numbers[members], return_index=True, return_inverse=True, return_counts=True)
    kept = np.flatnonzero(sizes >= fewest)
    new = np.full(len(first), NO_CLUSTER, np.int32)
    new[kept[np.argsort(first[kept])]] = np.arange(len(kept))
    result[members] = new[which]
    return result
