from __future__ import annotations

import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from lucule.core import InputError
from lucule.view import plots
from lucule.view.quantities import CLUSTER_QUANTITIES, Spread, cluster_values
from lucule.view.svg import check_inert, inline_svg

RNG = np.random.default_rng(5)


def heights(figure: object) -> list[float]:
    return [patch.get_height() for patch in figure.axes[0].patches if patch.get_height() > 1]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "values",
    [
        RNG.lognormal(4, 0.4, 500),
        RNG.lognormal(7, 2, 500),
        RNG.poisson(12, 300),
        np.round(RNG.lognormal(4, 1.5, 400)) + 1,
        np.full(40, 10),
        np.full(40, 0.25),
        np.arange(12.0),
        -RNG.lognormal(1, 2, 100),
        np.append(np.zeros(20), 1e9),
    ],
)
@pytest.mark.filterwarnings("error")
def test_every_value_is_in_the_histogram(values: np.ndarray) -> None:
    figure = plots.distribution(values, label="Something", unit="nm")
    axes = figure.axes[0]
    counted = sum(container.datavalues.sum() for container in axes.containers)
    assert counted == len(values)
    median = axes.lines[-1].get_xdata()[0]
    assert median == pytest.approx(np.median(values))
    inline_svg(figure, name="p", alt="")


def test_the_axis_is_logarithmic_where_values_span_decades() -> None:
    assert plots.distribution(RNG.lognormal(4, 0.4, 500), label="a").axes[0].get_xscale() == "linear"
    assert plots.distribution(RNG.lognormal(4, 2, 500), label="a").axes[0].get_xscale() == "log"
    assert plots.distribution(RNG.lognormal(4, 2, 500), label="a", scale="linear").axes[0].get_xscale() == "linear"
    assert plots.distribution([1.0, 2.0], label="a", scale="log").axes[0].get_xscale() == "log"
    assert plots.distribution(RNG.normal(0, 1, 500), label="a").axes[0].get_xscale() == "linear"


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_few_values_are_drawn_one_by_one(count: int) -> None:
    values = 30.0 + 10 * np.arange(count)
    figure = plots.distribution(values, label="Diameter", unit="nm")
    axes = figure.axes[0]
    assert not axes.containers
    if count:
        np.testing.assert_array_equal(axes.lines[0].get_xdata(), values)
        assert len(axes.patches) == (1 if count >= 4 else 0)
    else:
        assert "nothing to show" in [text.get_text() for text in axes.texts]
    inline_svg(figure, name="p", alt="")


def test_what_is_missing_is_counted() -> None:
    figure = plots.distribution([1.0, 2.0, np.nan, np.inf], label="Diameter")
    assert "n = 2, 2 without a value" in next(t.get_text() for t in figure.axes[0].texts)


def test_whole_numbers_are_never_split_by_a_bin() -> None:
    for values in (RNG.poisson(12, 300), np.round(RNG.lognormal(4, 1.5, 400)) + 1):
        edges = plots._edges(values.astype(float), log=plots.spans_decades(values.astype(float)))
        np.testing.assert_allclose(edges % 1, 0.5)
        assert (np.diff(edges) > 0).all()


def test_medians_and_quartiles() -> None:
    assert Spread.of([4.0, 1.0, 3.0, 2.0, 5.0]) == Spread(5, 3.0, 2.0, 4.0)
    assert Spread.of([]).count == 0
    assert Spread.of([]).text("nm") == "no values"
    assert Spread.of([7.0]).text("nm") == "7 nm"


def test_distributions_of_a_table_of_clusters() -> None:
    table = pl.DataFrame({"area_nm2": [np.pi * 50**2] * 3, "density_per_um2": [1.0, 2, 3], "n_points": [10, 20, 30]})
    figures = plots.cluster_distributions(table)
    assert list(figures) == ["size", "area", "density", "counts"]
    np.testing.assert_allclose(cluster_values(table, CLUSTER_QUANTITIES[0]), 100.0)
    assert "median 20, n = 3" in [t.get_text() for t in figures["counts"].axes[0].texts]


def test_distributions_in_3d() -> None:
    table = pl.DataFrame({"volume_nm3": [4 / 3 * np.pi * 50**3], "density_per_um3": [1e6], "n_points": [10]})
    assert list(plots.cluster_distributions(table)) == ["size", "volume", "density", "counts"]
    np.testing.assert_allclose(cluster_values(table, CLUSTER_QUANTITIES[1]), 100.0)


def test_comparison_takes_values_and_medians() -> None:
    groups = {"a": [1.0, 2.0, 3.0], "b": Spread(9, 20.0, 10.0, 60.0), "none": []}
    axes = plots.comparison(groups, label="Size", unit="nm").axes[0]
    assert axes.get_xscale() == "log"
    assert len(axes.get_yticks()) == 3


def test_probabilities() -> None:
    for values in ([], [0.9], RNG.uniform(0.5, 1, 1000), RNG.uniform(0, 1, 1000)):
        inline_svg(plots.probabilities(values), name="p", alt="")


@pytest.mark.parametrize(
    ("settings", "message"), [({"scale": "cubic"}, "scale"), ({"scale": "log"}, "positive values")]
)
def test_scales_that_cannot_be(settings: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plots.distribution([-1.0, 2.0], label="a", **settings)  # type: ignore[arg-type]


def test_the_global_state_of_matplotlib_is_untouched() -> None:
    code = """
import sys
import matplotlib as mpl
from lucule.view import plots
from lucule.view.svg import inline_svg
inline_svg(plots.distribution([1.0, 2.0], label="a"), name="p", alt="")
assert "matplotlib.pyplot" not in sys.modules
assert mpl.rcParams["svg.fonttype"] == mpl.rcParamsDefault["svg.fonttype"]
assert mpl.rcParams["svg.hashsalt"] is None
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_svg_for_a_page() -> None:
    figure = plots.distribution(RNG.lognormal(4, 0.4, 50), label="Area <b>&", unit="nm²")
    text = inline_svg(figure, name="first", alt='12 "clusters"')
    assert text.startswith('<svg class="plot" viewBox="')
    assert "http" not in text
    assert "<metadata" not in text
    assert "<style" not in text
    assert "Area &lt;b&gt;&amp;" in text
    assert 'aria-label="12 &quot;clusters&quot;"' in text
    assert "var(--accent, #dfa01e)" in text
    assert text == inline_svg(figure, name="first", alt='12 "clusters"')
    other = inline_svg(figure, name="second", alt="")
    ids = [{part.split('"')[0] for part in svg.split(' id="')[1:]} for svg in (text, other)]
    assert ids[0]
    assert not ids[0] & ids[1]
    check_inert(text)


@pytest.mark.parametrize(
    "text",
    [
        "<svg><script>alert(1)</script></svg>",
        '<svg onload="alert(1)"/>',
        '<svg><a href="https://example.org"/></svg>',
        '<svg xmlns:xlink="http://www.w3.org/1999/xlink"><use xlink:href="file:///x#y"/></svg>',
        "<svg><style>*{fill:red}</style></svg>",
        "<svg><foreignObject/></svg>",
        '<svg><path style="fill: url(https://example.org/x)"/></svg>',
        '<!DOCTYPE svg [<!ENTITY a "b">]><svg>&a;</svg>',
        "<svg>",
        "<p/>",
    ],
)
def test_svg_that_could_do_something_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        check_inert(text)
