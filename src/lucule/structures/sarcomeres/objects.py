"""From labelled localizations to double lines: by the centre they point to, or by regions from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lucule.core import Region
from lucule.space import NeighbourGrid, components

Floats = NDArray[np.float64]

FEWEST: Final = 50
# chosen on fields of the scenes of the training with other seeds
_LEAST: Final = 0.05
_CANDIDATE: Final = 0.2
_CERTAIN: Final = 0.9
_SMALL: Final = 0.1
_ALMOST_USUAL: Final = 0.25
_SURE: Final = 0.6
_PLAIN: Final = 0.9
_BIN_NM: Final = 40.0
_SMOOTH_BINS: Final = 2.5
_APART_NM: Final = 600.0
_REACH_NM: Final = 700.0
_FIRST_STEP_NM: Final = 1000.0
_STEP_NM: Final = 500.0


def group_by_centre(chance: NDArray[Any], centre_nm: NDArray[Any], *, fewest: int = FEWEST) -> NDArray[np.int32]:
    """Number the double lines: localizations that point to the same centre are one.

    How many of the localizations around a centre belong to it is judged by what is said of most of them: where the
    chances are high, a lower one is background beside the lines; where few molecules are left, all chances are low. A
    clump of a few dyes may look like a piece of a double line: what has less than a tenth of the localizations that
    are usual in this table, and no high chance, is none. Very low chances count only where few molecules are left, so
    that even double lines have chances below 0.9, and for groups that are not much smaller than these.

    Parameters
    ----------
    chance
        How likely each localization is on a double line `(n,)`; a label, 0 or 1, will do.
    centre_nm
        `(n, 2)`, where each localization has the centre of its double line.
    fewest
        Localizations of a double line.

    Returns
    -------
    object
        `(n,)` int32, -1 for none; 0 is the one with the most localizations.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> centre = np.repeat([[0.0, 0.0], [3000.0, 0.0]], 200, axis=0) + rng.normal(0, 60, (400, 2))
    >>> np.bincount(group_by_centre(np.ones(400), centre)).tolist()
    [200, 200]
    """
    likely = np.asarray(chance, np.float64)
    votes = np.asarray(centre_nm, np.float64)
    found = _grouped(likely, votes, fewest, _CANDIDATE)
    if _SURE <= _chance_of_most(likely, found) < _PLAIN:
        found = _grouped(likely, votes, fewest, _LEAST)
    return by_size(found, fewest)


def _grouped(likely: Floats, centre_nm: Floats, fewest: int, least: float) -> NDArray[np.int32]:
    """Number of the group of each localization whose chance is above `least`, -1 for the others."""
    from scipy import ndimage
    from scipy.spatial import cKDTree

    found = np.full(len(likely), -1, np.int32)
    rows = np.flatnonzero(likely > least)
    if len(rows) < fewest:
        return found
    votes = centre_nm[rows]
    corner = votes.min(axis=0) - _APART_NM
    bins = np.floor((votes - corner) / _BIN_NM).astype(np.int64)
    shape = tuple(bins.max(axis=0) + 1 + int(_APART_NM / _BIN_NM))
    counts = np.zeros(shape, np.float32)
    np.add.at(counts, (bins[:, 0], bins[:, 1]), 1)
    smooth = ndimage.gaussian_filter(counts, _SMOOTH_BINS, mode="constant")
    size = 2 * int(_APART_NM / _BIN_NM) + 1
    # rounding leaves plateaus in empty places; a peak has a hundredth of the fewest in one bin at least
    peaks = np.argwhere((smooth == ndimage.maximum_filter(smooth, size, mode="constant")) & (smooth > fewest / 100))
    if not len(peaks):
        return found
    at = corner + (peaks + 0.5) * _BIN_NM
    distance, nearest = cKDTree(at).query(votes, distance_upper_bound=_REACH_NM)
    near = np.isfinite(distance)
    order = np.flatnonzero(near)[np.argsort(nearest[near], kind="stable")]
    groups = np.split(rows[order], np.flatnonzero(np.diff(nearest[order])) + 1)
    usual = _usual(np.array([len(group) for group in groups]))
    for number, group in enumerate(groups):
        if not len(group):
            continue
        clear = group[likely[group] > _CANDIDATE]
        middle = float(np.median(likely[clear if len(clear) >= fewest else group]))
        part = 0.0 if middle >= _CERTAIN else _SMALL if middle >= _CANDIDATE else _ALMOST_USUAL
        if len(group) >= part * usual:
            found[group[likely[group] >= middle / 2]] = number
    return found


def sure(chance: NDArray[Any], number: NDArray[np.int32]) -> bool:
    """Whether a table has double lines at all: most of what is in one is in one whose localizations have good chances.

    In tables of something else all chances are low. Very low ones, which count only beside good ones, are not asked.
    """
    return _chance_of_most(chance, number) >= _SURE


def _chance_of_most(chance: NDArray[Any], number: NDArray[np.int32]) -> float:
    """Median over localizations of the median chance of their double line; 0 where there is none."""
    inside = np.flatnonzero(number >= 0)
    if not len(inside):
        return 0.0
    groups = np.split(inside[np.argsort(number[inside], kind="stable")], np.cumsum(np.bincount(number[inside]))[:-1])
    middles = np.concatenate([np.full(len(group), np.median(chance[group])) for group in groups if len(group)])
    asked = middles[middles >= _CANDIDATE]
    return float(np.median(asked)) if len(asked) else 0.0


def _usual(counts: NDArray[np.int64]) -> float:
    """Size of the group that a localization is in, half of the times: small groups hardly count."""
    ordered = np.sort(counts)
    return float(ordered[np.searchsorted(np.cumsum(ordered), counts.sum() / 2)])


def by_size(number: NDArray[np.integer[Any]], fewest: int) -> NDArray[np.int32]:
    """Number groups anew, the largest first; smaller ones than `fewest`, and -1, become -1.

    Examples
    --------
    >>> by_size(np.array([5, 5, 2, -1, 2, 2, 7]), 2)
    array([ 1,  1,  0, -1,  0,  0, -1], dtype=int32)
    """
    inside = number >= 0
    numbers, counts = np.unique(number[inside], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] >= fewest]
    new = np.full(int(numbers.max(initial=-1)) + 1, -1, np.int32)
    new[numbers[order]] = np.arange(len(order))
    result = np.full(len(number), -1, np.int32)
    result[inside] = new[number[inside]]
    return result


def boxes_of(region: Region) -> NDArray[np.float64]:
    """Boxes `(m, 4)` (x and y of two corners, nm) around the parts of a region: what an image model has found."""
    return np.array([part.bounds for part in region.shape.geoms], np.float64).reshape(-1, 4)


def grow_boxes(boxes: NDArray[Any], xy: NDArray[Any], *, fewest: int = 350) -> NDArray[np.float64]:
    """Boxes with room for noise: 1 um more on each side, then by 0.5 um until they hold `fewest` localizations.

    Varga et al. 2023, Finding ROIs in measurement files. A box that holds the whole table grows no further.

    Examples
    --------
    >>> grow_boxes(np.array([[0, 0, 10, 10]]), np.zeros((400, 2)))
    array([[-1000., -1000.,  1010.,  1010.]])
    """
    grown = np.array(boxes, np.float64).reshape(-1, 4) + _FIRST_STEP_NM * np.array([-1, -1, 1, 1])
    points = np.asarray(xy)
    for box in grown:
        while (inside := int(inside_box(points, box).sum())) < fewest and inside < len(points):
            box += _STEP_NM * np.array([-1, -1, 1, 1])
    return grown


def inside_box(xy: NDArray[Any], box: NDArray[Any]) -> NDArray[np.bool_]:
    """Which positions `(n, 2)` lie in a box."""
    x, y = xy[:, 0], xy[:, 1]
    return np.asarray((x >= box[0]) & (x <= box[2]) & (y >= box[1]) & (y <= box[3]))


def group_by_regions(
    xy: NDArray[Any], label: NDArray[Any], boxes: NDArray[Any], *, epsilon_nm: float = 50.0, min_points: int = 5,
    fewest: int = FEWEST,
) -> NDArray[np.int32]:  # fmt: skip
    """Number the double lines: in each box the largest cluster of labelled localizations.

    Where boxes overlap, a localization belongs to the larger of its objects and counts once.

    Returns
    -------
    object
        `(n,)` int32, -1 for none.
    """
    labelled = np.asarray(label) > 0
    parts: Sequence[NDArray[np.int64]] = [
        largest_cluster(xy, np.flatnonzero(labelled & inside_box(xy, box)), epsilon_nm, min_points) for box in boxes
    ]
    found = np.full(len(xy), -1, np.int32)
    for number in sorted(range(len(parts)), key=lambda one: -len(parts[one])):
        free = parts[number][found[parts[number]] < 0]
        # what is mostly taken already is the same double line, seen in another box
        if 2 * len(free) > len(parts[number]):
            found[free] = number
    return by_size(found, fewest)


def largest_cluster(xy: NDArray[Any], rows: NDArray[np.int64], epsilon_nm: float, min_points: int) -> NDArray[np.int64]:
    """Rows of the largest DBSCAN cluster among some rows."""
    from scipy.spatial import cKDTree

    if len(rows) < min_points:
        return rows[:0]
    points = np.asarray(xy)[rows]
    core = NeighbourGrid(points).has_within(epsilon_nm, min_points - 1)
    if not core.any():
        return rows[:0]
    # DBSCAN joins what is up to epsilon apart, components what is nearer than their reach
    number = components(points, np.where(core, np.nextafter(np.float32(epsilon_nm), np.float32(np.inf)), 0))
    biggest = int(np.bincount(number[core]).argmax())
    near = cKDTree(points[number == biggest]).query(points, distance_upper_bound=epsilon_nm * (1 + 1e-6))[0]
    return np.asarray(rows[np.isfinite(near) & ((number == biggest) | ~core)])
