"""Groups that the background alone would produce.

Random localizations form clumps, and a network that looks for clusters labels many of them as clustered: in a field
without any cluster, one in ten localizations. So each group is held against the background around it: how many groups
of as many localizations in as little space are expected in the whole field if there were nothing but background? Those
groups are kept for which that number, set against how many are kept, stays below a rate of false discoveries
(Benjamini and Hochberg, J R Stat Soc B 57:289, 1995). The rate refers to the clusters found, so that a large field and
a part of it are judged alike.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from lucule.cluster.reach import Indices, Lengths
from lucule.space import NeighbourGrid

BACKGROUND_NEIGHBOURS: Final = 40
_UNIT_BALL: Final = {2: np.pi, 3: 4 * np.pi / 3}


def expected_by_chance(
    members: NDArray[np.float32],
    near: tuple[Lengths, Indices],
    group: NDArray[np.int32],
    sizes: NDArray[np.int64],
    background: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Number of groups as dense as each that the background is expected to produce in the whole field.

    The probability that at least the other localizations of a group fall into its area by chance (Poisson), times the
    number of places at which a group could lie.

    Parameters
    ----------
    members
        Distinct positions of clustered localizations, `(n, d)`, nm.
    near
        Distances to the nearest members of each member and their indices, `(n, k)` each.
    group
        Group of each member, `(n,)`, counted from 0, -1 = none.
    sizes
        Localizations of each group, `(m,)`; more than its members where several lie at one place.
    background
        Distinct positions of localizations that are not clustered, `(b, d)`, nm.

    Returns
    -------
    expected
        `(m,)`; 0 where there is no background.
    """
    from scipy.special import gammainc

    grouped = np.flatnonzero(group >= 0)
    own = group[grouped]
    # in a group of uniform density the volume of the ball out to the j-th neighbour is on average j times that of one
    # localization, whatever the shape of the group
    distances, indices = (values[grouped] for values in near)
    together = (indices >= 0) & (group[indices] == own[:, None])
    farthest = np.where(together, distances, 0).max(axis=1, initial=0).astype(np.float64)
    unit = _UNIT_BALL[members.shape[1]]
    share = unit * farthest ** members.shape[1] / np.maximum(together.sum(axis=1), 1)
    volume = np.bincount(own, share, minlength=len(sizes))
    expected_inside = _background_density(members[grouped], own, len(sizes), background) * volume
    others = sizes - 1.0
    probability = np.where(others > 0, gammainc(np.maximum(others, 1.0), expected_inside), 1.0)
    return (len(members) + len(background)) * probability


def _background_density(
    places: NDArray[np.float32], own: NDArray[np.int32], n_groups: int, background: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Background localizations per unit of volume around the centre of each group."""
    counts = np.bincount(own, minlength=n_groups)
    dims = places.shape[1]
    centre = np.column_stack([np.bincount(own, places[:, axis], minlength=n_groups) / counts for axis in range(dims)])
    everything = NeighbourGrid(np.concatenate([centre.astype(np.float32), background]))
    distances, indices = everything.neighbours(BACKGROUND_NEIGHBOURS, np.arange(n_groups))
    present = np.isfinite(distances)
    farthest = np.where(present, distances, 0).max(axis=1).astype(np.float64)
    found = (indices >= n_groups).sum(axis=1)
    volume = _UNIT_BALL[dims] * farthest**dims
    return np.asarray(np.divide(found, volume, out=np.zeros(n_groups), where=found > 0))


def unlikely(expected: NDArray[np.float64], rate: float) -> NDArray[np.bool_]:
    """The largest set in which at most the fraction `rate` is expected by chance, `(m,)`.

    Examples
    --------
    >>> unlikely(np.array([0.001, 7.0, 0.08, 0.5]), rate=0.05).tolist()
    [True, False, True, False]
    """
    if rate >= 1:
        return np.ones(len(expected), dtype=bool)
    ascending = np.sort(expected)
    allowed = ascending <= rate * np.arange(1, len(expected) + 1)
    limit = ascending[allowed].max(initial=-1.0)
    return np.asarray(expected <= limit)
