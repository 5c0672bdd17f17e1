"""Files are complete or not there, and a full disk is named."""

from __future__ import annotations

import errno
import resource
import signal
from collections.abc import Iterator

import numpy as np
import pytest

from lucule.core import InputError, Localizations, WorkError
from lucule.core.files import atomic_path, write_text


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Files cannot grow beyond 1000 bytes, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)


def test_a_full_disk_is_named_and_leaves_nothing(full_disk, tmp_path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(WorkError, match=r"Cannot write .*a\.txt: File too large"):
        write_text(tmp_path / "a.txt", "x" * 5000)
    noise = np.random.default_rng(1).uniform(0, 1e4, (2, 5000))
    with pytest.raises(WorkError, match=r"Cannot write .*b\.parquet: File too large"):
        Localizations({"x": noise[0], "y": noise[1]}).save(tmp_path / "b.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_the_error_of_hdf5_is_understood(tmp_path) -> None:
    said = "Can't write data (file write failed: errno = 28, error message = 'No space left on device')"
    with pytest.raises(WorkError, match="No space left"), atomic_path(tmp_path / "a.h5"):
        raise OSError(said)


def test_other_errors_stay_what_they_are(tmp_path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.txt"):
        raise FileNotFoundError(errno.ENOENT, "no such file")
    with pytest.raises(ValueError, match="28"), atomic_path(tmp_path / "a.txt"):
        raise ValueError("28 rows")
    with pytest.raises(InputError, match="is a folder"), atomic_path(tmp_path):
        pass
    assert not list(tmp_path.iterdir())
