"""Which localization belongs to which true emitter, frame by frame.

The gate comes before the assignment: pairs farther apart than the gate are never candidates, so that no valid match is
lost to an invalid one (in some published evaluations the gate comes afterwards).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from lucule.core import Config, InputError

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

# frames are set so far apart in space that no pair of two frames is within a gate
_APART: Final = 4.0


class MatchSettings(Config):
    """How localizations and emitters are paired; the defaults are those of the SMLM Challenge 2016.

    Attributes
    ----------
    lateral_nm, axial_nm
        Largest distance in the plane and in depth; axial None: depth does not matter.
    method
        `hungarian`: smallest sum of distances over as many pairs as possible. `greedy`: the closest pair first.
    """

    lateral_nm: float = 250.0
    axial_nm: float | None = 500.0
    method: Literal["hungarian", "greedy"] = "hungarian"


@dataclass(frozen=True, eq=False)
class Matches:
    """Pairs, and what is left over.

    Attributes
    ----------
    found, true
        Rows of the localization and of the emitter of each pair, `(pairs,)`.
    difference_nm
        Localization minus emitter, `(pairs, 3)`; the third column is 0 without depth.
    missed, wrong
        Rows of emitters without a localization, and of localizations without an emitter.
    """

    found: Ints
    true: Ints
    difference_nm: Floats
    missed: Ints
    wrong: Ints


def match(
    found_frame: ArrayLike,
    found_xyz: ArrayLike,
    true_frame: ArrayLike,
    true_xyz: ArrayLike,
    settings: MatchSettings | None = None,
) -> Matches:
    """Pair localizations with emitters of the same frame.

    Parameters
    ----------
    found_frame, true_frame
        Frames, `(n,)` and `(m,)`.
    found_xyz, true_xyz
        Positions in nm, `(n, 2)` or `(n, 3)`, both alike.
    settings
        Gates and method; a Hungarian assignment makes as many pairs as possible, and among these the closest ones.

    Raises
    ------
    InputError
        Shapes differ, or positions are not finite.

    Examples
    --------
    >>> matches = match([0, 0, 1], [[0, 0], [900, 0], [0, 0]], [0, 1], [[30, 40], [0, 300]])
    >>> matches.found.tolist(), matches.true.tolist(), matches.missed.tolist(), matches.wrong.tolist()
    ([0], [0], [1], [1, 2])
    """
    settings = settings or MatchSettings()
    found, true = _positions(found_frame, found_xyz, "found"), _positions(true_frame, true_xyz, "true")
    pairs, distance = _candidates(found, true, settings)
    choose = _hungarian if settings.method == "hungarian" else _greedy
    chosen = choose(pairs, distance, len(found), len(true))
    rows, columns = pairs[chosen].T
    order = np.argsort(rows, kind="stable")
    rows, columns = rows[order], columns[order]
    return Matches(
        found=rows,
        true=columns,
        difference_nm=found[rows, 1:] - true[columns, 1:],
        missed=np.setdiff1d(np.arange(len(true)), columns),
        wrong=np.setdiff1d(np.arange(len(found)), rows),
    )


def _positions(frame: ArrayLike, xyz: ArrayLike, what: str) -> Floats:
    """Columns frame, x, y, z, `(n, 4)`."""
    frames, points = np.asarray(frame, dtype=np.float64), np.asarray(xyz, dtype=np.float64)
    if points.size == 0:
        return np.empty((0, 4))
    if points.ndim != 2 or points.shape[1] not in (2, 3) or frames.shape != points.shape[:1]:
        raise InputError(
            f"Frames and positions ({what}) do not fit each other",
            received=f"{frames.shape} and {points.shape}",
            allowed="(n,) and (n, 2) or (n, 3)",
        )
    if not np.isfinite(points).all():
        raise InputError(
            f"Positions ({what}) must be finite numbers", received=f"{(~np.isfinite(points)).sum()} others"
        )
    depth = points[:, 2] if points.shape[1] == 3 else np.zeros(len(points))
    return np.column_stack([frames, points[:, :2], depth])


def _candidates(found: Floats, true: Floats, settings: MatchSettings) -> tuple[Ints, Floats]:
    """All pairs of one frame within the gates `(pairs, 2)`, and their distances."""
    if not len(found) or not len(true):
        return np.empty((0, 2), np.int64), np.empty(0)
    spread = np.array([_APART * settings.lateral_nm, 1.0, 1.0])
    near = cKDTree(found[:, :3] * spread).sparse_distance_matrix(
        cKDTree(true[:, :3] * spread), settings.lateral_nm, output_type="ndarray"
    )
    pairs = np.column_stack([near["i"], near["j"]]).astype(np.int64)
    depth = found[pairs[:, 0], 3] - true[pairs[:, 1], 3]
    if settings.axial_nm is not None:
        inside = np.abs(depth) <= settings.axial_nm
        pairs, depth = pairs[inside], depth[inside]
    lateral = found[pairs[:, 0], 1:3] - true[pairs[:, 1], 1:3]
    distance = np.sqrt((lateral**2).sum(axis=1) + depth**2)
    return pairs, distance


def _greedy(pairs: Ints, distance: Floats, n: int, m: int) -> Ints:
    free_rows, free_columns = np.ones(n, bool), np.ones(m, bool)
    chosen = []
    for k in np.argsort(distance, kind="stable"):
        row, column = pairs[k]
        if free_rows[row] and free_columns[column]:
            free_rows[row] = free_columns[column] = False
            chosen.append(k)
    return np.array(chosen, dtype=np.int64)


def _hungarian(pairs: Ints, distance: Floats, n: int, m: int) -> Ints:
    """Assign within each group of localizations and emitters that are connected by candidate pairs."""
    if not len(pairs):
        return np.empty(0, np.int64)
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], n + pairs[:, 1])), shape=(n + m, n + m))
    groups = connected_components(graph, directed=False)[1][pairs[:, 0]]
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    # more than any sum of distances, so that another pair always wins over shorter distances
    absent = (1 + distance.max()) * (1 + min(n, m))
    chosen = []
    for members in np.split(order, starts[1:]):
        if len(members) == 1:
            chosen.append(members[0])
            continue
        rows, row = np.unique(pairs[members, 0], return_inverse=True)
        columns, column = np.unique(pairs[members, 1], return_inverse=True)
        cost = np.full((len(rows), len(columns)), absent)
        which = np.full(cost.shape, -1, dtype=np.int64)
        cost[row, column], which[row, column] = distance[members], members
        assigned = which[linear_sum_assignment(cost)]
        chosen.extend(assigned[assigned >= 0])
    return np.array(chosen, dtype=np.int64)
