"""Which quantities a table of clusters has."""

from __future__ import annotations

import polars as pl

from lucule.view.quantities import measured

PLANE = {"n_points": [5], "area_nm2": [100.0], "density_per_um2": [50.0]}
SPACE = {"n_points": [5], "volume_nm3": [1000.0], "surface_nm2": [500.0], "density_per_um3": [5e6]}


def test_each_quantity_is_told_once_and_in_its_own_dimensions() -> None:
    assert [q.column for q in measured(pl.DataFrame(PLANE))] == ["area_nm2", "area_nm2", "density_per_um2", "n_points"]
    assert [q.column for q in measured(pl.DataFrame(SPACE))] == [
        "volume_nm3",
        "volume_nm3",
        "surface_nm2",
        "density_per_um3",
        "n_points",
    ]
