"""Which localizations follow each other as one molecule: frame by frame, nearest pairs first."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_CELLS_MOST: Final = 1 << 22


def chains(
    time: NDArray[np.int64],
    xyz: NDArray[np.float32],
    *,
    radius: float,
    radius_z: float,
    gap: int,
    follow: bool = False,
    variance: NDArray[np.float32] | None = None,
    sigmas: float = np.inf,
) -> NDArray[np.int64]:
    """Number of the chain of each row; chains are numbered in the order of their first rows.

    In each frame, open chains and localizations within reach of each other are joined, the nearest pair first; so the
    order of the rows within a frame does not matter (rows at equal distances are taken in the order of x, y as sorted).

    Parameters
    ----------
    time
        Ascending, `(n,)`.
    xyz
        Positions, `(n, 2)` or `(n, 3)`, sorted like `time`.
    radius, radius_z
        Reach in the plane and along z, nm.
    gap
        Frames in between for which a molecule may be unseen.
    follow
        Compare with the last position of a chain instead of its mean: for beads, which drift.
    variance
        Squared errors of each row in the plane (of one axis) and along z, `(n, 2)`, nm^2: its weight in the mean, and the
        reach that `sigmas` sets. 1 by default.
    sigmas
        Reach in units of the error of the difference, besides `radius`: far pairs of imprecise rows may be one molecule
        where those of precise ones are not. The nearest pair is the one nearest in these units.
    """
    n = len(time)
    owner = np.full(n, -1, np.int64)
    if not n:
        return owner
    size = 1 << int(np.clip(np.ceil(np.log2(n)), 4, np.log2(_CELLS_MOST)))
    heads = np.full(size, -1, np.int64)
    xyz = np.ascontiguousarray(xyz, np.float32)
    known = np.ones((n, 2), np.float32) if variance is None else np.ascontiguousarray(variance, np.float32)
    _chain(time, xyz, known, max(radius, 1e-6), radius_z, sigmas**2, gap, follow, heads, owner)
    return owner


@njit(cache=True, nogil=True, inline="always")
def _slot(ix: int, iy: int, size: int) -> int:
    return ((ix * 73856093) ^ (iy * 19349663)) & (size - 1)


@njit(cache=True, nogil=True)
def _chain(
    time: NDArray[np.int64],
    xyz: NDArray[np.float32],
    variance: NDArray[np.float32],
    radius: float,
    radius_z: float,
    gate: float,
    gap: int,
    follow: bool,
    heads: NDArray[np.int64],
    owner: NDArray[np.int64],
) -> None:
    n, d = xyz.shape
    size = len(heads)
    # of each chain: mean position, weight, last frame, cell, and the next chain in the list of its cell
    mean = np.empty((n, d), np.float64)
    total = np.empty((n, 2), np.float64)
    last = np.empty(n, np.int64)
    cell = np.empty((n, 2), np.int64)
    follower = np.empty(n, np.int64)
    number = 0
    capacity = 64
    pair_chain, pair_row = np.empty(capacity, np.int64), np.empty(capacity, np.int64)
    pair_far = np.empty(capacity, np.float64)
    first = 0
    while first < n:
        now = time[first]
        end = first
        while end < n and time[end] == now:
            end += 1
        pairs = 0
        for row in range(first, end):
            ix, iy = int(np.floor(xyz[row, 0] / radius)), int(np.floor(xyz[row, 1] / radius))
            for cx in range(ix - 1, ix + 2):
                for cy in range(iy - 1, iy + 2):
                    slot = _slot(cx, cy, size)
                    before = -1
                    chain = heads[slot]
                    while chain >= 0:
                        after = follower[chain]
                        if now - last[chain] > gap + 1:  # closed for good: out of the list
                            if before < 0:
                                heads[slot] = after
                            else:
                                follower[before] = after
                        else:
                            before = chain
                            if cell[chain, 0] == cx and cell[chain, 1] == cy:
                                far = (mean[chain, 0] - xyz[row, 0]) ** 2 + (mean[chain, 1] - xyz[row, 1]) ** 2
                                near = far <= radius * radius
                                # the error of a position that was followed is that of one row, not of a mean
                                far /= variance[row, 0] + 1 / total[chain, 0]
                                near = near and far <= gate
                                if d == 3:
                                    deep = (mean[chain, 2] - xyz[row, 2]) ** 2
                                    near = near and deep <= radius_z * radius_z
                                    near = near and deep <= gate * (variance[row, 1] + 1 / total[chain, 1])
                                if near:
                                    if pairs == capacity:
                                        capacity *= 2
                                        pair_chain = np.append(pair_chain, np.empty(pairs, np.int64))
                                        pair_row = np.append(pair_row, np.empty(pairs, np.int64))
                                        pair_far = np.append(pair_far, np.empty(pairs, np.float64))
                                    pair_chain[pairs], pair_row[pairs], pair_far[pairs] = chain, row, far
                                    pairs += 1
                        chain = after
        if pairs:
            ranked = np.argsort(pair_far[:pairs], kind="mergesort") if pairs > 1 else np.zeros(1, np.int64)
            for rank in ranked:
                chain, row = pair_chain[rank], pair_row[rank]
                if owner[row] >= 0 or last[chain] == now:
                    continue
                owner[row] = chain
                last[chain] = now
                for which in range(2):
                    total[chain, which] = 1 / variance[row, which] + (0.0 if follow else total[chain, which])
                for axis in range(d):
                    which = 0 if axis < 2 else 1
                    share = 1 / (variance[row, which] * total[chain, which])
                    mean[chain, axis] += share * (xyz[row, axis] - mean[chain, axis])
                cx, cy = int(np.floor(mean[chain, 0] / radius)), int(np.floor(mean[chain, 1] / radius))
                if cx != cell[chain, 0] or cy != cell[chain, 1]:
                    slot = _slot(cell[chain, 0], cell[chain, 1], size)
                    if heads[slot] == chain:
                        heads[slot] = follower[chain]
                    else:
                        k = heads[slot]
                        while follower[k] != chain:
                            k = follower[k]
                        follower[k] = follower[chain]
                    cell[chain, 0], cell[chain, 1] = cx, cy
                    slot = _slot(cx, cy, size)
                    follower[chain] = heads[slot]
                    heads[slot] = chain
        for row in range(first, end):
            if owner[row] >= 0:
                continue
            owner[row] = number
            last[number] = now
            total[number, 0], total[number, 1] = 1 / variance[row, 0], 1 / variance[row, 1]
            for axis in range(d):
                mean[number, axis] = xyz[row, axis]
            cx, cy = int(np.floor(xyz[row, 0] / radius)), int(np.floor(xyz[row, 1] / radius))
            cell[number, 0], cell[number, 1] = cx, cy
            slot = _slot(cx, cy, size)
            follower[number] = heads[slot]
            heads[slot] = number
            number += 1
        first = end
