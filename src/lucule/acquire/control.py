"""What someone who watches an acquisition can do: start it, pause, go on, stop; and what is shown meanwhile."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

End = Literal["finished", "stopped", "failed"]


class Stopped(Exception):
    """The acquisition was asked to stop; what is finished is kept."""


class Control:
    """Shared between the acquisition and whoever watches it.

    Parameters
    ----------
    waiting
        The acquisition, its microscope ready and its light off, does not begin before `start`.

    Attributes
    ----------
    frame
        The last frame of the camera.
    doing
        What is done now, one line.
    """

    def __init__(self, *, waiting: bool = False) -> None:
        self.frame: NDArray[Any] | None = None
        self.doing = "starting"
        self._started = threading.Event()
        self._running = threading.Event()
        self._running.set()
        self._stop = threading.Event()
        self._at_rest = False
        self._end: End | None = None
        self._heartbeat: Path | None = None
        if not waiting:
            self._started.set()

    def start(self) -> None:
        """Begin, where it waits for that."""
        self._started.set()

    def pause(self) -> None:
        """Wait after the piece of work that is under way."""
        self._running.clear()

    def resume(self) -> None:
        """Go on."""
        self._running.set()

    def stop(self) -> None:
        """End after the piece of work that is under way; the run can be resumed later."""
        self._stop.set()
        self._running.set()
        self._started.set()

    def end(self, how: End, doing: str) -> None:
        """Say that the acquisition is over, and what came of it."""
        self.doing = doing
        self._end = how

    @property
    def is_over(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self._end is not None

    @property
    def state(self) -> str:
        """`waiting`, `running`, `pausing`, `paused`, `stopping`, or how it ended."""
        if self._end is not None:
            return self._end
        if self._stop.is_set():
            return "stopping"
        if not self._started.is_set():
            return "waiting"
        if self._running.is_set():
            return "running"
        return "paused" if self._at_rest else "pausing"

    def beat_on(self, path: Path) -> None:
        """Touch a file whenever the acquisition answers."""
        self._heartbeat = path
        self.beat()

    def beat(self) -> None:
        """Say that the acquisition answers."""
        if self._heartbeat is not None:
            self._heartbeat.touch()

    def point(self, doing: str) -> None:
        """Between pieces of work: wait while paused, and before the start.

        Raises
        ------
        Stopped
            The acquisition was asked to stop.
        """
        self.doing = doing
        for condition in (self._started, self._running):
            self._at_rest = True
            while not condition.wait(0.5):
                self.beat()
        self._at_rest = False
        if self._stop.is_set():
            raise Stopped
        self.beat()
