"""The grid of clustering scenarios after CAML, and which of them are viable.

CAML (Williamson et al. 2020, Results and Supplementary Note 1) trained on the 'viable' ones of all combinations of
density, points per cluster, fraction clustered and radius, and counts 711. Its rules, taken as its text words them and
applied to its ranges, leave 555 of 5,280 combinations; which further ones it used is not published.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from importlib import resources
from typing import Final

import numpy as np
import polars as pl

from lucule.core import InputError
from lucule.simulate.scenario import Scenario

POINTS_PER_CLUSTER: Final = (5, 10, 20, 30, 40, 50, 60, 70, 80, 90)
RADIUS_NM: Final = (5, 10, 15, 25, 40, 50, 75, 100)
PERCENT_CLUSTERED: Final = (5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
DENSITY_PER_UM2: Final = (5, 10, 50, 100, 300, 500)

CLUSTERS_PER_UM2: Final = (1.0, 5.0)
DENSITY_RATIO: Final = (1.5, 100.0)

LATEST: Final = 1


@dataclass(frozen=True, slots=True)
class Viability:
    """What a scenario amounts to, and why it is not viable, if it is not.

    Attributes
    ----------
    clusters_per_um2
        Clusters per um2 of the outline.
    density_ratio
        Density inside clusters over density outside; infinite where nothing lies outside.
    clustered_fraction
        Fraction of the area (in 3D: of the volume) that clusters take up.
    problems
        Rules that are broken; empty for a viable scenario.
    """

    clusters_per_um2: float
    density_ratio: float
    clustered_fraction: float
    problems: tuple[str, ...]

    @property
    def viable(self) -> bool:
        """Whether no rule is broken."""
        return not self.problems


def viability(scenario: Scenario) -> Viability:
    """Measure a scenario against CAML's rules: 1 to 5 clusters per um2, density ratio 1.5 to 100, area fraction < 1.

    Examples
    --------
    >>> viability(Scenario(density_per_um2=100, fraction_clustered=0.5, points_per_cluster=20, radius_nm=50)).viable
    True
    >>> viability(Scenario(density_per_um2=100)).problems
    ('0 clusters per um2; allowed 1 to 5',)
    """
    clustered_per_um2 = scenario.density_per_um2 * scenario.fraction_clustered
    # rounded, because limits such as exactly one cluster per um2 are on the grid
    clusters = round(clustered_per_um2 / scenario.points_per_cluster, 9)
    radius_um = scenario.radius_nm / 1000
    if scenario.dims == 2:
        size, room = np.pi * radius_um**2, 1.0
    else:
        size, room = 4 / 3 * np.pi * radius_um**3, scenario.axial_range_nm / 1000
    covered = clusters * size / room
    free_per_um2 = scenario.density_per_um2 - clustered_per_um2
    ratio = float("inf")
    if covered < 1 and free_per_um2 > 1e-9 * scenario.density_per_um2:
        ratio = scenario.points_per_cluster / size / (free_per_um2 / (room * (1 - covered)))
    problems = []
    if not CLUSTERS_PER_UM2[0] <= clusters <= CLUSTERS_PER_UM2[1]:
        problems.append(f"{clusters:.3g} clusters per um2; allowed 1 to 5")
    if clusters > 0 and not DENSITY_RATIO[0] <= ratio <= DENSITY_RATIO[1]:
        problems.append(f"density inside clusters {ratio:.3g} times that outside; allowed 1.5 to 100")
    if covered >= 1:
        problems.append(f"clusters cover {covered:.3g} times the field; allowed less than 1")
    return Viability(float(clusters), float(ratio), float(covered), tuple(problems))


def build_scenarios() -> pl.DataFrame:
    """Build the list of viable scenarios from the ranges in this module; `scenarios` gives the packaged list."""
    rows = []
    grid = itertools.product(DENSITY_PER_UM2, PERCENT_CLUSTERED, POINTS_PER_CLUSTER, RADIUS_NM)
    for density, percent, points, radius in grid:
        scenario = Scenario(
            density_per_um2=density, fraction_clustered=percent / 100, points_per_cluster=points, radius_nm=radius
        )
        measured = viability(scenario)
        if measured.viable:
            rows.append(
                {
                    "density_per_um2": scenario.density_per_um2,
                    "points_per_cluster": scenario.points_per_cluster,
                    "fraction_clustered": scenario.fraction_clustered,
                    "radius_nm": scenario.radius_nm,
                    "clusters_per_um2": round(measured.clusters_per_um2, 6),
                    "density_ratio": round(measured.density_ratio, 6),
                    "clustered_fraction": round(measured.clustered_fraction, 6),
                }
            )
    return pl.DataFrame(rows)


def scenarios(version: int = LATEST) -> pl.DataFrame:
    """Give the packaged list of scenarios, one row each; lists are never changed once released.

    Returns
    -------
    polars.DataFrame
        `density_per_um2`, `points_per_cluster`, `fraction_clustered`, `radius_nm` make a `Scenario`;
        `clusters_per_um2`, `density_ratio`, `clustered_fraction` are those of `viability`.

    Raises
    ------
    InputError
        There is no such version.

    Examples
    --------
    >>> len(scenarios())
    555
    >>> row = scenarios().drop("clusters_per_um2", "density_ratio", "clustered_fraction").row(0, named=True)
    >>> Scenario(**row).radius_nm
    75.0
    """
    file = resources.files("lucule.simulate") / "data" / f"scenarios_v{version}.csv"
    if not file.is_file():
        raise InputError("There is no such list of scenarios", received=f"version {version}", allowed=f"1 to {LATEST}")
    with resources.as_file(file) as path:
        return pl.read_csv(path, schema_overrides={"points_per_cluster": pl.Int64, "radius_nm": pl.Float64})
