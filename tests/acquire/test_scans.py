"""Continuous scans show what sequential ones show, and are refused where the stage cannot do them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pymmcore_plus")

from lucule.acquire import experiment, scanning
from lucule.acquire.faults import StageFault
from lucule.acquire.finder import Overview
from lucule.acquire.ledger import RunLedger
from lucule.acquire.microscope import Microscope
from lucule.acquire.plan import Plan, load_plan
from lucule.acquire.run import Run
from lucule.acquire.worker import Worker
from lucule.core import InputError

Make = Callable[..., Microscope]
AREA: dict[str, Any] = {
    "microscope": {"based_on": "simulated", "properties": {"Camera-Rows": 64, "Camera-Columns": 64}},
    "scan": {"area_um": [66, 124, 91, 149], "overview_pixel_um": 0.4, "exposure_ms": 2},
    "objects": {"minimum_area_um2": 20, "large": "centre"},
    "errors": {"retries": 1},
    "watchdog_s": 0,
}


@pytest.fixture
def only_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at pictures in this process, and take no movies."""
    monkeypatch.setattr(Worker, "call", lambda _, function, *args, **options: function(*args, **options))
    monkeypatch.setattr(Run, "_image", lambda _: None)


def plan(**changes: Any) -> Plan:
    return load_plan(AREA, changes)


def seen(folder: Path) -> tuple[Overview, dict[str, Any]]:
    with RunLedger(folder) as ledger:
        (cell,) = ledger.rows("object").iter_rows(named=True)
    return Overview.load(folder / "overview" / "area_cell.npz"), cell


def test_a_continuous_scan_finds_what_a_sequential_one_finds(tmp_path: Path, only_scans: None) -> None:
    done = [experiment.acquire(plan(scan={"mode": mode}), tmp_path / mode) for mode in ("sequential", "continuous")]
    assert [one.numbers["tiles"] for one in done] == [{"done": 25}, {"done": 25}]
    (_, first), (overview, second) = seen(tmp_path / "sequential"), seen(tmp_path / "continuous")
    assert second["x_um"] == pytest.approx(first["x_um"], abs=0.3)
    assert second["y_um"] == pytest.approx(first["y_um"], abs=0.3)
    assert second["area_um2"] == pytest.approx(first["area_um2"], rel=0.05)
    assert (overview.image[:, 1:-1] > 0).all()  # no gap; rows there and back begin a run-up apart
    with RunLedger(tmp_path / "continuous") as ledger:
        # rows are taken there and back, each picture where it was taken
        rows = ledger.rows("tile").select("x_um", "y_um").to_numpy().reshape(5, 5, 2)
    assert (np.abs(np.abs(np.diff(rows[:, :, 0], axis=1)) - 5.76) < 0.1).all()


