"""The part of a report that sets conditions against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import polars as pl

from lucule.view import conditions as plot_conditions
from lucule.view.annotate import number_text
from lucule.view.quantities import CELL_QUANTITIES
from lucule.view.report.model import (
    Block,
    Cell,
    Code,
    Figure,
    Gallery,
    KeyValues,
    Section,
    Table,
    Value,
    Warnings,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MatplotlibFigure

_STRATA: Final = ("channel", "label")


class ComparedConditions(Protocol):
    """What is needed of `lucule.stats.Comparison`."""

    units: pl.DataFrame
    conditions: tuple[str, ...]
    medians: pl.DataFrame
    tests: pl.DataFrame
    pairs: pl.DataFrame
    settings: dict[str, Any]

    def methods(self) -> str:
        """How it was done."""

    def warnings(self) -> tuple[str, ...]:
        """What a reader must know first."""


def comparison_plots(result: ComparedConditions, *, kind: plot_conditions.Kind = "box") -> dict[str, MatplotlibFigure]:
    """One plot for each measure (and channel and class), by a name that can be that of a file."""
    figures = {}
    for test in result.tests.iter_rows(named=True):
        key = {name: test[name] for name in _STRATA if name in test}
        units = _only(result.units, key)
        groups = {name: units.filter(pl.col("condition") == name) for name in result.conditions}
        label, unit = _label(test["measure"])
        replicates = None
        if "replicate" in units.columns:
            replicates = {name: own["replicate"].to_list() for name, own in groups.items()}
        pairs = _only(result.pairs, key | {"measure": test["measure"]}).filter(
            pl.col("p_adjusted") < result.settings["alpha"]
        )
        figures["_".join([test["measure"], *(f"{name}{value}" for name, value in key.items())])] = (
            plot_conditions.conditions(
                {
                    name: own[test["measure"]].cast(pl.Float64).fill_null(float("nan")).to_numpy()
                    for name, own in groups.items()
                },
                label=_with_key(label, key),
                unit=unit,
                kind=kind,
                replicates=replicates,
                brackets=pairs.select("first", "second", "p_adjusted").rows(),
                note=_test_text(test),
            )
        )
    return figures


def comparison_section(
    result: ComparedConditions,
    *,
    figures: Mapping[str, MatplotlibFigure],
    pooled: pl.DataFrame | None = None,
    warnings: Sequence[str] = (),
) -> Section:
    """Everything that a report says about a comparison.

    Parameters
    ----------
    result
        What was compared.
    figures
        From `comparison_plots`.
    pooled
        Medians and quartiles over all clusters of a condition, whatever cell they are in: `measure`, `condition`,
        `clusters`, `median`, `q1`, `q3`.
    warnings
        What the reader must know first.
    """
    said = (*warnings, *result.warnings())
    blocks: list[Block] = [Warnings(said)] if said else []
    blocks.append(_cards(result))
    shown = tuple(
        Figure.of_plot(figure, alt=f"{name}: every cell of {len(result.conditions)} conditions, with quartiles.")
        for name, figure in figures.items()
    )
    alpha = result.settings["alpha"]
    blocks += [
        Gallery(
            shown,
            title="Conditions",
            size="medium",
            note="Each point is one cell. Box: quartiles and median; whiskers: outermost value within 1.5 box lengths. "
            f"Brackets: adjusted P values of Dunn's test below {alpha:g}, at most {plot_conditions.MOST_BRACKETS}.",
        ),
        _medians(result),
        _tests(result),
    ]
    if len(result.conditions) > 1:
        blocks.append(_pairs(result))
    if pooled is not None and pooled.height:
        blocks.append(_pooled(pooled))
    blocks.append(Code("Methods, to copy", result.methods(), unfolded=True))
    cells = result.units["unit"].n_unique()
    return Section("Comparison", tuple(blocks), note=f"{cells} cells in {len(result.conditions)} conditions")


def _cards(result: ComparedConditions) -> KeyValues:
    alpha = result.settings["alpha"]
    different = result.tests.filter(pl.col("p") < alpha).height
    values = [
        Value(name, result.units.filter(pl.col("condition") == name)["unit"].n_unique(), note="cells")
        for name in result.conditions
    ]
    note = f"of {result.tests.height} measures, Kruskal\N{EN DASH}Wallis P < {alpha:g}"
    return KeyValues((*values, Value("Different", different, note=note)), style="cards")


def _medians(result: ComparedConditions) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for row in result.medians.iter_rows(named=True):
        label, unit = _label(row["measure"])
        rows.append(
            (_with_key(label, _key(row)), row["condition"], row["n"], row["missing"], row["median"], row["q1"],
             row["q3"], _interval(row["low"], row["high"]), unit)
        )  # fmt: skip
    columns = ("Measure", "Condition", "Cells", "Without a value", "Median", "25 %", "75 %", "95 % interval", "Unit")
    return Table(columns, tuple(rows), title="Medians of cells", note="The interval is that of the median.")


def _tests(result: ComparedConditions) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (_with_key(_label(row["measure"])[0], _key(row)), row["n"], row["h"], row["df"], _p(row["p"]),
         row["epsilon_squared"], _interval(row["low"], row["high"]), row["reason"] or "")
        for row in result.tests.iter_rows(named=True)
    ]  # fmt: skip
    columns = ("Measure", "Cells", "H", "df", "P", "ε²", "95 % interval", "Why there is no test")
    return Table(columns, tuple(rows), title="All conditions together: Kruskal\N{EN DASH}Wallis")


def _pairs(result: ComparedConditions) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (_with_key(_label(row["measure"])[0], _key(row)), row["first"], row["second"], row["difference"],
         _interval(row["difference_low"], row["difference_high"]), row["ratio"], _p(row["p"]), _p(row["p_adjusted"]),
         row["cliffs_delta"], _interval(row["delta_low"], row["delta_high"]))
        for row in result.pairs.iter_rows(named=True)
    ]  # fmt: skip
    columns = (
        "Measure", "First", "Second", "Difference of medians", "95 % interval", "Ratio", "P", "P adjusted",
        "Cliff's δ", "95 % interval of δ",
    )  # fmt: skip
    return Table(columns, tuple(rows), title="Pairs of conditions: Dunn", note="Second condition less first.")


def _pooled(pooled: pl.DataFrame) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (_with_key(_label(row["measure"])[0], _key(row)), row["condition"], row["clusters"], row["median"], row["q1"],
         row["q3"], _label(row["measure"])[1])
        for row in pooled.iter_rows(named=True)
    ]  # fmt: skip
    return Table(
        ("Measure", "Condition", "Clusters", "Median", "25 %", "75 %", "Unit"),
        tuple(rows),
        title="All clusters of a condition",
        note="To describe, not to test: clusters of one cell are not independent of each other.",
    )


def _only(table: pl.DataFrame, key: Mapping[str, Any]) -> pl.DataFrame:
    return table.filter([pl.col(name) == value for name, value in key.items()]) if key else table


def _key(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in _STRATA if name in row}


def _with_key(label: str, key: Mapping[str, Any]) -> str:
    words = {"channel": "channel", "label": "class"}
    return ", ".join([label, *(f"{words[name]} {value}" for name, value in key.items())])


def _label(measure: str) -> tuple[str, str]:
    return CELL_QUANTITIES.get(measure, (measure, ""))


def _p(p: float | None) -> Cell:
    return None if p is None else "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def _interval(low: float | None, high: float | None) -> Cell:
    return None if low is None or high is None else f"{number_text(low)} to {number_text(high)}"


def _test_text(test: Mapping[str, Any]) -> str:
    if test["p"] is None:
        return f"no test: {test['reason']}"
    return (
        f"Kruskal\N{EN DASH}Wallis {plot_conditions.p_text(test['p'])}, "
        f"\N{GREEK SMALL LETTER EPSILON}² = {test['epsilon_squared']:.2f}"
    )
