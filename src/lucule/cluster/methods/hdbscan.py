"""HDBSCAN: clusters of varying density, from the hierarchy of all thresholds of density.

Distances become mutual reachability distances, whose minimum spanning tree (see `lucule.space.spanning_tree`) is the
hierarchy. Pieces of fewer than `min_points` localizations fall off a cluster as the threshold rises, larger ones are
clusters of their own; those clusters are kept that last longest over the whole range. Linear memory: no neighbour list
is made.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field

from lucule.cluster.methods.common import NO_CLUSTER, Method, Sample, assigned
from lucule.core import Config, Localizations, Region, step
from lucule.space import NeighbourGrid, spanning_tree

# localizations at one place would have an infinite density
_SMALLEST_NM: Final = 1e-6


class Hdbscan(Config):
    """Settings of `hdbscan`.

    Attributes
    ----------
    min_points
        Fewest localizations of a cluster (`min_cluster_size` elsewhere).
    core_points
        Localizations, itself included, within the distance at which a localization is dense (`min_samples`); None: as
        `min_points`.
    selection
        `lasting`: the clusters of the greatest excess of mass; `leaves`: the smallest ones, those that split no more.
    """

    min_points: int = Field(default=10, ge=2)
    core_points: int | None = Field(default=None, ge=1)
    selection: Literal["lasting", "leaves"] = "lasting"


@step
def hdbscan(locs: Localizations, settings: Hdbscan | None = None, *, region: Region | None = None) -> Localizations:
    """Cluster by hierarchical density-based clustering.

    Parameters
    ----------
    locs
        Localizations, 2D or 3D.
    region
        Only localizations inside are looked at.

    Returns
    -------
    locs
        The table with `label` (1 = in a cluster) and `cluster` (-1 = none).

    Notes
    -----
    Campello, Moulavi and Sander, PAKDD 160 (2013). A field that is one single cluster is none, as elsewhere: there must
    be two to tell apart. Many mutual reachability distances are equal; what is joined at one distance is one step here,
    so that the result does not depend on the order in which such joints are taken. In other programs it does, and a
    few localizations come out otherwise there.

    Examples
    --------
    >>> x = [0.0, 1.0, 2.0, 3.0, 50.0, 51.0, 52.0, 53.0, 500.0]
    >>> hdbscan(Localizations({"x": x, "y": [0.0] * 9}), Hdbscan(min_points=3))["cluster"].tolist()
    [0, 0, 0, 0, 1, 1, 1, 1, -1]
    """
    return assigned(locs, assign, settings or Hdbscan(), region)


def assign(sample: Sample, settings: Hdbscan) -> NDArray[np.int32]:
    """Cluster of each localization; see `Assign`."""
    core_points = settings.core_points or settings.min_points
    if len(sample.points) < max(settings.min_points, core_points, 2):
        return np.full(len(sample.points), NO_CLUSTER, np.int32)
    return select(hierarchy(sample.points, core_points), settings.min_points, settings.selection)


def hierarchy(points: NDArray[np.float32], core_points: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Everything that does not depend on the size and selection of clusters.

    Returns
    -------
    children, distance
        `(n - 1, 2)` and `(n - 1,)`: what is joined at each step (numbers below n are localizations, n + i is what step
        i made), and at which mutual reachability distance, ascending, nm.
    """
    core: NDArray[np.float32] | float = 0.0
    if core_points > 1:
        core = _core_distances(points, core_points - 1)
    first, second, distance = spanning_tree(points, core)
    return _dendrogram(first, second), distance


