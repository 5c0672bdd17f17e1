"""The result of measuring clusters: a table, never an object per cluster."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.cluster import intervals
from lucule.core import FormatError, InputError, Meta
from lucule.core.files import atomic_path
from lucule.core.parquet import METADATA_KEY, read_meta
from lucule.core.patterns import PATTERNS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SPREADS: Final = {
    "points_per_cluster": "n_points",
    "cluster_area_nm2": "area_nm2",
    "cluster_density_per_um2": "density_per_um2",
    "cluster_volume_nm3": "volume_nm3",
    "cluster_surface_nm2": "surface_nm2",
    "cluster_density_per_um3": "density_per_um3",
    "radius_of_gyration_nm": "radius_of_gyration_nm",
    "eccentricity": "eccentricity",
    "nearest_neighbour_nm": "nearest_neighbour_nm",
    "nearest_cluster_nm": "nearest_cluster_nm",
    "nearest_edge_nm": "nearest_edge_nm",
}
"""What a summary tells as median and interquartile range, and the columns it comes from."""
_FIELDS_KEY: Final = "lucule_fields"
_OUTLINE: Final = "outline"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Clusters:
    """Measured clusters, from `lucule.cluster.measure`.

    Lengths are nm. A value that does not exist is NaN (null for whole numbers), and `reason` says why.

    ======================== ==========================================================================================
    column                   meaning
    ======================== ==========================================================================================
    field, channel           where the table has them
    cluster                  number, as in the table of localizations
    label                    class
    n_points                 localizations
    x, y (z in 3D)           centre: mean position of the localizations
    area_nm2                 2D: area of the outline, holes left out
    perimeter_nm             2D: length of the outline, that of holes included
    holes                    2D: holes of the outline
    density_per_um2          2D: localizations per area of the outline
    volume_nm3               3D: volume of the solid (see `lucule.cluster.solids`)
    surface_nm2              3D: its surface
    sphericity               3D: surface of the ball of the same volume over that surface; about 0.9 for balls
    density_per_um3          3D: localizations per volume of the solid
    radius_of_gyration_nm    root mean squared distance of the localizations from the centre
    eccentricity             0 (round) to 1 (a line), from the largest and smallest axis
    major_axis_nm            longest full axis of the solid ellipse (3D: ellipsoid) with the same variances
    middle_axis_nm           3D: the axis between
    minor_axis_nm            shortest full axis
    nearest_neighbour_nm     mean distance from each distinct position of the cluster to the nearest other
    nearest_cluster_nm       from the centre to that of the nearest other cluster of the field and channel
    nearest_edge_nm          from the outline (3D: solid) to the nearest other; 0 where they touch
    NAME_low, NAME_high      where they were asked for: limits of the 95 % interval of that measure of this cluster
    p_label                  mean probability of the label
    touches_border           whether the border of the region cuts it; null without a region
    reason                   why a value is missing
    ======================== ==========================================================================================

    Attributes
    ----------
    data
        The columns above, one row per cluster.
    fields
        One row per field, channel and class: `points` (all localizations), `points_in_clusters`, `clusters`,
        `area_um2` and `area_from`, which says where the area comes from.
    shapes
        Outlines, see `outlines`.
    meta
        Metadata and history of the localizations, this measurement included.
    """

    data: pl.DataFrame
    fields: pl.DataFrame
    shapes: NDArray[Any] | None
    meta: Meta

    def __len__(self) -> int:
        return self.data.height

    def table(self) -> pl.DataFrame:
        """One row per cluster."""
        return self.data

    def outlines(self) -> NDArray[Any] | None:
        """Outlines `(m,)`, shapely polygons or multipolygons in nm, None for clusters without one; None in 3D."""
        return self.shapes

    def select(self, *, field: int | None = None, channel: int | None = None, label: int | None = None) -> Clusters:
        """Clusters of one field, channel or class; None takes all.

        Raises
        ------
        InputError
            The table has no such column.
        """
        wanted = {"field": field, "channel": channel, "label": label}
        key = {name: value for name, value in wanted.items() if value is not None}
        if absent := [name for name in key if name not in self.data.columns or name not in self.fields.columns]:
            raise InputError(
                f"The clusters cannot be chosen by {absent[0]}",
                received=f"columns {', '.join(self.data.columns)}",
                next_step="measure localizations that have the column",
            )
        kept = np.ones(len(self), dtype=bool)
        for name, value in key.items():
            kept &= (self.data[name] == value).to_numpy()
        shapes = None if self.shapes is None else self.shapes[kept]
        return Clusters(self.data.filter(kept), select(self.fields, key), shapes, self.meta)

    def summary(self) -> dict[str, Any]:
        """The whole in numbers that JSON can hold: counts, densities, medians.

        `NAME_interval` is the interquartile range over the clusters, `NAME_confidence` the 95 % interval of the number
        itself (see `lucule.cluster.intervals`). A number that does not exist is None. `area_from` says where `area_um2`
        comes from.
        """
        areas = each_once(self.fields, ("field",))
        totals = each_once(self.fields, PATTERNS)
        area = None if areas["area_um2"].null_count() else float(areas["area_um2"].sum())
        counted = _counts(int(totals["points"].sum()), int(self.fields["points_in_clusters"].sum()), len(self), area)
        return {
            **counted,
            **_confidence_of_counts(counted, self.data),
            "area_from": "; ".join(areas["area_from"].unique(maintain_order=True)),
            "clusters_touching_border": None if _unknown(self.data) else int(self.data["touches_border"].sum()),
            **_spreads(self.data),
        }

    def by_field(self) -> pl.DataFrame:
        """The summary of each field, channel and class, one row each.

        Quartiles are in columns `*_q1` and `*_q3`, limits of the 95 % intervals in `*_low` and `*_high`.
        """
        keys = [name for name in (*PATTERNS, "label") if name in self.fields.columns]
        rows = []
        for row in self.fields.iter_rows(named=True):
            chosen = select(self.data, {name: row[name] for name in keys})
            counts = _counts(row["points"], row["points_in_clusters"], row["clusters"], row["area_um2"])
            line = {name: row[name] for name in keys} | counts | {"area_from": row["area_from"]}
            for name, value in (_confidence_of_counts(counts, chosen) | _spreads(chosen)).items():
                for end, low_end, high_end in (("_interval", "_q1", "_q3"), ("_confidence", "_low", "_high")):
                    if name.endswith(end):
                        low, high = value or (None, None)
                        line |= {name.replace(end, low_end): low, name.replace(end, high_end): high}
                        break
                else:
                    line[name] = value
            rows.append(line)
        return pl.DataFrame(rows, infer_schema_length=None)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the table: `.parquet` with outlines (column `outline`, WKB), metadata and history, or plain `.csv`.

        Raises
        ------
        InputError
            The name ends in neither.
        """
        target = Path(path)
        match target.suffix.lower():
            case ".csv":
                with atomic_path(target) as temporary:
                    self.data.write_csv(temporary)
            case ".parquet":
                self._write_parquet(target)
            case other:
                raise InputError("Clusters cannot be written so", received=other or target, allowed=".parquet, .csv")
        return target

    def _write_parquet(self, path: Path) -> None:
        data = self.data
        if self.shapes is not None:
            import shapely

            data = data.with_columns(pl.Series(_OUTLINE, shapely.to_wkb(self.shapes), dtype=pl.Binary))
        metadata = {METADATA_KEY: self.meta.model_dump_json(), _FIELDS_KEY: json.dumps(self.fields.to_dicts())}
        with atomic_path(path) as temporary:
            data.write_parquet(temporary, compression="zstd", compression_level=3, metadata=metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Clusters:
        """Read a `.parquet` file written by `save`.

        Raises
        ------
        FormatError
            The file is damaged, or holds something else.
        """
        source = Path(path)
        meta = read_meta(source)
        text = None if meta is None else pl.read_parquet_metadata(source).get(_FIELDS_KEY)
        if meta is None or text is None:
            raise FormatError(f"{path} does not hold clusters", next_step="make it with lucule cluster --clusters FILE")
        try:
            data = pl.read_parquet(source)
        except pl.exceptions.PolarsError as error:
            raise FormatError(f"{path} is damaged: {str(error).splitlines()[0]}") from None
        shapes = None
        if _OUTLINE in data.columns:
            import shapely

            shapes = shapely.from_wkb(data[_OUTLINE].to_numpy())
            data = data.drop(_OUTLINE)
        return cls(data, fields_table(json.loads(text)), shapes, meta)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the outlines (centres where there are none), y downwards as in an image."""
        import matplotlib.pyplot as plt
        from matplotlib.collections import PathCollection

        axes = ax or plt.figure(layout="constrained").add_subplot()
        if self.shapes is None:
            axes.scatter(self.data["x"], self.data["y"], s=4, color="tab:orange")
        else:
            paths = [_path(shape) for shape in self.shapes if shape is not None]
            axes.add_collection(PathCollection(paths, facecolor="tab:orange", edgecolor="black", linewidth=0.5))
            axes.autoscale_view()
        axes.set(xlabel="x (nm)", ylabel="y (nm)", aspect="equal", title=f"{len(self):,} clusters")
        if not axes.yaxis_inverted():
            axes.invert_yaxis()
        return axes

    def __repr__(self) -> str:
        area = self.summary()["area_um2"]
        where = "" if area is None else f" in {area:.4g} um2"
        return f"Clusters({len(self):,}{where})"


def fields_table(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """The table `Clusters.fields` from its rows."""
    types: dict[str, Any] = {"field": pl.UInt16, "channel": pl.UInt8, "label": pl.UInt8, "points": pl.UInt32}
    types |= {"points_in_clusters": pl.UInt32, "clusters": pl.UInt32, "area_um2": pl.Float64, "area_from": pl.String}
    return pl.DataFrame(rows, schema={name: dtype for name, dtype in types.items() if name in rows[0]})


def each_once(fields: pl.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    """One row of `Clusters.fields` for each value of those columns that there are; classes share points and area."""
    present = [name for name in names if name in fields.columns]
    return fields.unique(present, maintain_order=True) if present else fields.head(1)


def select(data: pl.DataFrame, key: dict[str, Any]) -> pl.DataFrame:
    """Rows in which each column of `key` has its value."""
    for name, value in key.items():
        data = data.filter(pl.col(name) == value)
    return data


def _counts(points: int, points_in_clusters: int, clusters: int, area_um2: float | None) -> dict[str, Any]:
    return {
        "points": int(points),
        "points_in_clusters": int(points_in_clusters),
        "percent_clustered": 100 * points_in_clusters / points if points else None,
        "clusters": int(clusters),
        "area_um2": area_um2,
        "clusters_per_um2": clusters / area_um2 if area_um2 else None,
    }


def _spreads(data: pl.DataFrame) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, column in SPREADS.items():
        if column not in data.columns:
            continue
        values = data[column].to_numpy()
        values = values[np.isfinite(values)]
        low, middle, high = np.percentile(values, [25, 50, 75]).tolist() if values.size else (None, None, None)
        sure = intervals.of_median(values)
        result |= {
            name: middle,
            f"{name}_interval": None if low is None else [low, high],
            f"{name}_confidence": None if sure is None else list(sure),
        }
    return result


def _confidence_of_counts(counted: dict[str, Any], data: pl.DataFrame) -> dict[str, Any]:
    """Intervals of percentage and density; each cluster is a unit, and so is each localization outside of clusters."""
    own = data["n_points"].to_numpy().astype(np.float64)
    # a cluster across fields counts in one of them
    free = max(counted["points"] - counted["points_in_clusters"], 0)
    share = intervals.of_ratio(np.append(own, 0), np.append(own, 1), times=np.append(np.ones(len(own)), free))
    area = counted["area_um2"]
    return {
        "percent_clustered_confidence": None if share is None else [100 * limit for limit in share],
        "clusters_per_um2_confidence": [limit / area for limit in intervals.of_count(len(data))] if area else None,
    }


def _unknown(data: pl.DataFrame) -> bool:
    return data["touches_border"].null_count() == len(data)


def _path(shape: Any) -> Any:
    """Outline as a path whose holes stay empty."""
    import shapely
    from matplotlib.path import Path as Outline

    rings = shapely.get_rings(shapely.get_parts(shape))
    return Outline.make_compound_path(*(Outline(shapely.get_coordinates(ring), closed=True) for ring in rings))
