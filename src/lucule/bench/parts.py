"""Long benchmarks in parts: what is measured is kept, so that an interrupted run goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl

from lucule.core import SILENT, Progress
from lucule.core.files import atomic_path

Rows: TypeAlias = list[dict[str, Any]]


def in_parts(
    parts: Mapping[str, Callable[[], Rows]],
    *,
    schema: Mapping[str, Any],
    folder: Path | None = None,
    progress: Progress = SILENT,
) -> pl.DataFrame:
    """Measure all parts, one after the other.

    Parameters
    ----------
    parts
        What measures each; names are names of files.
    schema
        Columns of the table and their types.
    folder
        Where every part is written as soon as it is measured; what is there is not measured again.
    progress
        Is told of every part.
    """
    tables = []
    with progress.task("Benchmark", len(parts), "parts") as task:
        for name, measured in parts.items():
            path = None if folder is None else folder / f"{name}.parquet"
            if path is not None and path.exists():
                table = pl.read_parquet(path)
            else:
                table = pl.DataFrame(measured(), schema=dict(schema))
                if path is not None:
                    with atomic_path(path) as temporary:
                        table.write_parquet(temporary)
            tables.append(table)
            task.advance()
    return pl.concat(tables)