def _core_distances(points: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    core = np.empty(len(points), np.float32)
    for rows, distances in NeighbourGrid(points).batches(k):
        core[rows] = distances[:, -1]
    return core


def select(tree: tuple[NDArray[np.int32], NDArray[np.float32]], min_points: int, selection: str) -> NDArray[np.int32]:
    """Cluster of each localization of a `hierarchy`, `(n,)`, -1 = none."""
    children, distance = tree
    density = 1 / np.maximum(distance.astype(np.float64), _SMALLEST_NM)
    own, parents, stability = _condense(children, density, min_points)
    chosen = _most_lasting(parents, stability) if selection == "lasting" else _leaves(parents)
    # parents come before their children
    final = np.full(len(parents), NO_CLUSTER, np.int32)
    for c in range(1, len(parents)):
        final[c] = final[parents[c]] if final[parents[c]] >= 0 else (c if chosen[c] else NO_CLUSTER)
    return final[own]


@njit(cache=True, nogil=True)
def _dendrogram(first: NDArray[np.int32], second: NDArray[np.int32]) -> NDArray[np.int32]:
    """What is joined at each step, from the edges of the tree by ascending distance."""
    steps = first.size
    children = np.empty((steps, 2), np.int32)
    parents = np.arange(2 * steps + 1)
    for i in range(steps):
        for side in range(2):
            node = first[i] if side == 0 else second[i]
            while parents[node] != node:
                parents[node] = parents[parents[node]]
                node = parents[node]
            children[i, side] = node
        parents[children[i, 0]] = parents[children[i, 1]] = steps + 1 + i
    return children


@njit(cache=True, nogil=True)
def _condense(
    children: NDArray[np.int32], density: NDArray[np.float64], min_points: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """Cluster from which each localization falls, the parent of each cluster, and its stability; 0 is the whole."""
    steps = density.size
    n = steps + 1
    size = np.ones(n + steps, np.int32)
    for i in range(steps):
        size[n + i] = size[children[i, 0]] + size[children[i, 1]]
    own = np.zeros(n + steps, np.int32)
    fallen = np.zeros(n + steps, np.bool_)
    parents, birth = np.zeros(n, np.int32), np.zeros(n, np.float64)
    stability = np.zeros(n, np.float64)
    inner, pieces = np.zeros(steps, np.bool_), np.empty(n, np.int32)
    used = 1
    for i in range(steps - 1, -1, -1):
        if inner[i]:
            continue
        c = own[n + i]
        # whatever is joined at the very same distance falls apart at once, in whichever order the steps are
        pieces[0], pieces[1] = children[i, 0], children[i, 1]
        count, large, next_one = 2, 0, 0
        while next_one < count:
            joint = pieces[next_one] - n
            if joint >= 0 and density[joint] == density[i]:
                inner[joint] = True
                pieces[next_one], pieces[count] = children[joint, 0], children[joint, 1]
                count += 1
            else:
                large += size[pieces[next_one]] >= min_points
                next_one += 1
        gain = density[i] - birth[c]
        splits = large > 1 and not fallen[n + i]
        for piece in pieces[:count]:
            own[piece] = c
            fallen[piece] = fallen[n + i] or size[piece] < min_points
            if fallen[n + i]:
                continue
            if splits or fallen[piece]:
                stability[c] += gain * size[piece]
            if splits and not fallen[piece]:
                own[piece], parents[used], birth[used] = used, c, density[i]
                used += 1
    return own[:n], parents[:used], stability[:used]


@njit(cache=True, nogil=True)
def _most_lasting(parents: NDArray[np.int32], stability: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Clusters more stable than all that they split into; some of them may lie within others."""
    chosen = np.zeros(parents.size, np.bool_)
    below = np.zeros(parents.size, np.float64)
    for c in range(parents.size - 1, 0, -1):
        chosen[c] = stability[c] >= below[c]
        below[parents[c]] += max(stability[c], below[c])
    return chosen


def _leaves(parents: NDArray[np.int32]) -> NDArray[np.bool_]:
    chosen = np.ones(len(parents), dtype=bool)
    chosen[parents] = False
    return chosen


METHOD = Method(
    "hdbscan",
    Hdbscan,
    hdbscan,
    "the clusters that last longest over all thresholds of density; densities may differ",
    "Campello et al., PAKDD 160 (2013)",
)
