"""The benchmark of the simulator gives a complete table, with and without Picasso."""

from __future__ import annotations

import pytest

from lucule.bench import simulate as bench


@pytest.mark.parametrize("with_picasso", [True, False])
def test_a_small_run(monkeypatch, with_picasso) -> None:
    small = {"MOVIE_FRAMES": 4, "MOVIE_FRAMES_WANTED": 20, "ON_DEMAND_FRAMES": 6, "PICASSO_FRAMES": 2, "ROUNDS": 1}
    for name, value in (small | {"TORCH_BATCH": {"cpu": 4, "cuda": 4}, "TORCH_BATCHES": 1}).items():
        monkeypatch.setattr(bench, name, value)
    monkeypatch.setattr(bench, "_table", lambda _: [])
    if not with_picasso:
        monkeypatch.setattr(bench, "find_spec", lambda _: None)
    table = bench.run(seed=2)
    assert (table["value"] > 0).all()
    assert ("Picasso" in table["method"].to_list()) == with_picasso
    assert {"frames/s", "s", "ms/frame", "photons"} == set(table["unit"])
    photons = table.filter(table["unit"] == "photons")["value"].to_list()
    assert photons == pytest.approx([photons[0]] * len(photons), rel=0.1)
