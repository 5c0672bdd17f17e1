"""Curves in space: worm-like chains, splines, and points on tubes around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A smooth curve as points at equal steps, with a frame that does not twist.

    Attributes
    ----------
    points_nm
        `(n, 3)`, nm.
    step_nm
        Distance between neighbouring points along the curve.
    tangents, normals, binormals
        `(n, 3)` unit vectors.
    """

    points_nm: FloatArray
    step_nm: float
    tangents: FloatArray
    normals: FloatArray
    binormals: FloatArray

    @classmethod
    def of(cls, points_nm: FloatArray) -> Curve:
        """From points that already lie at equal steps."""
        points = np.ascontiguousarray(points_nm, dtype=np.float64)
        tangents = np.gradient(points, axis=0)
        tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
        normals = _transport(points, tangents)
        step = float(np.linalg.norm(np.diff(points, axis=0), axis=1).mean())
        return cls(points, step, tangents, normals, np.cross(tangents, normals))

    @classmethod
    def through(cls, knots_nm: FloatArray, *, step_nm: float = 5.0) -> Curve:
        """A cubic spline through control points `(n, 3)`, sampled at equal steps along its length."""
        chords = np.concatenate([[0.0], np.linalg.norm(np.diff(knots_nm, axis=0), axis=1).cumsum()])
        spline = CubicSpline(chords, knots_nm)
        fine = spline(np.linspace(0.0, chords[-1], max(int(4 * chords[-1] / step_nm), 64)))
        along = np.concatenate([[0.0], np.linalg.norm(np.diff(fine, axis=0), axis=1).cumsum()])
        steps = np.linspace(0.0, along[-1], max(int(along[-1] / step_nm), 2) + 1)
        return cls.of(np.column_stack([np.interp(steps, along, fine[:, axis]) for axis in range(3)]))

    @property
    def length_nm(self) -> float:
        """Length along the curve."""
        return self.step_nm * (len(self.points_nm) - 1)

    def at(self, along_nm: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Position and frame (tangent, normal, binormal) at distances along the curve, each `(n, 3)`.

        Distances before the start or beyond the end continue straight on.
        """
        position = np.clip(along_nm / self.step_nm, 0.0, len(self.points_nm) - 1)
        before = np.minimum(position.astype(np.int64), len(self.points_nm) - 2)
        weight = (position - before)[:, None]

        def between(values: FloatArray) -> FloatArray:
            mixed: FloatArray = values[before] * (1 - weight) + values[before + 1] * weight
            return mixed

        tangent, normal = _unit(between(self.tangents)), between(self.normals)
        normal = _unit(normal - tangent * (normal * tangent).sum(axis=1, keepdims=True))
        beyond = (along_nm - position * self.step_nm)[:, None]
        return between(self.points_nm) + beyond * tangent, tangent, normal, np.cross(tangent, normal)

    def around(
        self, along_nm: FloatArray, angle: FloatArray, radius_nm: FloatArray | float
    ) -> tuple[FloatArray, FloatArray]:
        """Points `(n, 3)` at a distance from the curve, and the unit vectors that point away from it."""
        position, _, normal, binormal = self.at(along_nm)
        outward = np.cos(angle)[:, None] * normal + np.sin(angle)[:, None] * binormal
        return position + np.reshape(radius_nm, (-1, 1)) * outward, outward

    def moved(self, offset_nm: FloatArray) -> Curve:
        """The same curve elsewhere."""
        return Curve(self.points_nm + offset_nm, self.step_nm, self.tangents, self.normals, self.binormals)


def worm_like_chain(
    rng: np.random.Generator,
    length_nm: float,
    persistence_nm: float,
    *,
    start_nm: FloatArray | None = None,
    direction: FloatArray | None = None,
    z_nm: tuple[float, float] | None = None,
    steepest_deg: float = 90.0,
    step_nm: float = 10.0,
) -> Curve:
    """A curve with random bends: its direction is lost as exp(-s / P) in space, as exp(-s / (2 P)) in the plane.

    Parameters
    ----------
    z_nm
        Range in z from which the curve is reflected; None keeps it in the plane of its start.
    steepest_deg
        Largest angle between the curve and the plane; a curve that would become steeper goes on at this angle.
    """
    n = max(int(np.ceil(length_nm / step_nm)), 2)
    step = length_nm / n
    start = np.zeros(3) if start_nm is None else np.asarray(start_nm, dtype=np.float64)
    first = np.array([1.0, 0.0, 0.0]) if direction is None else np.asarray(direction, dtype=np.float64)
    # each of the two bending angles has a variance of step / persistence
    kicks = rng.normal(0.0, np.sqrt(step / persistence_nm), (n, 2))
    if z_nm is None:
        angle = np.arctan2(first[1], first[0]) + kicks[:, 0].cumsum()
        steps = step * np.column_stack([np.cos(angle), np.sin(angle), np.zeros(n)])
        return Curve.of(np.concatenate([start[None], start + steps.cumsum(axis=0)]))
    return Curve.of(
        _walk(start, first / np.linalg.norm(first), kicks, step, z_nm[0], z_nm[1], np.sin(np.radians(steepest_deg)))
    )


def _unit(vectors: FloatArray) -> FloatArray:
    unit: FloatArray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


@njit(cache=True)
def _perpendicular(t: FloatArray) -> FloatArray:
    """A unit vector at a right angle to a unit vector."""
    n = np.zeros(3)
    smallest = np.argmin(np.abs(t))
    n[smallest] = 1.0
    n -= t[smallest] * t
    unit: FloatArray = n / np.sqrt((n * n).sum())
    return unit


@njit(cache=True)
def _transport(points: FloatArray, tangents: FloatArray) -> FloatArray:
    """Normals that turn as little as possible along the curve (double reflection, Wang et al. 2008)."""
    normals = np.empty_like(points)
    normals[0] = _perpendicular(tangents[0])
    for i in range(len(points) - 1):
        v = points[i + 1] - points[i]
        c = (v * v).sum()
        if c == 0.0:
            normals[i + 1] = normals[i]
            continue
        reflected = normals[i] - (2.0 / c) * (v * normals[i]).sum() * v
        turned = tangents[i] - (2.0 / c) * (v * tangents[i]).sum() * v
        w = tangents[i + 1] - turned
        c = (w * w).sum()
        normals[i + 1] = reflected - (2.0 / c) * (w * reflected).sum() * w if c > 0.0 else reflected
    return normals


@njit(cache=True)
def _walk(
    start: FloatArray,
    direction: FloatArray,
    kicks: FloatArray,
    step: float,
    z_low: float,
    z_high: float,
    steepest: float,
) -> FloatArray:
    points = np.empty((len(kicks) + 1, 3))
    points[0] = start
    t = direction.copy()
    for i in range(len(kicks)):
        u = _perpendicular(t)
        v = np.array([t[1] * u[2] - t[2] * u[1], t[2] * u[0] - t[0] * u[2], t[0] * u[1] - t[1] * u[0]])
        t = t + kicks[i, 0] * u + kicks[i, 1] * v
        t /= np.sqrt((t * t).sum())
        if abs(t[2]) > steepest:
            t[:2] *= np.sqrt((1 - steepest**2) / (t[0] ** 2 + t[1] ** 2))
            t[2] = np.sign(t[2]) * steepest
        height = points[i, 2] + step * t[2]
        if (height > z_high and t[2] > 0.0) or (height < z_low and t[2] < 0.0):
            t[2] = -t[2]
        points[i + 1] = points[i] + step * t
    return points
