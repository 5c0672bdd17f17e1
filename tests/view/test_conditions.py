"""Plots of conditions, and the section of a report that compares them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from lucule.core import InputError
from lucule.stats import compare
from lucule.view import conditions, report


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def points(figure):
    return sum(len(collection.get_offsets()) for collection in figure.axes[0].collections if _is_points(collection))


def _is_points(collection):
    from matplotlib.collections import PathCollection

    return isinstance(collection, PathCollection)


@pytest.mark.parametrize("kind", ["box", "violin"])
def test_every_cell_is_a_point(kind) -> None:
    rng = np.random.default_rng(1)
    values = {"control": rng.normal(10, 2, 40), "drug": [*rng.normal(14, 2, 12), np.nan], "one": [3.0], "none": []}
    figure = conditions(values, label="Area", unit="nm²", kind=kind, brackets=[("control", "drug", 0.0004)])
    assert points(figure) == 40 + 12 + 1
    ticks = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert ticks == ["control\nn = 40", "drug\nn = 12", "one\nn = 1", "none\nn = 0"]
    assert "P = 0.0004" in texts(figure)
    assert figure.axes[0].get_ylabel() == "nm²"
    # the bracket lies above all values
    assert figure.axes[0].get_ylim()[1] > max(values["drug"][:12])


def test_log_axis_replicates_and_the_most_brackets() -> None:
    values = {name: 10.0 ** np.linspace(0, 3, 12) for name in "abcdef"}
    pairs = [(a, b, 0.001 * (i + 1)) for i, (a, b) in enumerate((a, b) for a in "abcdef" for b in "abcdef" if a < b)]
    replicates = {name: [1, 2, 3] * 4 for name in values}
    figure = conditions(values, label="Count", replicates=replicates, brackets=pairs)
    assert figure.axes[0].get_yscale() == "log"
    assert sum(text.startswith("P ") for text in texts(figure)) == 6
    # every replicate has its median beside the values
    assert points(figure) == 6 * (12 + 3)
    assert len(figure.legends[0].get_texts()) == 3


@pytest.mark.parametrize("values", [{}, {"a": []}, {"a": [1.0, 1.0], "b": [1.0]}, {"a": [0.0] * 9}])
def test_little_to_show(values) -> None:
    for kind in ("box", "violin"):
        figure = conditions(values, label="Count", kind=kind)
        assert ("nothing to show" in texts(figure)) == (not any(values.values()))
    with pytest.raises(InputError, match="box, violin"):
        conditions(values, label="Count", kind="bar")


def test_points_do_not_hide_each_other() -> None:
    figure = conditions({"a": [5.0] * 10 + [6.0]}, label="Count")
    (drawn,) = [c for c in figure.axes[0].collections if _is_points(c)]
    assert len({tuple(np.round(offset, 6)) for offset in drawn.get_offsets()}) == 11


def test_section(tmp_path) -> None:
    rng = np.random.default_rng(2)
    units = pl.DataFrame(
        {
            "condition": ["control"] * 9 + ["drug"] * 8,
            "unit": [f"cell {i}" for i in range(17)],
            "cluster_area_nm2": [*rng.normal(1000, 50, 9), *rng.normal(1500, 50, 8)],
            "percent_clustered": [*rng.normal(50, 5, 16), np.nan],
        }
    )
    result = compare(units, ["cluster_area_nm2", "percent_clustered"], resamples=200)
    figures = report.comparison_plots(result)
    assert list(figures) == ["cluster_area_nm2", "percent_clustered"]
    assert "P < 0.0001" in texts(figures["cluster_area_nm2"]) or "P = 0.00" in " ".join(
        texts(figures["cluster_area_nm2"])
    )
    section = report.comparison_section(result, figures=figures, warnings=("Mind the gap.",))
    assert section.warnings[0] == "Mind the gap."
    page = report.write(report.Report("Comparison", (section,)), tmp_path / "report.html").read_text()
    for part in ("Cluster area", "Localizations in clusters", "Cliff", "Dunn", "Mind the gap.", "cells: control: 9"):
        assert part in page
    again = report.Section.load(section.save(tmp_path / "section.json"))
    assert again == section


def test_a_long_title_fits_between_few_conditions() -> None:
    figure = conditions({"a": [1.0, 2.0], "b": [2.0, 3.0]}, label="Distance to the nearest cluster edge", unit="nm")
    figure.canvas.draw()
    title = figure.axes[0]._left_title.get_window_extent()
    assert title.x1 <= figure.bbox.x1
