"""The benchmark of single molecules: a law is learned and judged on other fields."""

from __future__ import annotations

from lucule.bench import single_molecules as bench


def test_a_small_run_learns_a_law_like_the_one_in_use():
    table = bench.run(seed=6, fields=4, families=("blurred", "random"))
    value = {(row["law"], row["what"]): row["value"] for row in table.to_dicts()}
    assert value["none", "other groups dropped"] == 0
    assert value["in use", "other groups dropped"] > 0.5
    assert value["in use", "groups of several molecules dropped"] < 0.2
    assert value["learned here", "weight of log time"] > 0
    random = "random field put into clusters, with blinking"
    assert value["in use", random] < 0.5 * value["none", random]


def test_where_there_is_nothing_to_tell_apart_nothing_is_learned():
    table = bench.run(seed=5, fields=2, families=("uneven",))
    value = {(row["law"], row["what"]): row["value"] for row in table.to_dicts()}
    assert value["learned here", "groups of several molecules dropped"] == 0
