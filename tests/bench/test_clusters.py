"""The benchmark of clusters: a small run is complete, and tuning on the answer is what it says."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from lucule.bench import clusters as bench
from lucule.bench import dbscan_speed
from lucule.bench.textbook_fields import PROCESSES, textbook_field
from lucule.cluster import methods
from lucule.simulate.varied_fields import FAMILIES, Field


@pytest.fixture
def small(monkeypatch):
    for name, value in {"EPSILON_NM": (20, 60), "MIN_POINTS": (5,), "MIN_CLUSTER_POINTS": (10,)}.items():
        monkeypatch.setattr(bench, name, value)
    monkeypatch.setattr(bench, "CORE_POINTS", (5,))
    tiny = {name: FAMILIES[name].replace(localizations=(300, 700)) for name in ("discs", "three_d", "random")}
    monkeypatch.setattr(bench, "FAMILIES", tiny)
    monkeypatch.setattr(bench, "speed", lambda _: [])
    monkeypatch.setattr(bench, "_warm_up", lambda: None)
    return tuple(tiny)


def test_a_small_run_is_complete(small):
    table = bench.run(seed=2, fields=2, families=(*small, "segments"))
    assert set(table["family"]) == {*small, "segments", "all"}
    assert set(table["part"]) == {"fields", "textbook", "all fields", "all textbook"}
    assert {"lucule", "dbscan, tuned per family", "hdbscan, tuned per field", *methods.METHODS} <= set(table["method"])
    flat = table.filter(pl.col("family") == "discs")
    assert flat["ari"].is_between(-0.5, 1).all()
    assert flat["iou"].is_between(0, 1).all()
    assert flat.filter(pl.col("method") == "lucule")["ece"].is_between(0, 1).all()
    # no areas in 3D, no local point pattern analysis, and in random fields nothing to score but what was clustered
    deep = table.filter(pl.col("family") == "three_d")
    assert deep["iou"].null_count() == len(deep)
    assert "getis" not in deep["method"].to_list()
    # errors of single fields cancel where all are looked at together
    ours = table.filter((pl.col("family") == "all") & (pl.col("method") == "lucule"))
    assert (ours["ece_pooled"] >= 0).all()
    assert table.filter(pl.col("method") == "dbscan")["ece_pooled"].is_null().all()
    random = table.filter(pl.col("family") == "random")
    assert random["random_clustered"].is_between(0, 1).all()
    assert random["cluster_jaccard"].null_count() == len(random)


def test_the_best_for_each_field_is_at_least_the_best_for_all(small):
    table = bench.run(seed=3, fields=2, families=("discs",))
    for name in ("dbscan", "hdbscan"):
        one, all_ = (
            table.filter((pl.col("method") == f"{name}, tuned per {what}") & (pl.col("family") == "discs"))["ari"].sum()
            for what in ("field", "family")
        )
        assert one >= all_


@pytest.mark.parametrize("process", PROCESSES)
def test_fields_of_textbook_processes_hold_what_is_said_of_them(process):
    fields = [textbook_field(process, blinking=blinking, seed=(8, k)) for k in range(8) for blinking in (False, True)]
    again = textbook_field(process, blinking=True, seed=(8, 7))
    assert np.array_equal(again.points, fields[-1].points)
    seen = [len(field) / len(np.unique(field.molecule)) for field in fields]
    assert seen[::2] == [1] * 8
    assert np.mean(seen[1::2]) == pytest.approx(1 / 0.35, rel=0.05)
    for field in fields:
        assert np.array_equal(field.label == 1, field.cluster >= 0)
        assert (field.cluster < 0).any()
        if process == "complete randomness":
            assert not field.label.any()
        else:
            assert 5 <= len(np.unique(field.cluster[field.cluster >= 0])) <= 60


def test_methods_do_not_see_the_truth(small):
    case = next(bench.draw("discs", False, 1, 1))
    assert not {"molecule", "true_cluster", "true_label"} & set(case.locs.columns)
    assert {"frame", "x_err", "photons"} <= set(case.locs.columns)


def test_a_perfect_answer_has_perfect_scores(small):
    case = next(bench.draw("discs", True, 1, 1))
    assert isinstance(case.field, Field)
    answer = bench.Answer(case, "oracle", case.field.cluster, 1.0, (case.field.cluster >= 0).astype(np.float32))
    found = bench.scored(answer).scores
    assert [found[name] for name in ("ari", "accuracy", "cluster_jaccard", "iou")] == pytest.approx([1, 1, 1, 1])
    assert [found[name] for name in ("count_error", "ece", "centroid_error_nm")] == pytest.approx([0, 0, 0], abs=1e-9)


def test_speed_of_both_finds_the_same():
    rows = dbscan_speed.speed(1, sizes=(), dense=4000)
    assert [row["method"] for row in rows] == ["dbscan", "scikit-learn DBSCAN"]
    assert rows[0]["clusters"] == rows[1]["clusters"] > 5
    assert all(row["localizations_per_s"] > 0 for row in rows)
