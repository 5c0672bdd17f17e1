"""Plots of what was measured: matplotlib figures, made without pyplot and without touching its global state.

Colours are few and fixed (`INK`, `MUTED`, `RULE`, `ACCENT`, `SOFT`), so that the report can replace them by those of
the reader's light or dark page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike

from lucule.core import InputError
from lucule.view.annotate import number_text
from lucule.view.quantities import FEWEST_FOR_QUARTILES, Floats, Spread, cluster_values, finite, measured

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

INK: Final = "#1b2027"
MUTED: Final = "#69717d"
RULE: Final = "#d5dae1"
ACCENT: Final = "#dfa01e"
SOFT: Final = "#f3e3bd"
SIZE_INCHES: Final = (4.0, 2.7)
# with fewer values than this a histogram says less than the values themselves
FEWEST_FOR_HISTOGRAM: Final = 12
LOG_SPAN: Final = 20.0

Scale = Literal["auto", "linear", "log"]


def distribution(
    values: ArrayLike,
    *,
    label: str,
    unit: str = "",
    of: str = "clusters",
    scale: Scale = "auto",
    log_counts: bool = False,
) -> Figure:
    """Histogram with the median as a line and the interquartile range as a band.

    Few values (below 12) are drawn one by one, none at all as an empty plot that says so.

    Parameters
    ----------
    values
        Any numbers; those that are not finite are left out and counted below the title.
    label, unit
        What is measured.
    of
        What it is measured of.
    scale
        Of the horizontal axis; `auto`: logarithmic where positive values span more than a factor 20.
    log_counts
        Logarithmic vertical axis.

    Examples
    --------
    >>> figure = distribution([30.0, 35.0, 80.0], label="Diameter", unit="nm")
    >>> figure.axes[0].get_xlabel()
    'nm'
    """
    if scale not in ("auto", "linear", "log"):
        raise InputError("Unknown scale", received=scale, allowed="auto, linear, log")
    every = np.asarray(values, np.float64).reshape(-1)
    known = finite(every)
    if scale == "log" and (known <= 0).any():
        raise InputError("A logarithmic axis needs positive values", received=f"smallest {known.min():g}")
    log = scale == "log" or (scale == "auto" and spans_decades(known))
    spread = Spread.of(known)
    figure, axes = _figure()
    note = f"n = {len(known):,}"
    if missing := len(every) - len(known):
        note += f", {missing:,} without a value"
    _head(axes, label, f"median {spread.text()}, {note}" if spread.count else note)
    axes.set_xlabel(unit, color=MUTED, fontsize=9)
    if not spread.count:
        _empty(axes, "nothing to show")
        return figure
    if log:
        axes.set_xscale("log")
    if spread.count >= FEWEST_FOR_QUARTILES:
        axes.axvspan(spread.low, spread.high, color=SOFT, lw=0, zorder=0)
    if spread.count < FEWEST_FOR_HISTOGRAM:
        axes.plot(np.sort(known), _stacked(known), "o", ms=6, color=ACCENT, mec="none", zorder=4)
        axes.set_ylim(0, 1)
        axes.yaxis.set_visible(False)
        axes.margins(x=0.15)
    else:
        axes.hist(known, bins=_edges(known, log=log).tolist(), color=ACCENT, lw=0, zorder=2, rwidth=0.92)
        axes.set_ylabel(of, color=MUTED, fontsize=9)
        if log_counts:
            axes.set_yscale("log")
    if known.min() == known.max():
        half = max(abs(known[0]) / 2, 2.0)
        axes.set_xlim((known[0] / 2, known[0] * 2) if log else (known[0] - half, known[0] + half))
    axes.axvline(spread.median, color=INK, lw=1.6, zorder=3)
    _ticks(axes, log=log)
    return figure


def cluster_distributions(table: pl.DataFrame) -> dict[str, Figure]:
    """Distributions of size, area, density, counts and elongation from a table of clusters (`Clusters.table()`)."""
    return {
        quantity.name: distribution(cluster_values(table, quantity), label=quantity.label, unit=quantity.unit)
        for quantity in measured(table)
    }


def comparison(groups: Mapping[str, ArrayLike | Spread], *, label: str, unit: str = "") -> Figure:
    """Median and interquartile range of several inputs (values, or their `Spread`), one line each, in the order given.

    Examples
    --------
    >>> figure = comparison({"cell 1": [30.0, 40.0, 55.0], "cell 2": [60.0, 61.0]}, label="Diameter", unit="nm")
    >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
    ['cell 1', 'cell 2']
    """
    names = [name if len(name) <= 26 else f"{name[:24]}…" for name in groups]
    widest = max((len(name) for name in names), default=0)
    figure, axes = _figure((5.2, 1.1 + 0.3 * max(len(groups), 2)), left=0.3 + 0.082 * widest)
    _head(axes, label, "median and interquartile range")
    spreads = [values if isinstance(values, Spread) else Spread.of(values) for values in groups.values()]
    rows = np.arange(len(groups))
    for row, spread in zip(rows, spreads, strict=True):
        axes.plot([spread.low, spread.high], [row, row], color=ACCENT, lw=5, solid_capstyle="round", alpha=0.55)
        axes.plot([spread.median], [row], "o", ms=6, color=ACCENT, mec="none")
    known = np.array([value for s in spreads if s.count for value in (s.low, s.high)])
    if spans_decades(known):
        axes.set_xscale("log")
    axes.set_yticks(rows, names)
    axes.set_ylim(len(groups) - 0.4, -0.6)
    axes.set_xlabel(unit, color=MUTED, fontsize=9)
    _ticks(axes, log=axes.get_xscale() == "log")
    axes.tick_params(axis="y", colors=INK, labelsize=9)
    axes.grid(visible=False, axis="y")
    return figure


def probabilities(p_label: ArrayLike, *, label: str = "Probability of the label") -> Figure:
    """Histogram of `p_label`: how sure the network was. Values near one half are those it could not tell."""
    known = finite(p_label)
    figure, axes = _figure()
    unsure = 100 * float(np.mean(known < 0.7)) if len(known) else math.nan
    _head(axes, label, f"{number_text(unsure)} % below 0.7, n = {len(known):,}" if len(known) else "n = 0")
    if not len(known):
        _empty(axes, "nothing to show")
        return figure
    low = min(0.5, float(known.min()))
    axes.hist(known, bins=np.linspace(low, 1.0, 31).tolist(), color=ACCENT, lw=0, zorder=2, rwidth=0.92)
    axes.set_xlim(low, 1.0)
    axes.set_ylabel("localizations", color=MUTED, fontsize=9)
    _ticks(axes, log=False)
    return figure


def _figure(size: tuple[float, float] = SIZE_INCHES, *, left: float = 0.66) -> tuple[Figure, Axes]:
    """A figure with one pair of axes and margins in inches; laid out by hand, which is far faster than by rules."""
    from matplotlib.figure import Figure as NewFigure

    width, height = size
    figure = NewFigure(figsize=size, dpi=150)
    figure.subplots_adjust(left / width, 0.48 / height, 1 - 0.14 / width, 1 - 0.52 / height)
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set(color=RULE, linewidth=1)
    axes.grid(axis="both", color=RULE, linewidth=0.6, zorder=-1)
    axes.set_axisbelow(True)
    return figure, axes


def _head(axes: Axes, title: str, note: str) -> None:
    axes.set_title(title, loc="left", color=INK, fontsize=10.5, fontweight="bold", pad=20)
    axes.annotate(
        note, (0, 1), xycoords="axes fraction", xytext=(0, 6), textcoords="offset points", color=MUTED, fontsize=8.5
    )


def _empty(axes: Axes, message: str) -> None:
    axes.text(0.5, 0.5, message, transform=axes.transAxes, ha="center", va="center", color=MUTED, fontsize=10)
    axes.set_axis_off()
    axes.title.set_visible(True)


def _ticks(axes: Axes, *, log: bool) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.tick_params(axis="both", which="both", length=0, colors=MUTED, labelsize=8.5)
    short = FuncFormatter(lambda value, _: short_number(value))
    if log:
        log_ticks(axes.xaxis, *axes.get_xlim())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
        axes.xaxis.set_major_formatter(short)
    if axes.yaxis.get_visible() and axes.get_yscale() == "linear" and axes.get_ylabel():
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, steps=[1, 2, 2.5, 5, 10]))
        axes.yaxis.set_major_formatter(short)


def log_ticks(axis: Axis, low: float, high: float) -> None:
    """Few ticks with short numbers on a logarithmic axis from `low` to `high`."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    subs = (1.0,) if math.log10(high / low) > 2.5 else (1.0, 2.0, 5.0)
    axis.set_major_locator(LogLocator(subs=subs, numticks=8))
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))


