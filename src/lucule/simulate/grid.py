"""The grid of clustering scenarios after CAML, and which of them are viable.

CAML (Williamson et al. 2020, Results and Supplementary Note 1) trained on the 'viable' ones of all combinations of
density, points per cluster, fraction clustered and radius, and counts 711. Its rules, taken as its text words them and
applied to its ranges, leave 555 of 5,280 combinations; which further ones it used is not published.

Its fields for three classes, with round clusters and 'long filamentous structures' (model 3TXKFS), are not described
further. The list `fibres` applies the same rules to the round clusters, and corresponding ones to the fibres: 0.2 to
1 um of fibre per um2, and the same range of density ratios.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

import numpy as np
import polars as pl

from lucule.core import InputError
from lucule.core.recipe import Kind
from lucule.simulate.scenario import Scenario

POINTS_PER_CLUSTER: Final = (5, 10, 20, 30, 40, 50, 60, 70, 80, 90)
RADIUS_NM: Final = (5, 10, 15, 25, 40, 50, 75, 100)
PERCENT_CLUSTERED: Final = (5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
DENSITY_PER_UM2: Final = (5, 10, 50, 100, 300, 500)

CLUSTERS_PER_UM2: Final = (1.0, 5.0)
DENSITY_RATIO: Final = (1.5, 100.0)

# what the fields with fibres vary; the fibres are 3 um long and persist over 5 um
FIBRES_POINTS_PER_CLUSTER: Final = (10, 30, 50, 70, 90)
FIBRES_RADIUS_NM: Final = (25, 50, 75, 100)
FIBRES_PERCENT: Final = ((20, 20), (20, 40), (40, 20), (40, 40))
FIBRES_DENSITY_PER_UM2: Final = (50, 100, 300, 500)
FIBRE_RADIUS_NM: Final = (10, 25, 50)
FIBRE_POINTS_PER_UM: Final = (50, 100, 200, 400)

FIBRE_UM_PER_UM2: Final = (0.2, 1.0)

LATEST: Final = 1

_FILES: Final = {"clusters": "scenarios", "fibres": "fibres"}


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
        Fraction of the area (in 3D: of the volume) that clusters and fibres take up.
    fibre_um_per_um2
        Length of fibre per um2 of the outline.
    fibre_density_ratio
        Density on fibres over density outside; NaN where there are no fibres.
    problems
        Rules that are broken; empty for a viable scenario.
    """

    clusters_per_um2: float
    density_ratio: float
    clustered_fraction: float
    fibre_um_per_um2: float
    fibre_density_ratio: float
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
    on_fibres_per_um2 = scenario.density_per_um2 * scenario.fraction_in_fibres
    # rounded, because limits such as exactly one cluster per um2 are on the grid
    clusters = round(clustered_per_um2 / scenario.points_per_cluster, 9)
    fibres_um = round(on_fibres_per_um2 / scenario.fibre_points_per_um, 9)
    radius_um, fibre_um = scenario.radius_nm / 1000, scenario.fibre_radius_nm / 1000
    if scenario.dims == 2:
        size, room = np.pi * radius_um**2, 1.0
    else:
        size, room = 4 / 3 * np.pi * radius_um**3, scenario.axial_range_nm / 1000
    covered = (clusters * size + fibres_um * 2 * fibre_um) / room
    free_per_um2 = scenario.density_per_um2 - clustered_per_um2 - on_fibres_per_um2
    ratio = fibre_ratio = float("inf")
    if covered < 1 and free_per_um2 > 1e-9 * scenario.density_per_um2:
        outside = free_per_um2 / (room * (1 - covered))
        ratio = scenario.points_per_cluster / size / outside
        fibre_ratio = scenario.fibre_points_per_um / (2 * fibre_um) / outside
    problems = []
    if not CLUSTERS_PER_UM2[0] <= clusters <= CLUSTERS_PER_UM2[1]:
        problems.append(f"{clusters:.3g} clusters per um2; allowed 1 to 5")
    if clusters > 0 and not DENSITY_RATIO[0] <= ratio <= DENSITY_RATIO[1]:
        problems.append(f"density inside clusters {ratio:.3g} times that outside; allowed 1.5 to 100")
    if covered >= 1:
        problems.append(f"clusters cover {covered:.3g} times the field; allowed less than 1")
    if fibres_um > 0 and not FIBRE_UM_PER_UM2[0] <= fibres_um <= FIBRE_UM_PER_UM2[1]:
        problems.append(f"{fibres_um:.3g} um of fibre per um2; allowed 0.2 to 1")
    if fibres_um > 0 and not DENSITY_RATIO[0] <= fibre_ratio <= DENSITY_RATIO[1]:
        problems.append(f"density on fibres {fibre_ratio:.3g} times that outside; allowed 1.5 to 100")
    return Viability(
        clusters_per_um2=float(clusters),
        density_ratio=float(ratio),
        clustered_fraction=float(covered),
        fibre_um_per_um2=float(fibres_um),
        fibre_density_ratio=float(fibre_ratio) if fibres_um else float("nan"),
        problems=tuple(problems),
    )


