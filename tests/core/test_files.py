"""Files are complete or not there, and a full disk is named."""

from __future__ import annotations

import errno
import resource
import signal
import sqlite3
from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest

from lucule.core import Localizations
from lucule.core.files import full_disk, write_text


@pytest.fixture
def small_files() -> Iterator[None]:
    """Files cannot grow beyond 1000 bytes, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)


def test_a_full_disk_is_named_and_leaves_nothing(small_files, tmp_path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(OSError, match="too large") as of_text:
        write_text(tmp_path / "a.txt", "x" * 5000)
    noise = np.random.default_rng(1).uniform(0, 1e4, (2, 5000))
    with pytest.raises(pl.exceptions.ComputeError) as of_table:
        Localizations({"x": noise[0], "y": noise[1]}).save(tmp_path / "b.parquet")
    for caught, name in ((of_text, "a.txt"), (of_table, "b.parquet")):
        assert str(full_disk(caught.value)).startswith(f"Cannot write {tmp_path / name}: File too large. Next: free")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("Can't write data (file write failed: errno = 28, error message = '...')"), "Cannot write: No space"),
        (sqlite3.OperationalError("database or disk is full"), "Cannot write: No space"),
        (FileNotFoundError(errno.ENOENT, "no such file"), None),
        (ValueError("28 rows"), None),
        (sqlite3.OperationalError("database is locked"), None),
    ],
)
def test_only_a_full_disk_is_a_full_disk(error, said) -> None:
    found = full_disk(error)
    assert (found is None) if said is None else str(found).startswith(said)
