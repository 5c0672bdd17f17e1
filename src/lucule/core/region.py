"""Regions of a field of view: rectangles and polygons with holes, in nm."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lucule.core.errors import InputError

if TYPE_CHECKING:
    from shapely import MultiPolygon, Polygon


@dataclass(frozen=True, slots=True, repr=False)
class Region:
    """One or more polygons, possibly with holes; coordinates are nm in the frame of the table.

    Make it with `Region.rectangle`, `Region.polygon` or `Region.from_geojson`; ImageJ ROIs and GeoJSON files are read
    by `lucule.io.regions`.

    Examples
    --------
    >>> region = Region.rectangle(0, 0, 2000, 1000)
    >>> region.area_um2
    2.0
    >>> region.contains([[500, 500], [2500, 500]]).tolist()
    [True, False]
    """

    shape: MultiPolygon

    @classmethod
    def rectangle(cls, x_min: float, y_min: float, x_max: float, y_max: float) -> Self:
        """A rectangle given by its corners in nm."""
        import shapely

        if not (x_max > x_min and y_max > y_min):
            raise InputError(
                "The rectangle is empty",
                received=(x_min, y_min, x_max, y_max),
                allowed="x_min < x_max, y_min < y_max, nm",
            )
        return cls(shapely.MultiPolygon([shapely.box(x_min, y_min, x_max, y_max)]))

    @classmethod
    def polygon(cls, outline: ArrayLike, holes: Sequence[ArrayLike] = ()) -> Self:
        """A polygon from its outline `(n, 2)` and holes, each `(m, 2)`, nm."""
        import shapely

        ring = np.asarray(outline, dtype=float)
        if ring.ndim != 2 or ring.shape[1] != 2 or len(ring) < 3 or not np.isfinite(ring).all():
            raise InputError("An outline needs at least 3 finite points (x, y)", received=f"shape {ring.shape}")
        return cls.from_shape(shapely.Polygon(ring, [np.asarray(hole, dtype=float) for hole in holes]))

    @classmethod
    def from_shape(cls, shape: Polygon | MultiPolygon) -> Self:
        """From a shapely polygon or multipolygon in nm; crossing outlines are mended."""
        import shapely

        valid = shape if shape.is_valid else shapely.make_valid(shape)
        parts = [part for part in shapely.get_parts(valid) if part.geom_type in ("Polygon", "MultiPolygon")]
        merged = shapely.union_all(parts)
        if merged.is_empty or merged.area == 0:
            raise InputError("The region encloses no area")
        return cls(shapely.MultiPolygon([merged]) if merged.geom_type == "Polygon" else merged)

    @classmethod
    def union(cls, regions: Iterable[Region]) -> Self:
        """The area covered by any of `regions`."""
        import shapely

        return cls.from_shape(shapely.union_all([region.shape for region in regions]))

    @classmethod
    def from_geojson(cls, document: dict[str, Any], *, scale_nm: float = 1.0) -> Self:
        """From a GeoJSON geometry, feature or feature collection; `scale_nm` is the length of one unit in nm."""
        import shapely
        from shapely.geometry import shape

        kind = document.get("type")
        if kind == "FeatureCollection":
            return cls.union(cls.from_geojson(feature, scale_nm=scale_nm) for feature in document["features"])
        geometry = document.get("geometry") if kind == "Feature" else document
        if not geometry or geometry.get("type") not in ("Polygon", "MultiPolygon"):
            raise InputError(
                "The GeoJSON holds no area",
                received=geometry and geometry.get("type"),
                allowed="Polygon or MultiPolygon",
            )
        try:
            polygon = shape(geometry)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise InputError(f"The GeoJSON geometry is damaged: {error}") from None
        return cls.from_shape(shapely.transform(polygon, lambda points: points * scale_nm))

    def to_geojson(self) -> dict[str, Any]:
        """A GeoJSON geometry, coordinates in nm."""
        from shapely.geometry import mapping

        return dict(mapping(self.shape))

    @property
    def area_um2(self) -> float:
        """Area in um2."""
        return float(self.shape.area) / 1e6

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(x_min, y_min, x_max, y_max) in nm."""
        x_min, y_min, x_max, y_max = (float(value) for value in self.shape.bounds)
        return x_min, y_min, x_max, y_max

    @property
    def is_rectangle(self) -> bool:
        """Whether the region is one rectangle along the axes, for which bounds say everything."""
        return bool(np.isclose(self.shape.envelope.area, self.shape.area, rtol=1e-12))

    def contains(self, xy: ArrayLike) -> NDArray[np.bool_]:
        """Which of the points `(n, 2)`, nm, lie inside (left and top edges included)."""
        import shapely

        points = np.asarray(xy)
        x, y = points[:, 0], points[:, 1]
        x_min, y_min, x_max, y_max = self.bounds
        inside: NDArray[np.bool_] = (x >= x_min) & (x < x_max) & (y >= y_min) & (y < y_max)
        if self.is_rectangle:
            return inside
        shapely.prepare(self.shape)
        candidates = np.flatnonzero(inside)
        inside[candidates] = shapely.intersects_xy(self.shape, x[candidates], y[candidates])
        return inside

    def __repr__(self) -> str:
        return f"Region({len(self.shape.geoms)} polygons, {self.area_um2:.4g} um2)"
