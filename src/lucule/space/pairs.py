"""All pairs of points within a radius, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from lucule.core import InputError
from lucule.space import tree, within
from lucule.space.points import as_float32
from lucule.space.threads import share
from lucule.space.tree import Tree, box_distance_squared, node_start

_STACK: Final = 64


def pair_batches(
    points: ArrayLike, radius: float, rows: ArrayLike | None = None, *, size: int = 2_000_000
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]]:
    """Every pair of different points at most `radius` apart, in both orders.

    Parameters
    ----------
    points
        Positions `(n, 2)` or `(n, 3)`, nm.
    radius
        nm.
    rows
        Points whose pairs are asked for; all by default.
    size
        Pairs of a batch; more where one point alone has more.

    Yields
    ------
    first, second, distance
        `(m,)` each: rows of both points, `first` among `rows`, and their distance, nm.

    Raises
    ------
    InputError
        The points or the radius cannot be used.

    Examples
    --------
    >>> [(i.tolist(), j.tolist()) for i, j, _ in pair_batches([[0.0, 0.0], [3.0, 4.0], [0.0, 9.0]], 5.0)]
    [([0, 1], [1, 0])]
    """
    places = as_float32(points)
    if not radius >= 0:
        raise InputError("The radius cannot be used", received=radius, allowed="0 nm or more")
    if not len(places):
        return
    every = tree.build(places)
    counts = np.zeros(len(places), np.int32)
    within.count(every, np.full(len(places), radius, np.float32), counts)
    asked = np.arange(len(places)) if rows is None else np.asarray(rows, np.int64)
    ends = np.cumsum(counts[asked], dtype=np.int64)
    start = 0
    while start < len(asked):
        before = int(ends[start - 1]) if start else 0
        stop = max(int(np.searchsorted(ends, before + size, side="right")), start + 1)
        chosen = asked[start:stop]
        offsets = np.append(0, ends[start:stop] - before)
        if offsets[-1]:
            second, distance = np.empty(offsets[-1], np.int32), np.empty(offsets[-1], np.float32)
            fill = partial(_fill, every, places, np.float32(radius), chosen, offsets, second, distance)
            share(fill, len(chosen), least=256, most=8192)
            yield np.repeat(chosen, np.diff(offsets)).astype(np.int32), second, distance
        start = stop


@njit(cache=True, nogil=True)
def _fill(
    tree: Tree,
    points: NDArray[np.float32],
    radius: np.float32,
    rows: NDArray[np.int64],
    offsets: NDArray[np.int64],
    second: NDArray[np.int32],
    distance: NDArray[np.float32],
    begin: int,
    end: int,
) -> None:
    dims, n = tree.coordinates.shape
    leaves = 1 << tree.depth
    stack = np.empty(_STACK, np.int64)
    for k in range(begin, end):
        row, slot = rows[k], offsets[k]
        place = points[row]
        stack[0] = 1
        top = 1
        while top > 0:
            top -= 1
            node = int(stack[top])
            if np.sqrt(box_distance_squared(tree.boxes[node], place)) > radius:
                continue
            if node < leaves:
                stack[top], stack[top + 1] = 2 * node + 1, 2 * node
                top += 2
                continue
            for i in range(node_start(node, tree.depth, n), node_start(node + 1, tree.depth, n)):
                squared = np.float32(0.0)
                for axis in range(dims):
                    step = tree.coordinates[axis, i] - place[axis]
                    squared += step * step
                if np.sqrt(squared) <= radius and tree.order[i] != row:
                    second[slot], distance[slot] = tree.order[i], np.sqrt(squared)
                    slot += 1