def short_number(value: float) -> str:
    """A number for an axis.

    Examples
    --------
    >>> short_number(25000), short_number(3e6), short_number(0.5), short_number(0)
    ('25k', '3M', '0.5', '0')
    """
    for limit, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:g}{sign}"
    return f"{value:g}"


def spans_decades(values: Floats, *, factor: float = LOG_SPAN) -> bool:
    """Whether positive values span more than a factor, so that a logarithmic axis shows them better."""
    if len(values) < 2 or (values <= 0).any():
        return False
    low, high = np.percentile(values, (1, 99))
    return bool(high / low > factor)


def _edges(values: Floats, *, log: bool) -> Floats:
    """Edges of the bins: Freedman and Diaconis' rule within 8 to 36 bins; whole numbers are never split."""
    whole = bool((values == np.round(values)).all())
    low, high = float(values.min()), float(values.max())
    if low == high:
        half = 0.5 if whole else max(abs(low) * 0.05, 1e-6)
        return np.array([low - half, low + half])
    if whole and not log and high - low <= 36:
        return np.arange(low - 0.5, high + 1.0)
    shown: Any = np.log10(values) if log else values
    width = 2 * float(np.subtract(*np.percentile(shown, (75, 25)))) / len(values) ** (1 / 3)
    span = float(shown.max() - shown.min())
    bins = int(np.clip(math.ceil(span / width) if width > 0 else 36, 8, 36))
    edges: Floats = (
        np.logspace(math.log10(low), math.log10(high), bins + 1) if log else np.linspace(low, high, bins + 1)
    )
    if whole:
        edges = np.unique(np.round(edges - 0.5) + 0.5)
        edges[0], edges[-1] = min(edges[0], low - 0.5), max(edges[-1], high + 0.5)
    else:
        edges[0], edges[-1] = low, high
    return edges


def _stacked(values: Floats) -> Floats:
    """Heights at which equal or nearly equal values do not hide each other."""
    ordered = np.sort(values)
    span = float(np.ptp(ordered)) or 1.0
    heights, level = [0.3], 0
    for before, value in pairwise(ordered):
        level = level + 1 if value - before < 0.02 * span else 0
        heights.append(0.3 + 0.12 * (level % 5))
    return np.array(heights)
