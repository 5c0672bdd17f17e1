"""The benchmark of the classifier: its baselines are right, and a small run gives a complete table."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.bench import classify as bench
from lucule.simulate import load, simulate
from lucule.space import NeighbourGrid


@pytest.fixture
def locs():
    return simulate(load("caml_demo", cell_radius_um=(2, 3)), seed=1)


@pytest.mark.parametrize("k", [5, 100])
def test_the_papers_search_is_exact(locs, k):
    rows = np.arange(0, len(locs), 50)
    np.testing.assert_allclose(
        bench.box_search(locs.xy(), k, rows), NeighbourGrid(locs.xy()).distances(k, rows), rtol=1e-3, atol=0.01
    )


def test_dbscan_finds_clear_clusters(locs):
    assert (bench.dbscan(locs, 20, 5) == locs["true_label"]).mean() > 0.95


def test_a_small_run_is_complete(monkeypatch):
    small = {"LISTED": 2, "FIGURE_3": ((100, 20), (100, 20)), "FRACTIONS": (0.5,), "RADII_NM": (50,)}
    small |= {"RANDOM_PER_UM2": (10,), "EPS_NM": (20, 50), "MIN_SAMPLES": (5,), "TIMED_ROWS": 2}
    for name, value in small.items():
        monkeypatch.setattr(bench, name, value)
    monkeypatch.setattr(bench, "_speed", lambda _: [])
    table = bench.run(seed=2)
    assert set(table["part"]) == {"balanced", "fields", "random"}
    assert table["accuracy"].is_between(0, 1).all()
    tuned = table.filter(table["method"] == "DBSCAN tuned on the truth")["accuracy"]
    assert (tuned > 0.6).all()
    assert table.filter(table["paper_accuracy"].is_not_null())["method"].unique().to_list() == [bench.MODEL]
