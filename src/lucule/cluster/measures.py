"""Size, shape and density of clusters, all clusters at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.cluster.members import Members
from lucule.cluster.outlines import RADIUS_PER_SPACING
from lucule.cluster.outlines import outlines as outline_shapes
from lucule.cluster.solids import MARGIN_PER_SPACING, Solids, solids
from lucule.core import Localizations, Region, Task
from lucule.core.patterns import PATTERNS

ONE_PLACE: Final = "all localizations at one place"
TWO_PLACES: Final = "localizations at two places only"
ON_A_LINE: Final = "localizations on one line"
IN_A_PLANE: Final = "localizations in one plane"
NOT_OUTLINED: Final = "outlines were not asked for"

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Measures of m clusters that follow from where their localizations lie.

    Attributes
    ----------
    centre
        `(m, d)`, nm.
    columns
        Sizes and shapes, `(m,)` each, by name.
    shapes
        Outlines `(m,)`; None in 3D, and where they were not asked for.
    margin_nm
        How far outline or solid reaches beyond the outermost localizations, `(m,)`; NaN where there is none.
    reason
        Why a cluster has no area or volume, `(m,)`; None where it has.
    """

    centre: Floats
    columns: dict[str, Any]
    shapes: NDArray[Any] | None
    margin_nm: Floats
    reason: list[str | None]


def measured(members: Members, outlines: bool, task: Task) -> Measured:
    """Measure all clusters; without `outlines` there are no areas, volumes and what follows from them."""
    centre, variances = moments(members)
    spacing = members.nearest_neighbour()
    reason = why_not_measurable(members, variances)
    measurable = np.where([text is None for text in reason], spacing, np.nan)
    if not outlines:
        reason = [NOT_OUTLINED if text is None else text for text in reason]
    shapes = None
    if centre.shape[1] == 3:
        margin = MARGIN_PER_SPACING * measurable
        wanted = measurable if outlines else np.full(len(members), np.nan)
        columns = bulk(solids(members.places, members.place_starts, wanted, task), members.n_points)
    else:
        margin = RADIUS_PER_SPACING * measurable
        if outlines:
            shapes = outline_shapes(members.places, members.place_starts, margin, task)
        columns = extent(shapes if shapes is not None else np.full(len(members), None), members.n_points)
    columns |= shape(variances) | {"nearest_neighbour_nm": spacing}
    return Measured(centre, columns, shapes, margin, reason)


def identity(locs: Localizations, members: Members) -> dict[str, Any]:
    """Columns that say which cluster it is, where it lies and of how many localizations it is made."""
    columns: dict[str, Any] = {name: members.first(locs[name]) for name in PATTERNS if name in locs}
    columns["cluster"] = members.clusters
    if "label" in locs:
        columns["label"] = members.first(locs["label"])
    columns["n_points"] = members.n_points.astype(np.uint32)
    return columns


def moments(members: Members) -> tuple[Floats, Floats]:
    """Centre `(m, d)`, nm, and variances along the principal axes `(m, d)`, ascending, nm2, of each cluster.

    Variances are those of the localizations themselves (divided by n), so that they sum to the squared radius of
    gyration.
    """
    centre = members.mean(members.points)
    offset = members.points - np.repeat(centre, members.n_points, axis=0)
    dims = offset.shape[1]
    covariance = np.empty((len(members), dims, dims))
    for a in range(dims):
        for b in range(a, dims):
            covariance[:, a, b] = covariance[:, b, a] = members.mean(offset[:, a] * offset[:, b])
    return centre, np.maximum(np.linalg.eigvalsh(covariance), 0)


def why_not_measurable(members: Members, variances: Floats) -> list[str | None]:
    """Reason why a cluster has no area (2D) or volume (3D); None where it has."""
    dims = variances.shape[1]
    # positions are float32; whatever is no wider than their rounding is no width
    rounding = np.finfo(np.float32).eps * float(np.abs(members.places).max(initial=0.0))
    width = np.sqrt(variances)
    reason = np.full(len(members), None, dtype=object)
    if dims == 3:
        reason[width[:, 0] <= rounding] = IN_A_PLANE
    reason[width[:, -2] <= rounding] = ON_A_LINE
    reason[members.n_places == 2] = TWO_PLACES
    reason[members.n_places == 1] = ONE_PLACE
    return list(reason)


def shape(variances: Floats) -> dict[str, Floats]:
    """Radius of gyration, eccentricity and axes from the variances along the principal axes.

    The axes are those of the solid ellipse (ellipsoid in 3D) with the same variances: along a semi-axis a it has the
    variance a^2 / 4 (a^2 / 5).
    """
    dims = variances.shape[1]
    axes = 2 * np.sqrt((dims + 2) * variances)
    with np.errstate(invalid="ignore"):
        eccentricity = np.sqrt(1 - variances[:, 0] / variances[:, -1])
    columns = {
        "radius_of_gyration_nm": np.sqrt(variances.sum(axis=1)),
        "eccentricity": eccentricity,
        "major_axis_nm": axes[:, -1],
    }
    if dims == 3:
        columns["middle_axis_nm"] = axes[:, 1]
    return columns | {"minor_axis_nm": axes[:, 0]}


def extent(shapes: NDArray[Any], n_points: NDArray[np.int64]) -> dict[str, Any]:
    """Area, perimeter (holes included), holes and density from outlines; NaN and null where there is none."""
    import shapely

    area = shapely.area(shapes)
    outlined = np.flatnonzero(np.isfinite(area))
    parts, owner = shapely.get_parts(shapes[outlined], return_index=True)
    holes = np.zeros(len(shapes), np.int32)
    np.add.at(holes, outlined[owner], shapely.get_num_interior_rings(parts))
    return {
        "area_nm2": area,
        "perimeter_nm": shapely.length(shapes),
        "holes": pl.Series(holes).set(pl.Series(np.isnan(area)), None),
        "density_per_um2": n_points / area * 1e6,
    }


def bulk(found: Solids, n_points: NDArray[np.int64]) -> dict[str, Any]:
    """Volume, surface, how round the solid is, and density, from solids; NaN where there is none."""
    volume, surface = found
    return {
        "volume_nm3": volume,
        "surface_nm2": surface,
        "sphericity": np.cbrt(36 * np.pi * volume**2) / surface,
        "density_per_um3": n_points / volume * 1e9,
    }


def touches(members: Members, margin_nm: Floats, outside: NDArray[np.int32], region: Region) -> NDArray[np.bool_]:
    """Which clusters the border of `region` cuts, `(m,)`.

    Those of which localizations lie outside (`outside`: their clusters), and those that have one within the margin of
    the border, by which the outline reaches beyond its localizations.
    """
    import shapely

    cut = np.isin(members.clusters, outside)
    if not len(members):
        return cut
    margin = np.nan_to_num(margin_nm)
    xy = members.places[:, :2]
    low = np.minimum.reduceat(xy, members.place_starts[:-1]) - margin[:, None]
    high = np.maximum.reduceat(xy, members.place_starts[:-1]) + margin[:, None]
    shapely.prepare(region.shape)
    well_inside = shapely.contains_properly(region.shape, shapely.box(low[:, 0], low[:, 1], high[:, 0], high[:, 1]))
    unsure = np.repeat(~(well_inside | cut), members.n_places)
    cluster_of = np.repeat(np.arange(len(members)), members.n_places)[unsure]
    border = shapely.boundary(region.shape)
    shapely.prepare(border)
    near = shapely.dwithin(border, shapely.points(xy[unsure]), margin[cluster_of])
    cut[cluster_of[near]] = True
    return cut
