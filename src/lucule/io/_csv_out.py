"""What writers of CSV share: batches of rows, and positions in the coordinates of the file that was read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import polars as pl

from lucule.core import Localizations

BATCH_ROWS: Final = 1_000_000


def rows_per_batch(locs: Localizations) -> Iterator[tuple[int, pl.DataFrame]]:
    """The rows in batches, each with the number of its first row; one empty batch for an empty table."""
    for start in range(0, max(len(locs), 1), BATCH_ROWS):
        yield start, locs.data.slice(start, BATCH_ROWS)


def absolute(locs: Localizations, axis: str) -> pl.Expr:
    """Positions along an axis with the origin added: formats without an origin would lose it."""
    origin = locs.meta.origin_nm["xyz".index(axis)]
    return pl.col(axis).cast(pl.Float64) + origin if origin else pl.col(axis)
