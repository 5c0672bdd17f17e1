"""Plots of double lines: the average, profiles along and across the myofibril, the distance of every sarcomere."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from lucule.core import Localizations, Region
from lucule.view import overlay
from lucule.view.curves import SECOND, entitle, panels_of
from lucule.view.picture import Picture
from lucule.view.plots import ACCENT, INK, MUTED, SOFT
from lucule.view.render import render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lucule.structures.sarcomeres import Average, Distance

_BOX_NM: Final = 1000.0
_ZOOM_PX: Final = 520


def average_plot(average: Average) -> Figure:
    """Density of the averaged double line, the myofibril running from left to right."""
    figure, (axes,) = panels_of(1)
    axes.grid(False)
    shown = axes.imshow(
        average.density, extent=(average.u_nm[0], average.u_nm[-1], average.v_nm[-1], average.v_nm[0]), cmap="magma",
        interpolation="nearest", vmin=0, aspect="auto",
    )  # fmt: skip
    bar = figure.colorbar(shown, ax=axes, fraction=0.05)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, colors=MUTED, labelsize=8)
    bar.set_label("share per µm²", color=MUTED, fontsize=8.5)
    files = f", {average.files} files" if average.files > 1 else ""
    entitle(axes, "Average", f"{average.sarcomeres} sarcomere{'' if average.sarcomeres == 1 else 's'}{files}")
    axes.set_xlabel("along the myofibril, nm", color=MUTED, fontsize=9)
    axes.set_ylabel("across, nm", color=MUTED, fontsize=9)
    return figure


def png_of(figure: Figure) -> bytes:
    """A figure with a density map as PNG; a report takes plots as SVG, which must not hold pictures."""
    stream = BytesIO()
    figure.savefig(stream, format="png", facecolor="white")
    return stream.getvalue()


def axial_plot(average: Average, distance: Distance) -> Figure:
    """Epitope profile along the myofibril, with the lines at half the distance."""
    figure, (axes,) = panels_of(1)
    width = average.axial.at_nm[1] - average.axial.at_nm[0]
    axes.bar(average.axial.at_nm, 1000 * average.axial.density, width=width, color=ACCENT, lw=0, zorder=2)
    note = "no single distance" if distance.nm is None else f"line distance {distance.nm:.1f} nm"
    if distance.nm is not None:
        for side in (-1, 1):
            axes.axvline(side * distance.nm / 2, color=INK, lw=1.2, zorder=3)
    entitle(axes, "Epitope profile", note)
    axes.set_xlabel("from the symmetry axis, nm", color=MUTED, fontsize=9)
    axes.set_ylabel("share per µm", color=MUTED, fontsize=9)
    return figure


def radial_plot(average: Average) -> Figure:
    """Density of epitopes against the distance from the axis of the myofibril."""
    figure, (axes,) = panels_of(1)
    axes.step(average.radial.at_nm, average.radial.density, where="mid", color=ACCENT, lw=1.8, zorder=3)
    axes.axhline(1, color=MUTED, lw=0.8, ls="--", zorder=2)
    axes.set_ylim(bottom=0)
    entitle(axes, "Radial profile", "relative to the mean over the disc; 1 is an evenly filled disc")
    axes.set_xlabel("from the axis of the myofibril, nm", color=MUTED, fontsize=9)
    return figure


def distances_plot(table: pl.DataFrame, distance: Distance) -> Figure:
    """Distance of every sarcomere with its 95 % interval, in ascending order, and that of all together."""
    figure, (axes,) = panels_of(1)
    told = table.filter(pl.col("line_distance_nm").is_not_null()).sort("line_distance_nm")
    place = np.arange(told.height)
    low, high = told["line_distance_low_nm"].to_numpy(), told["line_distance_high_nm"].to_numpy()
    axes.vlines(place, low, high, color=SOFT, lw=max(1.0, min(6.0, 120 / max(told.height, 1))), zorder=2)
    axes.plot(place, told["line_distance_nm"].to_numpy(), "o", ms=3.5, color=ACCENT, mec="none", zorder=3)
    note = distance.reason or ""
    if distance.nm is not None and distance.interval_nm is not None:
        axes.axhline(distance.nm, color=INK, lw=1.2, zorder=4)
        axes.axhspan(*distance.interval_nm, color=SECOND, alpha=0.18, lw=0, zorder=1)
        note = f"mean {distance.nm:.1f} nm ({distance.interval_nm[0]:.1f} to {distance.interval_nm[1]:.1f})"
    entitle(axes, "Line distance of every sarcomere", note if len(note) < 60 else note[:57] + "...")
    axes.set_xlabel("sarcomeres, by distance", color=MUTED, fontsize=9)
    axes.set_ylabel("nm", color=MUTED, fontsize=9)
    return figure


def field_picture(locs: Localizations, table: pl.DataFrame) -> Picture:
    """The whole field, localizations on double lines and others in two colours, every double line in a box."""
    picture = render(locs, method="points", colour_by="label", label_names={0: "other", 1: "double line"})
    boxes = [
        Region.rectangle(x - _BOX_NM, y - _BOX_NM, x + _BOX_NM, y + _BOX_NM)
        for x, y in table.select("x_nm", "y_nm").iter_rows()
    ]
    return overlay.boxes(picture, boxes, names=[str(n) for n in table["sarcomere"]]) if boxes else picture


def zoom_picture(locs: Localizations, x_nm: float, y_nm: float) -> Picture:
    """One double line and what lies around it."""
    region = Region.rectangle(x_nm - _BOX_NM, y_nm - _BOX_NM, x_nm + _BOX_NM, y_nm + _BOX_NM)
    return render(
        locs, method="points", colour_by="label", label_names={0: "other", 1: "double line"}, region=region,
        pixel_nm=2 * _BOX_NM / _ZOOM_PX,
    )  # fmt: skip
