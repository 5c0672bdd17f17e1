"""`lucule period`: from a table to a report, done once, with axons, without, and with a file that fails."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import lucule
from lucule import simulate
from lucule.cli import app
from lucule.workflows import axons


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("input")
    changes = {"axons.placement": {"count": 1}, "axons.specimen.length_um": 5, "axons.specimen.period_nm": 205}
    scene = simulate.load_scene("axon", frames=3000, labelling=0.2, **{"field.size_um": 7}, **changes)
    lucule.write(simulate.localizations(scene, seed=4, outside="drop"), folder / "axon.csv")
    rng = np.random.default_rng(1)
    noise = rng.uniform(0, 5000, (600, 2))
    lucule.write(lucule.Localizations({"x": noise[:, 0], "y": noise[:, 1]}), folder / "noise.csv")
    return folder


@pytest.fixture(scope="module")
def answer(tables, tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    inputs = [str(tables / "axon.csv"), str(tables / "noise.csv")]
    said = CliRunner().invoke(app, ["period", *inputs, "--out", str(out), "--workers", "1", "--json"])
    assert said.exit_code == 0, said.output
    return out, json.loads(said.stdout.strip().splitlines()[-1])


def test_the_period_and_its_interval(answer) -> None:
    _, said = answer
    axon, noise = said["results"]["inputs"]
    assert axon["period_nm"] == pytest.approx(205, abs=5)
    low, high = axon["per_axon"][0]["period_nm_interval"]
    assert low < axon["per_axon"][0]["period_nm"] < high
    assert noise["period_nm"] is None
    assert "stands out" in noise["reason"]
    assert any("No axon was found" in warning for warning in said["warnings"])


def test_tables_and_report_are_written(answer) -> None:
    out, _ = answer
    table = pl.read_csv(out / "axon" / "axons.csv")
    assert {"period_nm", "period_low_nm", "period_high_nm", "reason", "p_value"} <= set(table.columns)
    assert pl.read_csv(out / "axon" / "courses.csv").height > 100
    page = (out / "report.html").read_text()
    assert "No axon" in page
    assert "data:image/png" in page


def test_nothing_is_done_twice(tables, answer, monkeypatch) -> None:
    out, _ = answer
    monkeypatch.setattr(axons.axons, "measure", None)
    (outcome, _) = axons.run([tables / "axon.csv", tables / "noise.csv"], out, workers=1)
    assert outcome.error is None
    assert outcome.summary["periodic"] == 1


def test_usage_errors(tables, tmp_path) -> None:
    assert CliRunner().invoke(app, ["period", str(tables / "axon.csv")]).exit_code == 2
    missing = ["period", str(tmp_path / "no.csv"), "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(app, missing).exit_code == 2
    wrong = ["period", str(tables / "axon.csv"), "--out", str(tmp_path / "o"), "--set", "period.fastest_nm=3"]
    assert CliRunner().invoke(app, wrong).exit_code == 2
