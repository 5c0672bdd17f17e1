"""Fields of clusters of wide variety, with the truth: for training and scoring what groups localizations.

A `FieldFamily` says what may occur; each field draws its own density, cluster size, shape, contrast, background,
outline, localization error and blinking from it. The packaged families are in `FAMILIES`: `mixed` holds everything, the
others one difficulty each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator

from lucule.core import Config, InputError, Localizations
from lucule.simulate import field_background, field_shapes
from lucule.simulate.field_blinking import Blinking, blink

FloatArray = NDArray[np.float64]
T = TypeVar("T")
Shape = Literal["disc", "gaussian", "ellipse", "ring", "fibre"]

CLASSES: Final = ("not clustered", "cluster", "fibre", "ring")
LABELS: Final[dict[str, int]] = {"disc": 1, "gaussian": 1, "ellipse": 1, "fibre": 2, "ring": 3}
FEWEST_MOLECULES: Final = 3
"""Fewer molecules of a structure than these in the field cannot be told from chance; they count as background."""

_TRIES: Final = 20_000  # sparse blinking fields take 300 on average
_TRIES_OF_SECOND: Final = 100
_LEAST_EXCESS: Final = 2.5  # standard deviations of the background by which a structure stands out
_LARGEST_COVER: Final = 0.5  # fraction of the field that structures may cover


def _ordered(limits: tuple[float, float]) -> tuple[float, float]:
    if not 0 < limits[0] <= limits[1] < np.inf:
        raise ValueError("two positive numbers, the smaller first")
    return limits


Limits = Annotated[tuple[float, float], AfterValidator(_ordered)]


class FieldFamily(Config):
    """What the fields of a family may look like; each field draws within the limits (logarithmically uniform).

    Attributes
    ----------
    shapes
        Of structures. A field has one or two of them.
    localizations
        In a field.
    density_per_um2
        Of all localizations in the plane.
    points_per_cluster
        Localizations of a structure; fibres have as many for each 10 radii of length.
    radius_nm
        Of discs, ellipses (mean) and rings; twice the standard deviation of Gaussian clusters.
    contrast
        Density inside over density outside of structures, localization error included.
    structures
        Number of them in a field.
    fraction_clustered
        Of all localizations.
    field_without_clusters, field_without_background
        Fraction of the fields that hold background, or structures, only.
    spread
        Standard deviation of the logarithm of size and number among the structures of a field.
    unequal
        Standard deviation of the logarithm of the number, and of half of it for the length of fibres, among the
        structures of a field, beyond what comes with their size; None: nothing beyond it.
    second_population
        Fraction of the fields half of whose structures have a shape, size and number of their own.
    separation_radii
        Smallest distance of centres in units of the mean of their diameters; 1 lets discs touch.
    touching
        Largest fraction of the structures that lie beside another one; each field draws its own.
    backgrounds, outlines
        See `lucule.simulate.field_background`.
    error_nm
        Median localization error (1 sigma per axis).
    blinks
        Mean number of localizations of a molecule. Half of the fields of a family that allows more than one have none
        (a limit of 1 to 1: none at all).
    fraction_3d
        Fraction of the fields that have a z.
    thickness_nm
        Axial range of fields in 3D.
    """

    shapes: tuple[Shape, ...] = ("disc", "gaussian", "ellipse", "ring", "fibre")
    localizations: Limits = (300, 8000)
    density_per_um2: Limits = (5, 5000)
    points_per_cluster: Limits = (5, 2000)
    radius_nm: Limits = (5, 250)
    contrast: Limits = (1.5, 200)
    structures: Limits = (2, 400)
    fraction_clustered: Limits = (0.08, 1)
    field_without_clusters: float = 0.1
    field_without_background: float = 0.05
    spread: Limits = (0.01, 0.6)
    unequal: Limits | None = None
    second_population: float = 0
    separation_radii: Limits = (0.9, 3)
    touching: float = 0.4
    backgrounds: tuple[field_background.Background, ...] = ("uniform", "uniform", "gradient", "patches")
    outlines: tuple[field_background.Outline, ...] = ("square", "square", "cell", "holes")
    error_nm: Limits = (2, 40)
    blinks: Limits = (1, 12)
    fraction_3d: float = 0.2
    thickness_nm: Limits = (200, 1000)

    def without_blinking(self) -> FieldFamily:
        """Give the same family with one localization per molecule."""
        return self.replace(blinks=(1, 1))

    def always_blinking(self) -> FieldFamily:
        """Give the same family with at least 2 localizations per molecule on average."""
        return self.replace(blinks=(max(2.0, self.blinks[0]), max(6.0, self.blinks[1])))


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A field as arrays, rows in random order.

    Attributes
    ----------
    points
        Positions `(n, 2)` or `(n, 3)`, nm.
    frame
        `(n,)`, uint32.
    error
        Localization error `(n, dims)`, 1 sigma, nm.
    photons
        `(n,)`.
    molecule
        Which molecule, `(n,)`.
    cluster
        Which structure, `(n,)`; -1 = none.
    label
        Place in `CLASSES`, `(n,)`.
    """

    points: NDArray[np.float32]
    frame: NDArray[np.uint32]
    error: NDArray[np.float32]
    photons: NDArray[np.float32]
    molecule: NDArray[np.int32]
    cluster: NDArray[np.int32]
    label: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.points)

    def table(self) -> Localizations:
        """Give the field as a table, with the truth in `molecule`, `true_cluster`, `true_label`."""
        axes = "xyz"[: self.points.shape[1]]
        columns = {axis: self.points[:, i] for i, axis in enumerate(axes)}
        errors = {f"{axis}_err": self.error[:, i] for i, axis in enumerate(axes)}
        truth = {"molecule": self.molecule, "true_cluster": self.cluster, "true_label": self.label}
        return Localizations({"frame": self.frame, **columns, "photons": self.photons, **errors, **truth})


