"""The first screen of a report on several inputs: one line for each, and their medians side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from lucule.view import plots
from lucule.view.quantities import Spread
from lucule.view.report.model import Block, Cell, Figure, Gallery, KeyValues, Link, Section, Table, Value

# more lines than this in one plot cannot be told apart
MOST_IN_COMPARISON: Final = 40


def summarise(sections: Sequence[Section]) -> tuple[Block, ...]:
    """A table with a line for each section, and a plot for each value that has an interval.

    Lines and columns are taken from the cards of the sections (`KeyValues` in the style `cards`), so a section made by
    any stage takes part. Failed sections stand in the table with the words "failed".

    Examples
    --------
    >>> cards = KeyValues((Value("Clusters", 12),), style="cards")
    >>> table, = summarise([Section("cell 1", (cards,)), Section("cell 2", error="The file is empty.")])
    >>> table.columns, [row[1:] for row in table.rows]
    (('Input', 'Clusters'), [(12,), ('failed',)])
    """
    cards = {section.title: _cards(section) for section in sections}
    labels = list(dict.fromkeys((value.label, value.unit) for values in cards.values() for value in values))
    rows: list[tuple[Cell, ...]] = []
    for section in sections:
        found = {(value.label, value.unit): value.value for value in cards[section.title]}
        if section.error is not None:
            cells: list[Cell] = ["failed", *([None] * (len(labels) - 1))] if labels else ["failed"]
        else:
            cells = [found.get(label) for label in labels]
        rows.append((Link(section.title, section.title), *cells))
    heads = [f"{label} ({unit})" if unit else label for label, unit in labels] or ["Outcome"]
    blocks: list[Block] = [Table(("Input", *heads), tuple(rows), title="All inputs")]
    figures = [
        _comparison(label, unit, cards)
        for label, unit in labels
        if any(value.label == label and value.interval for values in cards.values() for value in values)
    ]
    if figures and 2 <= sum(section.error is None for section in sections) <= MOST_IN_COMPARISON:
        blocks.append(Gallery(tuple(figures), title="Side by side", size="large"))
    return tuple(blocks)


def _cards(section: Section) -> tuple[Value, ...]:
    return tuple(
        value
        for block in section.blocks
        if isinstance(block, KeyValues) and block.style == "cards"
        for value in block.values
    )


def _comparison(label: str, unit: str, cards: dict[str, tuple[Value, ...]]) -> Figure:
    spreads = {}
    for title, values in cards.items():
        for value in values:
            if (value.label, value.unit) == (label, unit) and isinstance(value.value, int | float):
                low, high = value.interval or (value.value, value.value)
                spreads[title] = Spread(0 if math.isnan(value.value) else 1, value.value, low, high)
    plot = plots.comparison(spreads, label=label, unit=unit)
    return Figure.of_plot(plot, alt=f"{label}: median and interquartile range of {len(spreads)} inputs.")
