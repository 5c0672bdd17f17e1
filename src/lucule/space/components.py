"""Connected components of the graph that joins points within each other's reach."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from lucule.core import InputError
from lucule.space import tree
from lucule.space.points import as_float32
from lucule.space.tree import Tree, node_start

_STACK: Final = 256


def components(points: ArrayLike, reach: ArrayLike) -> NDArray[np.int32]:
    """Number the connected components of the graph in which i and j are joined when d(i, j) < min(reach_i, reach_j).

    Points at the same position are joined whenever both have a reach. No neighbour list is ever made: whole branches of
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
        graph = tree.build(places[members])
        numbers = np.empty(len(members), np.int32)
        _number_components(graph, reaches[members][graph.order], numbers)
        result[members] = numbers
    return result


@njit(cache=True, nogil=True)
def _number_components(tree: Tree, reach: NDArray[np.float32], numbers: NDArray[np.int32]) -> None:
    """Fill `numbers`, in the order from which the tree was built; `reach` is in tree order."""
    n = tree.order.size
    leaves = 1 << tree.depth
    parents = np.arange(n).astype(np.int32)
    farthest = np.empty(2 * leaves, np.float32)
    whole = np.zeros(2 * leaves, np.bool_)
    for leaf in range(leaves, 2 * leaves):
        start, stop = node_start(leaf, tree.depth, n), node_start(leaf + 1, tree.depth, n)
        farthest[leaf] = reach[start:stop].max()
        for i in range(start + 1, stop):
            _join_with_run(tree, reach, parents, i, start, i)
        whole[leaf] = _is_whole(parents, start, stop)
    for level in range(tree.depth - 1, -1, -1):
        for node in range(1 << level, 2 << level):
            left, right = 2 * node, 2 * node + 1
            farthest[node] = max(farthest[left], farthest[right])
            _join_nodes(tree, reach, parents, farthest, whole, left, right)
            middle = node_start(right, level + 1, n)
            whole[node] = (
                whole[left] and whole[right] and _root(parents, middle) == _root(parents, node_start(node, level, n))
            )
    # roots become numbers in the order of the first row of each component
    first_row = np.empty(n, np.int32)
    for position in range(n):
        first_row[tree.order[position]] = _root(parents, position)
    number_of_root = np.full(n, -1, np.int32)
    used = np.int32(0)
    for row in range(n):
        root = first_row[row]
        if number_of_root[root] < 0:
            number_of_root[root] = used
            used += np.int32(1)
        numbers[row] = number_of_root[root]


@njit(cache=True)
def _root(parents: NDArray[np.int32], i: int) -> int:
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i


@njit(cache=True)
def _is_whole(parents: NDArray[np.int32], start: int, stop: int) -> bool:
    root = _root(parents, start)
    joined = start + 1
    while joined < stop and _root(parents, joined) == root:
        joined += 1
    return joined == stop


@njit(cache=True)
def _join_with_run(
    tree: Tree, reach: NDArray[np.float32], parents: NDArray[np.int32], i: int, start: int, stop: int
) -> None:
    """Join point i with those at positions `start` to `stop` that it reaches and that reach it."""
    root = _root(parents, i)
    for j in range(start, stop):
        squared = np.float32(0.0)
        for axis in range(tree.coordinates.shape[0]):
            step = tree.coordinates[axis, i] - tree.coordinates[axis, j]
            squared += step * step
        if np.sqrt(squared) < min(reach[i], reach[j]):
            other = _root(parents, j)
            if other != root:
                # the lower position becomes the root, which keeps paths short in tree order
                if other < root:
                    parents[root] = other
                    root = other
                else:
                    parents[other] = root


@njit(cache=True)
def _join_nodes(
    tree: Tree,
    reach: NDArray[np.float32],
    parents: NDArray[np.int32],
    farthest: NDArray[np.float32],
    whole: NDArray[np.bool_],
    left: int,
    right: int,
) -> None:
    """Join all points of one node with those of another."""
    n = tree.order.size
    leaves = 1 << tree.depth
    stack = np.empty((_STACK, 2), np.int64)
    stack[0] = left, right
    top = 1
    while top > 0:
        top -= 1
        a, b = stack[top]
        gap = np.float32(0.0)
        for axis in range(tree.coordinates.shape[0]):
            step = max(
                tree.boxes[a, 0, axis] - tree.boxes[b, 1, axis],
                tree.boxes[b, 0, axis] - tree.boxes[a, 1, axis],
                np.float32(0.0),
            )
            gap += step * step
        if np.sqrt(gap) >= min(farthest[a], farthest[b]):
            continue
        # both nodes lie on the same level, as do all pairs below them
        level = tree.depth
        node = a
        while node < leaves:
            node *= 2
            level -= 1
        start, other = node_start(a, level, n), node_start(b, level, n)
        if whole[a] and whole[b] and _root(parents, start) == _root(parents, other):
            continue
        if a >= leaves:
            stop = node_start(b + 1, level, n)
            for i in range(start, node_start(a + 1, level, n)):
                _join_with_run(tree, reach, parents, i, other, stop)
            continue
        for low in range(2):
            for high in range(2):
                stack[top] = 2 * a + low, 2 * b + high
                top += 1
