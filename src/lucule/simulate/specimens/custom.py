"""Specimens of one's own: a table of epitopes, a Python function, a density image."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from pydantic import Field

from lucule.core import ColumnError, InputError
from lucule.simulate.specimens.base import Drawn, FieldSpecimen, FloatArray, Positive, Space, truth_table

_NORMAL = ("nx", "ny", "nz")


class FromTable(FieldSpecimen):
    """Epitopes from a CSV file with the columns x, y and, where known, z, structure, part, nx, ny, nz.

    Attributes
    ----------
    file
        The CSV file.
    scale_nm
        Length of one unit of x, y, z in nm.
    """

    kind: Literal["table"]
    file: Path
    scale_nm: Positive = 1.0

    def fill(self, rng: np.random.Generator, space: Space) -> Drawn:  # noqa: ARG002
        """Read the epitopes; positions are those of the file.

        Raises
        ------
        InputError
            The file cannot be read; columns are missing or hold values that are not finite numbers.
        """
        try:
            table = pl.read_csv(self.file)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise InputError(f"Cannot read epitopes from {self.file}", received=" ".join(str(error).split())) from None
        return _from_frame(table, self.scale_nm, str(self.file))


class FromFunction(FieldSpecimen):
    """Epitopes from a Python function.

    Attributes
    ----------
    function
        `package.module:function`. It is called as `function(rng, space, **parameters)` with a numpy Generator and the
        `Space` to fill, and returns positions `(n, 3)` or `(n, 2)` in nm, or a polars table with the columns of
        `FromTable`.
    parameters
        Passed on as keywords.
    """

    kind: Literal["function"]
    function: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")]
    parameters: dict[str, Any] = {}

    def fill(self, rng: np.random.Generator, space: Space) -> Drawn:
        """Call the function."""
        result = self._found()(rng, space, **self.parameters)
        if isinstance(result, pl.DataFrame):
            return _from_frame(result, 1.0, self.function)
        points = np.asarray(result, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] not in (2, 3):
            raise InputError(
                f"{self.function} must return positions",
                received=f"an array of shape {points.shape}",
                allowed="(n, 2) or (n, 3), nm, or a polars table",
            )
        return _from_frame(pl.DataFrame(points, schema=list("xyz"[: points.shape[1]])), 1.0, self.function)

    def _found(self) -> Callable[..., Any]:
        module, name = self.function.split(":")
        try:
            function: Callable[..., Any] = getattr(importlib.import_module(module), name)
            return function
        except (ImportError, AttributeError) as error:
            raise InputError(
                "There is no such function", received=self.function, next_step=f"check the import path: {error}"
            ) from None


class FromImage(FieldSpecimen):
    """Epitopes drawn from a density image (TIFF or NPY): each pixel gets its share, spread evenly over it.

    Attributes
    ----------
    file
        The image, `(rows, columns)` or, for a volume, `(planes, rows, columns)` from the lowest to the highest plane.
    pixel_size_nm
        Size of its pixels, nm. The image is centred in the field.
    epitopes
        Mean number of epitopes (Poisson).
    plane_distance_nm
        Distance between the planes of a volume, nm.
    """

    kind: Literal["image"]
    file: Path
    pixel_size_nm: Positive
    epitopes: Annotated[int, Field(ge=1)]
    plane_distance_nm: Positive = 100.0

    def fill(self, rng: np.random.Generator, space: Space) -> Drawn:
        """Draw the epitopes.

        Raises
        ------
        InputError
            The file is no image, or its values are negative, not finite, or all 0.
        """
        density = self._density()
        n = int(rng.poisson(self.epitopes))
        cumulative = density.ravel().cumsum()
        pixel = np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right")
        plane, row, column = np.unravel_index(np.minimum(pixel, density.size - 1), density.shape)
        within = rng.random((n, 3))
        x0, y0, x1, y1 = space.outline.bounds_nm
        planes, rows, columns = density.shape
        x = (x0 + x1) / 2 + (column + within[:, 0] - columns / 2) * self.pixel_size_nm
        y = (y0 + y1) / 2 + (row + within[:, 1] - rows / 2) * self.pixel_size_nm
        middle = sum(space.z_nm) / 2
        if planes == 1:
            z = rng.uniform(*space.z_nm, n)
        else:
            z = middle + (plane + within[:, 2] - planes / 2) * self.plane_distance_nm
        return Drawn(np.column_stack([x, y, z]), np.full(n, -1, np.int32), truth_table(0))

    def _density(self) -> FloatArray:
        import tifffile

        try:
            raw = np.load(self.file) if self.file.suffix == ".npy" else tifffile.imread(self.file)
        except (OSError, ValueError, tifffile.TiffFileError) as error:
            raise InputError(
                f"Cannot read a density image from {self.file}", received=str(error), allowed="TIFF or NPY"
            ) from None
        density = np.asarray(raw, dtype=np.float64)
        if density.ndim not in (2, 3):
            raise InputError(
                f"{self.file} is no density image",
                received=f"shape {density.shape}",
                allowed="(rows, columns) or (planes, rows, columns)",
            )
        if not np.isfinite(density).all() or (density < 0).any() or density.sum() == 0:
            raise InputError(
                f"{self.file} is no density image",
                received="negative, infinite, NaN or only 0 values",
                allowed="finite values from 0, not all 0",
            )
        return density.reshape((-1, *density.shape[-2:]))


def _from_frame(table: pl.DataFrame, scale_nm: float, source: str) -> Drawn:
    missing = [name for name in "xy" if name not in table.columns]
    if missing:
        raise ColumnError(
            f"Epitopes from {source} have no column {' and no column '.join(missing)}",
            received=f"columns {', '.join(table.columns) or '(none)'}",
            allowed="x, y and, where known, z, structure, part, nx, ny, nz",
        )
    used = [name for name in ("x", "y", "z", "structure", "part", *_NORMAL) if name in table.columns]
    wrong = [
        name
        for name in used
        if not table[name].dtype.is_numeric()
        or not bool(table[name].cast(pl.Float64).is_finite().fill_null(False).all())
    ]
    if wrong:
        raise ColumnError(f"Epitopes from {source}: {', '.join(wrong)} must hold finite numbers in every row")
    if "z" not in used:
        table = table.with_columns(z=pl.lit(0.0))
    xyz = table.select(pl.col("x", "y", "z").cast(pl.Float64)).to_numpy() * scale_nm
    normal = table.select(_NORMAL).to_numpy().astype(np.float64) if set(_NORMAL) <= set(used) else None
    if "structure" in used:
        ids, owner = np.unique(table["structure"].to_numpy(), return_inverse=True)
        real = ids >= 0
        owner = np.where(real, np.cumsum(real) - 1, -1)[owner]
        n = int(real.sum())
        # one of the counts is 0 where rows of no structure were left out
        size = np.bincount(owner[owner >= 0], minlength=n)
        centres = np.column_stack(
            [np.bincount(owner[owner >= 0], xyz[owner >= 0, axis], minlength=n) / size for axis in range(3)]
        )
        truth = truth_table(n, x=centres[:, 0], y=centres[:, 1], z=centres[:, 2], source_structure=ids[real])
    else:
        owner, truth = np.full(len(xyz), -1), truth_table(0)
    part = table["part"].cast(pl.Int32).to_numpy() if "part" in used else None
    return Drawn(xyz, owner.astype(np.int32), truth, normal, part)
