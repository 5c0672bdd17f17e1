"""A balanced k-d tree whose leaves are runs of one sorted array: the order in which neighbours are searched.

A grid of equal cells fails where densities differ by orders of magnitude, which is the rule in clustered data. Here
every leaf holds 8 to 16 points whatever the density. Node `i` of level `l` covers the positions `(i n) >> l` to
`((i + 1) n) >> l` of the sorted points, so nothing but the bounding boxes is stored.
"""

from __future__ import annotations

from functools import partial
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lucule.space.partition import split_at
from lucule.space.sorting import sort_stretch
from lucule.space.threads import share

LEAF_SIZE: Final = 16
# a subtree of so many levels fits the cache
_LEVELS_OF_ONE_THREAD: Final = 10


class Tree(NamedTuple):
    """Points in tree order.

    Attributes
    ----------
    coordinates
        `(dims, n)` float32, nm, in tree order.
    order
        `(n,)` int32, the input row of each position in the tree.
    boxes
        `(2 ** (depth + 1), 2, dims)` float32, nm: lower and upper corner of each node; node 1 is the root, the
        children of `node` are `2 node` and `2 node + 1`.
    depth
        Levels below the root.
    """

    coordinates: NDArray[np.float32]
    order: NDArray[np.int32]
    boxes: NDArray[np.float32]
    depth: int


def build(points: NDArray[np.float32]) -> Tree:
    """Sort a copy of `(n, dims)` finite points into a tree."""
    n, dims = points.shape
    depth = 0
    while (n >> depth) >= LEAF_SIZE:
        depth += 1
    tree = Tree(
        coordinates=np.array(points.T, order="C"),
        order=np.arange(n, dtype=np.int32),
        boxes=np.empty((2 << depth, 2, dims), np.float32),
        depth=depth,
    )
    shared_levels = max(depth - _LEVELS_OF_ONE_THREAD, 0)
    for level in range(shared_levels):
        share(partial(_divide_level, tree, level), 1 << level, least=1, most=1 << level)
    if n:
        share(partial(_divide_below, tree, shared_levels), 1 << shared_levels, least=1, most=64)
    return tree


@njit(cache=True, inline="always")
def node_start(node: int, level: int, n: int) -> int:
    """First position of a node that lies on `level`; one past its last is `node_start(node + 1, level, n)`."""
    return ((node - (1 << level)) * n) >> level


@njit(cache=True, inline="always")
def level_of(node: int) -> int:
    """Level of a node, 0 for the root."""
    level = 0
    while node > 1:
        node >>= 1
        level += 1
    return level


@njit(cache=True)
def is_one_place(box: NDArray[np.float32]) -> bool:
    """Whether all points of the node are identical."""
    same = True
    for axis in range(box.shape[1]):
        same &= box[0, axis] == box[1, axis]
    return same


@njit(cache=True)
def box_distance_squared(box: NDArray[np.float32], place: NDArray[np.float32]) -> np.float32:
    """Squared distance of a place from a box; never above the computed one of any point inside it."""
    total = np.float32(0.0)
    for axis in range(place.size):
        step = max(box[0, axis] - place[axis], place[axis] - box[1, axis], np.float32(0.0))
        total += step * step
    return total


@njit(cache=True)
def box_farthest_squared(box: NDArray[np.float32], place: NDArray[np.float32]) -> np.float32:
    """Squared distance of a place from the farthest corner; never below the computed one of any point inside."""
    total = np.float32(0.0)
    for axis in range(place.size):
        step = max(place[axis] - box[0, axis], box[1, axis] - place[axis])
        total += step * step
    return total


@njit(cache=True)
def box_gap_squared(a: NDArray[np.float32], b: NDArray[np.float32]) -> np.float32:
    """Squared distance of two boxes; never above the computed one of any two points inside them."""
    total = np.float32(0.0)
    for axis in range(a.shape[1]):
        step = max(a[0, axis] - b[1, axis], b[0, axis] - a[1, axis], np.float32(0.0))
        total += step * step
    return total


@njit(cache=True, nogil=True)
def _divide_level(tree: Tree, level: int, first: int, last: int) -> None:
    """Divide the nodes of a level from its `first` to before its `last`."""
    for node in range((1 << level) + first, (1 << level) + last):
        _divide(tree, node, level)


@njit(cache=True, nogil=True)
def _divide_below(tree: Tree, level: int, first: int, last: int) -> None:
    """Divide these nodes and all below, one after the other, so that each stays in the cache until it is done."""
    for top in range((1 << level) + first, (1 << level) + last):
        for below in range(tree.depth - level + 1):
            for node in range(top << below, (top + 1) << below):
                _divide(tree, node, level + below)


@njit(cache=True)
def _divide(tree: Tree, node: int, level: int) -> None:
    """Set the box of a node, and move the half that is lower along its longest side in front of the upper half."""
    n = tree.order.size
    start, stop = node_start(node, level, n), node_start(node + 1, level, n)
    axis = _set_box(tree, node, start, stop)
    if is_one_place(tree.boxes[node]):
        # searches take only the first few of many identical points: those with the lowest rows
        if level == 0 or not is_one_place(tree.boxes[node >> 1]):
            sort_stretch(tree.order, start, stop)
    elif level < tree.depth:
        split_at(tree.coordinates, tree.order, axis, start, stop, node_start(2 * node + 1, level + 1, n))


@njit(cache=True)
def _set_box(tree: Tree, node: int, start: int, stop: int) -> int:
    """Set the box of a node; returns the axis of its longest side."""
    axis, longest = 0, np.float32(-1.0)
    for a in range(tree.coordinates.shape[0]):
        values = tree.coordinates[a]
        low = high = values[start]
        for i in range(start + 1, stop):
            low = min(low, values[i])
            high = max(high, values[i])
        tree.boxes[node, 0, a], tree.boxes[node, 1, a] = low, high
        if high - low > longest:
            axis, longest = a, high - low
    return axis
