"""Connected components of the graph that joins points within each other's reach."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from lucule.core import InputError
from lucule.space import tree
from lucule.space.points import as_float32
from lucule.space.tree import Tree, box_gap_squared, node_start

_STACK: Final = 256
_STEP: Final = 8


def components(points: ArrayLike, reach: ArrayLike) -> NDArray[np.int32]:
    """Number the connected components of the graph in which i and j are joined when d(i, j) < min(reach_i, reach_j).

    Points at the same position are joined whenever both have a reach. No neighbour list is ever made, and branches of
    the tree that are one component already are passed over, so that dense data cost no more than sparse.

    Parameters
    ----------
    points
        Positions `(n, 2)` or `(n, 3)`, nm.
    reach
        nm, one number or `(n,)`; a point whose reach is 0 or NaN belongs to no component.

    Returns
    -------
    component
        `(n,)`, -1 for none. Components are numbered from 0 in the order of their first row; a point that is joined to
        no other is a component of its own.

    Raises
    ------
    InputError
        The points cannot be used, or the reach is negative or of the wrong length.

    Examples
    --------
    >>> components([[0.0, 0.0], [100.0, 0.0], [5.0, 0.0], [9.0, 0.0]], reach=[6.0, 6.0, 6.0, 0.0])
    array([ 0,  1,  0, -1], dtype=int32)
    """
    places = as_float32(points)
    reaches = np.asarray(reach, np.float32)
    if reaches.shape not in ((), (len(places),)) or (reaches < 0).any():
        raise InputError("The reach cannot be used", received=reach, allowed="0 nm or more, one or one per point")
    reaches = np.broadcast_to(reaches, len(places))
    members = np.flatnonzero(reaches > 0)
    result = np.full(len(places), -1, np.int32)
    if len(members):
        result[members] = _components(places[members], reaches[members])
    return result


def _components(places: NDArray[np.float32], reach: NDArray[np.float32]) -> NDArray[np.int32]:
    every = tree.build(places)
    sides = every.boxes[1, 1] - every.boxes[1, 0]
    reach = np.minimum(reach, np.float32(2) * sides.sum() + np.float32(1))[every.order]
    parents = np.arange(len(places), dtype=np.int32)
    # Points that reach far are joined among themselves before the others come in. So within one step all branches
    # smaller than the shortest reach are whole, and those farther apart than the longest, which is not much more, need
    # no look: there is no mixture of reaches for which all pairs must be tried.
    longest, shortest = reach.max(), reach.min()
    while longest / _STEP > shortest:
        taken = np.flatnonzero(reach > longest / _STEP).astype(np.int32)
        part = tree.build(every.coordinates[:, taken].T)
        numbers = taken[part.order]
        _join(part, reach[numbers], numbers, longest, parents)
        longest = reach[reach <= longest / _STEP].max()
    _join(every, reach, np.arange(len(places), dtype=np.int32), longest, parents)
    return _numbered(parents, every.order)


@njit(cache=True, nogil=True)
def _join(
    tree: Tree, reach: NDArray[np.float32], numbers: NDArray[np.int32], longest: np.float32, parents: NDArray[np.int32]
) -> None:
    """Join all pairs within each other's reach and closer than `longest`.

    `reach` and `numbers`, the places of the points in `parents`, are in tree order.
    """
    n = tree.order.size
    leaves = 1 << tree.depth
    farthest = np.empty(2 * leaves, np.float32)
    whole = np.zeros(2 * leaves, np.bool_)
    for leaf in range(leaves, 2 * leaves):
        start, stop = node_start(leaf, tree.depth, n), node_start(leaf + 1, tree.depth, n)
        farthest[leaf] = min(reach[start:stop].max(), longest)
        for i in range(start + 1, stop):
            _join_with_run(tree, reach, numbers, parents, i, start, i)
        whole[leaf] = _is_whole(parents, numbers[start:stop])
    for level in range(tree.depth - 1, -1, -1):
        for node in range(1 << level, 2 << level):
            left, right = 2 * node, 2 * node + 1
            farthest[node] = max(farthest[left], farthest[right])
            _join_nodes(tree, reach, numbers, parents, farthest, whole, left, right, level + 1)
            whole[node] = whole[left] and whole[right] and _are_one(tree, numbers, parents, left, right, level + 1)


@njit(cache=True)
def _join_nodes(
    tree: Tree,
    reach: NDArray[np.float32],
    numbers: NDArray[np.int32],
    parents: NDArray[np.int32],
    farthest: NDArray[np.float32],
    whole: NDArray[np.bool_],
    left: int,
    right: int,
    level: int,
) -> None:
    """Join the points of one node with those of another on the same level."""
    n = tree.order.size
    stack = np.empty((_STACK, 3), np.int64)
    stack[0] = left, right, level
    top = 1
    while top > 0:
        top -= 1
        a, b, level = stack[top]
        if np.sqrt(box_gap_squared(tree.boxes[a], tree.boxes[b])) >= min(farthest[a], farthest[b]):
            continue
        if whole[a] and whole[b] and _are_one(tree, numbers, parents, a, b, level):
            continue
        if level == tree.depth:
            start, stop = node_start(b, level, n), node_start(b + 1, level, n)
            for i in range(node_start(a, level, n), node_start(a + 1, level, n)):
                _join_with_run(tree, reach, numbers, parents, i, start, stop)
            continue
        for low in range(2):
            for high in range(2):
                stack[top] = 2 * a + low, 2 * b + high, level + 1
                top += 1


@njit(cache=True)
def _join_with_run(
    tree: Tree,
    reach: NDArray[np.float32],
    numbers: NDArray[np.int32],
    parents: NDArray[np.int32],
    i: int,
    start: int,
    stop: int,
) -> None:
    """Join point i with those at positions `start` to `stop` that it reaches and that reach it."""
    root = _root(parents, numbers[i])
    for j in range(start, stop):
        squared = np.float32(0.0)
        for axis in range(tree.coordinates.shape[0]):
            step = tree.coordinates[axis, i] - tree.coordinates[axis, j]
            squared += step * step
        if np.sqrt(squared) < min(reach[i], reach[j]):
            other = _root(parents, numbers[j])
            # the lower number becomes the root, which keeps paths short and close in memory
            low, high = min(root, other), max(root, other)
            parents[high] = low
            root = low


@njit(cache=True)
def _root(parents: NDArray[np.int32], i: int) -> int:
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i


@njit(cache=True)
def _is_whole(parents: NDArray[np.int32], numbers: NDArray[np.int32]) -> bool:
    root = _root(parents, numbers[0])
    same = 1
    while same < numbers.size and _root(parents, numbers[same]) == root:
        same += 1
    return same == numbers.size


@njit(cache=True)
def _are_one(tree: Tree, numbers: NDArray[np.int32], parents: NDArray[np.int32], a: int, b: int, level: int) -> bool:
    """Whether two nodes, each of which is whole, belong to the same component."""
    n = tree.order.size
    return _root(parents, numbers[node_start(a, level, n)]) == _root(parents, numbers[node_start(b, level, n)])


@njit(cache=True, nogil=True)
def _numbered(parents: NDArray[np.int32], order: NDArray[np.int32]) -> NDArray[np.int32]:
    """Components from 0 in the order of their first row; `parents` are in the order of the tree."""
    root_of_row = np.empty(order.size, np.int32)
    for position in range(order.size):
        root_of_row[order[position]] = _root(parents, position)
    number_of_root = np.full(order.size, -1, np.int32)
    numbers = np.empty(order.size, np.int32)
    used = np.int32(0)
    for row in range(order.size):
        root = root_of_row[row]
        if number_of_root[root] < 0:
            number_of_root[root] = used
            used += np.int32(1)
        numbers[row] = number_of_root[root]
    return numbers
