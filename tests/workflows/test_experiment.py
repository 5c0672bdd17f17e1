"""From a plan to a report on the simulated microscope, and nothing done twice."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pymmcore_plus")

from lucule.acquire.plan import load_plan
from lucule.acquire.worker import Worker
from lucule.core import InputError, Localizations
from lucule.io import regions
from lucule.workflows import batch, experiment


@pytest.mark.slow
def test_a_plan_ends_in_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Worker, "call", lambda _, function, *args, **options: function(*args, **options))
    plan = load_plan(
        {
            "microscope": {"based_on": "simulated", "properties": {"Camera-Rows": 96, "Camera-Columns": 96}},
            "scan": {"area_um": [66, 124, 91, 149], "overview_pixel_um": 0.4},
            "objects": {"minimum_area_um2": 20, "large": "centre"},
            "imaging": {"frames": 80, "burst_frames": 40, "density": {"target_per_um2": 0.05, "start_mw": 10}},
            "watchdog_s": 0,
        }
    ).to_yaml(tmp_path / "one_cell.yaml")
    (outcome,) = experiment.run([plan], tmp_path / "out")
    assert outcome.error is None
    assert outcome.summary["fields_done"] == 1
    assert outcome.summary["clusters"] is not None
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "field_001" in page
    assert "1 objects, 1 fields" in page or "Objects found" in page
    fields = tmp_path / "out" / "one_cell" / "fields"
    locs = Localizations.load(fields / "field_001" / "localizations.parquet")
    assert {"label", "cluster"} <= set(locs.columns)
    region = regions.read(fields / "field_001.geojson")
    assert 20 < region.area_um2 <= 96 * 96 / 100 + 1e-6
    assert region.contains(locs.xy()).mean() > 0.9
    # the positions on the slide: within the field around the cell
    assert locs.meta.origin_nm[0] / 1000 == pytest.approx(78.5 - 4.8, abs=1.5)

    def twice(*_: object, **__: object) -> None:
        pytest.fail("a field was analysed again")

    monkeypatch.setattr("lucule.workflows.clusters.find", twice)
    (again,) = experiment.run([plan], tmp_path / "out")
    assert again.summary == outcome.summary
    assert batch.exit_code([again]) == 0


def test_a_plan_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such plan"):
        experiment.run([Path("nowhere.yaml")], tmp_path)
    with pytest.raises(InputError, match="where the microscope is"):
        experiment.run([Path("demo")], tmp_path, address="tcp://x:1")
