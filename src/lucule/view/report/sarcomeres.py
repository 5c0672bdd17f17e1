"""The part of a report that shows the sarcomeres of one input, and of all inputs together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from lucule.core import Localizations
from lucule.view import lines, plots
from lucule.view.report.clusters import history_text
from lucule.view.report.model import Block, Code, Figure, Gallery, KeyValues, Section, Table, Text, Value, Warnings

if TYPE_CHECKING:
    from lucule.structures.sarcomeres import Average, Distance, Sarcomeres

_MOST_ROWS: Final = 200
_MOST_ZOOMS: Final = 4


def sarcomere_section(
    name: str,
    locs: Localizations,
    measured: Sarcomeres,
    steps: pl.DataFrame,
    average: Average | None,
    summary: Mapping[str, Any],
    *,
    warnings: Sequence[str] = (),
) -> Section:
    """Everything that a report says about the sarcomeres of one input.

    Parameters
    ----------
    name
        Title of the section.
    locs
        All localizations, with `label` and `cluster`.
    measured
        The double lines.
    steps
        Counts of the filters.
    average
        The averaged double line; None where there is none.
    summary
        Key numbers, as the command prints them.
    warnings
        What the reader must know first.
    """
    table = measured.rows
    blocks: list[Block] = [Warnings(tuple(warnings))] if warnings else []
    blocks.append(_cards(locs, summary))
    if summary["line_distance_nm"] is None:
        blocks.append(Text(f"There is no line distance: {summary['line_distance_nm_reason']}."))
    if len(locs):
        figures = [
            Figure.of_picture(
                lines.field_picture(locs, table),
                alt=f"All localizations by label; {table.height} double lines in boxes.",
                caption="Localizations by label; every double line in a box, with its number in the table.",
            )
        ]
        blocks.append(Gallery(tuple(figures), title="Overview", size="large"))
    if table.height:
        blocks.append(_zooms(locs, table))
    blocks += _plots(table, measured.distance, average)
    blocks.append(_steps(steps))
    blocks.append(_rows(table))
    blocks.append(Code("History of the table", history_text(locs)))
    return Section(name, tuple(blocks), note=f"{len(locs):,} localizations, {table.height} double lines")


def all_sarcomeres_section(
    table: pl.DataFrame, distance: Distance, average: Average | None, averaged: Mapping[str, Any]
) -> Section:
    """What a report says about the sarcomeres of all inputs together."""
    note = f"{table.height} double lines"
    if distance.nm is None:
        return Section("All inputs together", (Text(f"There is no line distance: {distance.reason}."),), note=note)
    values = (
        Value(
            "Line distance of all",
            distance.nm,
            "nm",
            note="mean",
            interval=distance.interval_nm,
            limits="95 % interval",
        ),
        _resolution(averaged),
    )
    return Section(
        "All inputs together", (KeyValues(values, style="list"), *_plots(table, distance, average)), note=note
    )


def _cards(locs: Localizations, summary: Mapping[str, Any]) -> KeyValues:
    interval = summary["line_distance_nm_interval"]
    distance = summary["line_distance_nm"]
    spread = summary["line_distance_spread_nm"]
    note = f"spread {spread:.1f} nm" if spread is not None else ""
    values = [
        Value("Localizations", len(locs)),
        Value("Double lines", summary["double_lines"], note=f"{summary['sarcomeres_measured']} measured"),
        Value(
            "Line distance", float("nan") if distance is None else distance, "nm",
            note=note if distance is not None else "none: see below",
            interval=None if interval is None else (interval[0], interval[1]), limits="95 % interval",
        ),
    ]  # fmt: skip
    for label, key, unit in (("Line length", "line_length_nm", "nm"), ("Line width", "line_width_nm", "nm")):
        if summary[key] is not None:
            values.append(Value(label, summary[key], unit, note="median"))
    values.append(_resolution(summary))
    return KeyValues(tuple(values), style="cards")


def _resolution(averaged: Mapping[str, Any]) -> Value:
    nm, interval = averaged["average_frc_nm"], averaged["average_frc_nm_interval"]
    note = f"{averaged['averaged']} averaged; Fourier correlation of halves"
    if nm is None:
        note = f"{averaged['averaged']} averaged; {averaged['average_frc_nm_reason'] or 'no crossing'}"
    limits = None if interval is None else (interval[0], interval[1])
    return Value("Resolution of the average", float("nan") if nm is None else nm, "nm", note=note, interval=limits,
                 limits="95 % interval")  # fmt: skip


def _zooms(locs: Localizations, table: pl.DataFrame) -> Gallery:
    some = table.filter(pl.int_range(pl.len()) % max(table.height // _MOST_ZOOMS, 1) == 0).head(_MOST_ZOOMS)
    figures = []
    for row in some.iter_rows(named=True):
        told = row["reason"] or f"{row['line_distance_nm']:.1f} nm"
        figures.append(
            Figure.of_picture(
                lines.zoom_picture(locs, row["x_nm"], row["y_nm"]),
                alt=f"Double line {row['sarcomere']} and what lies around it.",
                caption=f"Double line {row['sarcomere']}: {told}.",
            )
        )
    return Gallery(tuple(figures), title="Double lines", size="small")


def _plots(table: pl.DataFrame, distance: Distance, average: Average | None) -> list[Block]:
    if average is None:
        return []
    figures = [
        Figure(lines.png_of(lines.average_plot(average)), alt=f"Average of {average.sarcomeres} sarcomeres."),
        Figure.of_plot(lines.axial_plot(average, distance), alt="Epitope profile along the myofibril."),
        Figure.of_plot(lines.distances_plot(table, distance), alt="Line distance of every sarcomere."),
        Figure.of_plot(lines.radial_plot(average), alt="Radial profile of the epitopes."),
    ]
    for name, label, unit in (
        ("line_length_nm", "Line length", "nm"),
        ("divergence_deg", "Divergence", "degrees"),
        ("edge_over_middle", "Separation, edge over middle", ""),
    ):
        values = table[name].drop_nulls().to_numpy()
        figures.append(
            Figure.of_plot(
                plots.distribution(values, label=label, unit=unit, of="double lines", scale="linear"), alt=f"{label}."
            )
        )
    return [Gallery(tuple(figures), title="Average and distributions", size="medium")]


def _steps(steps: pl.DataFrame) -> Table:
    rows = tuple((row["step"], row["before"], row["discarded"], row["percent"]) for row in steps.iter_rows(named=True))
    return Table(
        ("Step", "Before", "Discarded", "%"), rows, title="Filters",
        note="What each step takes away, in % of what was left before it.",
    )  # fmt: skip


def _rows(table: pl.DataFrame) -> Table:
    columns = {
        "sarcomere": "Number", "localizations": "Localizations", "line_distance_nm": "Distance (nm)",
        "line_distance_low_nm": "from", "line_distance_high_nm": "to", "line_width_nm": "Width (nm)",
        "line_length_nm": "Length (nm)", "divergence_deg": "Divergence (deg)", "reason": "Why no distance",
    }  # fmt: skip
    shown = table.head(_MOST_ROWS)
    rows = tuple(
        tuple("" if k == "reason" and r[k] is None else r[k] for k in columns) for r in shown.iter_rows(named=True)
    )
    note = "" if table.height <= _MOST_ROWS else f"The first {_MOST_ROWS} of {table.height}; all are in sarcomeres.csv."
    return Table(tuple(columns.values()), rows, title="Double lines, the largest first", note=note)
