"""Counting the points within a radius, and asking only whether there are enough."""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lucule.space.threads import share
from lucule.space.tree import Tree, box_distance_squared, box_farthest_squared, is_one_place, level_of, node_start

_STACK: Final = 64
_LONGEST_LOOK: Final = 256


def count(tree: Tree, radii: NDArray[np.float32], counts: NDArray[np.int32]) -> None:
    """Fill `counts`; both it and `radii` are in input order."""
    share(partial(_count_between, tree, radii, counts), counts.size, least=512, most=8192)


@njit(cache=True, nogil=True)
def _count_between(tree: Tree, radii: NDArray[np.float32], counts: NDArray[np.int32], first: int, last: int) -> None:
    place = np.empty(tree.coordinates.shape[0], np.float32)
    for position in range(first, last):
        row = tree.order[position]
        for axis in range(place.size):
            place[axis] = tree.coordinates[axis, position]
        counts[row] = _count_around(tree, place, radii[row], tree.order.size) - 1


def reaches(tree: Tree, radius: np.float32, wanted: int, enough: NDArray[np.bool_]) -> None:
    """Fill `enough`, in input order: whether at least `wanted` others lie within `radius`."""
    share(partial(_reaches_between, tree, radius, wanted, enough), enough.size, least=512, most=8192)


@njit(cache=True, nogil=True)
def _reaches_between(
    tree: Tree, radius: np.float32, wanted: int, enough: NDArray[np.bool_], first: int, last: int
) -> None:
    dims, n = tree.coordinates.shape
    place = np.empty(dims, np.float32)
    for position in range(first, last):
        for axis in range(dims):
            place[axis] = tree.coordinates[axis, position]
        # in dense data those next to it in the order of the tree are enough already
        begin, end = max(position - wanted, 0), min(position + wanted + 1, n)
        found = -1
        if end - begin <= _LONGEST_LOOK:
            for i in range(begin, end):
                found += _is_within(tree, i, place, radius)
        if found < wanted:
            found = _count_around(tree, place, radius, wanted + 1) - 1
        enough[tree.order[position]] = found >= wanted


@njit(cache=True, inline="always")
def _is_within(tree: Tree, position: int, place: NDArray[np.float32], radius: np.float32) -> bool:
    squared = np.float32(0.0)
    for axis in range(place.size):
        step = tree.coordinates[axis, position] - place[axis]
        squared += step * step
    return bool(np.sqrt(squared) <= radius)


@njit(cache=True)
def _count_around(tree: Tree, place: NDArray[np.float32], radius: np.float32, most: int) -> int:
    """Number of points within `radius`, the place itself included; counting ends once there are `most`."""
    n = tree.order.size
    leaves = 1 << tree.depth
    stack = np.empty(_STACK, np.int64)
    stack[0] = 1
    top, total = 1, 0
    while top > 0 and total < most:
        top -= 1
        node = int(stack[top])
        box = tree.boxes[node]
        if np.sqrt(box_distance_squared(box, place)) > radius:
            continue
        inside = np.sqrt(box_farthest_squared(box, place)) <= radius
        if node < leaves and not inside:
            stack[top] = 2 * node + 1
            stack[top + 1] = 2 * node
            top += 2
            continue
        level = tree.depth if node >= leaves else level_of(node)
        start, stop = node_start(node, level, n), node_start(node + 1, level, n)
        if inside or is_one_place(box):
            total += stop - start
            continue
        for i in range(start, stop):
            total += _is_within(tree, i, place, radius)
    return total
