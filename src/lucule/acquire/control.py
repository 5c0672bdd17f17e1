"""What someone who watches an acquisition can do: pause, go on, stop; and what is shown meanwhile."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from numpy.typing import NDArray


class Stopped(Exception):
    """The acquisition was asked to stop; what is finished is kept."""


class Control:
    """Shared between the acquisition and whoever watches it.

    Attributes
    ----------
    frame
        The last frame of the camera.
    doing
        What is done now, one line.
    """

    def __init__(self) -> None:
        self.frame: NDArray[Any] | None = None
        self.doing = "starting"
        self._running = threading.Event()
        self._running.set()
        self._stop = threading.Event()
        self._heartbeat: Path | None = None

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

    @property
    def state(self) -> str:
        """`running`, `paused` or `stopping`."""
        return "stopping" if self._stop.is_set() else "running" if self._running.is_set() else "paused"

    def beat_on(self, path: Path) -> None:
        """Touch a file whenever the acquisition answers."""
        self._heartbeat = path
        self.beat()

    def beat(self) -> None:
        """Say that the acquisition answers."""
        if self._heartbeat is not None:
            self._heartbeat.touch()

    def point(self, doing: str) -> None:
        """Between pieces of work: wait while paused.

        Raises
        ------
        Stopped
            The acquisition was asked to stop.
        """
        self.doing = doing
        while not self._running.wait(0.5):
            self.beat()
        if self._stop.is_set():
            raise Stopped
        self.beat()
