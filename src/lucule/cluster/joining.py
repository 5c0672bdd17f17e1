"""Clusters of several tables as one."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from lucule.cluster.result import Clusters
from lucule.core import InputError


def concat(parts: Sequence[Clusters]) -> Clusters:
    """Clusters of several tables (fields of one cell, cells of one condition) as one; every field stays one of its own.

    Outlines are left out, and metadata are those of the first.

    Raises
    ------
    InputError
        There are none, or clusters in 2D and 3D are mixed.

    Examples
    --------
    >>> from lucule.cluster import measure
    >>> from lucule.core import Localizations
    >>> one = measure(Localizations({"x": [0.0, 9.0, 0.0], "y": [0.0, 0.0, 9.0], "cluster": [0, 0, 0]}))
    >>> both = concat([one, one])
    >>> len(both), both.summary()["points"], both.table()["field"].to_list()
    (2, 6, [0, 1])
    """
    if not parts:
        raise InputError("There are no clusters to join")
    if len({"z" in part.data.columns for part in parts if len(part)}) > 1:
        raise InputError("Clusters in 2D and in 3D cannot be joined")
    data, fields, used = [], [], 0
    for part in parts:
        own = part.fields if "field" in part.fields.columns else part.fields.with_columns(field=pl.lit(0, pl.UInt16))
        numbered = part.data if "field" in part.data.columns else part.data.with_columns(field=pl.lit(0, pl.UInt16))
        data.append(numbered.with_columns((pl.col("field").cast(pl.Int64) + used).alias("field")))
        fields.append(own.with_columns((pl.col("field").cast(pl.Int64) + used).alias("field")))
        used += int(own["field"].max()) + 1
    joined = pl.concat(data, how="diagonal_relaxed"), pl.concat(fields, how="diagonal_relaxed")
    return Clusters(*joined, None, parts[0].meta)
