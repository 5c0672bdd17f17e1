"""What is measured for each cluster, and medians with their quartiles."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lucule.view.annotate import number_text

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]

# quartiles of fewer values are made up between neighbours
FEWEST_FOR_QUARTILES: Final = 4


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and quartiles of `count` values; NaN where there are none.

    Examples
    --------
    >>> spread = Spread.of([1.0, 2.0, 3.0, 4.0, float("nan")])
    >>> spread.count, spread.median, spread.text("nm")
    (4, 2.5, '2.5 nm (IQR 1.75 to 3.25)')
    """

    count: int
    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: ArrayLike) -> Spread:
        """Of the finite ones among `values`."""
        known = finite(values)
        if not len(known):
            return cls(0, math.nan, math.nan, math.nan)
        low, median, high = (float(value) for value in np.percentile(known, (25, 50, 75)))
        return cls(len(known), median, low, high)

    def text(self, unit: str = "") -> str:
        """Median with unit and interquartile range."""
        if not self.count:
            return "no values"
        middle = f"{number_text(self.median)} {unit}".strip()
        if self.count < FEWEST_FOR_QUARTILES:
            return middle
        return f"{middle} (IQR {number_text(self.low)} to {number_text(self.high)})"


@dataclass(frozen=True, slots=True)
class Quantity:
    """Something measured for each cluster.

    Attributes
    ----------
    name, label, unit
        How it is called in code, in plots, and its unit.
    column
        Where it stands in the table of clusters; a table without it does not have the quantity.
    card, short_unit
        How it is called in the small space of a card; without a name it has none.
    derived
        How it follows from the column; None: it is the column.
    """

    name: str
    label: str
    unit: str
    column: str
    card: str = ""
    short_unit: str = ""
    derived: Callable[[Floats], Floats] | None = None


def _diameter_of_disc(area: Floats) -> Floats:
    return np.asarray(2 * np.sqrt(area / np.pi), np.float64)


def _diameter_of_ball(volume: Floats) -> Floats:
    return np.asarray(np.cbrt(6 * volume / np.pi), np.float64)


_SIZE: Final = "Size (equivalent diameter)"
_PER_UM2, _PER_UM3 = "localizations/µm²", "localizations/µm³"
CLUSTER_QUANTITIES: Final = (
    Quantity("size", _SIZE, "nm", "area_nm2", "Cluster diameter", "nm", _diameter_of_disc),
    Quantity("size", _SIZE, "nm", "volume_nm3", "Cluster diameter", "nm", _diameter_of_ball),
    Quantity("area", "Area", "nm²", "area_nm2", "Cluster area", "nm²"),
    Quantity("volume", "Volume", "nm³", "volume_nm3", "Cluster volume", "nm³"),
    Quantity("surface", "Surface", "nm²", "surface_nm2"),
    Quantity("density", "Density", _PER_UM2, "density_per_um2", "Density in clusters", "per µm²"),
    Quantity("density", "Density", _PER_UM3, "density_per_um3", "Density in clusters", "per µm³"),
    Quantity("counts", "Localizations per cluster", "", "n_points", "Localizations per cluster"),
    Quantity("elongation", "Elongation (eccentricity)", "0 = round, 1 = a line", "eccentricity"),
)


def measured(table: pl.DataFrame) -> tuple[Quantity, ...]:
    """Those quantities that a table of clusters has: areas in 2D, volumes in 3D."""
    return tuple(quantity for quantity in CLUSTER_QUANTITIES if quantity.column in table.columns)


def cluster_values(table: pl.DataFrame, quantity: Quantity) -> Floats:
    """Values of a quantity, one per cluster; NaN where a cluster has none.

    Examples
    --------
    >>> import polars as pl
    >>> table = pl.DataFrame({"area_nm2": [7853.98]})
    >>> [(q.name, round(float(cluster_values(table, q)[0]))) for q in measured(table)]
    [('size', 100), ('area', 7854)]
    """
    values = np.asarray(table[quantity.column].cast(float).to_numpy(), np.float64)
    return values if quantity.derived is None else quantity.derived(values)


def finite(values: ArrayLike) -> Floats:
    """The finite ones among `values`."""
    numbers = np.asarray(values, np.float64).reshape(-1)
    return numbers[np.isfinite(numbers)]


CELL_QUANTITIES: Final = {
    "clusters_per_um2": ("Clusters per µm²", "clusters/µm²"),
    "percent_clustered": ("Localizations in clusters", "%"),
    "points_per_cluster": ("Localizations per cluster", "localizations"),
    "cluster_area_nm2": ("Cluster area", "nm²"),
    "cluster_density_per_um2": ("Density in clusters", _PER_UM2),
    "cluster_volume_nm3": ("Cluster volume", "nm³"),
    "cluster_surface_nm2": ("Cluster surface", "nm²"),
    "cluster_density_per_um3": ("Density in clusters", _PER_UM3),
    "radius_of_gyration_nm": ("Radius of gyration", "nm"),
    "eccentricity": ("Eccentricity", "0 = round, 1 = a line"),
    "nearest_neighbour_nm": ("Spacing of localizations in clusters", "nm"),
    "nearest_cluster_nm": ("Distance to the nearest cluster (centres)", "nm"),
    "nearest_edge_nm": ("Distance to the nearest cluster (edges)", "nm"),
}
"""Label and unit of what is measured for each cell (keys of `Clusters.summary()`); medians over its clusters."""
