"""Plots of corrections and of resolution: the drift, what justifies a link, a cut, a registration, a correlation."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from lucule.core import Localizations
from lucule.core.files import atomic_path, with_ending
from lucule.core.schema import COLUMNS
from lucule.view.plots import ACCENT, INK, MUTED, SOFT, short_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lucule.process import DriftCurve, Frc, LinkChoice, Precision, Registration

SECOND: Final = "#3b7ea1"
THIRD: Final = "#8a4f7d"
_PANEL_INCHES: Final = (4.6, 3.0)
_ENDINGS: Final = (".png", ".svg", ".pdf")
_HISTOGRAM_ROWS: Final = 1_000_000


check_name: Final = partial(with_ending, allowed=_ENDINGS, otherwise="A plot cannot be written in this format")
"""Refuses a name under which no plot can be written, before there is anything to plot."""


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure to a PNG, SVG or PDF file, at once or not at all.

    Raises
    ------
    InputError
        The ending is another.
    """
    target = check_name(path)
    with atomic_path(target) as temporary:
        figure.savefig(temporary, facecolor="white")
    return target


def drift_plot(curve: DriftCurve) -> Figure:
    """Drift against the frame, with the 95 % interval of each axis."""
    figure, (axes,) = panels_of(1)
    lines = zip("xyz", (ACCENT, SECOND, THIRD), curve.nm.T, curve.error_nm.T, strict=False)
    for name, colour, nm, error in lines:
        axes.plot(curve.frame, nm, color=colour, lw=1.4, label=name, zorder=3)
        if np.isfinite(error).any():
            low, high = nm - 1.96 * error, nm + 1.96 * error
            axes.fill_between(curve.frame, low, high, color=colour, alpha=0.25, lw=0, zorder=2)
    extent = " x ".join(f"{np.ptp(column):.0f}" for column in curve.nm.T)
    entitle(axes, "Drift", f"{curve.method}, {len(curve.frame)} knots, {extent} nm, bands: 95 %")
    axes.set_xlabel("frame", color=MUTED, fontsize=9)
    axes.set_ylabel("nm", color=MUTED, fontsize=9)
    add_legend(axes)
    return figure


def frc_plot(found: Frc) -> Figure:
    """Fourier correlation against detail, with its thresholds and the crossing."""
    figure, (axes,) = panels_of(1)
    curve = found.curve
    shown = slice(1, None)
    per_um = 1000 * curve.frequency
    axes.plot(per_um[shown], curve.correlation[shown], color=SOFT, lw=0.8, zorder=2)
    axes.plot(per_um[shown], curve.smooth[shown], color=ACCENT, lw=1.6, zorder=4, label="correlation")
    if found.corrected_curve is not None:
        axes.plot(
            per_um[shown], found.corrected_curve.smooth[shown], color=SECOND, lw=1, zorder=3, label="without repeats"
        )
    axes.axhline(1 / 7, color=INK, lw=0.9, label="1/7")
    axes.plot(per_um[shown], curve.threshold("half-bit")[shown], color=INK, lw=0.9, ls=":", label="half-bit")
    if found.resolution_nm is not None:
        axes.axvline(1000 / found.resolution_nm, color=MUTED, lw=0.8, ls="--")
        axes.set_xlim(0, min(per_um[-1], 2500 / found.resolution_nm))
        note = f"{found.resolution_nm:.3g} nm"
        if found.interval_nm is not None:
            note += f" ({found.interval_nm[0]:.3g} to {found.interval_nm[1]:.3g})"
        note += f", halves by {found.split}, threshold {found.threshold}"
    else:
        note = "no crossing"
    axes.set_ylim(-0.15, 1.05)
    entitle(axes, "Fourier ring correlation" if found.dims == 2 else "Fourier shell correlation", note)
    axes.set_xlabel("spatial frequency, 1/µm", color=MUTED, fontsize=9)
    add_legend(axes)
    return figure


