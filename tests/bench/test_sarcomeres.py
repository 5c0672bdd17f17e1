"""The benchmark of double lines gives a complete table, and goes on where it was interrupted."""

from __future__ import annotations

import polars as pl
import pytest

from lucule import models
from lucule.bench import sarcomeres as bench

TINY = {"frames": 3000, "field.size_um": 12, "double_lines.placement.count": 1, "double_lines": 3}


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(bench, "SCENES", 1)
    monkeypatch.setattr(bench, "PAPER_SCENE", TINY)
    monkeypatch.setattr(bench, "SMALL", {})
    monkeypatch.setattr(bench, "CHANGES", bench.CHANGES | TINY)
    monkeypatch.setattr(bench, "RANGE_NM", (120.0,))
    monkeypatch.setattr(bench, "LABELLING", (0.5,))
    monkeypatch.setattr(bench, "BACKGROUND", (0.25,))
    monkeypatch.setattr(bench, "DISTANCES_NM", (95.6,))
    monkeypatch.setattr(bench, "ERRORS_NM", (15.0,))
    monkeypatch.setattr(bench, "FIELDS", 1)
    monkeypatch.setattr(bench, "EVERYWHERE_PER_UM2", (100.0,))
    monkeypatch.setattr(bench, "MOLECULES_PER_UM", (100.0,))
    monkeypatch.setattr(models, "available", list)


def test_a_tiny_run_is_complete_and_kept(tiny, tmp_path, monkeypatch) -> None:
    table = bench.run(seed=1, folder=tmp_path)
    assert table.columns == list(bench.SCHEMA)
    assert table["value"].null_count() == 0
    assert {"lucule", "double Gaussian", "corrected fit", "lines", "lines, network alone"} <= set(table["method"])
    own = table.filter(pl.col("what").str.contains("scene") & (pl.col("method") == "lines"))
    rate = dict(own.select(pl.col("what").str.split(", ").list.slice(2).list.join(", "), "value").iter_rows())
    assert rate["field 1, cleared, true negative"] >= rate["field 1, true negative"]
    assert rate["field 1, true positive"] > 95
    bias = table.filter(pl.col("what").str.ends_with("bias") & (pl.col("method") == "lucule"))["value"]
    assert bias.abs().max() < 10
    everywhere = table.filter(pl.col("what").str.contains("everywhere, double lines"))["value"].to_list()
    assert everywhere == [24]
    # parts that are there are read, not measured
    for name in ("_paper_scene", "_range", "_everywhere", "_distances", "_speed"):
        monkeypatch.setattr(bench, name, None)
    names = ("scene_0", "range_120", "everywhere_100", "distances_95.6", "speed")
    monkeypatch.setattr(bench, "_parts", lambda seed: dict.fromkeys(names, seed))
    assert bench.run(seed=1, folder=tmp_path).equals(table)


def test_thinning_keeps_to_what_is_asked() -> None:
    import numpy as np

    from lucule.core import Localizations

    rng = np.random.default_rng(1)
    label = (rng.random(20_000) < 0.5).astype(np.uint8)
    locs = Localizations(
        {
            "x": rng.random(20_000),
            "y": rng.random(20_000),
            "true_label": label,
            "epitope": rng.integers(0, 2000, 20_000),
        }
    )
    left = bench.thin(locs, 0.3, 0.25, rng)
    assert (left["true_label"] > 0).sum() == pytest.approx(0.3 * label.sum(), rel=0.1)
    assert (left["true_label"] == 0).mean() == pytest.approx(0.25, abs=0.03)
