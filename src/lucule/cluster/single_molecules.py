"""Groups of blinks that are one molecule, seen again and again, or a few such molecules side by side.

A dye that blinks leaves several localizations at one place, which look like a small cluster. What tells: how sure the
network is of the members, how many they are and how far apart beside their errors, whether they follow one another
while the molecules of a structure are seen at any time of the movie, and how many groups there are beside the blinks
that are in none. A logistic law of these, learned from simulated fields with and without blinking, gives the odds that
a group is part of a structure; a second one hears of the surest other group of the field, as a field that certainly
holds one structure is likelier to hold more.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lucule.cluster.members import renumbered
from lucule.core import Localizations, step
from lucule.core.patterns import numbers_rows, patterns
from lucule.space.groups import nearest_in_group

FEATURES: Final = ("log odds", "log time", "log size", "log spread", "loose", "log groups")
"""What the law looks at, see `features`."""
_LEAST_SPREAD: Final = 0.05
_LEAST_TIME: Final = 0.02
_SUREST: Final = 0.999
_FAR: Final = 3.0  # localization errors
_MANY_GROUPS: Final = -1.5  # more than one in five blinks: whether there is any background at all says nothing more
_COMPANY: Final = (-3.0, 6.0)
# squared distance in units of the error below which half of a normal distribution in one, two, three dimensions lies
_HALF_WITHIN: Final = {2: 1.3863, 3: 2.3660}
_WIDE, _MANY, _FEW, _SHORT = 16.0, 10, 5, 0.05

Floats = NDArray[np.float64]


class Law(NamedTuple):
    """Log-odds that a group of blinks is part of a structure.

    Attributes
    ----------
    weights, constant
        Of `FEATURES`, for a group by itself.
    company
        Constant, and weights of the log-odds by itself and of those of the surest other group of the field.
    """

    weights: tuple[float, ...]
    constant: float
    company: tuple[float, float, float]


LAW: Final = Law((1.492, 2.225, 0.607, -0.020, 1.585, 0.152), 1.730, (-0.230, 0.925, 0.134))
"""In use; `lucule bench single_molecules` learns it."""
LEAST_CHANCE: Final = 0.5
"""Groups with a smaller chance are dropped."""


@step
def without_single_molecules(locs: Localizations, *, chance: Floats | None = None) -> Localizations:
    """Drop the clusters that are more likely a molecule or a few that blink than part of a structure.

    Parameters
    ----------
    locs
        Blinks with `label`, `p_label` and `cluster`, as `from_affinities` gives them. Without `frame`, `x_err` and
        `y_err` nothing can be told, and nothing is dropped.
    chance
        What `chance_of_several` gave for the same table, where it is at hand already.

    Returns
    -------
    Localizations
        The table with label 0 for the members of dropped clusters, and for them `p_label` with what is known now.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> two = np.concatenate([rng.normal(0, 10, (20, 2)), rng.normal(500, 10, (20, 2))])
    >>> spots = np.concatenate([two, rng.uniform(0, 9e3, (400, 2))])
    >>> frames = np.concatenate([rng.integers(100, 140, 20), rng.integers(0, 9000, 420)])
    >>> locs = Localizations({"x": spots[:, 0], "y": spots[:, 1], "frame": frames, "x_err": [10.0] * 440,
    ...                       "y_err": [10.0] * 440, "label": [1] * 40 + [0] * 400, "p_label": [0.8] * 440,
    ...                       "cluster": np.repeat([0, 1, -1], [20, 20, 400])})
    >>> np.bincount(without_single_molecules(locs)["cluster"] + 1).tolist()
    [420, 20]
    """
    cluster = locs["cluster"]
    several = chance_of_several(locs) if chance is None else chance
    kept = several >= LEAST_CHANCE
    if kept.all():
        return locs
    of_row = np.append(several, 1.0)[cluster]
    dropped = of_row < LEAST_CHANCE
    return locs.with_columns(
        label=np.where(dropped, 0, locs["label"]).astype(np.uint8),
        p_label=np.where(dropped, 1 - locs["p_label"] * of_row, locs["p_label"]).astype(np.float32),
        cluster=renumbered(cluster, kept),
    )


def chance_of_several(locs: Localizations, *, law: Law = LAW) -> Floats:
    """Probability of each cluster to be part of a structure, `(clusters,)`; 1 where that cannot be told.

    Parameters
    ----------
    locs
        Blinks with `cluster` and `p_label`.
    law
        What tells.
    """
    cluster = locs["cluster"]
    chance = np.ones(int(cluster.max(initial=-1)) + 1)
    if not len(chance) or not _known(locs):
        return chance
    for rows in patterns(locs, np.arange(len(locs))):
        if cluster[rows].max() < 0 or numbers_rows(locs["frame"][rows]):
            continue
        numbers, seen = features(locs, rows)
        _, time, size, spread, *_ = seen.T
        wide = (spread > np.log(_WIDE)) & (size >= np.log(_MANY))
        # structures far wider than the errors are seen for long; where they are not, the frames are no times of a movie
        if wide.sum() >= _FEW and np.median(time[wide]) < np.log(_SHORT):
            continue
        alone = seen @ law.weights + law.constant
        odds = np.stack([np.ones(len(alone)), alone, company(alone)], axis=1) @ law.company
        chance[numbers] = 1 / (1 + np.exp(-odds))
    return chance


def features(locs: Localizations, rows: NDArray[np.int64]) -> tuple[NDArray[np.int32], Floats]:
    """What the law looks at, for each cluster among the rows of one field and channel.

    Returns
    -------
    number
        Of each cluster, `(m,)`.
    features
        `(m, 6)`: log-odds of the mean probability of the members; logarithms of the standard deviation of their times,
        as fractions of all blinks of the field, of their number, and of the median squared distance from the middle
        over that of one molecule with these errors; fraction of members whose nearest other lies more than three
        errors away; logarithm of the number of groups over that of blinks in none, at most -1.5.
    """
    inside = locs["cluster"][rows] >= 0
    own, time = rows[inside], _time(locs["frame"][rows])[inside]
    number, group, size = np.unique(locs["cluster"][own], return_inverse=True, return_counts=True)

    def mean(values: Floats) -> Floats:
        return np.bincount(group, values) / size

    axes = _axes(locs)
    points = np.stack([locs[axis][own].astype(np.float64) for axis in axes], axis=1)
    squared = np.zeros(len(own))
    for axis, place in zip(axes, points.T, strict=True):
        squared += ((place - _median(place, group)[group]) / locs[f"{axis}_err"][own]) ** 2
    sure = np.minimum(mean(locs["p_label"][own].astype(np.float64)), _SUREST)
    duration = np.sqrt(mean((time - mean(time)[group]) ** 2))
    spread = _median(squared, group) / _HALF_WITHIN[len(axes)]
    loose = mean((nearest_in_group(points, group) > _FAR * locs["x_err"][own]).astype(np.float64))
    groups = min(np.log(len(number) / (len(rows) - len(own) + 1)), _MANY_GROUPS)
    seen = [
        np.log(sure / (1 - sure)), np.log(duration + _LEAST_TIME), np.log(size), np.log(spread + _LEAST_SPREAD), loose,
    ]  # fmt: skip
    return number, np.stack([*seen, np.full(len(number), groups)], axis=1)


def company(alone: Floats) -> Floats:
    """The largest log-odds among the other groups of a field, for each, within -3 and 6.

    Examples
    --------
    >>> company(np.array([1.0, 8.0, 2.0])).tolist(), company(np.array([4.0])).tolist()
    ([6.0, 2.0, 6.0], [-3.0])
    """
    if len(alone) < 2:
        return np.full(len(alone), _COMPANY[0])
    second, first = np.partition(alone, -2)[-2:]
    others = np.full(len(alone), first)
    others[np.argmax(alone)] = second
    return others.clip(*_COMPANY)


def _axes(locs: Localizations) -> tuple[str, ...]:
    return ("x", "y", "z") if locs.is_3d and "z_err" in locs else ("x", "y")


def _known(locs: Localizations) -> bool:
    names = [f"{axis}_err" for axis in _axes(locs)]
    if not {"frame", *names} <= set(locs.columns) or np.ptp(locs["frame"]) == 0:
        return False
    return all(bool((np.isfinite(locs[name]) & (locs[name] > 0)).all()) for name in names)


def _time(frame: NDArray[np.uint32]) -> Floats:
    """Place of each frame among those of all blinks, 0 to 1: what bleaching takes away at the end does not count."""
    ordered = np.sort(frame)
    return (np.searchsorted(ordered, frame) + np.searchsorted(ordered, frame, side="right")) / (2 * len(frame))


def _median(values: Floats, group: NDArray[np.int64]) -> Floats:
    """Median of each group."""
    order = np.lexsort((values, group))
    ordered = values[order]
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    size = np.diff(np.append(starts, len(group)))
    return (ordered[starts + (size - 1) // 2] + ordered[starts + size // 2]) / 2
