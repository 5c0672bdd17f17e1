"""Errors that a user reads.

Every message says what was asked, the value received, what is allowed (with its unit) and the next step. The command
line prints the message alone, never a traceback, and exits with `exit_code`.
"""

from __future__ import annotations


class LuculeError(Exception):
    """Base of all errors raised on purpose. `exit_code` is what the command line returns."""

    exit_code = 1

    def __init__(
        self, problem: str, *, received: object = None, allowed: str | None = None, next_step: str | None = None
    ) -> None:
        self.problem = problem
        self.received = received
        self.allowed = allowed
        self.next_step = next_step
        super().__init__(self._text())

    def _text(self) -> str:
        text = self.problem.rstrip(".") + "."
        if self.received is not None:
            text += f" Received: {self.received}."
        if self.allowed is not None:
            text += f" Allowed: {self.allowed}."
        if self.next_step is not None:
            text += f" Next: {self.next_step}."
        return text

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the keyword fields when the error crosses a process boundary."""
        return (_rebuild, (type(self), self.problem, self.received, self.allowed, self.next_step))


def _rebuild(
    kind: type[LuculeError], problem: str, received: object, allowed: str | None, next_step: str | None
) -> LuculeError:
    return kind(problem, received=received, allowed=allowed, next_step=next_step)


class InputError(LuculeError):
    """The input or the usage is wrong (exit code 2)."""

    exit_code = 2


class FormatError(InputError):
    """A file is not what it claims to be, is damaged, or is of no supported format."""


class ColumnError(InputError):
    """A needed column is missing, or a column holds values that it must not hold."""


class WorkError(LuculeError):
    """The input was fine and the work failed (exit code 1)."""
