"""DNA-origami grids of docking sites."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from lucule.simulate.specimens.base import Drawn, Fraction, NotNegative, ObjectSpecimen, round_objects, truth_table


class Origami(ObjectSpecimen):
    """A flat grid of docking sites; `part` is the number of the site, row by row.

    Attributes
    ----------
    rows, columns
        Size of the grid.
    spacing_nm
        Distance between neighbouring sites, nm.
    incorporation
        Probability that a site is there.
    jitter_nm
        Standard deviation per axis of each site's place, nm.
    """

    kind: Literal["origami"]
    rows: Annotated[int, Field(ge=1)] = 3
    columns: Annotated[int, Field(ge=1)] = 4
    spacing_nm: Annotated[float, Field(gt=0)] = 20.0
    incorporation: Fraction = 1.0
    jitter_nm: NotNegative = 0.0

    def objects(self, rng: np.random.Generator, n: int) -> Drawn:
        """Draw `n` origamis."""
        row, column = np.divmod(np.arange(self.rows * self.columns), self.columns)
        grid = np.column_stack([column - (self.columns - 1) / 2, row - (self.rows - 1) / 2, np.zeros(len(row))])
        xyz = np.tile(grid * self.spacing_nm, (n, 1))
        xyz += rng.normal(size=xyz.shape) * self.jitter_nm
        present = rng.random(len(xyz)) < self.incorporation
        owner = np.repeat(np.arange(n, dtype=np.int32), len(grid))
        sites = np.bincount(owner[present], minlength=n)
        reach = np.hypot(self.rows - 1, self.columns - 1) / 2 * self.spacing_nm + 4 * self.jitter_nm + 5
        normal = np.tile([0.0, 0.0, 1.0], (len(xyz), 1))
        part = np.tile(np.arange(len(grid), dtype=np.int32), n)
        truth = truth_table(n, spacing_nm=self.spacing_nm, sites=sites)
        return Drawn(xyz, owner, truth, normal, part, round_objects(np.full(n, reach))).kept(present)
