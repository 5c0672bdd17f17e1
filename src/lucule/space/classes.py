"""The nearest of chosen points to every point."""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from lucule.core import InputError
from lucule.space import search, tree
from lucule.space.points import as_float32
from lucule.space.threads import share
from lucule.space.tree import Tree, box_distance_squared, is_one_place, level_of, node_start

_STACK: Final = 64
# rounding of a square must not exclude what lies just at the limit
_ABOVE: Final = np.float32(1 + 1e-6)


def nearest_of(points: ArrayLike, targets: ArrayLike) -> NDArray[np.float32]:
    """Distance from every point to the nearest other point that is a target.

    Parameters
    ----------
    points
        Positions `(n, 2)` or `(n, 3)`, nm.
    targets
        `(n,)` bool: which points count.

    Returns
    -------
    distances
        `(n,)`, nm; infinite where there is no other target.

    Raises
    ------
    InputError
        The points cannot be used, or `targets` is not one bool per point.

    Examples
    --------
    How far is each clustered localization from the nearest that is not?

    >>> points = np.array([[0.0, 0.0], [10.0, 0.0], [50.0, 0.0]])
    >>> clustered = np.array([True, True, False])
    >>> nearest_of(points, ~clustered)
    array([50., 40., inf], dtype=float32)
    """
    places = as_float32(points)
    chosen = np.asarray(targets)
    if chosen.dtype != np.bool_ or chosen.shape != (len(places),):
        raise InputError(
            "The targets cannot be used",
            received=f"{chosen.dtype} of shape {chosen.shape}",
            allowed=f"bool of shape ({len(places)},)",
        )
    result = np.full(len(places), np.inf, np.float32)
    target_rows, other_rows = np.flatnonzero(chosen), np.flatnonzero(~chosen)
    among = tree.build(places[target_rows])
    if len(target_rows) > 1:
        own = np.empty((len(target_rows), 1), np.float32)
        positions = np.arange(len(target_rows), dtype=np.int32)
        search.nearest(among, positions, among.order, 1, own, np.empty((0, 1), np.int32))
        result[target_rows] = own[:, 0]
    if len(target_rows) and len(other_rows):
        result[other_rows] = _nearest(places[other_rows], among, np.float32(np.inf))[0]
    return result


def nearest_among(
    points: ArrayLike, targets: ArrayLike, *, within: float = np.inf
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Which of some other points is the nearest to every point, and how far it is.

    Parameters
    ----------
    points, targets
        Positions `(n, 2)` and `(m, 2)`, or `(n, 3)` and `(m, 3)`, nm.
    within
        Targets farther than that do not count, nm.

    Returns
    -------
    distances, rows
        `(n,)` each: nm, and the row of the target; infinite and -1 where there is none.

    Raises
    ------
    InputError
        Positions cannot be used, or their dimensions differ.

    Examples
    --------
    >>> nearest_among([[0.0, 0.0], [9.0, 0.0]], [[50.0, 0.0], [0.0, 3.0]], within=5)
    (array([ 3., inf], dtype=float32), array([ 1, -1], dtype=int32))
    """
    asked, others = np.asarray(points), np.asarray(targets)
    if asked.ndim != 2 or others.ndim != 2 or asked.shape[1] != others.shape[1]:
        raise InputError(
            "The points and the targets do not fit together",
            received=f"shapes {asked.shape} and {others.shape}",
            allowed="(n, 2) and (m, 2), or (n, 3) and (m, 3), nm",
        )
    # together, so that both have the same centre where float32 needs one
    places = as_float32(np.concatenate([asked, others]))
    if not len(asked) or not len(others):
        return np.full(len(asked), np.inf, np.float32), np.full(len(asked), -1, np.int32)
    return _nearest(places[: len(asked)], tree.build(places[len(asked) :]), np.float32(within))


def _nearest(
    places: NDArray[np.float32], among: Tree, within: np.float32
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    # their own tree puts them in an order in which one answer bounds the next
    asked = tree.build(places)
    distances, rows = np.empty(len(places), np.float32), np.empty(len(places), np.int32)
    share(partial(_nearest_between, asked, among, within, distances, rows), len(places), least=512, most=8192)
    return distances, rows


@njit(cache=True, nogil=True)
def _nearest_between(
    queries: Tree,
    among: Tree,
    within: np.float32,
    distances: NDArray[np.float32],
    rows: NDArray[np.int32],
    first: int,
    last: int,
) -> None:
    """Fill the answers, in the order from which the trees were built, for positions `first` to before `last`."""
    place = np.empty(queries.coordinates.shape[0], np.float32)
    guess = 0
    for position in range(first, last):
        for axis in range(place.size):
            place[axis] = queries.coordinates[axis, position]
        nearest, squared = _nearest_to(among, place, guess, within)
        row = queries.order[position]
        if nearest < 0:
            distances[row], rows[row] = np.inf, -1
        else:
            guess = nearest
            distances[row], rows[row] = np.sqrt(squared), among.order[nearest]


@njit(cache=True)
def _nearest_to(tree: Tree, place: NDArray[np.float32], guess: int, within: np.float32) -> tuple[int, np.float32]:
    """Position (-1 for none) and squared distance of the point nearest to `place`; the nearer the `guess`, the faster.

    Of several at the same distance it is the one with the lowest row.
    """
    n = tree.order.size
    leaves = 1 << tree.depth
    nodes, possible = np.empty(_STACK, np.int64), np.empty(_STACK, np.float32)
    nodes[0], possible[0] = 1, np.float32(0.0)
    top = 1
    best, nearest = _squared_distance(tree, guess, place), guess
    if np.sqrt(best) > within:
        best, nearest = np.float32(within * within * _ABOVE), -1
    while top > 0:
        top -= 1
        node = int(nodes[top])
        if possible[top] > best:
            continue
        single = is_one_place(tree.boxes[node])
        if node >= leaves or single:
            level = tree.depth if node >= leaves else level_of(node)
            start, stop = node_start(node, level, n), node_start(node + 1, level, n)
            # of identical points the first has the lowest row
            for i in range(start, start + 1 if single else stop):
                squared = _squared_distance(tree, i, place)
                if squared > best or np.sqrt(squared) > within:
                    continue
                if squared < best or nearest < 0 or tree.order[i] < tree.order[nearest]:
                    best, nearest = squared, i
            continue
        near, far = 2 * node, 2 * node + 1
        to_near = box_distance_squared(tree.boxes[near], place)
        to_far = box_distance_squared(tree.boxes[far], place)
        if to_far < to_near:
            near, far, to_near, to_far = far, near, to_far, to_near
        nodes[top], possible[top] = far, to_far
        nodes[top + 1], possible[top + 1] = near, to_near
        top += 2
    return nearest, best


@njit(cache=True)
def _squared_distance(tree: Tree, position: int, place: NDArray[np.float32]) -> np.float32:
    total = np.float32(0.0)
    for axis in range(place.size):
        step = tree.coordinates[axis, position] - place[axis]
        total += step * step
    return total
