"""How long work reports that it moves: a protocol, so that terminal, notebook and page can each show it their way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """One running piece of work."""

    def advance(self, amount: int = 1) -> None:
        """Report that `amount` more units are done."""


class Progress(Protocol):
    """Something that shows tasks."""

    def task(self, label: str, total: int | None = None, unit: str = "") -> AbstractContextManager[Task]:
        """Open a task of `total` units (None: unknown)."""


class _SilentTask:
    def advance(self, amount: int = 1) -> None:
        pass


class _Silent:
    @contextmanager
    def task(self, label: str, total: int | None = None, unit: str = "") -> Iterator[Task]:  # noqa: ARG002
        yield _SilentTask()


SILENT: Progress = _Silent()
"""The default: shows nothing."""
