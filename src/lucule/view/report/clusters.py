"""The part of a report that shows the clusters of one input, and the summary of several."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.core import Localizations, Region
from lucule.core.config import dump_yaml
from lucule.view import overlay, plots
from lucule.view.annotate import length_text, number_text
from lucule.view.frame import automatic_pixel_nm, bounds_of
from lucule.view.picture import Picture
from lucule.view.plots import CLUSTER_QUANTITIES, Spread, cluster_values
from lucule.view.render import Method, render
from lucule.view.report.model import (
    Block,
    Code,
    Figure,
    Gallery,
    KeyValues,
    Section,
    Table,
    Text,
    Value,
    Warnings,
)
from lucule.view.zooms import Zoom, choose_zooms

OVERVIEW_SIDE_PX: Final = 1000
ZOOM_SIDE_PX: Final = 640
CARD_QUANTITIES: Final = CLUSTER_QUANTITIES[:4]
ZOOM_NAMES: Final = "ABCDEFGH"


class MeasuredClusters(Protocol):
    """What is needed of `lucule.cluster.Clusters`."""

    def table(self) -> pl.DataFrame:
        """One row per cluster."""

    def outlines(self) -> NDArray[Any]:
        """Shapely outlines, one per row, nm."""


def cluster_section(
    name: str,
    locs: Localizations,
    clusters: MeasuredClusters,
    *,
    warnings: Sequence[str] = (),
    region: Region | None = None,
    clusters_per_um2: float | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Section:
    """Everything that a report says about one input.

    Parameters
    ----------
    name
        Title of the section.
    locs
        All localizations, with `label` and `cluster` where they were found.
    clusters
        What was measured, with `.table()` and `.outlines()`.
    warnings
        What the reader must know first.
    region
        Area to which the measurement was restricted.
    clusters_per_um2
        From the summary of the measurement; computed from the region where that is given instead.
    settings
        Shown folded away, with the history of the table.
    """
    table = clusters.table()
    blocks: list[Block] = [Warnings(tuple(warnings))] if warnings else []
    blocks.append(_cards(locs, table, region, clusters_per_um2))
    if len(locs):
        zooms = choose_zooms(locs, table.select("x", "y").to_numpy(), region=region)
        blocks.append(_overviews(locs, table, zooms, region))
        if zooms:
            blocks.append(_zooms(locs, clusters, zooms))
    else:
        blocks.append(Text("The table holds no localizations, so there is nothing to draw."))
    blocks.extend(_distributions(locs, table))
    if settings:
        blocks.append(Code("Settings of this input", dump_yaml(dict(settings))))
    blocks.append(Code("History of the table", history_text(locs)))
    return Section(name, tuple(blocks), note=_note(locs))


def history_text(locs: Localizations) -> str:
    """Source and history of a table as YAML, from which the run can be repeated."""
    return dump_yaml(
        {
            "source": locs.meta.source.model_dump(mode="json") if locs.meta.source else None,
            "history": [entry.model_dump(mode="json") for entry in locs.meta.history],
        }
    )


def _note(locs: Localizations) -> str:
    parts = [f"{len(locs):,} localization{'' if len(locs) == 1 else 's'}"]
    if len(locs):
        width, height = (float(np.ptp(locs[axis])) / 1000 for axis in "xy")
        parts.append(f"{number_text(width)} \N{MULTIPLICATION SIGN} {number_text(height)} µm")
        parts.append("3D" if locs.is_3d else "2D")
    if locs.meta.source:
        parts.append(f"{locs.meta.source.name} ({locs.meta.source.format})")
    return " · ".join(parts)


def _cards(
    locs: Localizations, table: pl.DataFrame, region: Region | None, clusters_per_um2: float | None
) -> KeyValues:
    values = [Value("Localizations", len(locs), note=_precision_note(locs))]
    if "label" in locs:
        clustered = int((locs["label"] > 0).sum())
        share = 100 * clustered / len(locs) if len(locs) else math.nan
        values.append(Value("Clustered", share, "%", note=f"{clustered:,} localizations"))
    values.append(Value("Clusters", table.height))
    if clusters_per_um2 is None and region is not None:
        clusters_per_um2 = table.height / region.area_um2
    if clusters_per_um2 is not None:
        values.append(Value("Clusters per µm²", clusters_per_um2))
    for quantity in CARD_QUANTITIES:
        spread = Spread.of(cluster_values(table, quantity))
        quartiles = (spread.low, spread.high) if spread.count >= plots.FEWEST_FOR_QUARTILES else None
        note = "" if spread.count else "no clusters"
        values.append(Value(quantity.card, spread.median, quantity.short_unit, note=note, interval=quartiles))
    return KeyValues(tuple(values), style="cards")


def _precision_note(locs: Localizations) -> str:
    from lucule.view.raster import median_precision_nm

    precision = median_precision_nm(locs)
    return "" if precision is None else f"precision {number_text(precision)} nm (median)"


def _overviews(locs: Localizations, table: pl.DataFrame, zooms: tuple[Zoom, ...], region: Region | None) -> Gallery:
    bounds = bounds_of(locs, None)
    pixel_nm = automatic_pixel_nm(bounds, side_px=OVERVIEW_SIDE_PX)
    method: Method = "gaussian" if "x_err" in locs else "histogram"
    pixel_text = f"pixels of {pixel_nm:g} nm"
    density = _with_region(render(locs, method=method, pixel_nm=pixel_nm), region)
    figures = [
        Figure.of_picture(
            density,
            alt=f"Density of all {len(locs):,} localizations.",
            caption=f"All localizations, {pixel_text}.",
        )
    ]
    if "label" in locs:
        labelled = _with_region(render(locs, method=method, pixel_nm=pixel_nm, colour_by="label"), region)
        labelled = overlay.boxes(labelled, [zoom.region for zoom in zooms], names=ZOOM_NAMES[: len(zooms)])
        figures.append(
            Figure.of_picture(
                labelled,
                alt=f"All localizations coloured by label, with {table.height:,} clusters among them.",
                caption="Clustered and not clustered localizations"
                + ("; windows of the zooms below." if zooms else "."),
            )
        )
    if locs.is_3d:
        figures.append(
            Figure.of_picture(
                render(locs, method=method, pixel_nm=pixel_nm, colour_by="z"),
                alt="All localizations, colour showing their depth.",
                caption="Depth: mean z in each pixel.",
            )
        )
    return Gallery(tuple(figures), title="Overview", size="large")


def _with_region(picture: Picture, region: Region | None) -> Picture:
    return picture if region is None else overlay.outlines(picture, list(region.shape.geoms), line_px=2.0)


def _zooms(locs: Localizations, clusters: MeasuredClusters, zooms: tuple[Zoom, ...]) -> Gallery:
    figures = []
    outlines = clusters.outlines()
    for name, zoom in zip(ZOOM_NAMES, zooms, strict=False):
        x_min, _, x_max, _ = zoom.region.bounds
        pixel_nm = (x_max - x_min) / ZOOM_SIDE_PX
        colour_by = "label" if "label" in locs else None
        found = f"{zoom.localizations:,} localizations, {zoom.clusters} cluster{'' if zoom.clusters == 1 else 's'}"
        picture = render(locs, method="points", pixel_nm=pixel_nm, region=zoom.region, colour_by=colour_by)
        figures.append(
            Figure.of_picture(
                overlay.outlines(picture, outlines, line_px=2.0),
                alt=f"Window {name}: {found} with outlines.",
                caption=f"{name}: {zoom.reason}. {found}.",
            )
        )
    side = zooms[0].region.bounds[2] - zooms[0].region.bounds[0]
    return Gallery(
        tuple(figures),
        title="Zooms",
        size="medium",
        note=f"Windows of {length_text(round(side, 3))}, chosen by the number of clusters in them. "
        "Each dot is one localization; lines are the outlines of the clusters.",
    )


def _distributions(locs: Localizations, table: pl.DataFrame) -> list[Block]:
    rows = []
    figures = []
    for quantity in CLUSTER_QUANTITIES:
        if quantity.column not in table.columns:
            continue
        values = cluster_values(table, quantity)
        spread = Spread.of(values)
        rows.append((quantity.label, spread.median, spread.low, spread.high, quantity.unit))
        plot = plots.distribution(values, label=quantity.label, unit=quantity.unit)
        alt = f"{quantity.label} of {spread.count:,} clusters, median {spread.text(quantity.unit)}."
        figures.append(Figure.of_plot(plot, alt=alt))
    if "p_label" in locs and len(locs):
        plot = plots.probabilities(locs["p_label"])
        figures.append(Figure.of_plot(plot, alt="Distribution of the probability of the label."))
    return [
        Gallery(tuple(figures), title="Distributions", size="small", note="Line: median. Band: interquartile range."),
        Table(("Per cluster", "Median", "25 %", "75 %", "Unit"), tuple(rows)),
    ]
