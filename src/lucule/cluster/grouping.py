"""From labelled localizations to clusters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lucule.cluster.chance import expected_by_chance, unlikely
from lucule.cluster.members import renumbered
from lucule.cluster.places import distinct
from lucule.cluster.reach import nearest_members, reach
from lucule.core import SILENT, ColumnError, InputError, Localizations, Progress, Region, Task, step
from lucule.core.patterns import patterns
from lucule.space import components


@step
def group(
    locs: Localizations,
    *,
    min_points: int = 3,
    false_discovery_rate: float = 0.1,
    region: Region | None = None,
    progress: Progress = SILENT,
) -> Localizations:
    """Group clustered localizations into clusters.

    Two localizations of one class are joined when each lies within the reach of the other; the connected components
    are groups. The reach (see `lucule.cluster.reach`) follows from the labels of the neighbours and the local density.
    Clusters are the groups that the background around them would not produce by chance (see `lucule.cluster.chance`).
    There is nothing to tune, and the result does not depend on the order of the localizations, nor on where the field
    lies, how it is turned or in which unit it is measured.

    Localizations of different classes (`label` 1, 2, ...), fields and channels are never joined.

    Parameters
    ----------
    locs
        Localizations with `label`, 0 = not clustered.
    min_points
        Groups of fewer localizations are no clusters: their localizations get cluster -1 and keep their label.
    false_discovery_rate
        Largest fraction of the clusters that is expected to be chance clumps of the background; other groups are no
        clusters, as above. 1 keeps all.
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
        `min_points` is below 1, or the false discovery rate is not above 0 and at most 1.

    Notes
    -----
    After the segmentation of CAML (Williamson et al. 2020, Methods), which visits localizations by falling score; its
    result depends on that order and on single wrong labels, and it keeps chance clumps. Densities and neighbours are
    those of distinct positions; `min_points` counts every localization.

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
    if not 0 < false_discovery_rate <= 1:
        raise InputError(
            "The false discovery rate cannot be used", received=false_discovery_rate, allowed="above 0, at most 1"
        )
    points = locs.xyz() if locs.is_3d else locs.xy()
    labels = locs["label"]
    inside = np.ones(len(locs), dtype=bool) if region is None else region.contains(locs.xy())
    cluster = np.full(len(locs), -1, np.int32)
    used = 0
    with progress.task("Group", int((labels[inside] > 0).sum()), "localizations") as task:
        for rows in patterns(locs, np.flatnonzero(inside)):
            classes = np.unique(labels[rows])
            background = distinct(points[rows[labels[rows] == 0]])[0]
            for label in classes[classes > 0]:
                own = labels[rows] == label
                others = background if len(classes[classes > 0]) == 1 else distinct(points[rows[~own]])[0]
                numbers = _clusters(points[rows[own]], background, others, min_points, false_discovery_rate, task)
                cluster[rows[own]] = np.where(numbers >= 0, numbers + used, -1)
                used += int(numbers.max(initial=-1)) + 1
    return locs.with_columns(cluster=cluster)


def _clusters(
    clustered: NDArray[np.float32],
    background: NDArray[np.float32],
    others: NDArray[np.float32],
    min_points: int,
    false_discovery_rate: float,
    task: Task,
) -> NDArray[np.int32]:
    """Cluster of each of the points `clustered`, counted from 0, -1 = none.

    `background` are the distinct places of what is not clustered, `others` those of all that is not of this class.
    """
    members, member_of = distinct(clustered)
    near = nearest_members(members)
    # numbered by their first row, which is the topmost member
    found = components(members, reach(members, near, others, task))
    found, sizes = _renumber(found, member_of, np.bincount(found[member_of]) >= min_points)
    expected = expected_by_chance(members, near, found, sizes, background)
    found, _ = _renumber(found, member_of, unlikely(expected, false_discovery_rate))
    return found[member_of]


def _renumber(
    group: NDArray[np.int32], member_of: NDArray[np.int64], kept: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Groups that are kept, counted from 0 in the same order, and the localizations of each."""
    group = renumbered(group, kept)
    own = group[member_of]
    return group, np.bincount(own[own >= 0], minlength=int(kept.sum()))
