"""What gives a localization its colour: nothing (density), a number such as z, a label, a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lucule.core import COLUMNS, ColumnError, InputError, Localizations
from lucule.view import colours
from lucule.view.picture import ColourBar, Legend, Swatches

LABEL_NAMES: Final = {0: "not clustered", 1: "clustered"}
RANGE_PERCENTILES: Final = (1.0, 99.0)


@dataclass(frozen=True, slots=True, eq=False)
class Paint:
    """Colour of every drawn localization.

    Attributes
    ----------
    rows
        Rows that have a colour; None for all.
    value
        Number per row, 0 to 1, looked up in `table`; None where colours do not come from a number.
    index
        Colour number per row into `palette`.
    legend
        What the colours mean; None for density, whose legend is known only when the picture is.
    """

    rows: NDArray[np.intp] | None = None
    value: NDArray[np.float32] | None = None
    table: NDArray[np.uint8] | None = None
    index: NDArray[np.intp] | None = None
    palette: NDArray[np.float32] | None = None
    legend: Legend | None = None

    @property
    def channels(self) -> int:
        """Numbers that are summed per pixel besides the density."""
        if self.value is not None:
            return 1
        return 0 if self.index is None else 3

    def values(self, rows: NDArray[np.intp] | slice) -> NDArray[np.float32]:
        """What is summed `(m, channels)` for `rows` of the table."""
        if self.value is not None:
            return self.value[rows][:, None]
        if self.index is not None and self.palette is not None:
            return self.palette[self.index[rows]]
        count = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
        return np.empty((count, 0), np.float32)

    def colours(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """Colours `(m, 3)`, 0 to 1, for `rows` of the table."""
        if self.index is not None:
            return self.values(rows)
        if self.value is not None and self.table is not None:
            return colours.look_up(self.value[rows], self.table).astype(np.float32) / np.float32(255)
        return np.tile(colours.unit(colours.WHITE), (len(rows), 1))

    def back_to_front(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """`rows` in the order in which discs are drawn: what is not clustered lies underneath."""
        return rows if self.index is None else rows[np.argsort(self.index[rows] > 0, kind="stable")]


def choose(
    locs: Localizations,
    colour_by: str | None,
    *,
    colormap: str | None,
    colour_range: tuple[float, float] | None,
    label_names: Mapping[int, str] | None,
) -> Paint:
    """The paint for `colour_by`; see `lucule.view.render`."""
    if colour_by is None:
        return Paint()
    if colour_by not in locs:
        steps = {"label": "label the table first: lucule classify", "cluster": "group the table first: lucule cluster"}
        raise ColumnError(
            f"The table has no column {colour_by} to colour by",
            allowed=", ".join(locs.columns),
            next_step=steps.get(colour_by),
        )
    if not locs.data[colour_by].dtype.is_numeric():
        raise ColumnError(
            f"Column {colour_by} cannot be turned into colours",
            received=str(locs.data[colour_by].dtype),
            allowed="numbers",
        )
    if colour_by == "label":
        return _labels(locs["label"], label_names)
    if colour_by == "cluster":
        return _clusters(locs)
    return _numbers(locs, colour_by, colormap or "depth", colour_range)


def _labels(labels: NDArray[np.uint8], names: Mapping[int, str] | None) -> Paint:
    counts = np.bincount(labels, minlength=1)
    known: Mapping[int, str] = names or (LABEL_NAMES if len(counts) <= 2 else {0: LABEL_NAMES[0]})
    palette = colours.label_palette(len(counts) - 1)
    entries = tuple(
        (known.get(label, f"class {label}"), colours.LABEL_COLOURS[label % len(colours.LABEL_COLOURS)])
        for label in reversed(range(len(counts)))
        if counts[label]
    )
    return Paint(index=labels.astype(np.intp), palette=palette, legend=Swatches(entries))


def _clusters(locs: Localizations) -> Paint:
    cluster = locs["cluster"]
    grouped = np.flatnonzero(cluster >= 0)
    ids, index = _compact(cluster[grouped])
    size = np.bincount(index, minlength=len(ids))
    centres = np.column_stack([np.bincount(index, locs[axis][grouped], len(ids)) / size for axis in "xy"])
    palette = np.vstack([colours.unit(colours.GREY), colours.cluster_palette(centres)])
    colour = np.zeros(len(cluster), np.intp)
    colour[grouped] = index + 1
    first, second, third = colours.CLUSTER_COLOURS[:3]
    entries = (("", first), ("", second), ("clusters (neighbours differ)", third), ("in no cluster", colours.GREY))
    return Paint(index=colour, palette=palette, legend=Swatches(entries))


def _compact(ids: NDArray[np.int32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Numbers that occur, and for each row the position of its number among them."""
    if len(ids) and ids.max() > 4 * len(ids):
        unique, index = np.unique(ids, return_inverse=True)
        return unique.astype(np.intp), index
    present = np.flatnonzero(np.bincount(ids))
    position = np.zeros(int(present[-1]) + 1 if len(present) else 0, np.intp)
    position[present] = np.arange(len(present))
    return present, position[ids]


def _numbers(locs: Localizations, column: str, colormap: str, limits: tuple[float, float] | None) -> Paint:
    values = locs[column].astype(np.float32)
    finite = np.isfinite(values)
    rows = None if finite.all() else np.flatnonzero(finite)
    known = values if rows is None else values[rows]
    if limits is None:
        low, high = (float(v) for v in np.percentile(known, RANGE_PERCENTILES)) if len(known) else (0.0, 1.0)
    else:
        low, high = limits
        if not low < high:
            raise InputError("The colour range is empty", received=limits, allowed="(low, high) with low < high")
    scale = high - low or 1.0
    unit = COLUMNS[column].unit if column in COLUMNS else ""
    title = f"{column} ({unit})" if unit else column
    if rows is not None:
        title += f", {len(values) - len(rows):,} without a value not drawn"
    table = colours.colour_table(colormap)
    scaled = np.clip((values - np.float32(low)) / np.float32(scale), 0, 1)
    return Paint(rows=rows, value=scaled, table=table, legend=ColourBar(title, low, low + scale, table))
