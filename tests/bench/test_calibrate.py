"""The benchmark of calibrations runs, on few planes."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from lucule.bench import calibrate


@pytest.fixture
def small(monkeypatch):
    small = {"CAMERAS": ("emccd_ixon897",), "BEADS": 3, "PLANES": 17, "STEP_NM": 60.0, "SIDE_PX": 96,
             "_DARK_FRAMES": 30, "_MOVIE_FRAMES": 60, "_PLACES": 1}  # fmt: skip
    for name, value in small.items():
        monkeypatch.setattr(calibrate, name, value)


def test_rows(monkeypatch, small):
    monkeypatch.setattr(calibrate, "find_spec", lambda _: None)
    rows = calibrate.run(seed=3)
    assert set(rows["method"]) == {"lucule"}
    values = {row["unit"]: row["value"] for row in rows.iter_rows(named=True)}
    assert values["% error of the PSF"] < 15
    assert values["counts off in the baseline"] == pytest.approx(0, abs=0.2)


def test_picasso_is_measured_on_the_same_beads_and_parts_are_kept(monkeypatch, small, tmp_path):
    monkeypatch.setattr(calibrate, "find_spec", lambda _: True)
    monkeypatch.setattr(calibrate, "_command", lambda *_: [])
    template = np.random.default_rng(1).random((9, 15, 15))
    monkeypatch.setattr(calibrate, "_template", lambda *_: ((template, 3), 2.0))
    monkeypatch.setattr(calibrate, "_compared", lambda *_: [calibrate._row("PSF", "compared", 1.0, "nm bias in z")])
    rows = calibrate.run(seed=3, folder=tmp_path)
    of_picasso = rows.filter(pl.col("method").str.starts_with("Picasso"))
    assert of_picasso["unit"].to_list() == ["beads used", "s CPU"]
    assert of_picasso["what"].unique().to_list() == ["PSF: 3 beads, 17 planes, emccd_ixon897"]
    names = {f"{part}_emccd_ixon897.parquet" for part in ("psf", "command", "picasso", "camera")}
    assert {path.name for path in tmp_path.iterdir()} == names
    # nothing is measured again
    monkeypatch.setattr(calibrate, "_beads", None)
    assert calibrate.run(seed=3, folder=tmp_path).equals(rows)
