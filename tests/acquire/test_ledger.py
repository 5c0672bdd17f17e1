"""What is written stays; half of what belongs together never does; a run that changed is refused."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from lucule.acquire.ledger import NAME, RunLedger
from lucule.core import InputError, WorkError


def test_rows_are_made_changed_and_found_again(tmp_path: Path) -> None:
    with RunLedger(tmp_path) as ledger:
        ledger.put("field", 3, region="a", x_um=1.5, state="planned")
        ledger.put("field", 3, state="failed", reason="stage")
        ledger.put("field", 1, region="a", state="done")
        ledger.note("camera", "field 3", "stopped")
    with RunLedger(tmp_path) as again:
        assert again.rows("field").select("id", "state", "x_um").rows() == [(1, "done", None), (3, "failed", 1.5)]
        assert again.rows("field", state="done")["id"].to_list() == [1]
        assert again.rows("event")["message"].to_list() == ["stopped"]


def test_what_is_written_together_is_there_together_or_not_at_all(tmp_path: Path) -> None:
    with RunLedger(tmp_path) as ledger:

        def crash() -> None:
            with ledger.together():
                ledger.put("tile", 0, state="done")
                ledger.keep("checkpoint", 5)
                raise RuntimeError("crash")

        with pytest.raises(RuntimeError, match="crash"):
            crash()
        assert not len(ledger.rows("tile"))
        assert ledger.kept("checkpoint") is None


def test_a_run_that_depends_on_something_that_changed_is_refused(tmp_path: Path) -> None:
    with RunLedger(tmp_path) as ledger:
        with pytest.raises(InputError, match="record of the run is lost"):
            ledger.agree({"calibration": "a", "model": "b"})
        ledger.keep("fingerprints", {"calibration": "a", "model": "b"})
        ledger.agree({"calibration": "a", "model": "b"})
        with pytest.raises(InputError, match="calibration"):
            ledger.agree({"calibration": "x", "model": "b"})


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written there"):
        RunLedger(tmp_path / "file")


def test_a_record_that_has_no_room_is_an_error_and_keeps_what_it_has(tmp_path: Path) -> None:
    with RunLedger(tmp_path) as ledger:
        ledger.put("tile", 0, state="done")
        ledger._connection.execute("PRAGMA max_page_count = 1")

        def fill() -> None:
            with ledger.together():
                for number in range(1, 2000):
                    ledger.put("tile", number, state="done", reason="x" * 100)

        with pytest.raises(WorkError, match="cannot be written: database or disk is full"):
            fill()
        assert len(ledger.rows("tile")) == 1
        ledger._connection.execute("PRAGMA max_page_count = 1000000")
        fill()
        assert len(ledger.rows("tile")) == 2000


def test_a_record_of_an_older_version_is_told(tmp_path: Path) -> None:
    RunLedger(tmp_path).close()
    with sqlite3.connect(tmp_path / NAME) as connection:
        connection.execute('ALTER TABLE "field" DROP COLUMN "at_x_um"')
    with pytest.raises(InputError, match="older version"):
        RunLedger(tmp_path)
