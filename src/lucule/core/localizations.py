"""The central type: an immutable table of localizations with its metadata."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.core import expressions, parquet
from lucule.core.errors import ColumnError, FormatError, InputError
from lucule.core.meta import Meta
from lucule.core.provenance import step
from lucule.core.region import Region
from lucule.core.schema import COLUMNS, conform

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Localizations:
    """Localizations in nm, with metadata.

    Parameters
    ----------
    data
        One row per localization, as a polars table or a mapping of arrays. Columns named in
        `lucule.core.schema.COLUMNS` are cast to their type; others are kept. `x` and `y` are required and must be
        finite. Positions beyond 1 mm are stored relative to `meta.origin_nm`, which is moved accordingly.
    meta
        Camera, pixel size, origin, source and history.

    Raises
    ------
    ColumnError
        `x` or `y` is missing, or a column holds values that it must not hold.
    InputError
        `data` has no names of columns, or columns of several lengths.

    Examples
    --------
    >>> locs = Localizations({"x": [10.0, 20.0], "y": [5.0, 5.0], "photons": [900, 1200]})
    >>> len(locs)
    2
    >>> locs["x"]
    array([10., 20.], dtype=float32)
    >>> len(locs.filter("photons > 1000"))
    1
    """

    data: pl.DataFrame
    meta: Meta

    def __init__(self, data: pl.DataFrame | Mapping[str, Any], meta: Meta | None = None) -> None:
        frame = data if isinstance(data, pl.DataFrame) else _frame(data)
        frame, shift = conform(frame)
        meta = meta or Meta()
        if any(shift):
            origin = tuple(a + b for a, b in zip(meta.origin_nm, shift, strict=True))
            meta = meta.model_copy(update={"origin_nm": origin})
        object.__setattr__(self, "data", frame)
        object.__setattr__(self, "meta", meta)

    def __len__(self) -> int:
        return self.data.height

    def __getitem__(self, column: str) -> NDArray[Any]:
        """A column as a read-only numpy array, without a copy."""
        if column not in self.data.columns:
            raise ColumnError(f"The table has no column {column}", allowed=", ".join(self.data.columns))
        return self.data[column].to_numpy()

    def __contains__(self, column: str) -> bool:
        return column in self.data.columns

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return self.data.columns

    @property
    def is_3d(self) -> bool:
        """Whether the table has z positions that differ."""
        return "z" in self and len(self) > 0 and self.data["z"].min() != self.data["z"].max()

    def xy(self) -> NDArray[np.float32]:
        """Positions `(n, 2)` in nm, float32."""
        return np.column_stack([self["x"], self["y"]])

    def xyz(self) -> NDArray[np.float32]:
        """Positions `(n, 3)` in nm, float32; z is 0 where the table has none."""
        z = self["z"] if "z" in self else np.zeros(len(self), np.float32)
        return np.column_stack([self["x"], self["y"], z])

    @step
    def filter(self, condition: str | pl.Expr) -> Localizations:
        """Rows that fulfil `condition`, such as `"photons > 500 & x_err < 20"` or a polars expression."""
        expression = expressions.parse(condition, self.columns) if isinstance(condition, str) else condition
        return Localizations(self.data.filter(expression), self.meta)

    @step
    def crop(self, region: Region) -> Localizations:
        """Rows inside `region`."""
        return Localizations(self.data.filter(pl.Series(region.contains(self.xy()))), self.meta)

    @step
    def with_columns(self, **columns: Any) -> Localizations:
        """A table with columns added or replaced; each value is an array of length n."""
        series = []
        for name, values in columns.items():
            if len(values) != len(self):
                raise InputError(f"Column {name} has the wrong length", received=len(values), allowed=str(len(self)))
            series.append(pl.Series(name, values))
        return Localizations(self.data.with_columns(series), self.meta)

    @classmethod
    def concat(cls, tables: Sequence[Localizations]) -> Localizations:
        """All rows of `tables` below each other; columns that one table lacks are an error.

        Tables with different origins are moved to that of the first.
        """
        return concat(tables)

    def save(self, path: str | os.PathLike[str], *, layout: parquet.Layout = "input") -> Path:
        """Write to one Parquet file, metadata included.

        `layout="tiles"` sorts the rows so that `load(region=...)` reads only what it needs from very large files.
        """
        return parquet.write(self.data, self.meta, path, layout)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, region: Region | None = None, columns: Sequence[str] | None = None
    ) -> Localizations:
        """Read a file written by `save`; with `region`, only the rows inside it.

        Raises
        ------
        FormatError
            The file is damaged or not lucule's own; `lucule.read` reads those of other programs.
        """
        table = cls.lazy(path)
        if columns is not None:
            table = table.select(columns)
        return (table if region is None else table.crop(region)).collect()

    @classmethod
    def lazy(cls, path: str | os.PathLike[str]) -> LazyLocalizations:
        """Open a file written by `save` without reading its rows."""
        meta = parquet.read_meta(Path(path))
        if meta is None:
            raise FormatError(
                f"{path} was not written by lucule", next_step="read it with lucule.read or lucule convert"
            )
        return LazyLocalizations(pl.scan_parquet(Path(path)), meta)

    def to_pandas(self) -> pd.DataFrame:
        """The table as a pandas DataFrame (needs pandas and pyarrow)."""
        return self.data.to_pandas()

    def __repr__(self) -> str:
        size = ""
        if len(self):
            width, height = (float(np.ptp(self[axis])) / 1000 for axis in "xy")
            size = f", {width:.4g} x {height:.4g} um"
        known = [name for name in self.columns if name in COLUMNS]
        extra = len(self.columns) - len(known)
        more = f" and {extra} more" if extra else ""
        return f"Localizations({len(self):,}{size}; {', '.join(known)}{more})"


@dataclass(frozen=True, slots=True)
class LazyLocalizations:
    """A table on disk: filters and crops are planned, and only `collect` reads."""

    frame: pl.LazyFrame
    meta: Meta

    def __len__(self) -> int:
        return int(self.frame.select(pl.len()).collect().item())

    def filter(self, condition: str | pl.Expr) -> Self:
        """Keep rows that fulfil `condition`."""
        names = self.frame.collect_schema().names()
        expression = expressions.parse(condition, names) if isinstance(condition, str) else condition
        return type(self)(self.frame.filter(expression), self.meta)

    def crop(self, region: Region) -> Self:
        """Keep rows inside `region`; whole row groups outside its bounds are never read."""
        x_min, y_min, x_max, y_max = (pl.lit(value, pl.Float32) for value in region.bounds)
        x, y = pl.col("x"), pl.col("y")
        frame = self.frame.filter((x >= x_min) & (x < x_max) & (y >= y_min) & (y < y_max))
        if not region.is_rectangle:
            inside = pl.struct("x", "y").map_batches(
                lambda s: pl.Series(region.contains(s.struct.unnest().to_numpy())), return_dtype=pl.Boolean
            )
            frame = frame.filter(inside)
        return type(self)(frame, self.meta)

    def select(self, columns: Sequence[str]) -> Self:
        """Keep only some columns (x and y always)."""
        known = self.frame.collect_schema().names()
        if unknown := [name for name in columns if name not in known]:
            raise ColumnError("The file lacks columns", received=", ".join(unknown), allowed=", ".join(known))
        return type(self)(self.frame.select([n for n in known if n in {*columns, "x", "y"}]), self.meta)

    def collect(self) -> Localizations:
        """Read the planned rows into memory."""
        try:
            return Localizations(self.frame.collect(), self.meta)
        except pl.exceptions.PolarsError as error:
            raise FormatError(f"The file is damaged: {str(error).splitlines()[0]}") from None


@step
def concat(tables: Sequence[Localizations]) -> Localizations:
    """See `Localizations.concat`."""
    if not tables:
        raise InputError("There is no table to join")
    first = tables[0]
    frames = []
    for table in tables:
        if set(table.columns) != set(first.columns):
            raise ColumnError(
                "The tables have different columns", received=", ".join(table.columns), allowed=", ".join(first.columns)
            )
        shift = [a - b for a, b in zip(table.meta.origin_nm, first.meta.origin_nm, strict=True)]
        moved = [
            (pl.col(axis).cast(pl.Float64) + offset).cast(pl.Float32)
            for axis, offset in zip("xyz", shift, strict=True)
            if offset and axis in table
        ]
        frames.append(table.data.with_columns(moved).select(first.columns))
    return Localizations(pl.concat(frames), first.meta)


def _frame(data: Any) -> pl.DataFrame:
    try:
        return pl.DataFrame(dict(data))
    except pl.exceptions.ShapeError:
        lengths = ", ".join(f"{name} {len(values)}" for name, values in data.items())
        raise InputError("Columns must have one length", received=lengths) from None
    except (TypeError, ValueError):
        raise InputError(
            "A table needs the names of its columns",
            received=f"{type(data).__name__} of shape {np.asarray(data, dtype=object).shape}",
            allowed="a mapping of names to arrays, or a polars or pandas table",
            next_step='for positions (n, 2): Localizations({"x": xy[:, 0], "y": xy[:, 1]})',
        ) from None
