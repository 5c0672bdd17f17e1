"""Conditions side by side: boxes or violins with every cell as a point, and brackets with P values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike

from lucule.core import InputError
from lucule.view.plots import INK, MUTED, RULE, log_ticks, spans_decades
from lucule.view.quantities import Floats, finite

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# told apart by colour-blind readers and in print (Okabe and Ito 2008), yellow left out
CONDITION_COLOURS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#6b6b6b")
REPLICATE_MARKERS: Final = "os^Dvp<>"
MOST_BRACKETS: Final = 6
TITLE_LETTER: Final = 0.092  # inches that a letter of a title takes
NOTE_LETTER: Final = 0.057  # and one of the note below it, at 8 points
FEWEST_FOR_VIOLIN: Final = 8
# whole boxes become lines sooner than single values do
LOG_SPAN: Final = 8.0
Kind = Literal["box", "violin"]


def conditions(
    values: Mapping[str, ArrayLike],
    *,
    label: str,
    unit: str = "",
    kind: Kind = "box",
    replicates: Mapping[str, Sequence[Any]] | None = None,
    brackets: Sequence[tuple[str, str, float]] = (),
    note: str = "",
) -> Figure:
    r"""Values of several conditions, each value a point.

    Boxes end at the quartiles, the line is the median, whiskers reach the outermost value within 1.5 box lengths.
    Violins (for 8 values or more) show the density of the values, with the median as a line. Values that are not finite
    are left out. The axis is logarithmic where positive values span more than a factor 8.

    Parameters
    ----------
    values
        Name of each condition and its values, one per cell, in the order in which they are shown.
    label, unit
        What is measured.
    kind
        `box` or `violin`.
    replicates
        Replicate of each value; each replicate gets a marker of its own, and its median a large one.
    brackets
        Pairs of conditions with their P value; the smallest six are drawn.
    note
        Below the title.

    Examples
    --------
    >>> figure = conditions({"control": [1, 2, 3], "drug": [3, 4, 5]}, label="Clusters per µm²")
    >>> [text.get_text() for text in figure.axes[0].get_xticklabels()]
    ['control\nn = 3', 'drug\nn = 3']
    """
    from matplotlib.figure import Figure as NewFigure

    if kind not in ("box", "violin"):
        raise InputError("Unknown kind of plot", received=kind, allowed="box, violin")
    known = {name: np.asarray(own, np.float64).reshape(-1) for name, own in values.items()}
    everything = finite(np.concatenate([*known.values(), np.empty(0)]))
    log = spans_decades(everything, factor=LOG_SPAN)
    shown = sorted(brackets, key=lambda bracket: bracket[2])[:MOST_BRACKETS]

    width = max(2.2, 0.75 + 0.95 * len(known))
    title = wrap(label, int((width - 0.84) / TITLE_LETTER)) or [""]
    above = 0.52 + 0.18 * (len(title) - 1)
    height = 2.78 + above + 0.17 * len(shown)
    figure = NewFigure(figsize=(width, height), dpi=150)
    bottom = 0.62 if replicates is None else 0.84
    figure.subplots_adjust(0.72 / width, bottom / height, 1 - 0.12 / width, 1 - above / height)
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    if log:
        axes.set_yscale("log")
    names = _marker_of(replicates)
    for position, (name, own) in enumerate(known.items()):
        colour = CONDITION_COLOURS[position % len(CONDITION_COLOURS)]
        there = np.isfinite(own)
        if there.any():
            _spread(axes, position, own[there], colour, kind=kind, log=log)
            own_replicates = None if replicates is None else np.asarray([str(r) for r in replicates[name]])[there]
            _points(axes, position, own[there], colour, own_replicates, names, log=log)
    if not len(everything):
        axes.text(0.5, 0.5, "nothing to show", transform=axes.transAxes, ha="center", va="center", color=MUTED)
    _brackets(axes, list(known), everything, shown, log=log)
    _dress(axes, known, "\n".join(title), unit, note, log=log)
    if names:
        _legend(figure, names)
    return figure


def _marker_of(replicates: Mapping[str, Sequence[Any]] | None) -> dict[str, str]:
    every = dict.fromkeys(str(name) for own in (replicates or {}).values() for name in own)
    return {name: REPLICATE_MARKERS[number % len(REPLICATE_MARKERS)] for number, name in enumerate(every)}


def _legend(figure: Figure, markers: Mapping[str, str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], marker=marker, color=MUTED, mec=INK, ls="", ms=5, label=name) for name, marker in markers.items()
    ]
    figure.legend(
        handles=handles, title="replicate (large: its median)", title_fontsize=7, fontsize=7, ncols=len(handles),
        loc="lower center", frameon=False, handletextpad=0.1, columnspacing=1.2, borderpad=0.0,
    )  # fmt: skip


def _spread(axes: Axes, position: int, values: Floats, colour: str, *, kind: Kind, log: bool) -> None:
    q1, median, q3 = np.quantile(values, [0.25, 0.5, 0.75])
    if kind == "violin" and len(values) >= FEWEST_FOR_VIOLIN and np.ptp(values) > 0:
        edge, half = _violin(np.log10(values) if log else values)
        along = 10**edge if log else edge
        sides = position - 0.36 * half, position + 0.36 * half
        axes.fill_betweenx(along, *sides, facecolor=_faded(colour), edgecolor=colour, lw=1.0, zorder=2)
    elif len(values) > 2:
        inside = values[(values >= q1 - 1.5 * (q3 - q1)) & (values <= q3 + 1.5 * (q3 - q1))]
        ends = [min(inside.min(), q1), q3], [q1, max(inside.max(), q3)]
        axes.vlines([position, position], *ends, color=colour, lw=1.1, zorder=2)
        sides = [position - 0.27, position + 0.27]
        axes.fill_between(sides, q1, q3, facecolor=_faded(colour), edgecolor=colour, lw=1.1, zorder=2)
    axes.hlines(median, position - 0.27, position + 0.27, color=INK, lw=2.0, zorder=5, capstyle="butt")


def _faded(colour: str) -> tuple[float, float, float, float]:
    from matplotlib.colors import to_rgba

    red, green, blue, _ = to_rgba(colour)
    return red, green, blue, 0.16


def _violin(values: Floats) -> tuple[Floats, Floats]:
    """Positions along the axis and the relative density there, by a Gaussian kernel of Scott's width."""
    width = values.std(ddof=1) * len(values) ** (-1 / 5)
    edge = np.linspace(values.min() - width, values.max() + width, 120)
    density = np.exp(-0.5 * ((edge[:, None] - values) / width) ** 2).sum(axis=1)
    return edge, density / density.max()