def precision_plot(found: Precision) -> Figure:
    """Distances to the nearest localization in the next frame, and the fit that tells the precision."""
    figure, (axes,) = panels_of(1)
    if found.nena_nm is None:
        entitle(axes, "Precision from pairs", "not to be told from this table")
        axes.set_axis_off()
        return figure
    width = found.distances_nm[1] - found.distances_nm[0]
    axes.bar(found.distances_nm, found.counts, width=0.92 * width, color=SOFT, lw=0, zorder=2)
    axes.plot(found.distances_nm, found.fitted, color=ACCENT, lw=1.6, zorder=3)
    interval = found.nena_nm_interval
    note = f"{found.nena_nm:.3g} nm" + (f" ({interval[0]:.3g} to {interval[1]:.3g})" if interval else "")
    if found.ratio is not None:
        note += f", true errors are {found.ratio:.2f} times the reported ones"
    entitle(axes, "Precision from pairs (NeNA)", note)
    axes.set_xlabel("distance to the nearest in the next frame, nm", color=MUTED, fontsize=9)
    axes.set_ylabel("pairs", color=MUTED, fontsize=9)
    return figure


def link_plot(choice: LinkChoice) -> Figure:
    """What justifies radius and dark time of a link."""
    figure, (left, right) = panels_of(2)
    if len(choice.distance_nm):
        left.plot(choice.distance_nm, 100 * choice.lost, color=ACCENT, lw=1.6, label="pairs of one molecule beyond")
        left.plot(choice.distance_nm, 100 * choice.false, color=SECOND, lw=1.6, label="strangers among those within")
        shown = min(choice.radius_nm, float(choice.distance_nm[-1]))
        if not np.isfinite(choice.sigmas):
            left.axvline(shown, color=INK, lw=1)
    # by its own errors each pair has a radius of its own
    rule = (
        f"{choice.sigmas:.2g} reported errors of the difference"
        if np.isfinite(choice.sigmas)
        else f"{choice.radius_nm:.3g} nm"
    )
    entitle(left, "Radius", rule)
    left.set_xlabel("radius, nm", color=MUTED, fontsize=9)
    left.set_ylabel("%", color=MUTED, fontsize=9)
    left.set_ylim(0, 100)
    add_legend(left)
    if len(choice.dark_frames):
        right.plot(choice.dark_frames, 1000 * choice.returns, color=ACCENT, lw=1.4, label="something appears again")
        right.plot(choice.dark_frames, 1000 * choice.chance, color=SECOND, lw=1.4, label="by chance")
        right.axvline(choice.gap_frames + 0.5, color=INK, lw=1)
        right.set_xscale("log")
        right.set_ylim(bottom=0)
    entitle(right, "Dark time", f"{choice.gap_frames} frames are bridged")
    right.set_xlabel("dark frames", color=MUTED, fontsize=9)
    right.set_ylabel("per 1000 blinks and frame", color=MUTED, fontsize=9)
    add_legend(right)
    return figure


def filter_plot(locs: Localizations, keep: NDArray[np.bool_], cuts: Mapping[str, Sequence[float]]) -> Figure:
    """Histograms of the filtered columns, what is kept in front of all, with the cuts as lines."""
    names = [name for name in cuts if name in locs]
    figure, panels = panels_of(max(len(names), 1))
    note = f"{int(keep.sum()):,} of {len(keep):,} kept"
    if not names:
        entitle(panels[0], "Filter", note)
        panels[0].set_axis_off()
        return figure
    rows = np.arange(len(locs))
    if len(rows) > _HISTOGRAM_ROWS:
        rows = np.sort(np.random.default_rng(0).choice(rows, _HISTOGRAM_ROWS, replace=False))
    for axes, name in zip(panels, names, strict=True):
        values = locs[name][rows].astype(np.float64)
        finite = np.isfinite(values)
        entitle(axes, name, note)
        if name in COLUMNS:
            axes.set_xlabel(COLUMNS[name].unit, color=MUTED, fontsize=9)
        if not finite.any():
            continue
        low, high = np.percentile(values[finite], (0.1, 99))
        low, high = min(low, *cuts[name]), max(high, *(1.1 * c for c in cuts[name]))
        edges = np.linspace(low, high if high > low else low + 1, 70)
        axes.hist(values[finite], bins=edges.tolist(), color=SOFT, lw=0, zorder=2)
        axes.hist(values[finite & keep[rows]], bins=edges.tolist(), color=ACCENT, lw=0, zorder=3)
        for cut in cuts[name]:
            axes.axvline(cut, color=INK, lw=1.1, zorder=4)
    return figure


