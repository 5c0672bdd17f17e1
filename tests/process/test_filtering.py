"""Filters: what is kept, what each step takes away, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.core import ColumnError, InputError, Localizations
from lucule.process import FilterSettings, duplicates, filter_locs, plan_filter
from lucule.process.filtering import conditions_of, cuts_of
from lucule.process.presets import available, load_filter


def table(n=1000, seed=1) -> Localizations:
    rng = np.random.default_rng(seed)
    data = {name: rng.uniform(*limits, n) for name, limits in {
        "x": (0, 1e4), "y": (0, 1e4), "photons": (100, 8000), "sigma_x": (20, 300), "sigma_y": (20, 300),
        "x_err": (2, 40), "y_err": (2, 40)}.items()}  # fmt: skip
    return Localizations(data | {"frame": rng.integers(0, 100, n)})


def test_steps_are_counted_one_after_the_other() -> None:
    locs = table()
    planned = plan_filter(locs, FilterSettings(where=("photons > 500", "x_err < 20")))
    bright = locs["photons"] > 500
    both = bright & (locs["x_err"] < 20)
    rows = planned.table().to_dicts()
    assert [row["discarded"] for row in rows] == [1000 - bright.sum(), bright.sum() - both.sum()]
    assert rows[1]["before"] == rows[0]["left"] == bright.sum()
    assert rows[1]["percent_discarded"] == pytest.approx(100 * (bright.sum() - both.sum()) / bright.sum())
    np.testing.assert_array_equal(planned.keep, both)
    kept = filter_locs(locs, settings=FilterSettings(where=("photons > 500", "x_err < 20")))
    assert len(kept) == both.sum()
    assert len(kept.meta.history) == 1


def test_presets_are_those_of_the_papers() -> None:
    locs = table(5000)
    p, s, e = locs["photons"], np.stack([locs["sigma_x"], locs["sigma_y"]]), np.stack([locs["x_err"], locs["y_err"]])
    caml = (p >= 500) & (p <= 5000) & ((s >= 50) & (s <= 250)).all(0) & (e < 25).all(0)
    np.testing.assert_array_equal(plan_filter(locs, FilterSettings(preset="caml")).keep, caml)
    sarcomere = ((s >= 112) & (s <= 160)).all(0) & (e < 20).all(0)
    np.testing.assert_array_equal(plan_filter(locs, FilterSettings(preset="sarcomere")).keep, sarcomere)
    for name in available():
        assert load_filter(name).source


def test_values_that_are_not_numbers_fulfil_nothing() -> None:
    locs = Localizations({"x": [0.0, 1.0], "y": [0.0, 1.0], "x_err": [np.nan, 5.0]})
    for condition in ("x_err > 1", "x_err < 10", "!(x_err > 100)"):
        assert plan_filter(locs, FilterSettings(where=(condition,))).keep.tolist() == [False, True]


def test_density_and_duplicates() -> None:
    rng = np.random.default_rng(1)
    cluster = rng.normal(5000, 10, (50, 2))
    lonely = np.array([[0.0, 0.0], [9000.0, 100.0]])
    xy = np.concatenate([cluster, lonely, lonely[:1]])
    locs = Localizations({"x": xy[:, 0], "y": xy[:, 1], "frame": np.r_[np.arange(52), 50]})
    assert duplicates(locs).tolist() == [False] * 52 + [True]
    settings = FilterSettings(drop_duplicates=True, least_neighbours=5, within_nm=50)
    planned = plan_filter(locs, settings)
    assert planned.keep.sum() == 50
    assert planned.table()["discarded"].to_list() == [1, 2]
    assert plan_filter(locs, FilterSettings(most_neighbours=3, within_nm=50)).keep.sum() == 3
    other = locs.with_columns(frame=np.arange(53))
    assert not duplicates(other).any()


def test_empty_tables_and_one_row() -> None:
    empty = Localizations({"x": [], "y": [], "photons": []})
    assert plan_filter(empty, FilterSettings(where=("photons > 1",), drop_duplicates=True)).table()[
        "left"
    ].to_list() == [0, 0]
    one = Localizations({"x": [1.0], "y": [1.0]})
    assert plan_filter(one, FilterSettings(least_neighbours=1, within_nm=10)).keep.tolist() == [False]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (FilterSettings(), "no step"),
        (FilterSettings(least_neighbours=3), "distance"),
        (FilterSettings(preset="other"), "caml, sarcomere"),
        (FilterSettings(where=("photons >",)), "cannot be read"),
        (FilterSettings(where=("__import__('os')",)), "not allowed"),
        (FilterSettings(where=("x.real > 1",)), "not allowed"),
    ],
)
def test_what_is_refused(settings, message) -> None:
    with pytest.raises(InputError, match=message):
        plan_filter(table(10), settings)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ColumnError, match="sigma_x"):
        plan_filter(Localizations({"x": [1.0], "y": [1.0], "photons": [600.0]}), FilterSettings(preset="caml"))


def test_only_a_missing_column_of_a_preset_speaks_of_presets() -> None:
    with pytest.raises(ColumnError, match="use --where"):
        plan_filter(Localizations({"x": [1.0], "y": [1.0], "photons": [600.0]}), FilterSettings(preset="caml"))
    with pytest.raises(ColumnError, match="the column p, ") as caught:
        plan_filter(Localizations({"x": [1.0], "y": [1.0]}), FilterSettings(where=("p > 0.5",)))
    assert "preset" not in str(caught.value)


def test_cuts_for_the_histograms() -> None:
    conditions = conditions_of(FilterSettings(preset="caml", where=("500 < photons",)))
    assert cuts_of(conditions, ["photons", "x_err"]) == {"photons": [500.0, 5000.0], "x_err": [25.0]}
