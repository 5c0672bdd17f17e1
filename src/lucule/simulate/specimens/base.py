"""What all specimens share: where they are drawn, and what drawing gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from lucule.core import Config, Region

FloatArray = NDArray[np.float64]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Outline(Protocol):
    """A closed area of the field, as `outlines.Cell` and `outlines.Square` are."""

    @property
    def bounds_nm(self) -> tuple[float, float, float, float]:
        """(x_min, y_min, x_max, y_max)."""

    @property
    def area_um2(self) -> float:
        """Area, um2."""

    def shrunk(self, margin_nm: float) -> Any:
        """The part that is at least `margin_nm` away from the outline."""

    def contains(self, xy_nm: FloatArray) -> NDArray[np.bool_]:
        """Which of the points `(n, 2)` lie inside."""

    def uniform(self, rng: np.random.Generator, n: int) -> FloatArray:
        """Draw `n` points `(n, 2)` uniformly inside."""

    def region(self) -> Region:
        """Give the area as a region."""


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A rectangle along the axes, nm."""

    low_nm: tuple[float, float]
    high_nm: tuple[float, float]

    @property
    def bounds_nm(self) -> tuple[float, float, float, float]:
        """(x_min, y_min, x_max, y_max)."""
        return *self.low_nm, *self.high_nm

    @property
    def area_um2(self) -> float:
        """Area, um2."""
        return max(self.high_nm[0] - self.low_nm[0], 0.0) * max(self.high_nm[1] - self.low_nm[1], 0.0) / 1e6

    def shrunk(self, margin_nm: float) -> Rectangle:
        """The part that is at least `margin_nm` away from the sides; never less than a point in the middle."""
        (x0, y0), (x1, y1) = self.low_nm, self.high_nm
        dx, dy = min(margin_nm, (x1 - x0) / 2), min(margin_nm, (y1 - y0) / 2)
        return Rectangle((x0 + dx, y0 + dy), (x1 - dx, y1 - dy))

    def contains(self, xy_nm: FloatArray) -> NDArray[np.bool_]:
        """Which of the points `(n, 2)` lie inside."""
        inside: NDArray[np.bool_] = np.all((xy_nm >= self.low_nm) & (xy_nm < self.high_nm), axis=1)
        return inside

    def uniform(self, rng: np.random.Generator, n: int) -> FloatArray:
        """Draw `n` points `(n, 2)` uniformly inside."""
        return rng.uniform(self.low_nm, self.high_nm, (n, 2))

    def region(self) -> Region:
        """Give the rectangle as a region."""
        return Region.rectangle(*self.bounds_nm)


