"""How localizations are spread at each distance: Ripley's K, L and H and the pair correlation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from lucule.cluster.edge_correction import edges_of, isotropic, overlaps
from lucule.cluster.places import box_around
from lucule.core import InputError, Localizations, Region
from lucule.core.patterns import PATTERNS
from lucule.space import pair_batches

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Correction = Literal["isotropic", "translation", "none"]
Floats = NDArray[np.float64]

_LABELS = {
    "k": "K(r) (nm²)",
    "l": "L(r) (nm)",
    "h": "H(r) = L(r) - r (nm)",
    "g": "pair correlation g(r)",
}


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class PairStatistics:
    """Ripley's functions and the pair correlation, from `ripley`.

    Attributes
    ----------
    radii_nm
        `(m,)`, ascending.
    k
        Ripley's K at each radius: mean number of further localizations within it, over the density; nm2 (3D: nm3).
        pi r^2 (4/3 pi r^3) for random localizations.
    g
        Pair correlation in the ring (3D: shell) from the radius before to this one; 1 for random localizations.
    pairs
        Pairs counted in that ring, each once.
    n
        Localizations.
    size_nm
        Area of the region in nm2 (3D: volume in nm3).
    dims
        2 or 3.
    correction
        Of what lies beyond the edge.
    """

    radii_nm: Floats
    k: Floats
    g: Floats
    pairs: NDArray[np.int64]
    n: int
    size_nm: float
    dims: int
    correction: Correction

    @property
    def l(self) -> Floats:  # noqa: E743 - its name everywhere
        """Ripley's L, nm: the radius at which random localizations have this K."""
        return np.sqrt(self.k / np.pi) if self.dims == 2 else np.cbrt(3 * self.k / (4 * np.pi))

    @property
    def h(self) -> Floats:
        """L(r) - r, nm: above 0 where localizations are clustered, below where they keep apart."""
        return self.l - self.radii_nm

    @property
    def peak_nm(self) -> float:
        """Radius at which H is largest, nm; it lies between the radius and the diameter of round clusters."""
        return float(self.radii_nm[np.argmax(self.h)])

    def table(self) -> pl.DataFrame:
        """One row for each radius: `r_nm`, `k_nm2` (3D: `k_nm3`), `l_nm`, `h_nm`, `g`, `pairs`."""
        return pl.DataFrame(
            {
                "r_nm": self.radii_nm,
                f"k_nm{self.dims}": self.k,
                "l_nm": self.l,
                "h_nm": self.h,
                "g": self.g,
                "pairs": self.pairs,
            }
        )

    def plot(self, what: Literal["k", "l", "h", "g"] = "h", *, axes: Axes | None = None) -> Axes:
        """Draw one of the functions beside what random localizations give."""
        from matplotlib.figure import Figure

        if what not in _LABELS:
            raise InputError("There is no such function", received=what, allowed=", ".join(_LABELS))
        if axes is None:
            axes = Figure(figsize=(5, 3.5), layout="constrained").add_subplot()
        r = self.radii_nm
        random = {"k": np.pi * r**2 if self.dims == 2 else 4 / 3 * np.pi * r**3, "l": r, "h": 0 * r, "g": 0 * r + 1}
        # g belongs to the middle of its ring
        where = r - np.diff(r, prepend=0) / 2 if what == "g" else r
        axes.plot(where, getattr(self, what), label="localizations")
        axes.plot(where, random[what], color="0.6", linestyle="--", label="random")
        axes.set_xlabel("r (nm)")
        axes.set_ylabel(_LABELS[what].replace("²", "³") if self.dims == 3 else _LABELS[what])
        axes.legend(frameon=False)
        return axes

    def __repr__(self) -> str:
        return (
            f"PairStatistics({self.n:,} localizations in {self.dims}D, {len(self.radii_nm)} radii up to "
            f"{self.radii_nm[-1]:g} nm, {self.correction} correction)"
        )


