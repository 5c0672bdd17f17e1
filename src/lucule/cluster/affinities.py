"""From what the graph network says of localizations and their neighbours to labels and clusters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lucule.cluster.chance import expected_by_chance, unlikely
from lucule.cluster.gaps import Gaps, find_gaps
from lucule.cluster.members import renumbered
from lucule.cluster.partition import partition
from lucule.cluster.places import distinct
from lucule.cluster.reach import nearest_members
from lucule.core import InputError, Localizations, Region, step
from lucule.core.patterns import patterns


@step
def from_affinities(
    locs: Localizations,
    probability: NDArray[np.float32],
    neighbours: NDArray[np.int32],
    log_odds: NDArray[np.float32],
    *,
    min_points: int = 3,
    false_discovery_rate: float = 0.1,
    region: Region | None = None,
) -> Localizations:
    """Label localizations and join those that belong together into clusters.

    Localizations whose probability of being in a structure is above one half are joined by `lucule.cluster.partition`,
    which minds the gaps between them.
    Clusters that the background around them would produce by chance are dropped, as in `lucule.cluster.group`. All
    localizations of a cluster get the class that is most probable for them together, all others the label 0.

    Parameters
    ----------
    locs
        The table.
    probability
        Of each class, `(n, classes)`, class 0 = not clustered.
    neighbours, log_odds
        Neighbours of each localization, `(n, k)`, -1 where there is none, and the log-odds of being in one cluster.
    min_points
        Fewest localizations of a cluster.
    false_discovery_rate
        Largest fraction of the clusters that is expected to be chance clumps of the background; 1 keeps all.
    region
        Only localizations inside are labelled and joined.

    Returns
    -------
    Localizations
        The table with `label`, `p_label` (probability of being in a structure for the labelled ones, else of not being
        in one) and `cluster` (int32, -1 = none).

    Raises
    ------
    InputError
        The arrays do not fit the table, or `min_points` is below 1.

    Examples
    --------
    >>> locs = Localizations({"x": [0.0, 5.0, 9.0], "y": [0.0, 0.0, 0.0]})
    >>> sure, near = np.full((3, 2), 0.5, np.float32), np.array([[1, 2], [0, 2], [0, 1]], np.int32)
    >>> sure[:, 0], sure[:, 1] = 0.1, 0.9
    >>> from_affinities(locs, sure, near, np.full((3, 2), 4, np.float32))["cluster"].tolist()
    [0, 0, 0]
    """
    if len(probability) != len(locs):
        raise InputError("The probabilities do not fit the table", received=f"{len(probability)} for {len(locs)} rows")
    if min_points < 1:
        raise InputError(
            "The fewest localizations of a cluster cannot be used", received=min_points, allowed="1 or more"
        )
    structured = 1 - probability[:, 0]
    members = structured > 0.5
    if region is not None:
        members &= region.contains(locs.xy())
    points = locs.xyz() if locs.is_3d else locs.xy()
    cluster = partition(neighbours, log_odds, members, min_points=min_points, gaps=_gaps(locs, points, members))
    if false_discovery_rate < 1:
        cluster = _beyond_chance(locs, points, cluster, members, false_discovery_rate)
    inside = cluster >= 0
    summed = np.zeros((int(cluster.max(initial=-1)) + 1, probability.shape[1] - 1))
    np.add.at(summed, cluster[inside], probability[inside, 1:])
    label = np.zeros(len(locs), np.uint8)
    label[inside] = 1 + summed.argmax(axis=1)[cluster[inside]]
    return locs.with_columns(
        label=label, p_label=np.where(inside, structured, 1 - structured).astype(np.float32), cluster=cluster
    )


def _gaps(locs: Localizations, points: NDArray[np.float32], members: NDArray[np.bool_]) -> Gaps:
    """The gaps between members of the same pattern."""
    error = (locs["x_err"] if "x_err" in locs else np.zeros(len(locs))).astype(np.float32)
    parts = patterns(locs, np.flatnonzero(members))
    return find_gaps(len(locs), ((rows, points[rows], error[rows]) for rows in parts))


def _beyond_chance(
    locs: Localizations,
    points: NDArray[np.float32],
    cluster: NDArray[np.int32],
    members: NDArray[np.bool_],
    rate: float,
) -> NDArray[np.int32]:
    """The clusters that the background would not produce, numbered anew."""
    kept = np.zeros(int(cluster.max(initial=-1)) + 1, bool)
    for rows in patterns(locs, np.arange(len(locs))):
        own = rows[cluster[rows] >= 0]
        if not len(own):
            continue
        numbers, group = np.unique(cluster[own], return_inverse=True)
        places, place_of = distinct(points[own])
        group_of_place = np.zeros(len(places), np.int32)
        group_of_place[place_of] = group
        background = distinct(points[rows[~members[rows]]])[0]
        sizes = np.bincount(group)
        expected = expected_by_chance(places, nearest_members(places), group_of_place, sizes, background)
        kept[numbers] = unlikely(expected, rate)
    return renumbered(cluster, kept)
