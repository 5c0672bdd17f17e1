"""The benchmark of neighbour searches: all methods agree."""

from __future__ import annotations

from lucule.bench import neighbours


def test_all_methods_find_the_same_distances() -> None:
    table = neighbours.run(seed=2, points=3000, ks=(20,))
    assert table["method"].unique().len() == 4
    assert table["max_difference_nm"].max() < 0.01
    assert table.filter(method="caml")["queries"].to_list() == [100, 100]