@dataclass(frozen=True, slots=True, eq=False)
class Hollow:
    """An outline without a part in its middle: the cytoplasm around a nucleus."""

    outer: Outline
    hole: Outline
    hole_margin_nm: float = 0.0

    @property
    def bounds_nm(self) -> tuple[float, float, float, float]:
        """(x_min, y_min, x_max, y_max) of the outer outline."""
        return self.outer.bounds_nm

    @property
    def area_um2(self) -> float:
        """Area, um2."""
        return max(self.outer.area_um2 - self.hole.area_um2, 0.0)

    def shrunk(self, margin_nm: float) -> Hollow:
        """The part away from the outer outline and from the hole."""
        return Hollow(self.outer.shrunk(margin_nm), self.hole, self.hole_margin_nm + margin_nm)

    def contains(self, xy_nm: FloatArray) -> NDArray[np.bool_]:
        """Which of the points `(n, 2)` lie inside."""
        hole = self.hole.region().shape.buffer(self.hole_margin_nm) if self.hole_margin_nm else None
        in_hole = self.hole.contains(xy_nm) if hole is None else Region.from_shape(hole).contains(xy_nm)
        return self.outer.contains(xy_nm) & ~in_hole

    def uniform(self, rng: np.random.Generator, n: int) -> FloatArray:
        """Draw `n` points `(n, 2)` uniformly inside."""
        drawn = np.empty((0, 2))
        while len(drawn) < n:
            block = self.outer.uniform(rng, 2 * (n - len(drawn)) + 16)
            drawn = np.concatenate([drawn, block[self.contains(block)]])
        return drawn[:n]

    def region(self) -> Region:
        """Give the area as a region."""
        return Region.from_shape(self.outer.region().shape.difference(self.hole.region().shape))


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """Where a specimen that fills a field is drawn: an outline in the plane and a range in z, nm."""

    outline: Outline
    z_nm: tuple[float, float]

    def inside(self, xyz_nm: FloatArray) -> NDArray[np.bool_]:
        """Which of the points `(n, 3)` lie inside."""
        low, high = self.z_nm
        return self.outline.contains(xyz_nm[:, :2]) & (xyz_nm[:, 2] >= low) & (xyz_nm[:, 2] <= high)


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """What drawing a specimen gives.

    Attributes
    ----------
    xyz
        `(n, 3)` epitopes, nm; in the field, or relative to the middle of their own object.
    structure
        `(n,)`, row of `truth` that the epitope belongs to, -1 = none.
    truth
        One row per structure: x, y, z (centre, nm), angle_deg (orientation in the plane, from x towards y), object
        (which object it is part of) and realised parameters with their units in the name.
    normal
        `(n, 3)` unit normals, or None.
    part
        `(n,)`, part of the structure, or None.
    circles
        `(k, 4)`: object, x, y, radius of circles that together cover each object; for placing without overlap.
    """

    xyz: FloatArray
    structure: NDArray[np.int32]
    truth: pl.DataFrame
    normal: FloatArray | None = None
    part: NDArray[np.int32] | None = None
    circles: FloatArray = field(default_factory=lambda: np.empty((0, 4)))

    def kept(self, rows: NDArray[np.bool_]) -> Drawn:
        """Only some of the epitopes; all structures stay."""
        return Drawn(
            self.xyz[rows],
            self.structure[rows],
            self.truth,
            None if self.normal is None else self.normal[rows],
            None if self.part is None else self.part[rows],
            self.circles,
        )


class ObjectSpecimen(Config, ABC):
    """A specimen that is one object, drawn around the origin and placed in the field any number of times."""

    @abstractmethod
    def objects(self, rng: np.random.Generator, n: int) -> Drawn:
        """Draw `n` objects, each around its own origin."""


class FieldSpecimen(Config, ABC):
    """A specimen that fills a field or a cell."""

    @abstractmethod
    def fill(self, rng: np.random.Generator, space: Space) -> Drawn:
        """Draw the specimen in a space."""


def truth_table(n: int, **columns: Any) -> pl.DataFrame:
    """Truth of `n` structures; centre 0, angle 0 and object = row where not given."""
    usual = {"object": np.arange(n, dtype=np.int32), "x": np.zeros(n), "y": np.zeros(n), "z": np.zeros(n),
             "angle_deg": np.zeros(n)}  # fmt: skip
    return pl.DataFrame(usual | {name: np.broadcast_to(values, (n,)) for name, values in columns.items()})


def each(counts: NDArray[np.int64]) -> NDArray[np.int32]:
    """Row numbers, each repeated as often as its count says."""
    return np.repeat(np.arange(len(counts), dtype=np.int32), counts)


def unit_sphere(rng: np.random.Generator, n: int) -> FloatArray:
    """`n` directions `(n, 3)`, uniform on the sphere."""
    vectors = rng.normal(size=(n, 3))
    directions: FloatArray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return directions


def round_objects(radius_nm: FloatArray) -> FloatArray:
    """One covering circle around the origin of every object."""
    n = len(radius_nm)
    return np.column_stack([np.arange(n), np.zeros((n, 2)), radius_nm])


def along_objects(owner: NDArray[np.int32], xy_nm: FloatArray, radius_nm: FloatArray | float) -> FloatArray:
    """Covering circles around points of elongated objects."""
    return np.column_stack([owner, xy_nm, np.broadcast_to(radius_nm, len(xy_nm))])
