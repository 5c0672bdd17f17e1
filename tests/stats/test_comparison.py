"""Conditions against each other, with everything that real tables do not have."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from lucule.core import ColumnError, InputError
from lucule.stats import compare, dunn, kruskal_wallis


def units(seed=0, **values):
    """Table of cells from values per condition."""
    rows = [
        {"condition": name, "unit": f"{name}{i}", "area": float(value), "count": float(i % 3)}
        for name, own in values.items()
        for i, value in enumerate(own)
    ]
    return pl.DataFrame(
        rows, schema={"condition": pl.String, "unit": pl.String, "area": pl.Float64, "count": pl.Float64}
    )


@pytest.fixture(scope="module")
def three():
    rng = np.random.default_rng(1)
    return units(control=rng.normal(10, 2, 20), low=rng.normal(11, 2, 15), high=rng.normal(15, 2, 25))


def test_numbers_are_those_of_the_tests(three) -> None:
    result = compare(three, ["area", "count"], resamples=300)
    assert result.conditions == ("control", "low", "high")
    groups = [three.filter(pl.col("condition") == name)["area"].to_numpy() for name in result.conditions]
    test = result.tests.row(0, named=True)
    expected = kruskal_wallis(groups)
    assert (test["measure"], test["n"], test["conditions"], test["df"]) == ("area", 60, 3, 2)
    assert (test["h"], test["p"]) == (expected.h, expected.p)
    assert test["low"] < test["epsilon_squared"] < test["high"]
    for row, pair in zip(
        result.pairs.filter(pl.col("measure") == "area").iter_rows(named=True), dunn(groups), strict=True
    ):
        assert (row["z"], row["p"], row["p_adjusted"]) == (pair.z, pair.p, pair.p_adjusted)
        a, b = groups[pair.first], groups[pair.second]
        assert row["difference"] == pytest.approx(np.median(b) - np.median(a))
        assert row["ratio"] == pytest.approx(np.median(b) / np.median(a))
        assert row["difference_low"] < row["difference"] < row["difference_high"]
        assert row["delta_low"] <= row["cliffs_delta"] <= row["delta_high"]
    middle = result.medians.row(0, named=True)
    assert middle["q1"] < middle["low"] < middle["median"] < middle["high"] < middle["q3"]


def test_the_same_seed_and_a_measure_alone_give_the_same_numbers(three) -> None:
    both, alone = compare(three, ["count", "area"], resamples=200), compare(three, ["area"], resamples=200)
    assert both.pairs.filter(pl.col("measure") == "area").equals(alone.pairs)
    assert not compare(three, ["area"], resamples=200, seed=2).pairs.equals(alone.pairs)


def test_methods_sentence(three) -> None:
    text = compare(three, ["area"], resamples=200, adjust="bonferroni").methods()
    parts = ["control: 20, low: 15, high: 25", "Kruskal", "Dunn", "after Bonferroni", "P < 0.05", "1 measure was"]
    for part in [*parts, "200 resamples", "seed 1", "Cliff", "lucule ", "scipy "]:
        assert part in text
    for untested in (units(a=[1], b=[2]), units(a=[2, 2], b=[2, 2])):
        assert "were compared by" not in compare(untested, ["area"]).methods()
    one = compare(units(only=[1, 2, 3]), ["area"]).methods()
    assert "Kruskal" not in one


def test_nan_null_and_a_condition_without_values() -> None:
    table = units(a=[1, 2, np.nan, 4], b=[5, 6, 7, 8], nothing=[np.nan, np.nan])
    result = compare(
        table.with_columns(pl.when(pl.col("area") == 8).then(None).otherwise("area").alias("area")), ["area"]
    )
    counts = result.medians.select("condition", "n", "missing").rows()
    assert counts == [("a", 3, 1), ("b", 3, 1), ("nothing", 0, 2)]
    assert result.medians["median"].to_list() == [2, 6, None]
    assert result.tests.row(0, named=True)["conditions"] == 2
    with_nothing = result.pairs.filter(pl.col("second") == "nothing")
    assert with_nothing["p"].null_count() == 2
    assert with_nothing["cliffs_delta"].null_count() == 2
    assert result.pairs["p"][0] == pytest.approx(kruskal_wallis([[1, 2, 4], [5, 6, 7]]).p)
    json.dumps(result.summary(), allow_nan=False)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (units(a=[1, 2, 3]), "one condition only"),
        (units(a=[1], b=[2], c=[3]), "one cell per condition"),
        (units(a=[4] * 8, b=[4] * 7), "all values are equal"),
        (units(a=[1, 2], b=[np.nan]), "fewer than two conditions"),
        (units(a=[np.nan], b=[np.nan]), "fewer than two conditions"),
    ],
)
def test_where_there_is_no_test_there_is_a_reason(table, reason) -> None:
    result = compare(table, ["area"], resamples=100)
    assert reason in result.tests["reason"][0]
    assert result.tests["p"][0] is None
    assert result.pairs["p_adjusted"].null_count() == result.pairs.height
    assert result.medians.height == len(result.conditions)
    json.dumps(result.summary(), allow_nan=False)


def test_conditions_that_do_not_overlap_have_no_interval_of_epsilon() -> None:
    apart = compare(units(a=range(8), b=range(10, 18)), ["area"], resamples=200)
    assert apart.tests["low"][0] is None
    assert apart.tests["epsilon_squared"][0] == pytest.approx(0.753, abs=0.01)
    # the interval of delta says how little so few cells can say
    assert apart.pairs["delta_low"][0] == pytest.approx(2 * 0.025 ** (1 / 8) - 1)


def test_few_cells_and_lone_replicates_are_said() -> None:
    result = compare(units(a=[1, 2, 3], b=[4, 5, 6, 7, 8]), ["area"])
    assert "a (3)" in result.warnings()[0]
    assert result.pairs["delta_low"][0] is None
    replicated = units(a=range(6), b=range(6)).with_columns(replicate=pl.Series(list("112233") + ["1"] * 6))
    result = compare(replicated, ["area"])
    assert result.warnings() == ("Only one replicate (experiment) stands behind b.",)
    table = result.replicates()
    assert table.select("condition", "replicate", "cells", "area").rows()[:2] == [
        ("a", "1", 2, 0.5),
        ("a", "2", 2, 2.5),
    ]


def test_channels_and_classes_are_compared_apart() -> None:
    first = units(a=range(8), b=range(8)).with_columns(label=pl.lit(1, pl.UInt8))
    second = units(a=range(8), b=range(8, 16)).with_columns(label=pl.lit(2, pl.UInt8))
    result = compare(pl.concat([second, first]), ["area"], resamples=200)
    assert result.tests.select("label", "measure").rows() == [(1, "area"), (2, "area")]
    assert result.tests["p"][0] > 0.9
    assert result.tests["p"][1] < 0.01
    assert compare(first, ["area"], resamples=200).pairs.equals(result.pairs.filter(pl.col("label") == 1))


def test_files(three, tmp_path) -> None:
    result = compare(three, ["area"], resamples=200)
    written = {path.name for path in result.save(tmp_path)}
    assert written == {
        f"{name}{end}" for name in ("cells", "medians", "tests", "pairs") for end in (".csv", ".parquet")
    }
    assert pl.read_parquet(tmp_path / "pairs.parquet").equals(result.pairs)
    assert pl.read_csv(tmp_path / "tests.csv")["p"][0] == pytest.approx(result.tests["p"][0])


def test_wrong_input(three) -> None:
    with pytest.raises(ColumnError, match="no column volume"):
        compare(three, ["volume"])
    for wrong in ({"alpha": 0}, {"resamples": 5}):
        with pytest.raises(InputError):
            compare(three, ["area"], **wrong)
    for table, measures in ((three.clear(), ["area"]), (three, [])):
        with pytest.raises(InputError, match="nothing to compare"):
            compare(table, measures)
