"""Whole runs on a small slide: failures are tried again, given up, never taken for done; crashes lose nothing."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

pytest.importorskip("pymmcore_plus")

from lucule.acquire import experiment, results, writing
from lucule.acquire.control import Control
from lucule.acquire.engine import Engine
from lucule.acquire.faults import FinderFault, FocusFault, WritingFault
from lucule.acquire.ledger import RunLedger
from lucule.acquire.plan import Plan, load_plan
from lucule.acquire.run import Run
from lucule.acquire.worker import Worker, drift_of
from lucule.core import InputError, WorkError
from lucule.models import find

THREADS = "ignore::pytest.PytestUnhandledThreadExceptionWarning"
# around cell 0 of the packaged slide
SMALL: dict[str, Any] = {
    "microscope": {
        "based_on": "simulated",
        "properties": {"Camera-Rows": 64, "Camera-Columns": 64},
        "illumination_radius_um": 5.0,
    },
    "scan": {"area_um": [66, 124, 91, 149], "overview_pixel_um": 0.4},
    "objects": {"minimum_area_um2": 20, "large": "random", "fields_per_large": 2},
    "imaging": {"frames": 40, "burst_frames": 20, "density": {"target_per_um2": 0.05, "start_mw": 5}},
    "stop": {"count_gain": None, "bleached_fraction": None, "empty_per_um2": None, "defocus_factor": None},
    "errors": {"retries": 1},
    "watchdog_s": 0,
}


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at pictures in this process: a second one costs seconds."""
    monkeypatch.setattr(Worker, "call", lambda _, function, *args, **options: function(*args, **options))


def small(**changes: Any) -> Plan:
    return load_plan(SMALL, changes)


def before_imaging(monkeypatch: pytest.MonkeyPatch, change: Callable[[Run], None]) -> None:
    """Change something at the microscope after the scan."""
    image = Run._image

    def changed(run: Run) -> None:
        change(run)
        image(run)

    monkeypatch.setattr(Run, "_image", changed)


def set_fault(device: str, fault: str, **properties: Any) -> Callable[[Run], None]:
    def change(run: Run) -> None:
        for name, value in {**properties, "Fault": fault}.items():
            run.microscope.core.setProperty(device, name, value)

    return change


def test_a_run_finds_the_cell_and_images_it(tmp_path: Path, inline: None) -> None:
    done = experiment.acquire(small(), tmp_path)
    assert done.numbers["tiles"] == {"done": 25}
    assert done.numbers["fields"] == {"done": 2}
    assert done.numbers["frames"] == 80
    assert not done.failures
    with RunLedger(tmp_path) as ledger:
        cell, *_ = ledger.rows("object").sort("area_um2", descending=True).iter_rows(named=True)
        assert np.hypot(cell["x_um"] - 78.5, cell["y_um"] - 135.9) < 1.5
        for path in ledger.rows("burst")["path"]:
            assert writing.read_burst(tmp_path / path).shape == (20, 64, 64)
        assert (ledger.rows("field")["dose_mj_per_um2"] > 0).all()
    locs = results.localizations(tmp_path, 0)
    assert locs["frame"].max() > 20
    assert locs.meta.n_frames == 40


def test_a_network_finds_the_objects_and_belongs_to_the_run(tmp_path: Path, inline: None) -> None:
    packaged = find("cells_widefield").weights_path.parent
    shutil.copytree(packaged, tmp_path / "model")
    plan = small(objects={"finder": "model", "model": str(tmp_path / "model")})
    done = experiment.acquire(plan, tmp_path / "run")
    assert done.numbers["fields"] == {"done": 2}
    with RunLedger(tmp_path / "run") as ledger:
        (cell,) = ledger.rows("object").iter_rows(named=True)
    assert np.hypot(cell["x_um"] - 78.5, cell["y_um"] - 135.9) < 1.5
    assert 0.5 < cell["confidence"] <= 1
    # the folder may hold another network by now
    shutil.rmtree(tmp_path / "model")
    shutil.copytree(packaged.parent / "objects", tmp_path / "model")
    with pytest.raises(InputError, match="model"):
        experiment.acquire(plan, tmp_path / "run", resume=True)


