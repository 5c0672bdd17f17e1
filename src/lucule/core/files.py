"""Nothing half-written: files appear under their final name only when they are complete."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lucule.core.errors import InputError, WorkError

# disk full, file larger than allowed, quota used up, device failed
_NO_MORE_DATA: Final = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EIO}
_SQLITE_FULL: Final = "database or disk is full"
_HIDDEN_NUMBER: Final = re.compile(r"(?:os error |errno = )(\d+)")


def with_ending(path: str | os.PathLike[str], allowed: Sequence[str], otherwise: str) -> Path:
    """Give the path; refuse a name under which something cannot be written, so that long work asks before it begins.

    Raises
    ------
    InputError
        It has none of the allowed endings, whether small or capital letters; `otherwise` says what is wrong.

    Examples
    --------
    >>> with_ending("map.PNG", [".png"], "Pictures are written as PNG").name
    'map.PNG'
    """
    target = Path(path)
    if target.suffix.lower() not in allowed:
        raise InputError(otherwise, received=target.name, allowed=f"a name ending in {', '.join(allowed)}")
    return target


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it to `path` when the block ends well, remove it otherwise.

    Raises
    ------
    InputError
        `path` is a folder, or its folder cannot be written to.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> target = pathlib.Path(tempfile.mkdtemp()) / "table.txt"
    >>> with atomic_path(target) as temporary:
    ...     _ = temporary.write_text("done")
    >>> target.read_text()
    'done'
    """
    target = Path(path)
    try:
        if target.is_dir():
            raise InputError("The output is a folder", received=target, allowed="the path of a file")
        target.parent.mkdir(parents=True, exist_ok=True)
        # the suffix is kept because several writers choose their format by it
        handle, name = tempfile.mkstemp(prefix=".writing-", suffix="".join(target.suffixes[-2:]), dir=target.parent)
    except OSError as error:
        raise InputError(f"Cannot write to {target.parent}: {error.strerror}", received=target) from error
    os.close(handle)
    temporary = Path(name)
    try:
        try:
            yield temporary
        except Exception as error:
            if _refused(error) is not None:
                error.add_note(f"Cannot write {target}")  # the system does not say which file
            raise
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def full_disk(error: BaseException) -> WorkError | None:
    """What to tell the user of an error because the system took no more data; None where it is another error."""
    refused = _refused(error)
    if refused is None:
        return None
    what = next(iter(getattr(error, "__notes__", [])), "Cannot write")
    return WorkError(f"{what}: {refused}", next_step="free some space, or name another place")


def _refused(error: BaseException) -> str | None:
    """What the system said when it took no more data, None where an error says something else.

    polars, HDF5 and SQLite hide the system's error in their text.
    """
    number, text = getattr(error, "errno", None), str(error)
    if number is None and (hidden := _HIDDEN_NUMBER.search(text)):
        number = int(hidden[1])
    elif _SQLITE_FULL in text:
        number = errno.ENOSPC
    return os.strerror(number) if number in _NO_MORE_DATA else None


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write `text` (UTF-8) to `path` at once."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content, as 64 hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
