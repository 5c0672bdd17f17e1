"""The benchmark of calibrations runs, on few planes."""

from __future__ import annotations

import pytest

from lucule.bench import calibrate


def test_rows(monkeypatch):
    small = {"CAMERAS": ("emccd_ixon897",), "BEADS": 3, "PLANES": 17, "STEP_NM": 60.0, "SIDE_PX": 96,
             "_DARK_FRAMES": 30, "_MOVIE_FRAMES": 60, "_PLACES": 1}  # fmt: skip
    for name, value in small.items():
        monkeypatch.setattr(calibrate, name, value)
    monkeypatch.setattr(calibrate, "find_spec", lambda _: None)
    rows = calibrate.run(seed=3)
    assert set(rows["method"]) == {"lucule"}
    values = {row["unit"]: row["value"] for row in rows.iter_rows(named=True)}
    assert values["% error of the PSF"] < 15
    assert values["counts off in the baseline"] == pytest.approx(0, abs=0.2)
