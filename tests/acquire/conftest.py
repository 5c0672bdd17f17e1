"""Shared: small simulated microscopes, and a place on their slide where a cell lies."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pymmcore_plus")

from lucule.acquire.microscope import Microscope


@pytest.fixture
def small() -> Iterator[Callable[..., Microscope]]:
    """Open microscopes of 64 x 64 pixels; all are closed after the test."""
    opened: list[Microscope] = []

    def make(base: str = "simulated", **properties: Any) -> Microscope:
        size = {} if base == "demo_camera" else {"Camera-Rows": 64, "Camera-Columns": 64}
        changed = {key.replace("__", "-"): value for key, value in properties.items()}
        opened.append(Microscope({"based_on": base, "properties": size | changed, "timeout_s": 3.0}))
        return opened[-1]

    yield make
    for microscope in opened:
        microscope.close()


@pytest.fixture
def cell_um() -> Callable[..., tuple[float, float]]:
    """Tell where the middle of a cell lies."""

    def middle(microscope: Microscope, number: int = 0) -> tuple[float, float]:
        specimen = microscope.specimen
        assert specimen is not None
        x, y = specimen.slide.overview(seed=specimen.seed).select("x_um", "y_um").row(number)
        return float(x), float(y)

    return middle


class Browser:
    """Headless Chromium, spoken to over two pipes in the protocol of its developer tools."""

    def __init__(self, program: str, folder: Path) -> None:
        read, self._write = os.pipe()
        self._read, write = os.pipe()
        # both ends above the numbers that Chromium expects them under
        keep = [os.dup(end) for end in (read, write)]
        for end in (read, write):
            os.close(end)

        def place() -> None:
            high = [os.dup2(end, 50 + number) for number, end in enumerate(keep)]
            for number, end in zip((3, 4), high, strict=True):
                os.dup2(end, number)

        command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
                   "--hide-scrollbars", "--window-size=1240,1100", f"--user-data-dir={folder}",
                   "--remote-debugging-pipe", "about:blank"]  # fmt: skip
        self._process = subprocess.Popen(
            command, preexec_fn=place, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for end in keep:
            os.close(end)
        self._numbers, self._rest, self._page = itertools.count(1), b"", {}

    def _call(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters, **self._page}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                received = os.read(self._read, 1 << 16)
                assert received, "the browser has ended"
                self._rest += received
            answer, _, self._rest = self._rest.partition(b"\0")
            found = json.loads(answer)
            if found.get("id") == number:
                assert "error" not in found, found
                return found["result"]

    def open(self, url: str) -> None:
        """Open a page."""
        target = self._call("Target.createTarget", url=url)["targetId"]
        session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._page = {"sessionId": session}

    def value(self, script: str) -> Any:
        """What a script gives."""
        answer = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        return answer["result"].get("value")

    def wait_for(self, script: str, wanted: Any, seconds: float = 60.0) -> None:
        """Wait until a script gives what is wanted."""
        until = time.monotonic() + seconds
        while (found := self.value(script)) != wanted:
            assert time.monotonic() < until, f"{script}: {found} instead of {wanted}"
            time.sleep(0.1)

    def press(self, name: str) -> None:
        """Press the button with this text."""
        self.value(f"[...document.querySelectorAll('button')].find(b => b.textContent === '{name}').click()")

    def picture(self, path: Path) -> None:
        """What the page looks like, as a PNG file."""
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()
        for end in (self._read, self._write):
            os.close(end)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """A browser; the test is skipped where there is none."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("there is no Chromium on this machine")
    found = Browser(program, tmp_path / "chromium")
    yield found
    found.close()