def registration_plot(found: Registration) -> Figure:
    """Residual map: what is left between the pairs after registration, enlarged."""
    figure, (axes,) = panels_of(1)
    table = found.residuals()
    x, y = table["x"].to_numpy() / 1000, table["y"].to_numpy() / 1000
    dx, dy = table["dx_nm"].to_numpy(), table["dy_nm"].to_numpy()
    # an arrow of the usual length takes a twelfth of the field, the longest no more than a fifth
    length = float(f"{max(float(np.median(table['residual_nm'].to_numpy())), 0.1):.1g}")
    field_um = max(float(np.ptp(x)), float(np.ptp(y)), 1.0)
    per_um = max(12 * length, 5 * float(table["residual_nm"].max())) / field_um
    arrows = axes.quiver(x, y, dx, dy, color=ACCENT, angles="xy", scale_units="xy", scale=per_um, width=0.005, zorder=3)
    axes.quiverkey(arrows, 0.86, 1.06, length, f"{length:g} nm", labelpos="E", fontproperties={"size": 8})
    axes.update_datalim(np.column_stack([x + dx / per_um, y + dy / per_um]))  # where arrows end lies inside, too
    axes.margins(0.05)
    axes.set_aspect("equal", adjustable="datalim")
    axes.invert_yaxis()
    low, high = found.error_interval_nm
    entitle(
        axes,
        f"Registration, {found.kind}",
        f"error {found.error_nm:.3g} nm ({low:.3g} to {high:.3g}), was {found.before_nm:.3g} nm",
    )
    axes.set_xlabel("µm", color=MUTED, fontsize=9)
    return figure


def panels_of(number: int) -> tuple[Figure, list[Axes]]:
    """A figure with a number of panels of one size, in rows of three, and the look of all plots of curves."""
    from matplotlib.figure import Figure as NewFigure

    columns = min(number, 3)
    rows = math.ceil(number / columns)
    width, height = _PANEL_INCHES
    figure = NewFigure(figsize=(columns * width, rows * height), dpi=150, layout="constrained")
    grid = np.asarray(figure.subplots(rows, columns, squeeze=False)).reshape(-1)
    for axes in grid[number:]:
        axes.set_axis_off()
    panels: list[Any] = list(grid[:number])
    for axes in panels:
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set(color=MUTED, linewidth=0.8)
        axes.grid(axis="both", color="#e4e8ee", linewidth=0.6, zorder=-1)
        axes.set_axisbelow(True)
        axes.tick_params(axis="both", which="both", length=0, colors=MUTED, labelsize=8.5)
        axes.xaxis.set_major_formatter(lambda value, _: short_number(value))
        axes.yaxis.set_major_formatter(lambda value, _: short_number(round(value, 6)))
    return figure, panels


def entitle(axes: Axes, title: str, note: str) -> None:
    """Write a title, and below it what a reader should know at once."""
    axes.set_title(f"{title}\n", loc="left", color=INK, fontsize=10.5, fontweight="bold")
    axes.annotate(
        note, (0, 1), xycoords="axes fraction", xytext=(0, 6), textcoords="offset points", color=MUTED, fontsize=8.5
    )


def add_legend(axes: Axes) -> None:
    """Add a legend where something has a label."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8, labelcolor=MUTED)
