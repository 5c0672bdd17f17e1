"""Groups of blinks that are one molecule, seen again and again.

A dye that blinks leaves several localizations at one place, which look like a small cluster. Two things tell: they lie
no farther apart than their errors, and they follow one another, while the molecules of a structure are seen at any time
of the movie. A logistic law of both, learned from simulated fields with and without blinking, gives the odds that a
group holds several molecules. How common single molecules are among the groups of a field follows from the field itself
(Saerens et al., Neural Comput 14:21, 2002): where none blinks again, none is dropped.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from lucule.cluster.members import renumbered
from lucule.core import Localizations, step
from lucule.core.patterns import numbers_rows, patterns

LAW: Final = (0.447, 0.030, 6.313, -4.522)
"""Weights of log spread, log size and duration, and a constant; `lucule bench single_molecules` learns them."""
SEVERAL: Final = 0.69
"""Fraction of groups of several molecules among those that the law was learned from."""
LEAST_CHANCE: Final = 0.3
"""Groups with a smaller chance are dropped: losing a structure is worse than keeping a molecule."""
_PRIOR_GROUPS: Final = 2.0
_ROUNDS: Final = 50
_LEAST_SPREAD: Final = 0.05
# squared distance in units of the error below which half of a normal distribution in one, two, three dimensions lies
_HALF_WITHIN: Final = {2: 1.3863, 3: 2.3660}
_WIDE, _MANY, _FEW, _SHORT = 16.0, 10, 5, 0.1

Floats = NDArray[np.float64]


@step
def without_single_molecules(locs: Localizations, *, chance: Floats | None = None) -> Localizations:
    """Drop the clusters that are one molecule that blinks, with more than two to one.

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
    >>> again = np.concatenate([rng.normal(0, 10, (20, 2)), rng.normal(500, 10, (20, 2))])
    >>> frames = np.concatenate([rng.integers(100, 140, 20), rng.integers(0, 9000, 20)])
    >>> locs = Localizations({"x": again[:, 0], "y": again[:, 1], "frame": frames, "x_err": [10.0] * 40,
    ...                       "y_err": [10.0] * 40, "label": [1] * 40, "p_label": [0.9] * 40,
    ...                       "cluster": np.repeat([0, 1], 20)})
    >>> np.bincount(without_single_molecules(locs)["cluster"] + 1).tolist()
    [20, 20]
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


def chance_of_several(
    locs: Localizations, *, law: tuple[float, float, float, float] = LAW, share: float = SEVERAL
) -> Floats:
    """Probability of each cluster to hold several molecules, `(clusters,)`; 1 where that cannot be told.

    Parameters
    ----------
    locs
        Blinks with `cluster`.
    law, share
        Weights, and the fraction of groups of several molecules among those that they were learned from.
    """
    cluster = locs["cluster"]
    chance = np.ones(int(cluster.max(initial=-1)) + 1)
    if not len(chance) or not _known(locs):
        return chance
    for rows in patterns(locs, np.arange(len(locs))):
        if cluster[rows].max() < 0 or numbers_rows(locs["frame"][rows]):
            continue
        numbers, spread, size, duration = features(locs, rows)
        wide = (spread > _WIDE) & (size >= _MANY)
        # structures far wider than the errors are seen for long; where they are not, the frames are no times of a movie
        if wide.sum() >= _FEW and np.median(duration[wide]) < _SHORT:
            continue
        odds = np.stack([*logarithms(spread, size), duration, np.ones(len(numbers))], axis=1) @ law
        chance[numbers] = _in_this_field(1 / (1 + np.exp(-odds)), share)
    return chance


def features(locs: Localizations, rows: NDArray[np.int64]) -> tuple[NDArray[np.int32], Floats, Floats, Floats]:
    """What the law looks at, for each cluster among the rows of one field and channel.

    Returns
    -------
    number
        Of the cluster.
    spread
        Median squared distance from the middle over that of one molecule with these errors.
    size
        Number of members.
    duration
        Time between the first and the last, as a fraction of all blinks of the field.
    """
    inside = locs["cluster"][rows] >= 0
    own, time = rows[inside], _time(locs["frame"][rows])[inside]
    number, group = np.unique(locs["cluster"][own], return_inverse=True)
    axes = _axes(locs)
    squared = np.zeros(len(own))
    for axis in axes:
        place = locs[axis][own].astype(np.float64)
        squared += ((place - _median(place, group)[group]) / locs[f"{axis}_err"][own]) ** 2
    first, last = np.ones(len(number)), np.zeros(len(number))
    np.minimum.at(first, group, time)
    np.maximum.at(last, group, time)
    spread = _median(squared, group) / _HALF_WITHIN[len(axes)]
    return number, spread, np.bincount(group).astype(np.float64), last - first


def logarithms(spread: Floats, size: Floats) -> tuple[Floats, Floats]:
    """Spread and size as the law takes them."""
    return np.log(spread + _LEAST_SPREAD), np.log(size)


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


def _in_this_field(chance: Floats, usual: float) -> Floats:
    """Probabilities with the share of several molecules that the groups of the field themselves speak for."""
    share, adjusted = usual, chance
    for _ in range(_ROUNDS):
        odds = chance / (1 - chance + 1e-12) * share / (1 - share + 1e-12) * (1 - usual) / usual
        adjusted = odds / (1 + odds)
        share = (adjusted.sum() + _PRIOR_GROUPS * usual) / (len(chance) + _PRIOR_GROUPS)
    return adjusted
