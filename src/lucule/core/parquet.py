"""lucule's own file: one Parquet file (zstd) with the table and its metadata.

Two layouts. `input` keeps the order of the rows. `tiles` sorts them into compact tiles and adds a column `row` with the
original position, so that a region is read out of 10^8 rows by touching only the few row groups whose recorded limits
meet it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import ValidationError

from lucule.core.errors import FormatError, InputError
from lucule.core.files import atomic_path
from lucule.core.meta import FORMAT_VERSION, Meta

Layout = Literal["input", "tiles"]

METADATA_KEY: Final = "lucule"
ROW_GROUP_ROWS: Final = {"input": 250_000, "tiles": 50_000}


def write(data: pl.DataFrame, meta: Meta, path: str | os.PathLike[str], layout: Layout = "input") -> Path:
    """Write a table with its metadata to `path` (complete or not at all)."""
    if layout not in ROW_GROUP_ROWS:
        raise InputError("Unknown layout", received=layout, allowed="input, tiles")
    if layout == "tiles":
        order = tile_order(data["x"].to_numpy(), data["y"].to_numpy(), ROW_GROUP_ROWS["tiles"])
        if "row" not in data.columns:
            data = data.with_columns(row=pl.int_range(pl.len(), dtype=pl.UInt32))
        data = data[order]
    with atomic_path(path) as temporary:
        data.write_parquet(
            temporary,
            compression="zstd",
            compression_level=3,
            statistics=True,
            row_group_size=ROW_GROUP_ROWS[layout],
            metadata={METADATA_KEY: meta.model_dump_json()},
        )
    return Path(path)


def read_meta(path: Path) -> Meta | None:
    """Metadata of a Parquet file; None when it was not written by lucule.

    Raises
    ------
    FormatError
        The file is not readable Parquet, or was written by a newer version of lucule.
    """
    try:
        text = pl.read_parquet_metadata(path).get(METADATA_KEY)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise FormatError(f"{path} is not a readable Parquet file: {str(error).splitlines()[0]}") from None
    if text is None:
        return None
    version = json.loads(text).get("format_version")
    if version != FORMAT_VERSION:
        raise FormatError(
            f"{path} was written by another version of lucule",
            received=f"format version {version}",
            allowed=f"format version {FORMAT_VERSION}",
            next_step="update lucule",
        )
    try:
        return Meta.model_validate_json(text)
    except ValidationError as error:
        raise FormatError(f"{path} holds damaged metadata: {error.errors()[0]['msg']}") from None


def tile_order(x: NDArray[np.float32], y: NDArray[np.float32], tile_rows: int) -> NDArray[np.int64]:
    """Order of rows in which each `tile_rows` consecutive ones cover a small, compact area.

    Sort-tile-recursive packing: strips of equal count along x, sorted along y within each. Tiles follow the density of
    the data and do not overlap, which a space-filling curve cannot promise.
    """
    order = np.argsort(x, kind="stable")
    strips = max(1, round(np.sqrt(len(x) / tile_rows)))
    strip_rows = tile_rows * int(np.ceil(len(x) / strips / tile_rows)) or 1
    for start in range(0, len(x), strip_rows):
        strip = order[start : start + strip_rows]
        order[start : start + strip_rows] = strip[np.argsort(y[strip], kind="stable")]
    return order
