"""Poses: how particles are turned and shifted, and the grids on which they are searched.

A pose turns a particle about its centre and then shifts it: y = R x + t.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def plane_rotations(number: int, start_deg: float = 0.0) -> Floats:
    """`(number, 3, 3)` rotations about z at equal angles."""
    angle = np.radians(start_deg) + 2 * np.pi * np.arange(number) / number
    return about_z(angle)


def about_z(angle: Floats) -> Floats:
    """Rotations about z by angles in radians, `(n, 3, 3)`."""
    c, s, zero = np.cos(angle), np.sin(angle), np.zeros_like(angle)
    return np.stack([c, -s, zero, s, c, zero, zero, zero, zero + 1], axis=-1).reshape(-1, 3, 3)


def space_rotations(step_deg: float, rng: np.random.Generator, tilt_deg: float = 180.0) -> Floats:
    """Nearly uniform rotations in space, about `step_deg` apart, as a whole turned at random.

    Those that tilt the z axis by more than `tilt_deg` are left out.

    Notes
    -----
    Super-Fibonacci spirals: Alexa 2022, Proc. CVPR, 8291.
    """
    number = max(int(np.ceil(8 * np.pi**2 / np.radians(step_deg) ** 3)), 24)
    s = np.arange(number) + 0.5
    r, capital = np.sqrt(s / number), np.sqrt(1 - s / number)
    alpha, beta = 2 * np.pi * s / np.sqrt(2), 2 * np.pi * s / 1.533751168755204288118041
    quaternions = np.column_stack(
        [r * np.sin(alpha), r * np.cos(alpha), capital * np.sin(beta), capital * np.cos(beta)]
    )
    rotations = of_quaternions(quaternions) @ random_rotations(1, rng)[0]
    kept: Floats = rotations[rotations[:, 2, 2] >= np.cos(np.radians(tilt_deg)) - 1e-9]
    return kept


def random_rotations(number: int, rng: np.random.Generator, *, flat: bool = False, tilt_deg: float = 180.0) -> Floats:
    """`(number, 3, 3)` random rotations: about z where `flat`, else in space, the z axis tilted that much at most."""
    if flat:
        return about_z(rng.uniform(0, 2 * np.pi, number))
    if tilt_deg >= 180.0:
        quaternions = rng.normal(size=(number, 4))
        return of_quaternions(quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True))
    tilt = np.arccos(rng.uniform(np.cos(np.radians(tilt_deg)), 1, number))
    towards = rng.uniform(0, 2 * np.pi, number)
    axis = np.column_stack([-np.sin(towards), np.cos(towards), np.zeros(number)])
    return of_vectors(axis * tilt[:, None]) @ about_z(rng.uniform(0, 2 * np.pi, number))


def of_quaternions(q: Floats) -> Floats:
    """Rotation matrices of unit quaternions `(n, 4)`, scalar first."""
    w, x, y, z = q.T
    return np.stack([
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ], axis=-1).reshape(-1, 3, 3)  # fmt: skip


def of_vectors(vectors: Floats) -> Floats:
    """Rotation matrices of rotation vectors `(n, 3)`: axis times angle in radians."""
    half = np.linalg.norm(vectors, axis=-1, keepdims=True) / 2
    return of_quaternions(np.concatenate([np.cos(half), vectors * np.sinc(half / np.pi) / 2], axis=-1))


def around(step_deg: float, *, flat: bool) -> Floats:
    """Small rotations to try around a pose: none, and one step each way about each axis (z only where `flat`)."""
    steps = np.radians(step_deg) * np.array([-1.0, 0.0, 1.0])
    none = np.zeros(1)
    axes = (none, none, steps) if flat else (steps, steps, steps)
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return of_vectors(grid)


def offsets(reach: int, *, flat: bool) -> NDArray[np.int64]:
    """Whole steps `(n, 3)`, in x, y and z, of at most `reach` along each axis and within the ball of that radius."""
    steps = np.arange(-reach, reach + 1)
    axes = (steps, steps, np.zeros(1, np.int64) if flat else steps)
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    within: NDArray[np.int64] = grid[(grid**2).sum(axis=1) <= reach * reach + 1]
    return within


def angles_deg(rotations: Floats) -> Floats:
    """In-plane angle of each rotation, degrees from x towards y, -180 to 180."""
    result: Floats = np.degrees(
        np.arctan2(rotations[:, 1, 0] - rotations[:, 0, 1], rotations[:, 0, 0] + rotations[:, 1, 1])
    )
    return result


def cyclic(order: int, axis: Floats) -> Floats:
    """The rotations `(order, 3, 3)` of an n-fold axis."""
    turns = 2 * np.pi * np.arange(order) / order
    return of_vectors(turns[:, None] * axis[None] / np.linalg.norm(axis))
