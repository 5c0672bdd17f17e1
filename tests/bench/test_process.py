"""The benchmark of corrections gives a complete table, with and without Picasso."""

from __future__ import annotations

import pytest

from lucule.bench import process as bench


@pytest.mark.parametrize("with_picasso", [True, False])
def test_a_small_run(monkeypatch, with_picasso) -> None:
    monkeypatch.setattr(bench, "SCENES", {"origami": {}})
    monkeypatch.setattr(bench, "FRAMES", {"origami": 1000})
    monkeypatch.setattr(bench, "METHODS", ("aim", "rcc"))
    monkeypatch.setattr(bench, "RESOLUTION_SCENE", "origami")
    monkeypatch.setattr(bench, "LINK_ROWS", 20_000)
    if with_picasso:
        pytest.importorskip("picasso")
    else:
        monkeypatch.setattr(bench, "find_spec", lambda _: None)
    table = bench.run(seed=2)
    methods = set(table["method"])
    assert {"lucule aim", "lucule rcc"} <= methods
    assert ({"Picasso AIM", "Picasso RCC"} <= methods) == with_picasso
    assert table["value"].null_count() == 0
    linked = table.filter(table["what"].str.ends_with("blinks found"))
    assert linked["value"][0] == pytest.approx(100, abs=0.5)
