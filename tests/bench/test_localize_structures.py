"""The study of training on structures: equal budgets, nominal densities, parts that are kept."""

from __future__ import annotations

import polars as pl
import pytest

from lucule.bench import localize_structures as bench
from lucule.localize.scenes import SceneSettings


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(bench, "STEPS", 2)
    monkeypatch.setattr(bench, "ARMS", ("csr", "three_helix"))
    monkeypatch.setattr(bench, "BATCHES", 2)
    monkeypatch.setattr(bench, "_nominal_density", lambda _, density: density)
    monkeypatch.setattr(bench, "DENSITIES_PER_UM2", (0.05, 0.2))
    monkeypatch.setattr(bench, "ALL_DENSITIES", ("tubes",))
    monkeypatch.setattr(bench, "ONE_DENSITY", ())
    monkeypatch.setattr(bench, "LIGHT", ((5000.0, 50.0),))
    monkeypatch.setattr(bench, "_SCENES", SceneSettings(shape_px=(32, 32), frames=3, scenes=2))
    monkeypatch.setattr(bench, "NETWORK", {"context": 1, "widths": [8, 8, 8, 8, 8], "head": 8})


def test_a_tiny_study_is_complete_and_kept(tiny, tmp_path, monkeypatch):
    table = bench.run(seed=1, folder=tmp_path)
    assert table.columns == list(bench.SCHEMA)
    assert table["trained_on"].to_list() == ["csr", "three_helix"] * 2 + ["three_helix over csr"]
    assert table["jaccard"][:4].is_between(0, 1).all()
    assert table["nominal_density"][:4].to_list() == [0.05, 0.05, 0.2, 0.2]
    for part in tmp_path.glob("*.parquet"):
        assert part.stem in ("tubes_5000_0", "tubes_5000_1")
    monkeypatch.setattr(bench, "_test", lambda *_: 1 / 0)
    assert bench.run(seed=1, folder=tmp_path).equals(table, null_equal=True)


def test_complete_randomness_has_the_density_that_it_has(monkeypatch):
    monkeypatch.setattr(bench, "COUNTED_BATCHES", 12)
    assert bench._nominal_density("csr", 0.1) == pytest.approx(0.1 * 6.4 * 6.4, rel=0.2)


def test_relative_changes_are_means_over_densities():
    rows = [
        {"trained_on": arm, "test": "tubes", "photons": 1000.0, **dict.fromkeys(bench._QUANTITIES, value)}
        for arm, values in {"csr": (0.5, 0.8), "three_helix": (0.6, 0.8), "structures": (0.5, 0.4)}.items()
        for value in values
    ]
    changes = {row["trained_on"]: row["jaccard"] for row in bench._changes(pl.DataFrame(rows, schema=bench.SCHEMA), 1)}
    assert changes == {"three_helix over csr": pytest.approx(0.1), "structures over csr": pytest.approx(-0.25)}
