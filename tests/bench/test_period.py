"""The benchmark of periods gives a complete table."""

from __future__ import annotations

from lucule.bench import period as bench


def test_a_small_run(monkeypatch) -> None:
    monkeypatch.setattr(bench, "AXONS", 1)
    monkeypatch.setattr(bench, "LABELLING", (0.25,))
    monkeypatch.setattr(bench, "WITHOUT", ("random",))
    table = bench.run(seed=1)
    assert {"lucule", "oracle", "pairwise distances (Linke 2025)", "autocorrelation, straight"} <= set(table["method"])
    own = table.filter((table["method"] == "lucule") & table["what"].str.contains("RMS"))
    assert own.height == 2
    assert own["value"].max() < 5
    assert table["value"].null_count() == 0
