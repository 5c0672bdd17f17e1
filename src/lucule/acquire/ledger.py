"""What was planned and what became of it: one SQLite file in the folder of a run, written at once and for good.

`lucule.core.ledger` says whether a piece of work with outputs is done. A run at a microscope knows more: tiles,
objects, fields and bursts with their states, the reasons of every decision, and what must stay as it was to go on.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

import polars as pl

from lucule.core import InputError, WorkError

NAME: Final = "ledger.sqlite"
TABLES: Final[dict[str, dict[str, str]]] = {
    "tile": {
        "id": "INTEGER", "region": "TEXT", "channel": "TEXT", "x_um": "REAL", "y_um": "REAL", "z_um": "REAL",
        "state": "TEXT", "path": "TEXT", "reason": "TEXT",
    },
    "object": {
        "id": "INTEGER", "region": "TEXT", "class": "TEXT", "x_um": "REAL", "y_um": "REAL", "area_um2": "REAL",
        "confidence": "REAL", "outline": "TEXT", "state": "TEXT", "reason": "TEXT",
    },
    "field": {
        "id": "INTEGER", "region": "TEXT", "class": "TEXT", "x_um": "REAL", "y_um": "REAL", "z_um": "REAL",
        "objects": "TEXT", "position": "INTEGER", "state": "TEXT", "reason": "TEXT", "dose_mj_per_um2": "REAL",
        "group": "INTEGER", "at_x_um": "REAL", "at_y_um": "REAL",
    },
    "burst": {
        "id": "INTEGER", "field": "INTEGER", "colour": "INTEGER", "number": "INTEGER", "frames": "INTEGER",
        "state": "TEXT", "path": "TEXT", "localizations": "INTEGER", "density_per_um2": "REAL", "sigma_nm": "REAL",
        "activation_mw": "REAL", "next_activation_mw": "REAL", "frc_nm": "REAL", "decision": "TEXT", "reason": "TEXT",
        "drift_x_nm": "REAL", "drift_y_nm": "REAL", "drift_error_nm": "REAL",
    },
    "joined": {
        "id": "INTEGER", "region": "TEXT", "class": "TEXT", "objects": "TEXT", "fields": "TEXT", "missing": "TEXT",
        "colour": "INTEGER", "state": "TEXT", "path": "TEXT", "localizations": "INTEGER", "twice": "INTEGER",
        "overlaps": "TEXT", "corrections": "TEXT", "residual_nm": "REAL", "drift": "TEXT", "reason": "TEXT",
    },
}  # fmt: skip
_EVENT: Final = {"time": "REAL", "kind": "TEXT", "subject": "TEXT", "message": "TEXT"}


class RunLedger:
    """The record of one run; see `TABLES` for what it holds.

    Parameters
    ----------
    folder
        Folder of the run.

    Raises
    ------
    InputError
        The run was made by an older version, or there can be no such folder.
    WorkError
        The file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with RunLedger(tempfile.mkdtemp()) as ledger:
    ...     ledger.put("tile", 0, region="area", channel="cell", x_um=1.0, y_um=2.0, state="planned")
    ...     ledger.put("tile", 0, state="done", path="tiles/0.tif")
    ...     ledger.rows("tile")["state"].to_list()
    ['done']
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self.folder / NAME, timeout=60)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            with self._connection:
                self._connection.execute("CREATE TABLE IF NOT EXISTS run (key TEXT PRIMARY KEY, value TEXT)")
                listed = ", ".join(f'"{column}" {kind}' for column, kind in _EVENT.items())
                self._connection.execute(f"CREATE TABLE IF NOT EXISTS event ({listed})")
                for name, columns in TABLES.items():
                    listed = ", ".join(f'"{column}" {kind}' for column, kind in columns.items())
                    self._connection.execute(f'CREATE TABLE IF NOT EXISTS "{name}" ({listed}, PRIMARY KEY ("id"))')
        except OSError as error:
            raise InputError(f"The run cannot be written there: {error.strerror}", received=self.folder,
                             next_step="name another folder with --out") from None  # fmt: skip
        except sqlite3.Error as error:
            raise WorkError(f"Cannot keep the record of the run: {error}", received=self.folder) from None
        self._depth = 0
        for name, columns in TABLES.items():
            known = {row[1] for row in self._connection.execute(f'PRAGMA table_info("{name}")')}
            if missing := [column for column in columns if column not in known]:
                self.close()
                raise InputError(
                    "The run was made by an older version, which kept less",
                    received=f"a record without {', '.join(missing)}",
                    next_step="read it with that version, or begin a new run",
                )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @contextmanager
    def together(self) -> Iterator[None]:
        """All that is written in the block is written at once, or not at all.

        Raises
        ------
        WorkError
            It cannot be written.
        """
        self._depth += 1
        try:
            yield
            if self._depth == 1:
                self._connection.commit()
        except sqlite3.Error as error:
            self._connection.rollback()
            raise WorkError(
                f"The record of the run cannot be written: {error}",
                received=self.folder / NAME,
                next_step="make room, then go on with the run",
            ) from None
        except BaseException:
            self._connection.rollback()
            raise
        finally:
            self._depth -= 1

    def put(self, table: str, number: int, /, **values: Any) -> None:
        """Make a row, or change some of its values."""
        columns = {"id": number, **values}
        names = ", ".join(f'"{name}"' for name in columns)
        marks = ", ".join("?" for _ in columns)
        changes = ", ".join(f'"{name}" = excluded."{name}"' for name in values)
        text = f'INSERT INTO "{table}" ({names}) VALUES ({marks}) ON CONFLICT ("id") DO UPDATE SET {changes}'  # noqa: S608 (names are ours)
        with self.together():
            self._connection.execute(text, tuple(columns.values()))

    def rows(self, table: str, **equal: Any) -> pl.DataFrame:
        """Rows of a table in the order of their ids, those where all given columns have these values."""
        columns = _EVENT if table == "event" else TABLES[table]
        condition = " AND ".join(f'"{name}" = ?' for name in equal)
        names = ", ".join(f'"{name}"' for name in columns)
        text = f'SELECT {names} FROM "{table}"'  # noqa: S608 (names are ours)
        text += f" WHERE {condition}" if equal else ""
        text += " ORDER BY rowid" if table == "event" else ' ORDER BY "id"'
        kinds = {"INTEGER": pl.Int64, "REAL": pl.Float64, "TEXT": pl.String}
        found = self._connection.execute(text, tuple(equal.values())).fetchall()
        return pl.DataFrame(found, schema={name: kinds[kind] for name, kind in columns.items()}, orient="row")

    def note(self, kind: str, subject: str, message: str) -> None:
        """Record an event: a fault, a retry, a decision."""
        with self.together():
            self._connection.execute("INSERT INTO event VALUES (?, ?, ?, ?)", (time.time(), kind, subject, message))

    def keep(self, key: str, value: Any) -> None:
        """Record something about the whole run."""
        with self.together():
            self._connection.execute("INSERT OR REPLACE INTO run VALUES (?, ?)", (key, json.dumps(value)))

    def kept(self, key: str) -> Any:
        """What was recorded with `keep`; None: nothing."""
        row = self._connection.execute("SELECT value FROM run WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def agree(self, fingerprints: Mapping[str, str]) -> None:
        """Refuse to go on with a run when what it depends on has changed, or when its record is lost.

        Parameters
        ----------
        fingerprints
            Name of a thing (configuration, calibration, model, ...) -> its fingerprint.

        Raises
        ------
        InputError
            The run was begun with another one, or nothing is recorded of it.
        """
        begun = self.kept("fingerprints")
        if begun is None:
            # to begin anew in silence would expose the sample once more
            raise InputError(
                "The record of the run is lost, and with it what is finished",
                received=f"no {NAME} of this run in {self.folder}",
                next_step="put it back, or begin a new run in another folder",
            )
        changed = sorted(name for name in {*begun, *fingerprints} if begun.get(name) != fingerprints.get(name))
        if changed:
            raise InputError(
                "The run cannot go on: something it depends on has changed",
                received=", ".join(changed),
                allowed="what the run was begun with",
                next_step="put it back as it was, or begin a new run in another folder",
            )
