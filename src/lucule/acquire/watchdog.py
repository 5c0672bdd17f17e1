"""A process of its own that switches the lasers off when the acquisition stops answering.

The acquisition touches a file whenever it is well. When the file is older than the limit, the watchdog ends the
acquisition, which frees the ports of the devices, loads the configuration itself, and switches every laser off. It ends
with the acquisition.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lucule.acquire.plan import load_plan
from lucule.core.files import write_text

_POLL_S: Final = 0.2
RECORD: Final = "watchdog.txt"


@contextmanager
def watched(folder: Path, *, limit_s: float) -> Iterator[None]:
    """Have a watchdog beside the block; `folder` holds the plan and the file `heartbeat`. A limit of 0: none."""
    if limit_s == 0:
        yield
        return
    command = [sys.executable, "-m", "lucule.acquire.watchdog", str(folder), str(os.getpid()), str(limit_s)]
    # a session of its own: Ctrl-C ends the acquisition, and not what looks after it
    dog = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603 (our own module)
    try:
        yield
    finally:
        dog.terminate()
        dog.wait()


def watch(folder: Path, process: int, limit_s: float) -> None:
    """Look after a process until it ends or stops answering."""
    from lucule.acquire.results import PLAN_FILE
    from lucule.acquire.run import HEARTBEAT

    begun = time.time()
    while _lives(process):
        last = begun
        with contextlib.suppress(OSError):
            last = max(begun, (folder / HEARTBEAT).stat().st_mtime)
        silent_s = time.time() - last
        if silent_s > limit_s:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            reason = f"The acquisition did not answer for {silent_s:.0f} s and was ended."
            write_text(folder / RECORD, f"{reason} {lasers_off(folder / PLAN_FILE)}\n")
            return
        time.sleep(min(_POLL_S, limit_s / 4))
    # ended without switching off by itself: killed from elsewhere
    if (folder / HEARTBEAT).exists():
        write_text(
            folder / RECORD, f"The acquisition ended by itself or was killed. {lasers_off(folder / PLAN_FILE)}\n"
        )


def lasers_off(plan_file: Path) -> str:
    """Load the configuration of a plan and switch all its lasers off; tell what came of it."""
    from lucule.acquire.microscope import Microscope

    try:
        with Microscope(load_plan(plan_file).microscope):
            return "All lasers are off."
    except Exception as error:  # whatever it is, it must be on record
        return f"THE LASERS MAY BE ON: {error}"


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")
    # a process that has ended and was not yet waited for
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")


if __name__ == "__main__":
    watch(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
