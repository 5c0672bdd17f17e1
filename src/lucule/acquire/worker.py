"""Inference beside the acquisition: in a process of its own, so that neither waits for memory or the interpreter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Final, ParamSpec, Self, TypeVar

import numpy as np
import polars as pl

from lucule.acquire.faults import FinderFault
from lucule.acquire.shifts import Shift, shift_between
from lucule.acquire.writing import read_burst
from lucule.core import Camera, InputError, Localizations
from lucule.core.executor import Executor, executor

_BEAT_S: Final = 1.0
# the drift of a burst is measured against so many before it
_DRIFT_BURSTS: Final = 20
_LARGEST_DRIFT_NM: Final = 500.0

P = ParamSpec("P")
T = TypeVar("T")


class Worker:
    """One process that answers calls; a process that died is an error once, and replaced.

    Parameters
    ----------
    beat
        Called again and again while an answer is awaited.
    """

    def __init__(self, beat: Callable[[], object] = lambda: None) -> None:
        self._pool: Executor | None = None
        self._beat = beat

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Result of a function, computed there.

        Raises
        ------
        FinderFault
            The process died.
        """
        if self._pool is None:
            self._pool = executor(2, workers=2)
        try:
            answer = self._pool.submit(function, *args, **kwargs)
            while not wait([answer], timeout=_BEAT_S).done:
                self._beat()
            return answer.result()
        except BrokenProcessPool as error:
            self._pool = None
            raise FinderFault("The process that looks at the pictures died; perhaps memory is short") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.close()


@dataclass(frozen=True)
class BurstNumbers:
    """Localizations of a burst, and the median width of its spots."""

    localizations: int
    sigma_nm: float | None


def localize_burst(path: Path, camera: Camera, first_frame: int, out: Path) -> BurstNumbers:
    """Localize a burst by maximum likelihood and write the table: what the worker does while the microscope is on."""
    from lucule.localize import fit

    found = fit(read_burst(path), camera=camera)
    locs = found.with_columns(frame=found["frame"].astype(np.uint32) + np.uint32(first_frame))
    locs.save(out)
    return BurstNumbers(len(locs), float(np.median(locs["sigma_x"])) if len(locs) else None)


def drift_of(earlier: Sequence[tuple[Path, float, float]], table: Path) -> Shift | None:
    """How far the sample has moved in a burst against the bursts before it; None where that cannot be told.

    Parameters
    ----------
    earlier
        Tables of earlier bursts, each with its own drift (x, y), nm, which is taken off.
    table
        Table of the burst.
    """
    known = [Localizations.load(path).xy() - np.array([x, y], np.float32) for path, x, y in earlier[-_DRIFT_BURSTS:]]
    if not known:
        return None
    return shift_between(np.vstack(known), Localizations.load(table).xy(), reach_nm=_LARGEST_DRIFT_NM)


def ring_correlation(tables: list[Path]) -> float | None:
    """Resolution of the bursts of a field so far, nm; None where there are too few localizations."""
    from lucule.process import FrcSettings, frc

    data = pl.concat([Localizations.load(path).data for path in tables])
    try:
        return frc(Localizations(data), settings=FrcSettings(repeats=3), compare=False).resolution_nm
    except InputError:
        return None