def ripley(
    locs: Localizations,
    *,
    region: Region | None = None,
    radii_nm: ArrayLike | None = None,
    correction: Correction = "isotropic",
) -> PairStatistics:
    """Ripley's K, L and H functions and the pair correlation g, with exact edge correction.

    Parameters
    ----------
    locs
        Localizations of one field and channel, 2D or 3D.
    region
        Where they were looked for: any polygons with holes; only localizations inside count. By default the rectangle
        around them.
    radii_nm
        Ascending radii, nm. By default 100 of them up to a quarter of the shorter side of the region, at most 500 nm.
    correction
        `isotropic` (2D) weighs pairs by the part of the circle inside the region, `translation` (2D and 3D; always for
        3D) by the overlap of the moved region, `none` not at all. Both are exact for every polygon.

    Returns
    -------
    PairStatistics

    Raises
    ------
    InputError
        There are fewer than two localizations, several fields or channels, or radii that cannot be used; an isotropic
        correction is asked for in 3D, or for a region of several pieces.

    Notes
    -----
    Ripley, J R Stat Soc B 39:172 (1977); Ohser, Math Operationsforsch 14:63 (1983).

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> locs = Localizations({"x": rng.uniform(0, 2000, 2000), "y": rng.uniform(0, 2000, 2000)})
    >>> result = ripley(locs, region=Region.rectangle(0, 0, 2000, 2000), radii_nm=[50, 100])
    >>> bool(abs(result.h).max() < 3)
    True
    """
    for name in PATTERNS:
        if name in locs and locs.data[name].n_unique() > 1:
            raise InputError(
                f"Ripley's functions are those of one {name}, and the table has several",
                next_step=f'choose one, as locs.filter("{name} == 0")',
            )
    if correction not in ("isotropic", "translation", "none"):
        raise InputError(
            "There is no such edge correction", received=correction, allowed="isotropic, translation, none"
        )
    if region is not None:
        locs = locs.crop(region)
    points = locs.xyz() if locs.is_3d else locs.xy()
    dims = points.shape[1]
    if dims == 3 and correction == "isotropic":
        raise InputError("The isotropic correction is for 2D", received="a table in 3D", allowed="translation, none")
    sides = np.ptp(points, axis=0).astype(float) if len(points) else np.zeros(dims)
    if len(points) < 2 or not sides.all():
        raise InputError("There is no area with two localizations", received=f"{len(points)} localizations")
    if region is None:
        low, high = box_around(points[:, :2])
        region = Region.rectangle(*low, *high)
    if correction == "isotropic" and len(region.shape.geoms) > 1:
        raise InputError(
            "The isotropic correction needs a region of one piece",
            received=f"{len(region.shape.geoms)} pieces",
            allowed="correction='translation'",
        )
    size = float(region.shape.area * sides[2:].prod())
    radii = _checked_radii(radii_nm, region, sides, correction)
    sums, pairs = _weighted_pairs(points, radii, region, sides, correction)
    n = len(points)
    # counts of ordered pairs over n (n - 1) / size, the squared density
    ring = sums * size / (n * (n - 1))
    k = np.cumsum(ring)
    unit = np.pi if dims == 2 else 4 / 3 * np.pi
    g = ring / np.diff(unit * radii**dims, prepend=0)
    return PairStatistics(radii, k, g, pairs // 2, n, size, dims, correction)


def _checked_radii(radii_nm: ArrayLike | None, region: Region, sides: Floats, correction: str) -> Floats:
    import shapely

    x_min, y_min, x_max, y_max = region.bounds
    if radii_nm is None:
        largest = min(min(x_max - x_min, y_max - y_min, *sides[2:]) / 4, 500.0)
        return np.linspace(largest / 100, largest, 100)
    radii = np.atleast_1d(np.asarray(radii_nm, float))
    if radii.ndim != 1 or not len(radii) or not (radii > 0).all() or not (np.diff(radii) > 0).all():
        raise InputError("The radii cannot be used", received=radii_nm, allowed="ascending, above 0 nm")
    # up to this radius every point of the region has others at that distance, so that the weights are unbiased
    allowed = float(shapely.minimum_bounding_radius(region.shape))
    if correction == "translation":
        allowed = float(min(x_max - x_min, y_max - y_min, *sides[2:]))
    if correction != "none" and radii[-1] > allowed:
        raise InputError(
            f"The {correction} correction does not reach so far", received=f"{radii[-1]:g} nm",
            allowed=f"radii up to {allowed:.4g} nm for this region",
        )  # fmt: skip
    return radii


def _weighted_pairs(
    points: NDArray[np.float32], radii: Floats, region: Region, sides: Floats, correction: Correction
) -> tuple[Floats, NDArray[np.int64]]:
    """Sum of the weights of the ordered pairs in each ring, and their number."""
    import shapely

    edges = edges_of(region)
    places = points.astype(np.float64)
    # circles around points farther from the border than the largest radius are whole
    to_border = shapely.distance(shapely.points(places[:, :2]), region.shape.boundary)
    sums, pairs = np.zeros(len(radii)), np.zeros(len(radii), np.int64)
    for first, second, distance in pair_batches(points, float(radii[-1])):
        ring = np.minimum(np.searchsorted(radii, distance), len(radii) - 1)
        weights: Any = np.ones(len(first))
        if correction == "isotropic":
            cut = np.flatnonzero(distance > to_border[first])
            weights[cut] = 1 / isotropic(places[first[cut], :2], distance[cut].astype(float), edges)
        elif correction == "translation":
            shift = places[second] - places[first]
            shared = overlaps(shift[:, :2], edges)
            if points.shape[1] == 3:
                shared = shared * (sides[2] - np.abs(shift[:, 2])) / sides[2]
            weights = np.divide(region.shape.area, shared, out=np.zeros(len(first)), where=shared > 0)
        sums += np.bincount(ring, weights, minlength=len(radii))
        pairs += np.bincount(ring, minlength=len(radii))
    return sums, pairs
