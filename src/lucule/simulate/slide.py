"""A whole slide: many cells, each drawn only when something looks at it."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, Self

import numpy as np
import polars as pl
from pydantic import Field, field_validator, model_validator

from lucule.core import Config, InputError
from lucule.simulate.chain import Epitopes, stack
from lucule.simulate.placement import does_not_fit, place_at_random
from lucule.simulate.sample import Sample, draw_sample, field_shapes
from lucule.simulate.scene import Scene, load_scene
from lucule.simulate.specimens.base import Outline, Rectangle
from lucule.simulate.streams import key, stream

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class CellKind(Config):
    """One kind of cell on a slide.

    Attributes
    ----------
    scene
        What lies in the field around each cell: a scene or the name of a packaged one.
    density_per_mm2
        Cells for a mm2.
    """

    scene: Scene
    density_per_mm2: NotNegative

    @field_validator("scene", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return load_scene(value) if isinstance(value, str) else value


class Slide(Config):
    """A slide with cells scattered over it; its corner is the origin.

    Where cells lie follows from the seed at once; what is in a cell is drawn from the seed and the number of the cell
    when it is asked for, in any order.

    Attributes
    ----------
    size_um
        Width and height, um.
    cells
        Kinds of cells by name.
    gap_um
        Smallest distance between cells, um.

    Examples
    --------
    >>> slide = Slide(size_um=(500, 500), cells={"fibroblast": {"scene": "cell", "density_per_mm2": 80}})
    >>> len(slide.overview(seed=1))
    20
    """

    size_um: tuple[Positive, Positive]
    cells: dict[str, CellKind]
    gap_um: NotNegative = 2.0

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.cells:
            raise ValueError("at least one kind of cell")
        return self

    def overview(self, *, seed: int) -> pl.DataFrame:
        """All cells: `cell` (id), `kind`, x_um, y_um (middle) and radius_um.

        Raises
        ------
        InputError
            The cells do not fit on the slide.
        """
        return _overview(self.model_dump_json(), seed)

    def visible(self, bounds_um: tuple[float, float, float, float], *, seed: int) -> pl.DataFrame:
        """Those cells of the overview that reach into a window (x_min, y_min, x_max, y_max)."""
        x0, y0, x1, y1 = bounds_um
        r = pl.col("radius_um")
        return self.overview(seed=seed).filter(
            (pl.col("x_um") + r > x0)
            & (pl.col("x_um") - r < x1)
            & (pl.col("y_um") + r > y0)
            & (pl.col("y_um") - r < y1)
        )

    def shapes(self, cell: int, *, seed: int) -> dict[str, Outline]:
        """Outlines of a cell in the frame of its own field, without drawing what is in it (for wide-field images)."""
        return field_shapes(self._kind(cell, seed).scene.field, seed=self._cell_seed(cell, seed))

    def corner_nm(self, cell: int, *, seed: int) -> tuple[float, float]:
        """Where the corner of a cell's field lies on the slide, nm."""
        row = self.overview(seed=seed).row(cell, named=True)
        width, height = self._kind(cell, seed).scene.field.size_um
        return (row["x_um"] - width / 2) * 1000, (row["y_um"] - height / 2) * 1000

    def sample(self, cell: int, *, seed: int) -> Sample:
        """Everything in a cell, in the frame of its own field; add `corner_nm` for positions on the slide."""
        return draw_sample(self._kind(cell, seed).scene, seed=self._cell_seed(cell, seed))

    def epitopes(self, bounds_um: tuple[float, float, float, float], *, seed: int) -> Epitopes:
        """Epitopes in a window, positions on the slide, with the column `cell`."""
        x0, y0, x1, y1 = (1000 * edge for edge in bounds_um)
        found = []
        for cell in self.visible(bounds_um, seed=seed)["cell"]:
            x, y = self.corner_nm(cell, seed=seed)
            data = self.sample(cell, seed=seed).epitopes.data.with_columns(
                pl.col("x") + x, pl.col("y") + y, pl.lit(cell, dtype=pl.Int32).alias("cell")
            )
            inside = pl.col("x").is_between(x0, x1, closed="left") & pl.col("y").is_between(y0, y1, closed="left")
            found.append(Epitopes(data.filter(inside)))
        return Epitopes(stack(found)) if found else Epitopes.empty()

    def _kind(self, cell: int, seed: int) -> CellKind:
        table = self.overview(seed=seed)
        if not 0 <= cell < len(table):
            raise InputError("There is no such cell", received=cell, allowed=f"0 to {len(table) - 1}")
        return self.cells[table["kind"][cell]]

    def _cell_seed(self, cell: int, seed: int) -> int:
        return int(key(seed, "cell", cell))


@lru_cache(maxsize=8)
def _overview(settings: str, seed: int) -> pl.DataFrame:
    slide = Slide.model_validate_json(settings)
    width, height = slide.size_um
    kinds = list(slide.cells)
    counts = [round(kind.density_per_mm2 * width * height / 1e6) for kind in slide.cells.values()]
    kind = np.repeat(np.arange(len(kinds)), counts)
    reach = np.array([_reach_um(slide.cells[name].scene) for name in kinds])[kind]
    rng = stream(seed, "slide")
    order = rng.permutation(len(kind))
    kind, reach = kind[order], reach[order]
    n = len(kind)
    places = np.empty((0, 2))
    if n:
        circles = np.column_stack([np.arange(n), np.zeros((n, 2)), reach * 1000])
        area = Rectangle((0.0, 0.0), (width * 1000, height * 1000))
        places, _, placed = place_at_random(rng, area, circles, n, gap_nm=slide.gap_um * 1000, turn=False)
        if placed < n:
            raise does_not_fit(n, placed, width * height, circles)
    return pl.DataFrame(
        {
            "cell": np.arange(n, dtype=np.int32),
            "kind": [kinds[i] for i in kind],
            "x_um": places[:, 0] / 1000,
            "y_um": places[:, 1] / 1000,
            "radius_um": reach,
        },
        schema_overrides={"kind": pl.String},
    )


def _reach_um(scene: Scene) -> float:
    """Largest distance of a cell's outline from its middle; fields without a cell reach to their corners."""
    if scene.field.outline == "cell":
        return scene.field.cell_radius_um[1]
    return float(np.hypot(*scene.field.size_um)) / 2
