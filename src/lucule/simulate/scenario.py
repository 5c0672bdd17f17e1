"""What a simulated field of view looks like, and the scenarios that the package knows by name."""

from __future__ import annotations

from importlib import resources
from typing import Annotated, Any, Final, Literal, Self

import yaml
from pydantic import Field, ValidationInfo, field_validator, model_validator

from lucule.core import Config, InputError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]

_PRESETS: Final = resources.files("lucule.simulate") / "presets"


class Scenario(Config):
    """A field of clustered and not clustered localizations, after CAML (Williamson et al. 2020, Methods).

    Attributes
    ----------
    density_per_um2
        Localizations per um2 of the outline, clustered and not; in 3D counted through the whole axial range.
    points_per_cluster
        Localizations of every cluster.
    fraction_clustered
        Fraction of the localizations that are in clusters, 0 (complete spatial randomness) to 1.
    radius_nm
        Radius R of a cluster.
    fraction_in_fibres
        Fraction of the localizations that lie on fibres, beside those in round clusters; in 2D only.
    fibre_radius_nm, fibre_length_um, fibre_persistence_um
        Half the width, the length and the persistence length of every fibre.
    fibre_points_per_um
        Localizations per um of a fibre; with `fraction_in_fibres` it decides how many fibres there are.
    shape
        `disc`: uniform within R (2D), uniform in a sphere of radius R (3D). `gaussian`: normal, with the standard
        deviation per axis that gives the same radius of gyration, R/2 in 2D and R/sqrt(5) in 3D.
    dims
        2 or 3.
    axial_range_nm
        Thickness of the field in 3D; z runs from minus half of it to plus half of it.
    outline
        `cell`: a smooth closed outline with protrusions, in the middle of the field. `square`: the whole field.
    field_size_um
        Side of the field of view.
    cell_radius_um
        Smallest and largest distance of a cell's outline from its middle.
    localization_error_nm, axial_error_nm
        Standard deviation of a normal error added to every position, in x and y and in z. Where it is above 0, the
        table has the columns `x_err`, `y_err` (and `z_err`).

    Examples
    --------
    >>> Scenario(density_per_um2=100, fraction_clustered=0.5, radius_nm=30)
    Scenario(density_per_um2=100.0, fraction_clustered=0.5, radius_nm=30.0)
    """

    density_per_um2: Positive
    points_per_cluster: int = Field(default=20, ge=1)
    fraction_clustered: float = Field(default=0.0, ge=0, le=1)
    radius_nm: Positive = 50.0
    fraction_in_fibres: float = Field(default=0.0, ge=0, le=1)
    fibre_radius_nm: Positive = 25.0
    fibre_length_um: Positive = 3.0
    fibre_persistence_um: Positive = 5.0
    fibre_points_per_um: Positive = 100.0
    shape: Literal["disc", "gaussian"] = "disc"
    dims: Literal[2, 3] = 2
    axial_range_nm: Positive = 500.0
    outline: Literal["cell", "square"] = "cell"
    field_size_um: Positive = 40.0
    cell_radius_um: tuple[Positive, Positive] = (10.0, 14.0)
    localization_error_nm: NotNegative = 0.0
    axial_error_nm: NotNegative = 0.0

    @field_validator("cell_radius_um")
    @classmethod
    def _cell_fits(cls, radius_um: tuple[float, float], info: ValidationInfo) -> tuple[float, float]:
        smallest, largest = radius_um
        if smallest > largest:
            raise ValueError("smallest radius first, then the largest, um")
        size_um, outline = info.data.get("field_size_um"), info.data.get("outline")
        if size_um and outline == "cell" and 2 * largest > size_um:
            raise ValueError(f"a cell of {2 * largest:g} um does not fit into a field of {size_um:g} um")
        return radius_um

    @model_validator(mode="after")
    def _fractions_fit(self) -> Self:
        if self.fraction_clustered + self.fraction_in_fibres > 1:
            raise ValueError("fraction_clustered and fraction_in_fibres together exceed 1")
        if self.dims == 3 and self.fraction_in_fibres > 0:
            raise ValueError("fibres lie in the plane only; set dims to 2")
        return self

    @model_validator(mode="after")
    def _clusters_fit(self) -> Self:
        if self.fraction_clustered == 0:
            return self
        if self.dims == 3 and 2 * self.radius_nm > self.axial_range_nm:
            raise ValueError(
                f"clusters of {2 * self.radius_nm:g} nm do not fit into an axial range of {self.axial_range_nm:g} nm"
            )
        width_um = 2 * self.cell_radius_um[0] if self.outline == "cell" else self.field_size_um
        if 2 * self.radius_nm > 1000 * width_um:
            raise ValueError(f"clusters of {2 * self.radius_nm:g} nm do not fit into an outline of {width_um:g} um")
        return self


def available() -> list[str]:
    """Names of the packaged scenarios.

    Examples
    --------
    >>> "caml_demo" in available()
    True
    """
    return sorted(file.name.removesuffix(".yaml") for file in _PRESETS.iterdir() if file.name.endswith(".yaml"))


def load(name: str, **changes: Any) -> Scenario:
    """Give a packaged scenario, with some of its values changed.

    Raises
    ------
    InputError
        There is no such scenario, or a changed value is not allowed.

    Examples
    --------
    >>> load("csr", density_per_um2=50).fraction_clustered
    0.0
    """
    if name not in available():
        raise InputError("There is no such scenario", received=name, allowed=", ".join(available()))
    values = yaml.safe_load((_PRESETS / f"{name}.yaml").read_text(encoding="utf-8"))
    return Scenario.parse(values | changes, source=f"scenario {name}")
