"""Work at a microscope that may fail: tried again, then skipped or stopped, and never taken for done."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import TypeVar

from lucule.acquire.faults import Fault, LaserFault
from lucule.acquire.ledger import RunLedger
from lucule.acquire.microscope import Microscope
from lucule.acquire.plan import Errors
from lucule.core import WorkError

T = TypeVar("T")

log = logging.getLogger(__name__)


class Skipped(Exception):
    """A piece of work was given up; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Engine:
    """Tries pieces of work as the settings say.

    Parameters
    ----------
    microscope
        Brought to rest after each fault.
    errors
        Retries, and what is done after them.
    ledger
        Gets every fault.
    """

    def __init__(self, microscope: Microscope, errors: Errors, ledger: RunLedger) -> None:
        self._microscope, self._errors, self._ledger = microscope, errors, ledger
        self._given_up = 0

    def attempt(self, subject: str, work: Callable[[], T], *, is_step: bool = False) -> T:
        """Result of `work`, tried several times.

        Parameters
        ----------
        is_step
            Part of a larger piece of work: that it succeeds does not end a row of failures. A stage that arrives says
            nothing of the camera that failed in the fields before.

        Raises
        ------
        Skipped
            It failed each time, and the settings say to go on.
        WorkError
            It failed each time and the settings say to stop, or too much failed one after the other.
        """
        for number in range(self._errors.retries + 1):
            try:
                result = work()
            except Fault as error:
                fault = error
                self._ledger.note(error.kind, subject, f"attempt {number + 1}: {error}")
                log.warning("%s, attempt %d: %s", subject, number + 1, error)
                self._rest()
            else:
                self._given_up = self._given_up if is_step else 0
                return result
        if self._errors.then == "stop":
            raise WorkError(f"{subject} failed, and the plan says to stop then: {fault}")
        self._given_up += 1
        if self._given_up >= self._errors.give_up_after:
            raise WorkError(
                f"{self._given_up} pieces of work failed one after the other; the last: {subject}: {fault}",
                next_step="repair the microscope, then lucule acquire --resume",
            )
        raise Skipped(str(fault))

    def _rest(self) -> None:
        """Stage and camera stopped, lasers off; a laser that does not answer is tried again with the next piece."""
        self._microscope.halt()
        with contextlib.suppress(LaserFault):
            self._microscope.lasers_off()
