"""Opening HDF5 files so that a damaged one gives one clear message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lucule.core import FormatError, InputError


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open `path` for reading as an `h5py.File`.

    Raises
    ------
    InputError
        The file is missing or must not be read.
    FormatError
        The file is no HDF5 file, is cut off, or turns out to be damaged while it is read.
    """
    import h5py

    try:
        # locking that the file system does not offer (network drives) is no reason to refuse the file
        file = h5py.File(path, "r", locking="best-effort")
    except (PermissionError, FileNotFoundError, IsADirectoryError) as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except OSError as error:
        raise _damaged(path, error) from None
    with file:
        try:
            yield file
        except (OSError, RuntimeError) as error:
            raise _damaged(path, error) from None


def text(value: Any) -> str:
    """A string attribute or scalar, whether the file holds bytes or text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _damaged(path: Path, error: Exception) -> FormatError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    cut_off = "truncated" in reason
    return FormatError(
        f"{path} is {'incomplete' if cut_off else 'damaged'}: HDF5 cannot read it",
        received=f"{path.stat().st_size:,} bytes; {reason}",
        next_step="copy the file again, or wait until the program that writes it has finished",
    )
