"""The simulated slide of a run: after a crash it is as the finished pieces of work have left it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from lucule.acquire.ledger import RunLedger
from lucule.acquire.specimen import Specimen
from lucule.core.files import atomic_path

_KEY: Final = "checkpoint"


class Checkpoints:
    """Keeps what the molecules of a simulated slide remember; of a real slide, there is nothing to keep.

    A real slide survives a crash of the software, with the light of the lost burst on it. A simulated one is made anew
    with the process. It gets the state that belongs to the last finished piece of work, so that a run that was
    interrupted can be compared with one that was not, bit by bit.
    """

    def __init__(self, folder: Path, ledger: RunLedger, specimen: Specimen | None) -> None:
        self._folder, self._ledger, self._specimen = folder, ledger, specimen
        self._number = int(ledger.kept(_KEY) or 0)

    @contextmanager
    def written(self) -> Iterator[None]:
        """Write the state before the block, in which the ledger names it, and remove older ones after it."""
        if self._specimen is None:
            yield
            return
        self._number += 1
        path = self._path()
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **self._specimen.state())
        yield
        for old in self._folder.glob("*.npz"):
            if old != path:
                old.unlink(missing_ok=True)

    def name(self) -> None:
        """Name the state in the ledger."""
        if self._specimen is not None:
            self._ledger.keep(_KEY, self._number)

    def put_back(self) -> None:
        """Bring the slide to the state that the ledger names."""
        if self._specimen is not None and self._number:
            with np.load(self._path()) as state:
                self._specimen.restore(dict(state))

    def _path(self) -> Path:
        return self._folder / f"{self._number}.npz"
