"""From grouped localizations to a table of clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.cluster import intervals as interval
from lucule.cluster import measures, nearest
from lucule.cluster.area import FEWEST_PLACES, occupied_area
from lucule.cluster.members import Members
from lucule.cluster.result import Clusters, fields_table, select
from lucule.core import SILENT, ColumnError, InputError, Localizations, Progress, Region, Step, package_version
from lucule.core.patterns import PATTERNS, patterns

AREA_FROM_REGION = "the region"
AREA_ESTIMATED = "estimated from where localizations lie"
AREA_UNKNOWN = f"not known: fewer than {FEWEST_PLACES} clusters and localizations outside clusters"


def measure(
    locs: Localizations,
    *,
    region: Region | None = None,
    outlines: bool = True,
    intervals: int = 0,
    seed: int = 1,
    progress: Progress = SILENT,
) -> Clusters:
    """Measure clusters: outline, area, density, size and shape of each, and the field as a whole.

    Parameters
    ----------
    locs
        Localizations with `cluster` (-1 = none), from `group` or any other program. `label`, `p_label`, `field` and
        `channel` are used where the table has them.
    region
        Only localizations inside count, and `touches_border` tells which clusters the border cuts. Without it, the
        area of a field is estimated from where localizations lie (see `lucule.cluster.area`).
    outlines
        Whether to make outlines (2D) and solids (3D); without them there are no areas and volumes.
    intervals
        Number of random halves from which each measure of each cluster gets a 95 % interval, even; 40 are enough, and
        the work is about ten times that of measuring once. 0: none. Summaries have intervals in any case.
    seed
        Of the random halves.

    Returns
    -------
    clusters
        See `Clusters` for the columns.

    Raises
    ------
    ColumnError
        There is no `cluster`.
    InputError
        `intervals` is odd or below 0.

    Notes
    -----
    Outlines: union of discs of radius 2r around the localizations, eroded by r, where r is 1.2 times the mean distance
    between nearest neighbours of the cluster (Williamson et al. 2020, Methods). In 3D it is the union of balls, with
    other factors (see `lucule.cluster.solids`). Distances between neighbours and outlines are those of distinct
    positions; all else counts every localization. Intervals: see `lucule.cluster.intervals`.

    Examples
    --------
    >>> x, y = np.meshgrid(np.arange(0.0, 50.0, 10.0), np.arange(0.0, 50.0, 10.0))
    >>> locs = Localizations({"x": x.ravel(), "y": y.ravel(), "cluster": [0] * 25})
    >>> clusters = measure(locs)
    >>> row = clusters.table().row(0, named=True)
    >>> row["n_points"], row["x"], row["nearest_neighbour_nm"], round(row["radius_of_gyration_nm"])
    (25, 20.0, 10.0, 20)
    """
    if "cluster" not in locs:
        raise ColumnError(
            "Measuring clusters needs to know which localizations belong together, and the table has no column cluster",
            received=f"columns {', '.join(locs.columns)}",
            next_step="group the localizations first, with lucule cluster",
        )
    if intervals < 0 or intervals % 2:
        raise InputError("So many halves cannot be drawn", received=f"intervals = {intervals}", allowed="0, 2, 4, ...")
    cluster = locs["cluster"]
    inside = np.ones(len(locs), dtype=bool) if region is None else region.contains(locs.xy())
    points = locs.xyz() if locs.is_3d else locs.xy()
    members = Members.of(points, cluster, np.flatnonzero(inside & (cluster >= 0)))

    with progress.task("Measure", len(members), "clusters") as task:
        found = measures.measured(members, outlines, task)
    columns = measures.identity(locs, members)
    columns |= dict(zip("xyz", found.centre.T.astype(np.float32), strict=False))
    columns |= found.columns | _nearest(columns, members, found)
    if intervals:
        rng = np.random.default_rng(seed)
        with progress.task("Intervals", len(members) * intervals, "clusters") as task:
            columns |= interval.of_clusters(members, found.columns, outlines, intervals, rng, task)
    if "p_label" in locs:
        columns["p_label"] = members.mean(locs["p_label"][members.rows]).astype(np.float32)
    touching = None
    if region is not None:
        touching = measures.touches(members, found.margin_nm, cluster[~inside & (cluster >= 0)], region)
    columns["touches_border"] = pl.Series([None] * len(members) if touching is None else touching, dtype=pl.Boolean)
    columns["reason"] = pl.Series(found.reason, dtype=pl.String)
    data = pl.DataFrame(columns)
    done = Step(
        function=f"{__name__}.measure",
        parameters={
            "region": None if region is None else region.to_geojson(),
            "outlines": outlines,
            "intervals": intervals,
        },
        version=package_version(),
        seed=seed if intervals else None,
        inputs=(locs.meta.id,),
    )
    meta = locs.meta.model_copy(update={"history": (*locs.meta.history, done)})
    return Clusters(data, _fields(locs, inside, data, region), found.shapes, meta)


def _nearest(columns: dict[str, Any], members: Members, found: measures.Measured) -> dict[str, Any]:
    """Distances to the nearest other cluster of the same field and channel, whatever its class."""
    keys = [columns[name].astype(np.int64) for name in PATTERNS if name in columns]
    pattern = np.zeros(len(members), np.int64)
    for key in keys:
        pattern = pattern * (int(key.max(initial=0)) + 1) + key
    if found.shapes is not None:
        edges = nearest.outline_distances(found.shapes, pattern)
    elif "volume_nm3" in found.columns:
        margin = np.where(np.isfinite(found.columns["volume_nm3"]), found.margin_nm, np.nan)
        edges = nearest.solid_distances(members.places, members.place_starts, margin, pattern)
    else:
        edges = np.full(len(members), np.nan)
    return {"nearest_cluster_nm": nearest.centre_distances(found.centre, pattern), "nearest_edge_nm": edges}


def _fields(locs: Localizations, inside: NDArray[np.bool_], data: pl.DataFrame, region: Region | None) -> pl.DataFrame:
    """Counts and area of each field, channel and class."""
    free = inside & (locs["cluster"] < 0)
    xy = locs.xy()
    labels = np.unique(locs["label"][locs["label"] > 0]).tolist() or [1] if "label" in locs else []
    lines: list[dict[str, Any]] = []
    areas: dict[int | None, tuple[float | None, str]] = {}
    for rows in patterns(locs, np.flatnonzero(inside)):
        key = {name: int(locs[name][rows[0]]) for name in PATTERNS if name in locs and len(rows)}
        field = key.get("field")
        if field not in areas:
            in_field = free if field is None else free & (locs["field"] == field)
            centres = select(data, {} if field is None else {"field": field}).select("x", "y").to_numpy()
            areas[field] = _area(np.concatenate([xy[in_field], centres]), region)
        area_um2, area_from = areas[field]
        for own in [key | {"label": label} for label in labels] or [key]:
            chosen = select(data, own)
            counts = {"points": len(rows), "points_in_clusters": int(chosen["n_points"].sum()), "clusters": len(chosen)}
            lines.append({**own, **counts, "area_um2": area_um2, "area_from": area_from})
    return fields_table(lines)


def _area(places: NDArray[np.float64], region: Region | None) -> tuple[float | None, str]:
    if region is not None:
        return region.area_um2, AREA_FROM_REGION
    area_um2 = occupied_area(places)
    return area_um2, AREA_UNKNOWN if area_um2 is None else AREA_ESTIMATED
