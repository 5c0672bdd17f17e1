"""The benchmark of neighbour searches: all methods agree."""

from __future__ import annotations

from lucule.bench import neighbours


def test_all_methods_find_the_same_distances() -> None:
    table = neighbours.run(seed=2, points=3000, ks=(20,))
    assert table["method"].unique().len() == 4
    assert table["max_difference_nm"].max() < 1e-3
    notes = dict(table.select("method", "note").iter_rows())
    assert notes["lucule"] == notes["scipy cKDTree"] == "all points"
    assert notes["CAML"] == "50 random points, extrapolated"
