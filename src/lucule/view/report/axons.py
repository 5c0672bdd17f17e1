"""The part of a report that shows the axons of one input."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from lucule.core import Localizations
from lucule.view.axons import axon_map, period_plot
from lucule.view.report.clusters import history_text
from lucule.view.report.model import Block, Code, Figure, Gallery, KeyValues, Section, Table, Text, Value, Warnings

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Plot

    from lucule.structures.axons import Axons, Period

MOST_PLOTS: Final = 12


def axon_section(name: str, locs: Localizations, found: Axons, *, warnings: Sequence[str] = ()) -> Section:
    """Everything that a report says about the axons of one input."""
    blocks: list[Block] = [Warnings(tuple(warnings))] if warnings else []
    blocks.append(_cards(found))
    if found.reason:
        blocks.append(Text(f"No axon: {found.reason}."))
    if len(found.molecules_nm):
        alt = f"{len(found.molecules_nm):,} molecules and {len(found.axons)} axons."
        caption = "Molecules (grey), centre lines; strokes across are the rings of axons with a period."
        blocks.append(Gallery((Figure(_png(axon_map(found)), alt, caption),), size="large"))
    if found.axons:
        blocks.append(_table(found))
        pairs = list(zip(found.axons, found.periods, strict=True))[:MOST_PLOTS]
        figures = tuple(
            Figure.of_plot(period_plot(axon, own), alt=f"Axon {number}.", caption=f"Axon {number}. {_words(own)}")
            for number, (axon, own) in enumerate(pairs)
        )
        note = f"The {MOST_PLOTS} longest of {len(found.axons)}." if len(found.axons) > MOST_PLOTS else ""
        blocks.append(Gallery(figures, title="Each axon", size="large", note=note))
    blocks.append(Code("History of the table", history_text(locs)))
    return Section(name, tuple(blocks), note=f"{len(locs):,} localizations, {len(found.molecules_nm):,} molecules")


def _png(figure: Plot) -> bytes:
    """As a picture: thousands of points would make a large page of SVG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor="white")
    return buffer.getvalue()


def _cards(found: Axons) -> KeyValues:
    periods = np.array([own.period_nm for own in found.periods if own.period_nm is not None])
    middle = float(np.median(periods)) if len(periods) else float("nan")
    note = "no period"
    if len(periods) == 1:
        low, high = next(
            own.period_nm_interval or (middle, middle) for own in found.periods if own.period_nm is not None
        )
        note = f"95 % interval {low:.1f} to {high:.1f}"
    elif len(periods):
        note = f"median; {periods.min():.1f} to {periods.max():.1f} in all"
    values = (
        Value("Axons", len(found.axons)),
        Value("With a period", len(periods)),
        Value("Period", middle, "nm", note=note),
    )
    return KeyValues(values, style="cards")


def _table(found: Axons) -> Table:
    heads = ("Axon", "Period (nm)", "95 % from", "to", "Chance p", "Length (µm)", "Rings", "Molecules", "Remark")
    rows = []
    for number, (axon, own) in enumerate(zip(found.axons, found.periods, strict=True)):
        low, high = own.period_nm_interval or (None, None)
        rows.append(
            (
                number, _tenths(own.period_nm), _tenths(low), _tenths(high), own.p_value,
                _rounded(axon.course.length_nm / 1000), len(own.rings_nm) if own.period_nm else None, own.molecules,
                own.remark or own.reason or "",
            )
        )  # fmt: skip
    return Table(heads, tuple(rows), title="Axons")


def _words(own: Period) -> str:
    if own.period_nm is None or own.period_nm_interval is None:
        return f"No period: {own.reason}."
    low, high = own.period_nm_interval
    return f"{own.period_nm:.1f} nm ({low:.1f} to {high:.1f})." + (f" {own.remark}." if own.remark else "")


def _tenths(value: float | None) -> str:
    """A length in nm; three digits, as tables have them, would hide the interval."""
    return "" if value is None else f"{value:.1f}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
