"""lucule's own file: one Parquet file (zstd) with the table and its metadata.

Two layouts. `input` keeps the order of the rows. `tiles` sorts them along a space-filling curve and adds a column
`row` with the original position, so that the row groups cover small areas and a region is read out of 10^8 rows by
touching only the few groups whose recorded limits meet it.
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
CURVE_CELL_NM: Final = 100.0


def write(data: pl.DataFrame, meta: Meta, path: str | os.PathLike[str], layout: Layout = "input") -> Path:
    """Write a table with its metadata to `path` (complete or not at all)."""
    if layout not in ROW_GROUP_ROWS:
        raise InputError("Unknown layout", received=layout, allowed="input, tiles")
    if layout == "tiles":
        order = np.argsort(curve_order(data["x"].to_numpy(), data["y"].to_numpy()), kind="stable")
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


def curve_order(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Position of each point along a Z-order curve over cells of `CURVE_CELL_NM`."""
    if not len(x):
        return np.empty(0, np.uint64)
    columns = ((x - x.min()) / CURVE_CELL_NM).astype(np.uint64)
    rows = ((y - y.min()) / CURVE_CELL_NM).astype(np.uint64)
    return _spread_bits(columns) | (_spread_bits(rows) << np.uint64(1))


def _spread_bits(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Put a zero between any two of the lower 32 bits."""
    for shift, mask in (
        (16, 0x0000FFFF0000FFFF),
        (8, 0x00FF00FF00FF00FF),
        (4, 0x0F0F0F0F0F0F0F0F),
        (2, 0x3333333333333333),
        (1, 0x5555555555555555),
    ):
        values = (values | (values << np.uint64(shift))) & np.uint64(mask)
    return values
