"""Pictures of axons: where they run, where their rings are, and what speaks for their period."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from lucule.view.curves import SECOND, add_legend, entitle, panels_of
from lucule.view.plots import ACCENT, INK, MUTED, SOFT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lucule.structures.axons import Axon, Axons, Period

_BIN_NM: Final = 20.0


def axon_map(found: Axons) -> Figure:
    """All molecules, the axons with their numbers, and the rings of those with a period."""
    from matplotlib.figure import Figure as NewFigure

    figure = NewFigure(figsize=(6.4, 6.4), dpi=150, layout="constrained")
    axes = figure.subplots()
    xy = found.molecules_nm / 1000
    axes.plot(xy[:, 0], xy[:, 1], ".", ms=1.1 if len(xy) > 3000 else 2.2, color=MUTED, mec="none", zorder=1)
    for number, (axon, own) in enumerate(zip(found.axons, found.periods, strict=True)):
        colour = ACCENT if own.period_nm else SECOND
        line = axon.course.points_nm / 1000
        axes.plot(line[:, 0], line[:, 1], color=colour, lw=1.6, zorder=3)
        for start, end in _ticks(axon, own):
            axes.plot([start[0], end[0]], [start[1], end[1]], color=colour, lw=0.7, zorder=2)
        axes.annotate(
            str(number), line[0], color=INK, fontsize=9, fontweight="bold", zorder=4,
            bbox={"boxstyle": "circle,pad=0.15", "fc": "white", "ec": colour, "lw": 1},
        )  # fmt: skip
    axes.set_aspect("equal")
    axes.invert_yaxis()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(colors=MUTED, labelsize=8.5, length=0)
    axes.set_xlabel("µm", color=MUTED, fontsize=9)
    periodic = sum(own.period_nm is not None for own in found.periods)
    note = found.reason or f"{periodic} of {len(found.axons)} with a period (gold, with their rings)"
    entitle(axes, "Axons", note)
    return figure


def period_plot(axon: Axon, own: Period) -> Figure:
    """Molecules along the axon with its rings, and the likelihood of each period against none."""
    figure, (left, right) = panels_of(2)
    left.hist(axon.along_nm / 1000, bins=_edges(axon.course.length_nm), color=ACCENT, lw=0, zorder=3)
    for ring in own.rings_nm + axon.along_nm.min(initial=np.inf):
        left.axvline(ring / 1000, color=MUTED, lw=0.6, zorder=2)
    rings = f"{len(own.rings_nm)} rings, " if own.period_nm else ""
    entitle(left, "Along the axon", f"{rings}{own.molecules:,} molecules in bins of {_BIN_NM:g} nm")
    left.set_xlabel("µm", color=MUTED, fontsize=9)
    if not len(own.periods_nm):
        entitle(right, "No period", own.reason or "")
        right.set_axis_off()
        return figure
    right.plot(own.periods_nm, own.log_ratio, color=ACCENT, lw=1.6, zorder=3, label="rings against no period")
    right.axhline(0, color=MUTED, lw=0.8)
    if own.period_nm is not None and own.period_nm_interval is not None:
        low, high = own.period_nm_interval
        right.axvspan(low, high, color=SOFT, lw=0, zorder=0)
        right.axvline(own.period_nm, color=INK, lw=1, zorder=2)
        entitle(right, "Period", f"{own.period_nm:.1f} nm ({low:.1f} to {high:.1f}), chance p ≤ {own.p_value:.2g}")
    else:
        entitle(right, "No period", f"chance explains it: p = {own.p_value:.2g}")
    right.set_xlabel("period, nm", color=MUTED, fontsize=9)
    right.set_ylabel("log likelihood ratio", color=MUTED, fontsize=9)
    add_legend(right)
    return figure


def _ticks(axon: Axon, own: Period) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Ends of a stroke across the axon for each ring, um."""
    if own.period_nm is None:
        return []
    line, tangents = axon.course.points_nm / 1000, axon.course.tangents
    places = np.linspace(0, axon.course.length_nm, len(line))
    rings = own.rings_nm + axon.along_nm.min()
    middle = np.column_stack([np.interp(rings, places, line[:, axis]) for axis in range(2)])
    across = np.column_stack([-np.interp(rings, places, tangents[:, 1]), np.interp(rings, places, tangents[:, 0])])
    half = axon.half_width_nm / 1000
    return list(zip(middle - half * across, middle + half * across, strict=True))


def _edges(length: float) -> list[float]:
    return [float(edge) for edge in np.arange(0, length + _BIN_NM, _BIN_NM) / 1000]