def test_a_scan_that_was_stopped_goes_on_as_if_it_had_not_been(
    tmp_path: Path, only_scans: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = plan(scan={"mode": "continuous"})
    experiment.acquire(how, tmp_path / "whole")
    take, taken = Run._take_row, []

    def crash(run: Run, row: list[dict[str, Any]]) -> list[dict[str, Any]]:
        taken.append(row[0]["id"])
        if len(taken) == 3:
            raise KeyboardInterrupt
        return take(run, row)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_take_row", crash)
        with pytest.raises(KeyboardInterrupt):
            experiment.acquire(how, tmp_path / "broken")
    with RunLedger(tmp_path / "broken") as ledger:
        assert len(ledger.rows("tile", state="done")) == 10
    experiment.acquire(how, tmp_path / "broken", resume=True)
    first, second = seen(tmp_path / "whole"), seen(tmp_path / "broken")
    assert first[1] == second[1]
    assert (first[0].image == second[0].image).all()


def test_passes_go_there_and_back() -> None:
    tiles = [
        {"id": 2 * place + channel, "region": "a", "y_um": float(place // 3), "x_um": float(place % 3), "channel": name}
        for place in range(9)
        for channel, name in enumerate(("cell", "nucleus"))
    ]
    rows = scanning.rows_of(tiles)
    assert [len(row) for row in rows] == [3] * 6
    assert [scanning.is_backwards(row, 2) for row in rows] == [False, True] * 3
    # as it is after a crash, too
    assert [scanning.is_backwards(row, 2) for row in scanning.rows_of(tiles[12:])] == [False, True]


def test_a_row_that_fails_is_failed_with_all_its_tiles(
    tmp_path: Path, only_scans: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    along = Microscope.along

    def stuck(scope: Microscope, start: Any, end: Any, **options: Any) -> Any:
        # the stage stops half-way in one row
        return along(scope, start, tuple(np.mean([start, end], axis=0)) if start[1] < 124 else end, **options)

    monkeypatch.setattr(Microscope, "along", stuck)
    done = experiment.acquire(plan(scan={"mode": "continuous"}), tmp_path)
    assert done.numbers["tiles"] == {"done": 20, "failed": 5}
    assert "gap" in done.failures[0]
    with RunLedger(tmp_path) as ledger:
        assert len(ledger.rows("event", kind="stage")) == 2


def test_the_dry_run_tells_what_a_continuous_scan_saves() -> None:
    quick = experiment.dry_run(plan(scan={"mode": "continuous"}))
    assert quick["scan_speed_um_s"] == pytest.approx(0.5 * 0.4 / 0.002)
    assert quick["scan_saved_s"] == pytest.approx(quick["scan_sequential_s"] - quick["scan_s"])
    assert quick["scan_saved_s"] > 5
    assert quick["scan_light_percent"] == pytest.approx(100)
    # with long exposures stopping is faster, and the dry run does not hide it
    slow = experiment.dry_run(plan(scan={"mode": "continuous", "exposure_ms": None}))
    assert slow["scan_saved_s"] < 0
    # a laser at its limit gives less light
    dim = plan(scan={"mode": "continuous", "exposure_ms": 0.5}, limits={"power_mw": {"488": 10}})
    assert experiment.dry_run(dim)["scan_light_percent"] == pytest.approx(10)
    assert scanning.light_of(dim, "cell").power_mw == 10


def test_a_stage_without_speed_is_told_before_anything_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without = plan(scan={"mode": "continuous"})
    without = without.replace(microscope=without.microscope.replace(stage_speed=None))
    monkeypatch.setattr(Microscope, "move_to", lambda *_: pytest.fail("the stage moved"))
    for start in (lambda: experiment.dry_run(without), lambda: experiment.acquire(without, tmp_path)):
        with pytest.raises(InputError, match="speed can be set"):
            start()
    rig = without.microscope.replace(stage_speed={"properties": ["MotorSpeed"]})
    with pytest.raises(InputError, match="MotorSpeed"):
        experiment.dry_run(without.replace(microscope=rig))
    with pytest.raises(InputError, match="along an axis"):
        experiment.dry_run(plan(scan={"mode": "continuous"}, calibration={"matrix": [[0.9, -0.3], [0.3, 0.9]]}))


@pytest.mark.parametrize("base", ["simulated", "mixed", "demo_camera"])
def test_frames_come_with_the_place_where_they_were_taken(small: Make, base: str) -> None:
    scope = small(base)
    scope.set_channel("cell")
    scope.set_exposure(5)
    speed = 2000.0 if base == "demo_camera" else 100.0
    got = list(scope.along((20.0, 30.0), (60.0, 30.0), speed_um_s=speed, interval_ms=50))
    places = np.array([place for _, place in got])
    assert got[0][0].shape == scope.shape_px
    assert (np.diff(places[:, 0]) >= 0).all()
    assert places[:, 1] == pytest.approx(30.0, abs=0.05)
    assert scope.is_at(60.0, 30.0)
    if base != "demo_camera":  # wired to each other: every 50 ms, 5 um
        assert np.diff(places[:-1, 0]) == pytest.approx(5.0, abs=0.02)
        assert places[0, 0] == pytest.approx(20.25, abs=0.02)
    # afterwards the stage moves as before
    scope.move_to(0.0, 0.0)
    assert scope.is_at(0.0, 0.0)


def test_without_tags_the_stage_is_asked(small: Make) -> None:
    scope = small(Camera__RealTime=1, Camera__TagPosition=0)
    scope.set_channel("cell")
    scope.set_exposure(20)
    got = list(scope.along((20.0, 30.0), (40.0, 30.0), speed_um_s=50, interval_ms=50))
    places = np.array([place for _, place in got])[:, 0]
    assert (np.diff(places) >= 0).all()
    assert np.abs(places[:-1] - np.linspace(20.5, 20.5 + 2.5 * (len(places) - 2), len(places) - 1)).max() < 5.1


def test_a_movement_during_the_exposure_blurs_along_itself(small: Make, cell_um: Callable[..., Any]) -> None:
    scope = small()
    specimen = scope.specimen
    assert specimen is not None
    x, y = cell_um(scope)
    scope.set_channel("cell")
    scope.move_to(x, y)
    still = specimen.image(50).astype(float)
    specimen.move(x, y, speed_um_s=0)
    specimen.exposing = True
    specimen.move(x + 4, y, speed_um_s=80)
    moved = specimen.image(50).astype(float)
    specimen.exposing = False
    assert np.abs(np.diff(moved, axis=1)).mean() < np.abs(np.diff(still, axis=1)).mean()
    assert moved.mean() == pytest.approx(still.mean(), rel=0.15)


def test_a_stage_that_does_not_take_its_speed_is_a_fault(small: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    scope = small()
    get = scope.core.getProperty
    monkeypatch.setattr(
        scope.core, "getProperty", lambda device, name: "7.0" if name == "Speed_um_s" else get(device, name)
    )
    with pytest.raises(StageFault, match="speed"):
        list(scope.along((0.0, 0.0), (10.0, 0.0), speed_um_s=100, interval_ms=50))
