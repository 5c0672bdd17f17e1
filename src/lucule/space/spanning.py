"""Minimum spanning tree of points, each of which may have a radius that holds others at a distance."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from lucule.core import InputError
from lucule.space import tree
from lucule.space.points import as_float32
from lucule.space.tree import Tree, box_distance_squared, node_start

_STACK: Final = 64


def spanning_tree(
    points: ArrayLike, core: ArrayLike = 0.0
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    """Minimum spanning tree under the distance max(core_i, core_j, d(i, j)), the mutual reachability distance.

    Boruvka's rounds on a k-d tree: in each, every component is joined to the nearest other. Branches that belong to
    the component already, or lie farther than the best edge known for it, are passed over. Linear memory.

    Parameters
    ----------
    points
        Positions `(n, 2)` or `(n, 3)`, nm.
    core
        nm, one number or `(n,)`; 0 gives the Euclidean tree.

    Returns
    -------
    first, second, length
        `(n - 1,)` each: the rows of both ends and the distance, nm, by ascending distance.

    Raises
    ------
    InputError
        The points cannot be used, or `core` is negative, not finite or of the wrong length.

    Examples
    --------
    >>> spanning_tree([[0.0, 0.0], [9.0, 0.0], [2.0, 0.0], [9.0, 1.0]])
    (array([1, 0, 1], dtype=int32), array([3, 2, 2], dtype=int32), array([1., 2., 7.], dtype=float32))
    """
    places = as_float32(points)
    cores = np.asarray(core, np.float32)
    if cores.shape not in ((), (len(places),)) or not (np.isfinite(cores) & (cores >= 0)).all():
        raise InputError("The core distances cannot be used", received=core, allowed="0 nm or more, one or one each")
    n = len(places)
    if n < 2:
        return np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32)
    every = tree.build(places)
    first, second, length = _spanning_tree(every, np.broadcast_to(cores, n)[every.order])
    first, second = every.order[first], every.order[second]
    first, second = np.minimum(first, second), np.maximum(first, second)
    order = np.lexsort([second, first, length])
    return first[order], second[order], length[order]


@njit(cache=True, nogil=True)
def _spanning_tree(
    tree: Tree, core: NDArray[np.float32]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    """Edges between positions in the tree; `core` is in tree order."""
    n = tree.order.size
    component = np.arange(n).astype(np.int32)
    # to what each position was nearest when it was last asked; later answers can only be farther
    nearest, bound = np.full(n, -1, np.int32), core.copy()
    lowest_core = _lowest_cores(tree, core)
    owner = np.empty(2 << tree.depth, np.int32)
    best_from, best_to = np.full(n, -1, np.int32), np.full(n, -1, np.int32)
    best = np.full(n, np.inf, np.float32)
    first, second = np.empty(n - 1, np.int32), np.empty(n - 1, np.int32)
    length = np.empty(n - 1, np.float32)
    edges = 0
    while edges < n - 1:
        _set_owners(tree, component, owner)
        # answers that still hold are the best bounds to begin with
        for i in range(n):
            c = component[i]
            if nearest[i] >= 0 and component[nearest[i]] != c and bound[i] < best[c]:
                best[c], best_from[c], best_to[c] = bound[i], i, nearest[i]
        for i in range(n):
            c = component[i]
            if bound[i] >= best[c] or (nearest[i] >= 0 and component[nearest[i]] != c):
                continue
            found, distance = _nearest_foreign(tree, core, lowest_core, component, owner, i, best[c])
            bound[i] = distance
            nearest[i] = found
            if found >= 0:
                best[c], best_from[c], best_to[c] = distance, i, found
        for c in range(n):
            if best_from[c] < 0:
                continue
            a, b = _root(component, best_from[c]), _root(component, best_to[c])
            # of components that chose each other, or in a ring of equal distances, the last would close a circle
            if a != b:
                component[max(a, b)] = min(a, b)
                first[edges], second[edges], length[edges] = best_from[c], best_to[c], best[c]
                edges += 1
            best[c], best_from[c], best_to[c] = np.inf, -1, -1
        for i in range(n):
            while component[i] != component[component[i]]:
                component[i] = component[component[i]]
    return first, second, length


@njit(cache=True)
def _root(component: NDArray[np.int32], i: int) -> int:
    """Component of a position; within a round, components that were joined point at each other's lowest position."""
    while component[i] != i:
        i = component[i]
    return i


@njit(cache=True)
def _lowest_cores(tree: Tree, core: NDArray[np.float32]) -> NDArray[np.float32]:
    n, leaves = tree.order.size, 1 << tree.depth
    lowest = np.empty(2 * leaves, np.float32)
    for leaf in range(leaves, 2 * leaves):
        lowest[leaf] = core[node_start(leaf, tree.depth, n) : node_start(leaf + 1, tree.depth, n)].min()
    for node in range(leaves - 1, 0, -1):
        lowest[node] = min(lowest[2 * node], lowest[2 * node + 1])
    return lowest


@njit(cache=True)
def _set_owners(tree: Tree, component: NDArray[np.int32], owner: NDArray[np.int32]) -> None:
    """The component to which all points of a node belong, -1 where there are several."""
    n, leaves = tree.order.size, 1 << tree.depth
    for leaf in range(leaves, 2 * leaves):
        start, stop = node_start(leaf, tree.depth, n), node_start(leaf + 1, tree.depth, n)
        owner[leaf] = component[start]
        for i in range(start + 1, stop):
            if component[i] != owner[leaf]:
                owner[leaf] = -1
                break
    for node in range(leaves - 1, 0, -1):
        owner[node] = owner[2 * node] if owner[2 * node] == owner[2 * node + 1] else -1


@njit(cache=True)
def _nearest_foreign(
    tree: Tree,
    core: NDArray[np.float32],
    lowest_core: NDArray[np.float32],
    component: NDArray[np.int32],
    owner: NDArray[np.int32],
    i: int,
    limit: np.float32,
) -> tuple[int, np.float32]:
    """Nearest point of another component and its distance if below `limit`, else -1 and `limit`."""
    dims, n = tree.coordinates.shape
    leaves = 1 << tree.depth
    own, own_core = component[i], core[i]
    place = np.empty(dims, np.float32)
    for axis in range(dims):
        place[axis] = tree.coordinates[axis, i]
    nodes, possible = np.empty(_STACK, np.int64), np.empty(_STACK, np.float32)
    nodes[0], possible[0] = 1, np.float32(0.0)
    top = 1
    found, best = -1, limit
    while top > 0:
        top -= 1
        node = int(nodes[top])
        if possible[top] >= best or owner[node] == own:
            continue
        if node >= leaves:
            for j in range(node_start(node, tree.depth, n), node_start(node + 1, tree.depth, n)):
                if component[j] == own:
                    continue
                squared = np.float32(0.0)
                for axis in range(dims):
                    step = tree.coordinates[axis, j] - place[axis]
                    squared += step * step
                distance = max(np.sqrt(squared), own_core, core[j])
                if distance < best:
                    found, best = j, distance
            continue
        near, far = 2 * node, 2 * node + 1
        to_near = max(np.sqrt(box_distance_squared(tree.boxes[near], place)), lowest_core[near])
        to_far = max(np.sqrt(box_distance_squared(tree.boxes[far], place)), lowest_core[far])
        if to_far < to_near:
            near, far, to_near, to_far = far, near, to_far, to_near
        nodes[top], possible[top] = far, to_far
        nodes[top + 1], possible[top + 1] = near, to_near
        top += 2
    return found, best