def linked(field: Field, gap_frames: float) -> Field:
    """Give the field as it looks after its blinks have been linked without a fault.

    Localizations of a molecule that are no more than `gap_frames` dark frames apart become one: at their mean position
    (weights 1 / error squared), with the error of that mean, the first frame and all photons.

    Examples
    --------
    >>> field = varied_field("mixed", seed=(9, 8))
    >>> len(field) > len(linked(field, 50)) >= len(np.unique(field.molecule))
    True
    >>> len(linked(field, 1e9)) == len(np.unique(field.molecule))
    True
    """
    order = np.lexsort((field.frame, field.molecule))
    molecule, frame = field.molecule[order], field.frame[order].astype(np.int64)
    first = np.ones(len(order), bool)
    first[1:] = (np.diff(molecule) != 0) | (np.diff(frame) > gap_frames + 1)
    starts, rows = np.flatnonzero(first), order[first]
    weight = field.error[order].astype(np.float64) ** -2
    total = np.add.reduceat(weight, starts)
    return Field(
        points=(np.add.reduceat(weight * field.points[order], starts) / total).astype(np.float32),
        frame=field.frame[rows], error=(total**-0.5).astype(np.float32),
        photons=np.add.reduceat(field.photons[order], starts),
        molecule=field.molecule[rows], cluster=field.cluster[rows], label=field.label[rows],
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Population:
    """Structures of one kind; `points` localizations each, on average."""

    shape: Shape
    points: float
    radius_nm: float
    length_nm: float


@dataclass(frozen=True, slots=True)
class _Plan:
    """What was drawn for one field."""

    dims: int
    first: _Population
    error_nm: float
    blinks: float
    thickness_nm: float
    density_per_nm2: float
    fraction: float
    localizations: float

    @property
    def area_nm2(self) -> float:
        return self.localizations / self.density_per_nm2

    @property
    def structures(self) -> int:
        return max(round(self.fraction * self.localizations / self.first.points), int(self.fraction > 0))


_COMPACT: Final = ("disc", "gaussian", "ellipse")

_PLAIN: Final[dict[str, Any]] = {"fraction_3d": 0, "backgrounds": ("uniform",), "outlines": ("square",)}

FAMILIES: Final[dict[str, FieldFamily]] = {
    "mixed": FieldFamily(),
    "discs": FieldFamily(shapes=("disc",), spread=(0.01, 0.1), touching=0, **_PLAIN),
    "gaussian": FieldFamily(shapes=("gaussian",), touching=0, **_PLAIN),
    "ellipses": FieldFamily(shapes=("ellipse",), touching=0, **_PLAIN),
    "rings": FieldFamily(shapes=("ring",), radius_nm=(30, 250), points_per_cluster=(15, 2000), fraction_3d=0),
    "fibres": FieldFamily(shapes=("fibre",), radius_nm=(5, 30), fraction_3d=0),
    "touching": FieldFamily(shapes=_COMPACT, touching=1, separation_radii=(0.9, 1.1), contrast=(4, 200), fraction_3d=0),
    "sizes": FieldFamily(shapes=_COMPACT, spread=(0.5, 0.8), fraction_3d=0),
    "uneven": FieldFamily(
        shapes=_COMPACT, backgrounds=("gradient", "patches"), outlines=("cell", "holes"), fraction_3d=0
    ),
    "sparse": FieldFamily(shapes=_COMPACT, points_per_cluster=(5, 15), contrast=(3, 200), fraction_3d=0),
    "dense": FieldFamily(
        shapes=_COMPACT, points_per_cluster=(200, 2000), localizations=(2000, 8000), contrast=(2, 50), fraction_3d=0
    ),
    "blurred": FieldFamily(shapes=_COMPACT, error_nm=(20, 40), radius_nm=(20, 100), fraction_3d=0),
    "three_d": FieldFamily(shapes=_COMPACT, fraction_3d=1),
    "caml": FieldFamily(
        shapes=("disc",),
        points_per_cluster=(5, 90),
        radius_nm=(5, 100),
        density_per_um2=(5, 500),
        contrast=(1.5, 100),
        structures=(10, 400),
        separation_radii=(1.1, 1.3),
        touching=0,
        spread=(0.01, 0.011),
        error_nm=(0.1, 0.2),
        blinks=(1, 1),
        backgrounds=("uniform",),
        outlines=("cell", "square"),
        field_without_clusters=0,
        field_without_background=0.1,
        fraction_3d=0,
    ),
    "random": FieldFamily(field_without_clusters=1, fraction_3d=0),
    "unequal": FieldFamily(
        structures=(5, 400), spread=(0.1, 0.6), unequal=(0.3, 1.3), second_population=0.5, separation_radii=(0.1, 3)
    ),
}


def varied_field(family: FieldFamily | str = "mixed", *, seed: int | tuple[int, ...]) -> Field:
    """Draw one field; the same family and seed give the same bits.

    Parameters
    ----------
    family
        A family or the name of a packaged one.
    seed
        Any whole number from 0, or several of them.

    Raises
    ------
    InputError
        There is no family of this name, or its limits contradict each other.

    Examples
    --------
    >>> field = varied_field("discs", seed=3)
    >>> field.points.shape == (len(field), 2) and field.table().columns[-1] == "true_label"
    True
    """
    if isinstance(family, str):
        if family not in FAMILIES:
            raise InputError("There is no such family of fields", received=family, allowed=", ".join(FAMILIES))
        family = FAMILIES[family]
    rng = np.random.default_rng(seed)
    plan = _plan(family, rng)
    window = field_background.window(rng, plan.area_nm2, _one(rng, family.outlines))
    background = _one(rng, family.backgrounds)

    centres, structure, offsets, radii, shapes = _structures(family, plan, window, rng)
    clustered = np.column_stack([centres[structure], np.zeros(len(structure))])
    clustered[:, 2] = rng.uniform(-0.5, 0.5, len(centres))[structure] * plan.thickness_nm
    clustered += offsets
    free_molecules = rng.poisson((1 - plan.fraction) * plan.localizations / plan.blinks)
    free = np.empty((free_molecules, 3))
    free[:, :2] = field_background.draw(rng, window, free_molecules, background)
    free[:, 2] = rng.uniform(-0.5, 0.5, free_molecules) * plan.thickness_nm
    if rng.random() < 0.3:
        free = free[~field_shapes.covered(free, centres, radii)]

    molecules = np.concatenate([clustered, free])
    owner = np.concatenate([structure, np.full(len(free), -1)])
    return _observe(molecules, owner, shapes, plan, window, rng)


def _plan(family: FieldFamily, rng: np.random.Generator) -> _Plan:
    empty = rng.random() < family.field_without_clusters
    for _ in range(_TRIES):
        dims = 3 if rng.random() < family.fraction_3d else 2
        error = _within(rng, family.error_nm)
        blinks = _within(rng, family.blinks) if family.blinks[0] > 1 or rng.random() < 0.5 else 1.0
        thickness = _within(rng, family.thickness_nm) if dims == 3 else 0.0
        if empty:
            localizations = _within(rng, family.localizations)
            density = _within(rng, family.density_per_um2) * 1e-6
            nothing = _Population("disc", 1, 0, 0)
            return _Plan(dims, nothing, error, blinks, thickness, density, 0, localizations)
        first = _population(family, rng)
        shape, points, radius, length = first.shape, first.points, first.radius_nm, first.length_nm
        content = field_shapes.content(shape, radius, length, error, dims)
        contrast = _within(rng, family.contrast)
        outside = points / content / (contrast - 1 + 1e-9) * (thickness if dims == 3 else 1.0)
        fraction = _within(rng, family.fraction_clustered)
        if rng.random() < family.field_without_background:  # the density is free
            fraction, density = 1.0, _within(rng, family.density_per_um2) * 1e-6
        else:
            fraction = min(fraction, 0.97)
            density = outside / (1 - fraction)
        localizations = _within(rng, family.structures) * points / fraction
        plan = _Plan(dims, first, error, blinks, thickness, density, fraction, localizations)
        expected = points / max(contrast - 1, 1e-9) if fraction < 1 else 0.0
        cover = plan.structures * field_shapes.shadow(shape, radius, length, error) / plan.area_nm2
        low, high = (1e-6 * limit for limit in family.density_per_um2)
        if (
            low <= density <= high
            and family.localizations[0] <= localizations <= family.localizations[1]
            and _stands_out(points, expected, blinks)
            and cover <= _LARGEST_COVER * min(1.0, thickness / (2 * radius) if dims == 3 else 1.0)
            and plan.area_nm2 > 16 * (radius + length / 4) ** 2
        ):
            return plan
    raise InputError("The limits of this family of fields contradict each other", received=repr(family))


def _population(family: FieldFamily, rng: np.random.Generator) -> _Population:
    shape: Shape = _one(rng, family.shapes)
    points, radius = _within(rng, family.points_per_cluster), _within(rng, family.radius_nm)
    if shape != "fibre":
        return _Population(shape, points, radius, 0.0)
    length = 10 * radius * np.exp(rng.uniform(0, 3))
    return _Population(shape, points * length / (10 * radius), radius, length)


def _stands_out(points: float, expected: float, blinks: float) -> bool:
    excess = points / np.sqrt((points + expected) * blinks)
    return bool(excess >= _LEAST_EXCESS and points / blinks >= FEWEST_MOLECULES)


def _second(family: FieldFamily, plan: _Plan, rng: np.random.Generator) -> _Population | None:
    """Give another population that half of the structures may have in place of the first one; None: there is none."""
    half = plan.structures / 2
    outside = (1 - plan.fraction) * plan.density_per_nm2 / (plan.thickness_nm if plan.dims == 3 else 1.0)
    for _ in range(_TRIES_OF_SECOND):
        second = _population(family, rng)
        shape, radius, length = second.shape, second.radius_nm, second.length_nm
        expected = outside * field_shapes.content(shape, radius, length, plan.error_nm, plan.dims)
        cover = half * field_shapes.shadow(shape, radius, length, plan.error_nm) / plan.area_nm2
        if (
            _stands_out(second.points, expected, plan.blinks)
            and half * second.points <= plan.localizations
            and cover <= _LARGEST_COVER / 2
            and plan.area_nm2 > 16 * (radius + length / 4) ** 2
        ):
            return second
    return None


def _structures(
    family: FieldFamily, plan: _Plan, window: field_background.Window, rng: np.random.Generator
) -> tuple[FloatArray, NDArray[np.int64], FloatArray, FloatArray, NDArray[np.int64]]:
    """Centres `(s, 2)`; structure of each molecule and its offset `(m, 3)`; radii `(s,)`; labels `(s,)`."""
    n, first, second = plan.structures, plan.first, None
    spread = _within(rng, family.spread)
    scale = np.exp(spread * rng.normal(size=n).clip(-2, 2))
    crowd = scale ** rng.uniform(0, plan.dims) * np.exp(0.5 * spread * rng.normal(size=n).clip(-2, 2))
    stretch = np.ones(n)
    if family.unequal is not None:
        unequal = _within(rng, family.unequal)
        further = unequal * rng.normal(size=(2, n)).clip(-2, 2)
        crowd = crowd * np.exp(further[0] - unequal**2 / 2)  # the mean stays
        stretch = np.exp(0.5 * further[1])
    if family.second_population and rng.random() < family.second_population:
        second = _second(family, plan, rng)
    other = np.zeros(n, bool) if second is None else rng.random(n) < 0.5
    radii = np.where(other, (second or first).radius_nm, first.radius_nm) * scale
    reach = radii + plan.error_nm
    gap = 0.0 if "fibre" in (first.shape, (second or first).shape) else _within(rng, family.separation_radii)
    beside = rng.random() * family.touching * (gap > 0)
    centres = field_background.place(rng, window, gap * reach, beside)
    kept = np.isfinite(centres[:, 0])
    centres, radii, crowd, stretch, other = centres[kept], radii[kept], crowd[kept], stretch[kept], other[kept]
    n = len(centres)
    if second is None:  # half of them may have another shape, not another size
        shape: Shape = _one(rng, family.shapes) if rng.random() < 0.25 else first.shape
        second = first if "fibre" in (shape, first.shape) else replace(first, shape=shape)
        other = rng.random(n) < 0.5
    shapes = np.where(other, LABELS[second.shape], LABELS[first.shape])

    points = np.zeros(n)
    lengths = np.zeros(n)
    for population, chosen in ((first, ~other), (second, other)):
        points[chosen] = population.points * (stretch[chosen] if population.shape == "fibre" else 1.0)
        lengths[chosen] = population.length_nm * stretch[chosen]
    molecules = rng.poisson(points * crowd / plan.blinks)
    structure = np.repeat(np.arange(n), molecules)
    offsets = np.empty((len(structure), 3))
    for population, chosen in ((first, ~other), (second, other)):
        rows = chosen[structure]
        offsets[rows] = field_shapes.around(rng, population.shape, structure[rows], radii, lengths, plan.dims)
    return centres, structure, offsets, radii, shapes


def _observe(
    molecules: FloatArray,
    owner: NDArray[np.int64],
    shapes: NDArray[np.int64],
    plan: _Plan,
    window: field_background.Window,
    rng: np.random.Generator,
) -> Field:
    """Let molecules blink, blur them, and keep what lies in the window."""
    who, frame = blink(rng, len(molecules), Blinking.draw(rng, plan.blinks))
    error = plan.error_nm * np.exp(rng.uniform(0.1, 0.5) * rng.normal(size=(len(who), 1)))
    error = np.repeat(error, 3, axis=1) * [1, 1, rng.uniform(1.5, 3)]
    photons = 1000 * (plan.error_nm / error[:, 0]) ** 2 * np.exp(0.2 * rng.normal(size=len(who)))
    points = molecules[who] + error * rng.normal(size=error.shape)

    rows = rng.permutation(np.flatnonzero(window.holds(points[:, :2])))
    who, dims = who[rows], plan.dims
    cluster = owner[who]
    seen = np.zeros(len(shapes), np.int64)
    first = np.unique(who, return_index=True)[1]
    np.add.at(seen, cluster[first][cluster[first] >= 0], 1)
    cluster = np.where((cluster >= 0) & (np.append(seen, 0)[cluster] >= FEWEST_MOLECULES), cluster, -1)
    return Field(
        points=points[rows, :dims].astype(np.float32),
        frame=frame[rows].astype(np.uint32),
        error=error[rows, :dims].astype(np.float32),
        photons=photons[rows].astype(np.float32),
        molecule=who.astype(np.int32),
        cluster=cluster.astype(np.int32),
        label=np.where(cluster >= 0, np.append(shapes, 0)[cluster], 0).astype(np.uint8),
    )


def _within(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    low, high = np.log(limits)
    return float(np.exp(rng.uniform(low, high)))


def _one(rng: np.random.Generator, choices: tuple[T, ...]) -> T:
    return choices[int(rng.integers(len(choices)))]
