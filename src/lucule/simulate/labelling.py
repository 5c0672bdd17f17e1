"""Labelling: which epitopes are bound, and where the dyes end up.

An epitope carries a chain of linkers (a nanobody; a primary and secondary antibodies; a docking strand): each link has
a binding probability, a number, a length distribution and an orientation. Dyes sit at the ends of the last link.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, model_validator

from lucule.core import Config, InputError
from lucule.simulate.chain import Dyes, Epitopes
from lucule.simulate.streams import stream
from lucule.simulate.varied import NotNegativeVaried, PositiveVaried, constant

FloatArray = NDArray[np.float64]
Fraction = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Fixed(Config):
    """The same number everywhere; a fraction is rounded up or down at random."""

    kind: Literal["fixed"] = "fixed"
    mean: NotNegativeVaried = constant(1)


class Poisson(Config):
    """Poisson numbers; some sites get none."""

    kind: Literal["poisson"]
    mean: NotNegativeVaried


class Binomial(Config):
    """Each of `sites` attachment points is taken with a probability."""

    kind: Literal["binomial"]
    sites: Annotated[int, Field(ge=1)]
    probability: Fraction


class Normal(Config):
    """Rounded normal numbers, none below 0 (as in TestSTORM)."""

    kind: Literal["normal"]
    mean: NotNegativeVaried
    variance: NotNegativeVaried


Number = Annotated[Fixed | Poisson | Binomial | Normal, Field(discriminator="kind")]


class Linker(Config):
    """One link of the chain from an epitope to its dyes.

    Attributes
    ----------
    probability
        Probability that a site is bound.
    number
        How many of these a bound site carries.
    length_nm, length_sd_nm
        Mean and standard deviation of the length, nm (normal, none below 0).
    orientation
        `free`: any direction. `cone`: at `angle_deg` from the normal of the epitope on average, with the standard
        deviation `angle_sd_deg` and a free azimuth. `normal`: along the normal.
    angle_deg, angle_sd_deg
        Of the cone, degrees.

    Examples
    --------
    >>> Linker(length_nm=10, orientation="free")
    Linker(length_nm=Varied(low=10.0, high=10.0))
    """

    probability: Fraction = 1.0
    number: Number = Fixed()
    length_nm: NotNegativeVaried = constant(0)
    length_sd_nm: NotNegative = 0.0
    orientation: Literal["free", "cone", "normal"] = "free"
    angle_deg: Annotated[float, Field(ge=0, le=180)] = 0.0
    angle_sd_deg: NotNegative = 0.0


class Labelling(Config):
    """How epitopes become dyes.

    Attributes
    ----------
    probability
        Labelling efficiency: probability that an epitope is bound by the first linker. `labelling: 0.5` in YAML is
        short for this alone.
    linkers
        The chain, from the epitope outwards; empty for one dye right at each bound epitope.
    unspecific_per_um2, unspecific_per_um3
        Unspecific labels for an area and for a volume of the field.
    unspecific_axial_range_nm
        Thickness of the layer that holds them, nm; None for the axial range of the field.
    unspecific_dyes
        Number of dyes of an unspecific label.
    free_linkage_nm
        Standard deviation per axis, nm, of a second linkage error that is new for every localization (a mobile dye);
        the stage that makes localizations adds it.
    """

    probability: Fraction = 1.0
    linkers: tuple[Linker, ...] = ()
    unspecific_per_um2: NotNegativeVaried = constant(0)
    unspecific_per_um3: NotNegativeVaried = constant(0)
    unspecific_axial_range_nm: PositiveVaried | None = None
    unspecific_dyes: Number = Fixed()
    free_linkage_nm: NotNegative = 0.0

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"probability": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


def label(epitopes: Epitopes, labelling: Labelling, *, seed: int, stream_name: str = "labelling") -> Dyes:
    """Bind dyes to epitopes; the same seed gives the same bits.

    Unspecific labels belong to a field, not to epitopes: see `unspecific`.

    Raises
    ------
    InputError
        A linker is oriented relative to the normal, and epitopes have none.

    Examples
    --------
    >>> one = pl.DataFrame({"x": 0.0, "y": 0.0, "z": 0.0, "structure": 0, "label": 1})
    >>> dyes = label(Epitopes(pl.concat([one] * 1000)), Labelling(probability=0.5), seed=1)
    >>> 450 < len(dyes) < 550
    True
    """
    rng = stream(seed, stream_name)
    epitope = np.flatnonzero(rng.random(len(epitopes)) < labelling.probability).astype(np.int32)
    position = np.column_stack([epitopes[axis] for axis in "xyz"])[epitope]
    normals = epitopes.normals()
    for linker in labelling.linkers:
        bound = np.repeat(np.arange(len(epitope)), _numbers(rng, linker.number, len(epitope)))
        if linker.probability < 1:
            bound = bound[rng.random(len(bound)) < linker.probability]
        epitope, position = epitope[bound], position[bound]
        length = _lengths(rng, linker, len(epitope))
        direction = _directions(rng, linker, None if normals is None else normals[epitope], len(epitope))
        position = position + length[:, None] * direction
    data = {axis: position[:, i] for i, axis in enumerate("xyz")} | {"epitope": epitope}
    taken = {name: epitopes[name][epitope] for name in ("structure", "label", "layer")}
    return Dyes(pl.DataFrame(data | taken))


def unspecific(
    labelling: Labelling,
    *,
    size_nm: tuple[float, float],
    z_nm: tuple[float, float],
    seed: int,
    layer: int = 0,
    stream_name: str = "unspecific",
) -> Dyes:
    """Draw the unspecific labels of a field: Poisson numbers, uniform in area and depth, label 0.

    Examples
    --------
    >>> dyes = unspecific(Labelling(unspecific_per_um2=10), size_nm=(10e3, 10e3), z_nm=(0, 0), seed=1)
    >>> 850 < len(dyes) < 1150
    True
    """
    rng = stream(seed, stream_name)
    low, high = z_nm
    if labelling.unspecific_axial_range_nm is not None:
        half = labelling.unspecific_axial_range_nm.one(rng) / 2
        low, high = (low + high) / 2 - half, (low + high) / 2 + half
    area_um2 = size_nm[0] * size_nm[1] / 1e6
    mean = area_um2 * labelling.unspecific_per_um2.one(rng)
    mean += area_um2 * (high - low) / 1000 * labelling.unspecific_per_um3.one(rng)
    n = int(rng.poisson(mean))
    site = np.column_stack([rng.random(n) * size_nm[0], rng.random(n) * size_nm[1], rng.uniform(low, high, n)])
    position = np.repeat(site, _numbers(rng, labelling.unspecific_dyes, n), axis=0)
    none = np.full(len(position), -1, np.int32)
    data = {axis: position[:, i] for i, axis in enumerate("xyz")} | {"epitope": none, "structure": none}
    return Dyes(pl.DataFrame(data).with_columns(label=pl.lit(0), layer=pl.lit(layer)))


def _numbers(rng: np.random.Generator, number: Fixed | Poisson | Binomial | Normal, n: int) -> NDArray[np.int64]:
    """Draw how many there are at each of `n` sites; a varied mean is drawn once, for all sites."""
    if isinstance(number, Binomial):
        return rng.binomial(number.sites, number.probability, n)
    mean = constant(number.mean.one(rng))
    if isinstance(number, Poisson):
        return rng.poisson(mean.limits[0], n)
    if isinstance(number, Fixed):
        return mean.counts(rng, n)
    sd = np.sqrt(number.variance.one(rng))
    return np.rint(rng.normal(mean.limits[0], sd, n)).clip(0).astype(np.int64)


def _lengths(rng: np.random.Generator, linker: Linker, n: int) -> FloatArray:
    mean = linker.length_nm.one(rng)
    if linker.length_sd_nm == 0:
        return np.full(n, mean)
    length = rng.normal(mean, linker.length_sd_nm, n)
    # drawn again where negative, so that no lengths pile up at 0
    while (negative := np.flatnonzero(length < 0)).size:
        length[negative] = rng.normal(mean, linker.length_sd_nm, negative.size)
    return length


def _directions(rng: np.random.Generator, linker: Linker, normals: FloatArray | None, n: int) -> FloatArray:
    """Unit vectors `(n, 3)`."""
    if linker.orientation == "free":
        vectors = rng.normal(size=(n, 3))
        directions: FloatArray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return directions
    if n and (normals is None or np.isnan(normals).any()):
        raise InputError(
            "A linker that is oriented relative to the normal needs epitopes with normals",
            received=f"orientation {linker.orientation}, epitopes without nx, ny, nz",
            allowed="orientation: free",
            next_step="use orientation: free, or a specimen whose epitopes have normals",
        )
    if normals is None or linker.orientation == "normal":
        return np.zeros((0, 3)) if normals is None else normals
    tilt = np.radians(rng.normal(linker.angle_deg, linker.angle_sd_deg, n))
    azimuth = rng.uniform(0, 2 * np.pi, n)
    # any vector that is not parallel to the normal spans the plane across it
    helper = np.where(np.abs(normals[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    across = np.cross(normals, helper)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    other = np.cross(normals, across)
    sideways = np.cos(azimuth)[:, None] * across + np.sin(azimuth)[:, None] * other
    directions = np.cos(tilt)[:, None] * normals + np.sin(tilt)[:, None] * sideways
    return directions
