"""What is done already: one SQLite file beside the results.

A piece of work is known by its name and a fingerprint of everything that decides its outcome (input, resolved settings,
model, version). It counts as done while its outputs still have the content that was recorded.

The journal is SQLite's ordinary one: a write-ahead log is refused at once ("database is locked") to a process that asks
for it while another does, and cannot be shared over a network folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from lucule.core.errors import InputError, WorkError
from lucule.core.files import file_sha256


def fingerprint(*parts: Any) -> str:
    """Hash of JSON-able values, 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


class Ledger:
    """Record of finished work in `folder`; several processes may write to it.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> ledger = Ledger(folder)
    >>> ledger.is_done("copy", "f1")
    False
    >>> _ = (folder / "a.txt").write_text("result")
    >>> ledger.record("copy", "f1", [folder / "a.txt"])
    >>> ledger.is_done("copy", "f1"), ledger.is_done("copy", "f2")
    (True, False)
    >>> _ = (folder / "a.txt").write_text("changed by hand")
    >>> ledger.is_done("copy", "f1")
    False
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)
        self._path = self._folder / ".lucule.sqlite"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"Cannot write to {self._folder}: {error.strerror}", received=self._folder) from None
        with self._connected() as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS done (work TEXT PRIMARY KEY, fingerprint TEXT, outputs TEXT)"
            )

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path, timeout=60)) as connection, connection:
                yield connection
        except sqlite3.Error as error:
            damaged = not isinstance(error, sqlite3.OperationalError)
            raise WorkError(
                f"Cannot keep the record of finished work: {error}", received=self._path,
                next_step="remove the damaged file: all work of this folder is then done again" if damaged else None,
            ) from None  # fmt: skip

    def is_done(self, work: str, fingerprint: str) -> bool:
        """Whether `work` was finished with this fingerprint and its outputs are unchanged."""
        with self._connected() as connection:
            row = connection.execute("SELECT fingerprint, outputs FROM done WHERE work = ?", (work,)).fetchone()
        if row is None or row[0] != fingerprint:
            return False
        outputs: dict[str, str] = json.loads(row[1])
        paths = {self._folder / name: digest for name, digest in outputs.items()}
        return all(path.is_file() for path in paths) and all(file_sha256(p) == digest for p, digest in paths.items())

    def record(self, work: str, fingerprint: str, outputs: Iterable[Path]) -> None:
        """Note that `work` is finished; `outputs` lie inside the folder of the ledger."""
        digests = {str(path.relative_to(self._folder)): file_sha256(path) for path in outputs}
        with self._connected() as connection:
            connection.execute("INSERT OR REPLACE INTO done VALUES (?, ?, ?)", (work, fingerprint, json.dumps(digests)))