def build_scenarios(kind: Kind = "clusters") -> pl.DataFrame:
    """Build a list of viable scenarios from the ranges in this module; `scenarios` gives the packaged list."""
    if kind == "fibres":
        return _viable(
            [
                {
                    "density_per_um2": density,
                    "points_per_cluster": points,
                    "fraction_clustered": percent / 100,
                    "radius_nm": radius,
                    "fraction_in_fibres": fibre_percent / 100,
                    "fibre_radius_nm": fibre_radius,
                    "fibre_points_per_um": fibre_points,
                }
                for density, (percent, fibre_percent), points, radius, fibre_radius, fibre_points in itertools.product(
                    FIBRES_DENSITY_PER_UM2,
                    FIBRES_PERCENT,
                    FIBRES_POINTS_PER_CLUSTER,
                    FIBRES_RADIUS_NM,
                    FIBRE_RADIUS_NM,
                    FIBRE_POINTS_PER_UM,
                )
            ],
            ("clusters_per_um2", "density_ratio", "clustered_fraction", "fibre_um_per_um2", "fibre_density_ratio"),
        )
    return _viable(
        [
            {
                "density_per_um2": density,
                "points_per_cluster": points,
                "fraction_clustered": percent / 100,
                "radius_nm": radius,
            }
            for density, percent, points, radius in itertools.product(
                DENSITY_PER_UM2, PERCENT_CLUSTERED, POINTS_PER_CLUSTER, RADIUS_NM
            )
        ],
        ("clusters_per_um2", "density_ratio", "clustered_fraction"),
    )


def _viable(combinations: list[dict[str, Any]], measures: tuple[str, ...]) -> pl.DataFrame:
    """Those combinations that are viable, with what they amount to."""
    rows = []
    for values in combinations:
        scenario = Scenario(**values)
        measured = viability(scenario)
        if measured.viable:
            row = {name: getattr(scenario, name) for name in values}
            rows.append(row | {name: round(getattr(measured, name), 6) for name in measures})
    return pl.DataFrame(rows)


def scenarios(version: int = LATEST, kind: Kind = "clusters") -> pl.DataFrame:
    """Give a packaged list of scenarios, one row each; lists are never changed once released.

    Parameters
    ----------
    version
        Number of the list.
    kind
        `clusters`: round clusters alone, for two classes. `fibres`: round clusters and fibres, for three.

    Returns
    -------
    polars.DataFrame
        The columns that are fields of `Scenario` make one, see `listed`; the others are those of `viability`.

    Raises
    ------
    InputError
        There is no such version.

    Examples
    --------
    >>> len(scenarios())
    555
    >>> listed()[0].radius_nm
    75.0
    """
    file = resources.files("lucule.simulate") / "data" / f"{_FILES[kind]}_v{version}.csv"
    if not file.is_file():
        raise InputError("There is no such list of scenarios", received=f"version {version}", allowed=f"1 to {LATEST}")
    with resources.as_file(file) as path:
        return pl.read_csv(path).with_columns(pl.col(pl.Int64).cast(pl.Float64)).cast({"points_per_cluster": pl.Int64})


def listed(
    version: int = LATEST, kind: Kind = "clusters", *, number: int | None = None, **changes: Any
) -> list[Scenario]:
    """Give the scenarios of a packaged list, `changes` applied to all of them.

    Parameters
    ----------
    version, kind
        As for `scenarios`.
    number
        Take only so many, evenly over the density ratio, which decides most about how difficult a scenario is.

    Raises
    ------
    InputError
        There is no such list, or a change is not valid.
    """
    table = scenarios(version, kind)
    if number is not None and number < len(table):
        table = table.sort("density_ratio")[np.linspace(0, len(table) - 1, number).round().astype(int)]
    rows = table.select([name for name in table.columns if name in Scenario.model_fields]).to_dicts()
    return [Scenario.parse(row | changes, source="scenarios of the list") for row in rows]
