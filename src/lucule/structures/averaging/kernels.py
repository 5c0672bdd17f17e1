"""Compiled inner loops: how well a particle fits a table of log densities in many poses, and adding it up."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def score_grid(points: Any, weight: Any, width: Any, rotations: Any, shifts: Any, tables: Any, shape: Any, pad: Any,
               origin: Any, voxel: float, out: Any) -> None:  # fmt: skip
    """Sum of weighted log densities for each rotation and each shift by whole voxels, into `out` (rotations, shifts).

    `tables` holds one flat table for each class of precision, `width` the class of each point; `shifts` are distances
    in the flat table, of which `pad` voxels at each side leave room.
    """
    nz, ny, nx = shape
    for g in range(len(rotations)):
        for s in range(len(shifts)):
            out[g, s] = 0.0
        r = rotations[g]
        for i in range(len(points)):
            x, y, z = points[i, 0], points[i, 1], points[i, 2]
            u = int(np.floor((r[0, 0] * x + r[0, 1] * y + r[0, 2] * z - origin[0]) / voxel + 0.5))
            v = int(np.floor((r[1, 0] * x + r[1, 1] * y + r[1, 2] * z - origin[1]) / voxel + 0.5))
            w = int(np.floor((r[2, 0] * x + r[2, 1] * y + r[2, 2] * z - origin[2]) / voxel + 0.5))
            u = min(max(u, pad[0]), nx - 1 - pad[0])
            v = min(max(v, pad[1]), ny - 1 - pad[1])
            w = min(max(w, pad[2]), nz - 1 - pad[2])
            at = (w * ny + v) * nx + u
            table = tables[width[i]]
            for s in range(len(shifts)):
                out[g, s] += weight[i] * table[at + shifts[s]]


@njit(cache=True, nogil=True)
def score_between(points: Any, weight: Any, width: Any, rotations: Any, moves: Any, tables: Any, shape: Any,
                  origin: Any, voxel: float, out: Any) -> None:  # fmt: skip
    """The same for shifts `moves` (n, 3) in nm of any size, interpolated linearly between voxels."""
    nz, ny, nx = shape
    for g in range(len(rotations)):
        r = rotations[g]
        for s in range(len(moves)):
            total = 0.0
            for i in range(len(points)):
                x, y, z = points[i, 0], points[i, 1], points[i, 2]
                u = (r[0, 0] * x + r[0, 1] * y + r[0, 2] * z + moves[s, 0] - origin[0]) / voxel
                v = (r[1, 0] * x + r[1, 1] * y + r[1, 2] * z + moves[s, 1] - origin[1]) / voxel
                w = (r[2, 0] * x + r[2, 1] * y + r[2, 2] * z + moves[s, 2] - origin[2]) / voxel
                total += weight[i] * _between(tables[width[i]], nz, ny, nx, w, v, u)
            out[g, s] = total


@njit(cache=True, nogil=True)
def _between(table: Any, nz: int, ny: int, nx: int, w: float, v: float, u: float) -> float:
    u = min(max(u, 0.0), nx - 1.001)
    v = min(max(v, 0.0), ny - 1.001)
    i, j = int(u), int(v)
    a, b = u - i, v - j
    if nz == 1:
        k, c = 0, 0.0
    else:
        w = min(max(w, 0.0), nz - 1.001)
        k = int(w)
        c = w - k
    result = 0.0
    for layer in range(2 if c > 0 else 1):
        at = ((k + layer) * ny + j) * nx + i
        plane = (1 - b) * ((1 - a) * table[at] + a * table[at + 1]) + b * (
            (1 - a) * table[at + nx] + a * table[at + nx + 1]
        )
        result += (c if layer else 1 - c) * plane
    return result


@njit(cache=True, nogil=True)
def add_up(points: Any, weight: Any, rotations: Any, moves: Any, probability: Any, shape: Any, origin: Any,
           voxel: float, grid: Any) -> None:  # fmt: skip
    """Add a particle to a density `grid` (z, y, x) in several poses, each with its probability; shared linearly."""
    nz, ny, nx = shape
    for g in range(len(rotations)):
        r = rotations[g]
        for i in range(len(points)):
            x, y, z = points[i, 0], points[i, 1], points[i, 2]
            u = (r[0, 0] * x + r[0, 1] * y + r[0, 2] * z + moves[g, 0] - origin[0]) / voxel
            v = (r[1, 0] * x + r[1, 1] * y + r[1, 2] * z + moves[g, 1] - origin[1]) / voxel
            w = (r[2, 0] * x + r[2, 1] * y + r[2, 2] * z + moves[g, 2] - origin[2]) / voxel if nz > 1 else 0.0
            if u < 0 or v < 0 or w < 0 or u >= nx - 1 or v >= ny - 1 or (nz > 1 and w >= nz - 1):
                continue
            a, b, c = int(u), int(v), int(w)
            fu, fv, fw = u - a, v - b, w - c
            mass = weight[i] * probability[g]
            for dz in range(2 if nz > 1 else 1):
                mz = mass * (fw if dz else 1 - fw)
                grid[c + dz, b, a] += mz * (1 - fv) * (1 - fu)
                grid[c + dz, b, a + 1] += mz * (1 - fv) * fu
                grid[c + dz, b + 1, a] += mz * fv * (1 - fu)
                grid[c + dz, b + 1, a + 1] += mz * fv * fu


@njit(cache=True, nogil=True)
def resample(grid: Any, rotation: Any, origin: Any, voxel: float, centre: Any, out: Any) -> None:
    """Add to `out` the density `grid` turned by `rotation` about `centre` (nm), interpolated linearly."""
    nz, ny, nx = grid.shape
    flat = grid.reshape(-1)
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                x = origin[0] + i * voxel - centre[0]
                y = origin[1] + j * voxel - centre[1]
                z = origin[2] + k * voxel - centre[2] if nz > 1 else 0.0
                # the inverse rotation says where this voxel came from
                u = (rotation[0, 0] * x + rotation[1, 0] * y + rotation[2, 0] * z + centre[0] - origin[0]) / voxel
                v = (rotation[0, 1] * x + rotation[1, 1] * y + rotation[2, 1] * z + centre[1] - origin[1]) / voxel
                w = (rotation[0, 2] * x + rotation[1, 2] * y + rotation[2, 2] * z + centre[2] - origin[2]) / voxel
                inside = 0 <= u <= nx - 1 and 0 <= v <= ny - 1 and (nz == 1 or 0 <= w <= nz - 1)
                if inside:
                    out[k, j, i] += _between(flat, nz, ny, nx, w, v, u)
