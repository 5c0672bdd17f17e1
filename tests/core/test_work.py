"""Executor, ledger, files, errors: nothing lost, nothing done twice, nothing half-written."""

from __future__ import annotations

import hashlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lucule.core import FormatError, InputError, LuculeError, WorkError
from lucule.core.executor import executor
from lucule.core.files import atomic_path, file_sha256, write_text
from lucule.core.ledger import Ledger, fingerprint


def half(number: int) -> float:
    if number < 0:
        raise InputError("Negative", received=number)
    return number / 2


def process_id(_: int) -> int:
    return os.getpid()


def test_one_task_runs_here() -> None:
    with executor(tasks=1) as workers:
        assert workers.submit(process_id, 0).result() == os.getpid()
        assert isinstance(workers.submit(half, -1).exception(), InputError)


def test_workers_of_a_killed_process_do_not_stay(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, signal\n"
        "from lucule.core.executor import executor\n"
        "if __name__ == '__main__':\n"
        "    with executor(tasks=2, workers=2) as workers:\n"
        "        print(workers.submit(os.getpid).result(), flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    worker, waited = int(done.stdout), 0.0
    while _runs(worker):
        time.sleep(0.1)
        waited += 0.1
        assert waited < 10


def test_a_script_without_a_guard_is_not_run_again_by_its_workers(tmp_path: Path) -> None:
    script = tmp_path / "plain.py"
    script.write_text(
        "from lucule.core.executor import executor\n"
        "print('once', flush=True)\n"
        "with executor(tasks=2, workers=2) as workers:\n"
        "    print(workers.map(abs, [-1, 2]))\n"
    )
    assert _said(script) == "once\n[1, 2]\n"


def test_a_function_of_a_script_runs_in_its_workers(tmp_path: Path) -> None:
    script = tmp_path / "guarded.py"
    script.write_text(
        "from lucule.core.executor import executor\n"
        "def twice(number): return 2 * number\n"
        "if __name__ == '__main__':\n"
        "    with executor(tasks=2, workers=2) as workers:\n"
        "        print(workers.map(twice, [1, 2]))\n"
    )
    assert _said(script) == "[2, 4]\n"


def _said(script: Path) -> str:
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # what has ended and is not yet taken note of does not run
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_several_tasks_run_in_other_processes_and_keep_their_order() -> None:
    with executor(tasks=3, workers=2) as workers:
        assert workers.map(half, [4, 2, 6]) == [2, 1, 3]
        assert os.getpid() not in workers.map(process_id, [0, 1])
        tasks = [workers.submit(half, number) for number in (-3, 8)]
        failures = [task.exception() for task in workers.as_completed(tasks)]
    error = next(failure for failure in failures if failure)
    assert isinstance(error, InputError)
    assert str(error) == "Negative. Received: -3."


def test_ledger_notices_every_change(tmp_path) -> None:
    ledger, output = Ledger(tmp_path), tmp_path / "sub" / "a.txt"
    write_text(output, "one")
    ledger.record("work", fingerprint("input", {"k": 1}), [output])
    assert Ledger(tmp_path).is_done("work", fingerprint("input", {"k": 1}))
    assert not ledger.is_done("work", fingerprint("input", {"k": 2}))
    assert not ledger.is_done("other", fingerprint("input", {"k": 1}))
    output.unlink()
    assert not ledger.is_done("work", fingerprint("input", {"k": 1}))


def test_ledger_of_a_new_folder_is_opened_by_several_at_once(tmp_path) -> None:
    together = threading.Barrier(4, timeout=30)

    def work(place: tuple[int, int]) -> bool:
        together.wait()
        folder, own = tmp_path / f"{place[0]}", f"w{place[1]}"
        ledger, output = Ledger(folder), folder / own
        output.write_text("done")
        ledger.record(own, "f", [output])
        return ledger.is_done(own, "f")

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(work, [(folder, own) for folder in range(300) for own in range(4)]))


def test_damaged_ledger_is_named(tmp_path) -> None:
    (tmp_path / ".lucule.sqlite").write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(WorkError, match=r"not a database.*\.lucule\.sqlite.*remove the damaged file"):
        Ledger(tmp_path)


def test_fingerprint_does_not_depend_on_the_order_of_keys() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 1, "b": 3})


def test_atomic_path(tmp_path) -> None:
    target = tmp_path / "deep" / "a.csv"
    with pytest.raises(KeyboardInterrupt):
        _interrupted_write(target)
    assert list(target.parent.iterdir()) == []
    write_text(target, "whole")
    assert target.read_text() == "whole"
    assert file_sha256(target) == hashlib.sha256(b"whole").hexdigest()
    with pytest.raises(InputError, match="folder"), atomic_path(tmp_path):
        pass


def _interrupted_write(target) -> None:
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt


def test_errors_say_everything_and_cross_processes() -> None:
    error = FormatError("Bad file", received="x", allowed="y", next_step="z")
    assert str(error) == "Bad file. Received: x. Allowed: y. Next: z."
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.exit_code) == (FormatError, str(error), 2)
    assert LuculeError("a").exit_code == 1
