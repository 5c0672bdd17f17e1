"""The slide with its fields, and the course of a field: pictures of an experiment at the microscope."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.view.annotate import number_text
from lucule.view.curves import SECOND, THIRD, add_legend, entitle, panels_of
from lucule.view.plots import ACCENT, INK, MUTED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STATE_COLOURS: Final = {"done": ACCENT, "planned": "#ffffff", "failed": "#d1495b", "skipped": MUTED}
_SIDE_INCHES: Final = 6.4


def slide_map(
    image: NDArray[Any],
    *,
    corner_um: tuple[float, float],
    pixel_um: float,
    objects: pl.DataFrame,
    fields: pl.DataFrame,
    field_um: tuple[float, float],
) -> Figure:
    """Overview of a scan with the objects that were found and the fields in the order in which they were taken.

    Parameters
    ----------
    image
        Counts `(rows, columns)`; 0 where nothing was seen.
    corner_um, pixel_um
        Where the corner of its first pixel lies, and the size of a pixel.
    objects
        `outline` (WKB, hexadecimal, um), `state`.
    fields
        `id`, x_um, y_um, `state`.
    field_um
        Width and height of a field.
    """
    import shapely
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure as NewFigure
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    rows, columns = image.shape
    extent = (corner_um[0], corner_um[0] + columns * pixel_um, corner_um[1] + rows * pixel_um, corner_um[1])
    scale = _SIDE_INCHES / max(rows, columns)
    figure = NewFigure(figsize=(columns * scale + 0.7, rows * scale + 0.9), dpi=150, layout="constrained")
    axes = figure.subplots()
    seen = image[image > 0]
    low, high = np.percentile(seen, (1, 99.7)) if seen.size else (0, 1)
    axes.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1), extent=extent, interpolation="nearest")
    outlines = [shapely.get_coordinates(shapely.from_wkb(text)) for text in objects["outline"].to_list()]
    axes.add_collection(LineCollection(outlines, colors=SECOND, linewidths=0.8))
    middles = fields.select("x_um", "y_um").to_numpy()
    axes.plot(*middles.T, color=ACCENT, lw=0.7, ls=":", zorder=3)
    for row in fields.iter_rows(named=True):
        corner = (row["x_um"] - field_um[0] / 2, row["y_um"] - field_um[1] / 2)
        colour = STATE_COLOURS.get(row["state"], MUTED)
        axes.add_patch(Rectangle(corner, *field_um, fill=False, edgecolor=colour, lw=1.3, zorder=4))
        axes.annotate(str(row["id"] + 1), corner, color=colour, fontsize=8, fontweight="bold", xytext=(2, -2),
                      textcoords="offset points", va="top", zorder=5,
                      path_effects=[withStroke(linewidth=2, foreground="black")])  # fmt: skip
    axes.set_xlim(extent[:2])
    axes.set_ylim(extent[2:])
    axes.tick_params(colors=MUTED, labelsize=8, length=2)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel("µm", color=MUTED, fontsize=9)
    counts = [
        f"{len(rows)} {name}{'' if len(rows) == 1 else 's'}" for name, rows in (("object", objects), ("field", fields))
    ]
    entitle(axes, "Slide", f"{', '.join(counts)} in the order in which they were taken")
    return figure


def course_plot(bursts: Mapping[str, pl.DataFrame], *, target_per_um2: float | None = None) -> Figure:
    """Density of emitters and power of the activation over the bursts of fields.

    Parameters
    ----------
    bursts
        Name of a field -> `frames`, `density_per_um2`, `activation_mw` of its bursts.
    target_per_um2
        Wanted density.
    """
    figure, (left, right) = panels_of(2)
    colours = (ACCENT, SECOND, THIRD, INK, MUTED)
    for number, (name, rows) in enumerate(bursts.items()):
        colour = colours[number % len(colours)]
        ends = np.cumsum(rows["frames"].to_numpy())
        left.plot(ends, rows["density_per_um2"].to_numpy(), color=colour, lw=1.4, marker="o", ms=2.5, label=name)
        right.plot(ends, rows["activation_mw"].to_numpy(), color=colour, lw=1.4, marker="o", ms=2.5, label=name)
    note = "emitters for a µm² and frame"
    if target_per_um2 is not None:
        left.axhline(target_per_um2, color=INK, lw=0.9, ls="--")
        note += f", line: {number_text(target_per_um2)} wanted"
    entitle(left, "Density", note)
    entitle(right, "Activation", "power of the activating laser, mW")
    for axes in (left, right):
        axes.set_xlabel("frame", color=MUTED, fontsize=9)
        axes.set_ylim(bottom=0)
    if len(bursts) <= len(colours):
        add_legend(left)
    return figure


def png(figure: Figure) -> bytes:
    """A figure as PNG."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", facecolor="white")
    return stream.getvalue()