def _points(
    axes: Axes,
    position: int,
    values: Floats,
    colour: str,
    replicates: Any,
    markers: Mapping[str, str],
    *,
    log: bool,
) -> None:
    aside = _swarm(np.log10(values) if log else values, len(values))
    size = 13.0 if len(values) <= 60 else 7.0
    style: dict[str, Any] = {"color": colour, "linewidths": 0.4, "edgecolors": "white", "alpha": 0.85, "zorder": 4}
    if replicates is None:
        axes.scatter(position + aside, values, s=size, **style)
        return
    for name in dict.fromkeys(replicates):
        own = replicates == name
        axes.scatter(position + aside[own], values[own], s=size, marker=markers[name], **style)
        axes.scatter(
            position, np.median(values[own]), s=46, marker=markers[name], color=colour, edgecolors=INK, linewidths=0.9,
            zorder=6,
        )  # fmt: skip


def _swarm(values: Floats, n: int) -> Floats:
    """Sideways shifts that keep points of nearly equal value apart; the same for the same values."""
    if n == 1 or np.ptp(values) == 0:
        return np.linspace(-0.2, 0.2, n) if n > 1 else np.zeros(1)
    order = np.argsort(values, kind="stable")
    level = np.round((values - values.min()) / np.ptp(values) * 28).astype(int)
    aside = np.zeros(n)
    for bin_ in np.unique(level):
        own = order[level[order] == bin_]
        step = min(0.075, 0.5 / max(len(own) - 1, 1))
        # from the middle outwards, to both sides in turn
        sides = np.array([(k + 1) // 2 * (1 if k % 2 else -1) for k in range(len(own))])
        aside[own] = step * sides
    return aside


def _brackets(
    axes: Axes, names: list[str], everything: Floats, shown: Sequence[tuple[str, str, float]], *, log: bool
) -> None:
    if not len(everything):
        return
    low, high = float(everything.min()), float(everything.max())
    if low == high:
        low, high = low - max(abs(low) / 2, 0.5), high + max(abs(high) / 2, 0.5)
    start, end = (np.log10(low), np.log10(high)) if log else (low, high)
    span = end - start
    # short brackets lie below long ones
    ordered = sorted(shown, key=lambda b: (abs(names.index(b[0]) - names.index(b[1])), names.index(b[0])))
    for level, (first, second, p) in enumerate(ordered):
        y = end + span * (0.09 + 0.115 * level)
        left, right = sorted((names.index(first), names.index(second)))
        foot = y - 0.022 * span
        line = np.array([foot, y, y, foot])
        axes.plot([left, left, right, right], 10**line if log else line, color=INK, lw=0.8, zorder=6)
        text = y + 0.008 * span
        axes.text(
            (left + right) / 2, 10**text if log else text, p_text(p), ha="center", va="bottom", fontsize=7.5, color=INK
        )
    limits = np.array([start - 0.06 * span, end + span * (0.08 + 0.125 * len(ordered))])
    axes.set_ylim(*(10**limits if log else limits))


def p_text(p: float) -> str:
    """A P value as it stands in a paper.

    Examples
    --------
    >>> p_text(0.03214), p_text(0.00002), p_text(0.7), p_text(0.0496)
    ('P = 0.032', 'P < 0.0001', 'P = 0.7', 'P = 0.0496')
    """
    if p < 1e-4:
        return "P < 0.0001"
    # what is not 0.05 is not written as 0.05
    return f"P = {p:.3g}" if f"{p:.2g}" == "0.05" else f"P = {p:.2g}"


def _dress(axes: Axes, known: Mapping[str, Floats], label: str, unit: str, note: str, *, log: bool) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set(color=INK, linewidth=0.9)
    axes.set_title(label, loc="left", color=INK, fontsize=10.5, fontweight="bold", pad=18 if note else 8)
    if note:
        room = axes.get_position().width * axes.get_figure(root=True).get_size_inches()[0]
        size = 8 * min(1.0, room / (NOTE_LETTER * len(note)))
        axes.annotate(
            note,
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, 5),
            textcoords="offset points",
            color=MUTED,
            fontsize=size,
        )
    axes.set_ylabel(unit or label, color=INK, fontsize=9)
    ticks = [f"{_folded(name)}\nn = {int(np.isfinite(own).sum())}" for name, own in known.items()]
    axes.set_xticks(range(len(known)), ticks)
    axes.set_xlim(-0.6, len(known) - 0.4)
    axes.tick_params(axis="both", which="both", colors=INK, labelsize=8, length=3, width=0.8)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y", color=RULE, linewidth=0.5, zorder=0)
    axes.set_axisbelow(True)
    if log:
        log_ticks(axes.yaxis, *axes.get_ylim())


def _folded(name: str) -> str:
    """A long name in two lines, broken near its middle; underscores are spaces."""
    words = name.replace("_", " ")
    breaks = [position for position, letter in enumerate(words) if letter in " -,"]
    if len(words) <= 12 or not breaks:
        return words if len(words) <= 15 else f"{words[:14]}…"
    middle = min(breaks, key=lambda position: abs(position - len(words) / 2))
    parts = words[:middle], words[middle + 1 :]
    return "\n".join(part if len(part) <= 15 else f"{part[:14]}…" for part in parts)
