"""Random streams: one seed for everything, one independent stream for each purpose.

A stream is named by what is drawn with it (`"epitopes", "lines"`), so that adding a layer or changing one stage leaves
all other draws as they were, and results never depend on the number of threads or on how work is cut into pieces.
"""

from __future__ import annotations

import zlib

import numpy as np

from lucule.core import InputError


def _sequence(seed: int, names: tuple[str | int, ...]) -> np.random.SeedSequence:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError("The seed must be a whole number", received=repr(seed), allowed="0 or more")
    key = tuple(zlib.crc32(name.encode()) if isinstance(name, str) else int(name) for name in names)
    return np.random.SeedSequence(int(seed), spawn_key=key)


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Give the generator for one purpose.

    Raises
    ------
    InputError
        The seed is not a whole number from 0.

    Examples
    --------
    >>> bool(stream(1, "epitopes").random() == stream(1, "epitopes").random())
    True
    """
    return np.random.default_rng(_sequence(seed, names))


def key(seed: int, *names: str | int) -> np.uint64:
    """Give a 64-bit key for one purpose, for kernels that draw with counters instead of a generator."""
    return np.uint64(_sequence(seed, names).generate_state(1, np.uint64)[0])
