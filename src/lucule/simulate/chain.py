"""The chain of truth: structure, epitope, molecule, event, emitter; each level a table with ids of the one below.

The id of a row is its number, counted from 0. All positions are nm (x to the right, y downwards, from the outer corner
of pixel (0, 0); z upwards, 0 = focus), all times are s from the start of the acquisition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.core import ColumnError

_POSITION = {"x": pl.Float64, "y": pl.Float64, "z": pl.Float64}


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """One level of the chain: a table with fixed columns; more columns may follow.

    Raises
    ------
    ColumnError
        A column is missing or cannot be brought to its type.
    """

    data: pl.DataFrame
    required: ClassVar[dict[str, Any]] = {}
    defaults: ClassVar[dict[str, tuple[Any, int]]] = {}

    def __post_init__(self) -> None:
        missing = [name for name in self.required if name not in self.data.columns]
        if missing:
            raise ColumnError(
                f"{type(self).__name__} need the columns {', '.join(missing)}",
                received=f"columns {', '.join(self.data.columns) or '(none)'}",
                allowed=", ".join(self.required),
            )
        added = [
            pl.lit(value, dtype=dtype).alias(name)
            for name, (dtype, value) in self.defaults.items()
            if name not in self.data.columns
        ]
        wanted = self.required | {name: dtype for name, (dtype, _) in self.defaults.items()}
        try:
            data = self.data.with_columns(added).with_columns(pl.col(name).cast(kind) for name, kind in wanted.items())
        except pl.exceptions.InvalidOperationError as error:
            raise ColumnError(f"{type(self).__name__} hold values of a wrong type: {error}") from None
        object.__setattr__(self, "data", data)

    def __len__(self) -> int:
        return self.data.height

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.data[name].to_numpy()

    @classmethod
    def empty(cls) -> Self:
        """A table without rows."""
        return cls(pl.DataFrame(schema=cls.required))


class Epitopes(Level):
    """Where a label can bind.

    Columns: x, y, z (nm), structure (-1 = none), label (class, 0 = background), layer of the scene, part of the
    structure (line of a double line, ring of an axon, site of an origami; -1 = none) and, where known, the unit normal
    nx, ny, nz of the surface on which the epitope sits.
    """

    required = {**_POSITION, "structure": pl.Int32, "label": pl.UInt8}
    defaults = {"layer": (pl.UInt8, 0), "part": (pl.Int32, -1)}

    def normals(self) -> NDArray[np.float64] | None:
        """Unit normals `(n, 3)`; None where the specimen gives none. Rows without one are NaN."""
        if "nx" not in self.data.columns:
            return None
        return self.data.select("nx", "ny", "nz").to_numpy()


class Dyes(Level):
    """Molecules that can emit.

    Columns: x, y, z (nm), epitope (-1 = bound unspecifically), structure (-1 = none), label (class), layer.
    """

    required = {**_POSITION, "epitope": pl.Int32, "structure": pl.Int32, "label": pl.UInt8}
    defaults = {"layer": (pl.UInt8, 0)}


class Events(Level):
    """ON periods of molecules, ordered by molecule and time.

    Columns: molecule, start_s, end_s, photons (detected photons of the whole period at reference illumination).
    """

    required = {"molecule": pl.Int32, "start_s": pl.Float64, "end_s": pl.Float64, "photons": pl.Float64}


class Emitters(Level):
    """What each camera frame collects from each event, ordered by frame, then by event.

    Columns: frame, x, y, z (nm), photons (expected detected photons in this frame), event, molecule.
    """

    required = {"frame": pl.UInt32, **_POSITION, "photons": pl.Float64, "event": pl.Int32, "molecule": pl.Int32}

    def frame_starts(self, frames: int) -> NDArray[np.int64]:
        """First row of every frame, and the number of rows at the end, `(frames + 1,)`."""
        return np.searchsorted(self["frame"], np.arange(frames + 1)).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Everything that is known about one simulated acquisition, except what optics and camera do.

    Attributes
    ----------
    structures
        One row per structure: id, layer, kind, label, centre and orientation, and the realised parameters of its kind.
    epitopes, dyes, events, emitters
        The levels of the chain.
    """

    structures: pl.DataFrame
    epitopes: Epitopes
    dyes: Dyes
    events: Events
    emitters: Emitters

    def __repr__(self) -> str:
        levels = ("structures", "epitopes", "dyes", "events", "emitters")
        return f"Truth({', '.join(f'{len(getattr(self, level)):,} {level}' for level in levels)})"

    def traced(self, emitters: Emitters | None = None) -> pl.DataFrame:
        """Emitters with the ids of all lower levels: molecule, epitope, structure, label, layer."""
        rows = (emitters or self.emitters).data
        dyes = self.dyes.data.select("epitope", "structure", "label", "layer")
        return pl.concat([rows, dyes[rows["molecule"]]], how="horizontal")


def stack(levels: Sequence[Level]) -> pl.DataFrame:
    """Rows of several tables of one level below each other; normals that only some have become NaN."""
    joined = pl.concat([level.data for level in levels], how="diagonal")
    return joined.with_columns(pl.col("nx", "ny", "nz").fill_null(np.nan)) if "nx" in joined.columns else joined
