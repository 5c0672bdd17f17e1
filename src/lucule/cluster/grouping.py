"""From labelled localizations to clusters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lucule.cluster.places import distinct
from lucule.cluster.reach import reach
from lucule.core import SILENT, ColumnError, InputError, Localizations, Progress, Region, Task, step
from lucule.space import components

PATTERNS: Final = ("field", "channel")
"""Columns that tell apart localizations which have nothing to do with each other."""


@step
def group(
    locs: Localizations, *, min_points: int = 3, region: Region | None = None, progress: Progress = SILENT
) -> Localizations:
    """Group clustered localizations into clusters.

    Two localizations of one class are joined when each lies within the reach of the other; clusters are the connected
    components. The reach (see `lucule.cluster.reach`) follows from the labels of the neighbours and the local density;
    there is nothing to tune, and the result does not depend on the order of the localizations, nor on where the field
    lies, how it is turned or how large it is.

    Localizations of different classes (`label` 1, 2, ...), fields and channels are never joined.

    Parameters
    ----------
    locs
        Localizations with `label`, 0 = not clustered.
    min_points
        Components of fewer localizations are no clusters: their localizations get cluster -1 and keep their label.
    region
        Only localizations inside are looked at, as if there were no others; those outside get cluster -1.

    Returns
    -------
    locs
        The table with `cluster` (int32, -1 = none). Clusters are numbered from 0, field by field, channel by channel,
        class by class, and within these in the order in which their topmost localizations are read: by y, then x.

    Raises
    ------
    ColumnError
        There is no `label`.
    InputError
        `min_points` is below 1.

    Notes
    -----
    After the segmentation of CAML (Williamson et al. 2020, Methods), which visits localizations by falling score; its
    result depends on that order and on single wrong labels. Densities and neighbours are those of distinct positions;
    `min_points` counts every localization.

    Examples
    --------
    >>> x = [500.0, 504.0, 508.0, 0.0, 4.0, 8.0, 250.0]
    >>> locs = Localizations({"x": x, "y": [0.0] * 7, "label": [1, 1, 1, 1, 1, 1, 0]})
    >>> group(locs)["cluster"].tolist()
    [1, 1, 1, 0, 0, 0, -1]
    """
    if "label" not in locs:
        raise ColumnError(
            "Grouping needs to know which localizations are clustered, and the table has no column label",
            received=f"columns {', '.join(locs.columns)}",
            next_step="label the localizations first, with lucule classify",
        )
    if min_points != int(min_points) or min_points < 1:
        raise InputError(
            "The fewest localizations of a cluster cannot be used",
            received=f"min_points = {min_points}",
            allowed="whole numbers from 1",
        )
    points = locs.xyz() if locs.is_3d else locs.xy()
    labels = locs["label"]
    inside = np.ones(len(locs), dtype=bool) if region is None else region.contains(locs.xy())
    cluster = np.full(len(locs), -1, np.int32)
    used = 0
    with progress.task("Group", int((labels[inside] > 0).sum()), "localizations") as task:
        for rows in patterns(locs, np.flatnonzero(inside)):
            for label in np.unique(labels[rows]):
                if label == 0:
                    continue
                clustered = labels[rows] == label
                numbers = _clusters(points[rows[clustered]], points[rows[~clustered]], int(min_points), task)
                cluster[rows[clustered]] = np.where(numbers >= 0, numbers + used, -1)
                used += int(numbers.max(initial=-1)) + 1
    return locs.with_columns(cluster=cluster)


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


def _clusters(
    clustered: NDArray[np.float32], others: NDArray[np.float32], min_points: int, task: Task
) -> NDArray[np.int32]:
    """Cluster of each of the points `clustered`, counted from 0, -1 = none."""
    members, member_of = distinct(clustered)
    reaches = reach(members, distinct(others)[0], task)
    # numbered by their first row, which is the topmost member
    found = components(members, reaches)
    sizes = np.bincount(found[member_of], minlength=int(found.max(initial=-1)) + 1)
    kept = sizes >= min_points
    number = np.where(kept, np.cumsum(kept) - 1, -1).astype(np.int32)
    return number[found][member_of]
