"""When the acquisition hangs, it is ended and the lasers are switched off by another process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pymmcore_plus")

from lucule.acquire import results, watchdog
from lucule.acquire.plan import load_plan
from lucule.acquire.run import HEARTBEAT


def folder_of_a_run(tmp_path: Path) -> tuple[Path, Path]:
    record = tmp_path / "laser.txt"
    rig = {"based_on": "simulated", "properties": {"Laser647-Record": str(record)}}
    load_plan({"microscope": rig, "scan": {"area_um": [0, 0, 9, 9]}}).to_yaml(tmp_path / results.PLAN_FILE)
    (tmp_path / HEARTBEAT).touch()
    return tmp_path, record


def test_lasers_go_off_when_the_acquisition_hangs(tmp_path: Path) -> None:
    folder, record = folder_of_a_run(tmp_path)
    hanging = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    watchdog.watch(folder, hanging.pid, 0.3)
    assert hanging.wait(timeout=10) != 0
    assert record.read_text().splitlines()[-1].endswith("647 nm 0 mW")
    said = (folder / watchdog.RECORD).read_text()
    assert "did not answer" in said
    assert "All lasers are off" in said


def test_what_cannot_be_switched_off_is_on_record(tmp_path: Path) -> None:
    folder, _ = folder_of_a_run(tmp_path)
    (folder / results.PLAN_FILE).write_text("nonsense: 1")
    assert "MAY BE ON" in watchdog.lasers_off(folder / results.PLAN_FILE)


def test_a_watchdog_ends_with_what_it_watches(tmp_path: Path) -> None:
    folder, _ = folder_of_a_run(tmp_path)
    with watchdog.watched(folder, limit_s=60):
        pass
    assert not (folder / watchdog.RECORD).exists()