def test_nothing_finished_is_done_again(tmp_path: Path, inline: None, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment.acquire(small(), tmp_path)
    monkeypatch.setattr(Engine, "attempt", lambda *_: pytest.fail("something was done again"))
    assert experiment.acquire(experiment.plan_of(tmp_path), tmp_path, resume=True).numbers["fields"] == {"done": 2}


def test_another_plan_is_no_continuation(tmp_path: Path, inline: None) -> None:
    control = Control()
    control.stop()
    assert experiment.acquire(small(), tmp_path, control=control).stopped
    with pytest.raises(InputError, match="holds a run already"):
        experiment.acquire(small(), tmp_path)
    with pytest.raises(InputError, match="plan"):
        experiment.acquire(small(imaging={"frames": 60}), tmp_path, resume=True)
    with pytest.raises(InputError, match="calibration"):
        experiment.acquire(small(calibration={"matrix": [[1, 0.01], [0, 1]]}), tmp_path, resume=True)


@pytest.mark.filterwarnings(THREADS)
@pytest.mark.parametrize(
    ("device", "fault", "kind"),
    [
        ("Camera", "error", "camera"),
        ("XY", "stalled", "stage"),
        ("Laser647", "silent", "laser"),
    ],
)
def test_a_fault_that_stays_fails_the_field_and_one_that_passes_does_not(
    tmp_path: Path, inline: None, monkeypatch: pytest.MonkeyPatch, device: str, fault: str, kind: str
) -> None:
    plan = small(objects={"fields_per_large": 1}, microscope={"timeout_s": 3.0})
    with monkeypatch.context() as patch:
        before_imaging(patch, set_fault(device, fault))
        failed = experiment.acquire(plan, tmp_path)
    assert failed.numbers["fields"] == {"failed": 1}
    assert "given up" in failed.failures[0]
    with RunLedger(tmp_path) as ledger:
        faults = ledger.rows("event", kind=kind)
        assert len(faults) >= 2
        assert not len(ledger.rows("burst", state="done"))
    # the same run goes on when the fault has passed after the first attempt
    rest = Engine._rest

    def repaired(engine: Engine) -> None:
        engine._microscope.core.setProperty(device, "Fault", "none")
        rest(engine)

    monkeypatch.setattr(Engine, "_rest", repaired)
    before_imaging(monkeypatch, set_fault(device, fault))
    done = experiment.acquire(plan, tmp_path, resume=True)
    assert done.numbers["fields"] == {"done": 1}
    assert done.numbers["frames"] == 40


def test_a_full_disk_and_a_lost_focus_fail_the_field(
    tmp_path: Path, inline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise WritingFault("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(writing, "write_burst", full)
        done = experiment.acquire(small(), tmp_path / "disk")
    assert done.numbers["fields"] == {"failed": 2}

    # known before: no light on a sample whose pictures have no room
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=15_000_000))
        with pytest.raises(WorkError, match="no room for the next burst"):
            experiment.acquire(small(), tmp_path / "nearly")
    with RunLedger(tmp_path / "nearly") as ledger:
        assert set(ledger.rows("field")["dose_mj_per_um2"]) == {0.0}
    assert experiment.acquire(small(), tmp_path / "nearly", resume=True).numbers["fields"] == {"done": 2}

    def lost(*_: object, **__: object) -> None:
        raise FocusFault("No height is clearly the sharpest")

    monkeypatch.setattr("lucule.acquire.run.autofocus", lost)
    done = experiment.acquire(small(focus={"method": "software"}), tmp_path / "focus")
    assert done.numbers["fields"] == {"failed": 2}
    assert "sharpest" in done.failures[0]


def test_the_plan_may_say_stop_and_too_many_failures_stop(
    tmp_path: Path, inline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_imaging(monkeypatch, set_fault("XY", "stalled"))
    with pytest.raises(WorkError, match="says to stop"):
        experiment.acquire(small(errors={"then": "stop"}), tmp_path / "a")
    with pytest.raises(WorkError, match="one after the other"):
        experiment.acquire(small(errors={"give_up_after": 2}), tmp_path / "b")


@pytest.mark.filterwarnings(THREADS)
def test_a_camera_that_stays_broken_ends_the_run_though_the_stage_arrives(
    tmp_path: Path, inline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_imaging(monkeypatch, set_fault("Camera", "error"))
    control = Control()
    with pytest.raises(WorkError, match="2 pieces of work failed one after the other"):
        experiment.acquire(
            small(objects={"fields_per_large": 4}, errors={"give_up_after": 2}), tmp_path, control=control
        )
    assert control.state == "failed"
    with RunLedger(tmp_path) as ledger:
        assert ledger.rows("field")["state"].value_counts().sort("state").rows() == [("failed", 1), ("planned", 3)]


def test_a_look_that_fails_costs_no_light(tmp_path: Path, inline: None, monkeypatch: pytest.MonkeyPatch) -> None:
    failed, taken = [], []
    write, drift = writing.write_burst, drift_of

    def once(*args: Any) -> Any:
        if not failed:
            failed.append(True)
            raise FinderFault("The process that looks at the pictures died")
        return drift(*args)

    monkeypatch.setattr("lucule.acquire.run.drift_of", once)
    monkeypatch.setattr(writing, "write_burst", lambda *args, **options: taken.append(1) or write(*args, **options))
    done = experiment.acquire(small(objects={"fields_per_large": 1}), tmp_path)
    assert failed
    assert done.numbers["faults"] == 1
    assert len(taken) == 2  # bursts


def test_an_error_of_the_planner_keeps_what_is_done(
    tmp_path: Path, inline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("planner")

    with monkeypatch.context() as patch:
        patch.setattr("lucule.acquire.planner.choose_fields", broken)
        with pytest.raises(RuntimeError, match="planner"):
            experiment.acquire(small(), tmp_path)
    with RunLedger(tmp_path) as ledger:
        assert ledger.rows("tile")["state"].unique().to_list() == ["done"]
        assert not len(ledger.rows("field"))
    assert experiment.acquire(small(), tmp_path, resume=True).numbers["fields"] == {"done": 2}


def test_a_dose_limit_ends_a_field(tmp_path: Path, inline: None) -> None:
    with pytest.raises(InputError, match="more light than it allows"):
        experiment.acquire(small(limits={"dose_mj_per_um2": 0.1}), tmp_path)
    assert not (tmp_path / results.PLAN_FILE).exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"microscope": {"stage_limits_um": [0, 0, 85, 200]}}, "leaves the range of the stage"),
        ({"objects": {"finder": "model", "model": "nuclei_modl"}}, "no such model"),
        ({"objects": {"finder": "model", "model": "graph"}}, "does not segment images"),
        ({"objects": {"finder": "model", "model": "cells_widefield", "classes": ["nucleus"]}}, "knows no such class"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_moves(
    tmp_path: Path, inline: None, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        experiment.dry_run(small(**changes))
    with pytest.raises(InputError, match=said):
        experiment.acquire(small(**changes), tmp_path / "run")
    # the plan may be mended and the folder taken
    assert not (tmp_path / "run").exists()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_is_a_fault_and_replaced() -> None:
    with Worker() as worker:
        with pytest.raises(FinderFault, match="died"):
            worker.call(_die)
        assert worker.call(abs, -3) == 3


def tables(folder: Path) -> tuple[list[Any], list[pl.DataFrame]]:
    with RunLedger(folder) as ledger:
        fields = ledger.rows("field").select("id", "x_um", "y_um", "state", "reason").rows()
        bursts = ledger.rows("burst").select("id", "frames", "state", "localizations", "activation_mw")
    return fields, [bursts, *(results.localizations(folder, number).data for number, *_ in fields)]


@pytest.mark.slow
def test_a_run_killed_at_random_instants_ends_as_an_undisturbed_one(tmp_path: Path, inline: None) -> None:
    plan_file = small().to_yaml(tmp_path / "plan.yaml")
    experiment.acquire(load_plan(plan_file), tmp_path / "whole")
    command = [sys.executable, "-m", "lucule", "acquire"]
    rng = random.Random(1)
    folder = tmp_path / "killed"
    arguments = [str(plan_file), "--out", str(folder)]
    for _ in range(2):
        process = subprocess.Popen([*command, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        begun = time.monotonic()
        while not (folder / results.PLAN_FILE).exists() and time.monotonic() - begun < 120:
            time.sleep(0.05)
        time.sleep(rng.uniform(0.5, 6))
        process.kill()
        process.wait()
        arguments = ["--resume", str(folder)]
    done = experiment.acquire(experiment.plan_of(folder), folder, resume=True)
    assert done.numbers["fields"] == {"done": 2}
    (fields, first), (same, second) = tables(tmp_path / "whole"), tables(folder)
    assert fields == same
    for one, other in zip(first, second, strict=True):
        assert one.equals(other)
    with RunLedger(folder) as ledger:
        for path in ledger.rows("burst", state="done")["path"]:
            assert writing.read_burst(folder / path).shape == (20, 64, 64)
