"""The part of a report that shows the clusters of one input, and the summary of several."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
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
from lucule.view.quantities import FEWEST_FOR_QUARTILES, Spread, cluster_values, measured
from lucule.view.raster import SIGMA_CEILING_MEDIANS, median_precision_nm
from lucule.view.render import render
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
OVERVIEW_FLOOR_PX: Final = 0.8
OVERVIEW_GAMMA: Final = 0.55
ZOOM_SIDE_PX: Final = 640
ZOOM_NAMES: Final = "ABCDEFGH"


class MeasuredClusters(Protocol):
    """What is needed of `lucule.cluster.Clusters`."""

    def table(self) -> pl.DataFrame:
        """One row per cluster."""

    def outlines(self) -> NDArray[Any] | None:
        """Shapely outlines, one per row, nm; None in 3D."""

    def summary(self) -> dict[str, Any]:
        """Numbers of the whole; `clusters_per_um2`, `area_um2`, `area_from`, `percent_clustered` are shown."""


def cluster_section(
    name: str,
    locs: Localizations,
    clusters: MeasuredClusters,
    *,
    warnings: Sequence[str] = (),
    region: Region | None = None,
    settings: Mapping[str, Any] | None = None,
    label_names: Mapping[int, str] | None = None,
) -> Section:
    """Everything that a report says about one input.

    Parameters
    ----------
    name
        Title of the section.
    locs
        All localizations, with `label` and `cluster` where they were found.
    clusters
        What was measured.
    warnings
        What the reader must know first.
    region
        Area to which the measurement was restricted.
    settings
        Shown folded away, with the history of the table.
    label_names
        Names of the labels, for models with more than two classes.
    """
    table = clusters.table()
    blocks: list[Block] = [Warnings(tuple(warnings))] if warnings else []
    blocks.append(_cards(locs, table, clusters.summary()))
    if len(locs):
        zooms = choose_zooms(locs, table.select("x", "y").to_numpy(), region=region)
        blocks.append(_overviews(locs, table, zooms, region, label_names))
        if zooms:
            blocks.append(_zooms(locs, clusters, zooms, label_names))
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


def _cards(locs: Localizations, table: pl.DataFrame, summary: Mapping[str, Any]) -> KeyValues:
    values = [Value("Localizations", len(locs), note=_precision_note(locs))]
    if "label" in locs:
        share = 100 * float((locs["label"] > 0).mean()) if len(locs) else math.nan
        grouped = summary.get("percent_clustered")
        note = "" if grouped is None else f"{number_text(grouped)} % in clusters"
        values.append(Value("Clustered", share, "%", note=note))
    values.append(Value("Clusters", table.height))
    if summary.get("clusters_per_um2") is not None:
        area = summary.get("area_um2")
        note = "" if area is None else f"in {number_text(area)} µm²: {summary.get('area_from', '')}".rstrip(": ")
        values.append(Value("Clusters per µm²", summary["clusters_per_um2"], note=note))
    for quantity in measured(table):
        if quantity.card:
            spread = Spread.of(cluster_values(table, quantity))
            quartiles = (spread.low, spread.high) if spread.count >= FEWEST_FOR_QUARTILES else None
            note = "" if spread.count else "no clusters"
            values.append(Value(quantity.card, spread.median, quantity.short_unit, note=note, interval=quartiles))
    return KeyValues(tuple(values), style="cards")


def _precision_note(locs: Localizations) -> str:
    precision = median_precision_nm(locs)
    return "" if precision is None else f"precision {number_text(precision)} nm (median)"


def _overviews(
    locs: Localizations,
    table: pl.DataFrame,
    zooms: tuple[Zoom, ...],
    region: Region | None,
    label_names: Mapping[int, str] | None,
) -> Gallery:
    pixel_nm = automatic_pixel_nm(bounds_of(locs, None), side_px=OVERVIEW_SIDE_PX)
    draw = partial(render, locs, method="gaussian", pixel_nm=pixel_nm, sigma_nm=_overview_sigma_nm(locs, pixel_nm))
    figures = [
        Figure.of_picture(
            _with_region(draw(gamma=OVERVIEW_GAMMA), region),
            alt=f"Density of all {len(locs):,} localizations.",
            caption=f"All localizations, pixels of {pixel_nm:g} nm.",
        )
    ]
    if "label" in locs:
        labelled = _with_region(draw(colour_by="label", label_names=label_names), region)
        boxed = overlay.boxes(labelled, [zoom.region for zoom in zooms], names=ZOOM_NAMES[: len(zooms)])
        figures.append(
            Figure.of_picture(
                boxed,
                alt=f"All localizations coloured by label; they form {table.height:,} clusters.",
                caption="Localizations by label" + ("; windows of the zooms below." if zooms else "."),
            )
        )
    if locs.is_3d:
        figures.append(
            Figure.of_picture(
                draw(colour_by="z"),
                alt="All localizations, colour showing their depth.",
                caption="Depth: mean z in each pixel.",
            )
        )
    return Gallery(tuple(figures), title="Overview", size="large")


def _overview_sigma_nm(locs: Localizations, pixel_nm: float) -> tuple[float, float] | float:
    """The precision of each localization, but never so narrow that a single one is lost from sight."""
    floor = OVERVIEW_FLOOR_PX * pixel_nm
    precision = median_precision_nm(locs)
    return floor if precision is None else (floor, max(floor, SIGMA_CEILING_MEDIANS * precision))


def _with_region(picture: Picture, region: Region | None) -> Picture:
    return picture if region is None else overlay.outlines(picture, list(region.shape.geoms), line_px=2.0)


def _zooms(
    locs: Localizations,
    clusters: MeasuredClusters,
    zooms: tuple[Zoom, ...],
    label_names: Mapping[int, str] | None,
) -> Gallery:
    figures = []
    outlines = clusters.outlines()
    draw = partial(render, locs, method="points", colour_by="label" if "label" in locs else None)
    for name, zoom in zip(ZOOM_NAMES, zooms, strict=False):
        x_min, _, x_max, _ = zoom.region.bounds
        pixel_nm = (x_max - x_min) / ZOOM_SIDE_PX
        found = f"{zoom.localizations:,} localizations, {zoom.clusters} cluster{'' if zoom.clusters == 1 else 's'}"
        picture = draw(pixel_nm=pixel_nm, region=zoom.region, label_names=label_names)
        if outlines is not None:
            picture = overlay.outlines(picture, outlines, line_px=2.0)
        figures.append(
            Figure.of_picture(picture, alt=f"Window {name}: {found}.", caption=f"{name}: {zoom.reason}. {found}.")
        )
    side = zooms[0].region.bounds[2] - zooms[0].region.bounds[0]
    return Gallery(
        tuple(figures),
        title="Zooms",
        size="medium",
        note=f"Windows of {length_text(round(side, 3))}, chosen by the number of clusters in them. Each dot is one "
        "localization" + ("." if outlines is None else "; lines are the outlines of the clusters."),
    )


def _distributions(locs: Localizations, table: pl.DataFrame) -> list[Block]:
    rows = []
    figures = []
    for quantity in measured(table):
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
