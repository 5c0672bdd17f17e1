"""Shapes of the structures of varied fields."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

FloatArray = NDArray[np.float64]

_RIM: Final = 0.08  # standard deviation of a ring's radius, in radii
_STEPS: Final = 64


def content(shape: str, radius: float, length: float, error: float, dims: int) -> float:
    """Area (nm2) or volume (nm3) over which a blurred structure spreads."""
    wide = np.hypot(radius, 1.5 * error)
    if shape == "fibre":
        return float(2 * wide * length if dims == 2 else np.pi * wide**2 * length)
    if shape == "ring":
        rim = np.hypot(2 * _RIM * radius, 1.5 * error)
        return float(4 * np.pi * radius * rim * (1 if dims == 2 else rim))
    return float(np.pi * wide**2 if dims == 2 else 4 / 3 * np.pi * wide**3)


def shadow(shape: str, radius: float, length: float, error: float) -> float:
    """Area that a structure takes in the plane, nm2."""
    wide = radius + error
    return float(2 * wide * length if shape == "fibre" else np.pi * wide**2)


def around(
    rng: np.random.Generator,
    shape: str,
    structure: NDArray[np.int64],
    radii: FloatArray,
    lengths: FloatArray,
    dims: int,
) -> FloatArray:
    """Offsets `(m, 3)` from the centre of its structure for each molecule; z is 0 in 2D.

    Parameters
    ----------
    structure
        Structure of each molecule, `(m,)`, ascending.
    radii, lengths
        Of every structure, nm; lengths are those of fibres.
    """
    m = len(structure)
    radius = radii[structure][:, None]
    if shape == "fibre":
        return _fibres(rng, structure, radii, lengths, dims)
    turn = _rotations(rng, len(radii), dims)[structure]
    direction = rng.normal(size=(m, dims))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    offsets = np.zeros((m, 3))
    if shape == "gaussian":
        offsets[:, :dims] = rng.normal(size=(m, dims)) * radius / 2
    elif shape == "ring":
        angle = rng.uniform(0, 2 * np.pi, m)
        offsets[:, :2] = np.column_stack([np.cos(angle), np.sin(angle)]) * radius
        offsets[:, :dims] += _RIM * radius * rng.normal(size=(m, dims))
    else:
        offsets[:, :dims] = direction * rng.random((m, 1)) ** (1 / dims) * radius
    if shape == "ellipse":
        ratio = np.sqrt(rng.uniform(1.5, 4, len(radii)))[structure][:, None]
        offsets *= np.hstack([ratio, 1 / ratio, np.ones((m, 1))])
    return np.asarray(np.einsum("mij,mj->mi", turn, offsets))


def covered(points: FloatArray, centres: FloatArray, radii: FloatArray) -> NDArray[np.bool_]:
    """Whether points `(n, 3)` lie, seen from above, within the radius of a centre `(s, 2)`."""
    inside = np.zeros(len(points), bool)
    if len(centres) and len(points):
        tree = cKDTree(points[:, :2])
        for found in tree.query_ball_point(centres, radii):
            inside[found] = True
    return inside


def _rotations(rng: np.random.Generator, n: int, dims: int) -> FloatArray:
    """Random rotations `(n, 3, 3)`, about z in 2D."""
    if dims == 3:
        q, r = np.linalg.qr(rng.normal(size=(n, 3, 3)))
        return np.asarray(q * np.sign(np.einsum("nii->ni", r))[:, None, :])
    angle = rng.uniform(0, 2 * np.pi, n)
    turn = np.zeros((n, 3, 3))
    turn[:, 0, 0] = turn[:, 1, 1] = np.cos(angle)
    turn[:, 1, 0] = np.sin(angle)
    turn[:, 0, 1] = -turn[:, 1, 0]
    turn[:, 2, 2] = 1
    return turn


def _fibres(
    rng: np.random.Generator, structure: NDArray[np.int64], radii: FloatArray, lengths: FloatArray, dims: int
) -> FloatArray:
    """Molecules along smooth random curves, Gaussian across (standard deviation half the radius)."""
    n = len(radii)
    bend = rng.normal(size=(n, _STEPS)) * rng.uniform(0, 1.5, (n, 1)) / np.sqrt(_STEPS)
    heading = rng.uniform(0, 2 * np.pi, (n, 1)) + np.cumsum(bend, axis=1)
    slope = rng.uniform(-0.2, 0.2, (n, 1)) * (dims == 3)
    step = np.stack([np.cos(heading), np.sin(heading), np.broadcast_to(slope, heading.shape)], axis=2)
    path = np.cumsum(step, axis=1) * (lengths[:, None, None] / _STEPS)
    path -= path.mean(axis=1, keepdims=True)
    along = rng.random(len(structure)) * (_STEPS - 1)
    low = along.astype(np.int64)
    part = (along - low)[:, None]
    offsets = path[structure, low] * (1 - part) + path[structure, low + 1] * part
    offsets[:, :dims] += rng.normal(size=(len(structure), dims)) * radii[structure][:, None] / 2
    return offsets
