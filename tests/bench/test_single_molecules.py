"""The benchmark of single molecules: a law is learned and judged on other fields."""

from __future__ import annotations

from lucule.bench import single_molecules as bench


def test_a_small_run_learns_a_law_like_the_one_in_use():
    table = bench.run(seed=6, fields=8, families=("blurred", "random", "caml"))
    value = {(row["law"], row["what"]): row["value"] for row in table.to_dicts()}
    assert value["none", "other groups dropped"] == 0
    for law in ("in use", "learned here"):
        assert value[law, "groups of structures dropped"] < 0.05
        assert value[law, "other groups dropped"] > 3 * value[law, "groups of structures dropped"]


def test_where_there_is_nothing_to_tell_apart_nothing_is_learned():
    table = bench.run(seed=5, fields=2, families=("uneven",))
    value = {(row["law"], row["what"]): row["value"] for row in table.to_dicts()}
    assert value["learned here", "groups of structures dropped"] == 0
