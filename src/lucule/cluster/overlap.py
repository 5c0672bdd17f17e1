"""Two channels: how often clusters of one touch, hold and cover clusters of the other, against chance.

Chance is what remains when one channel is shifted as a whole against the other: every cluster keeps its shape and its
place among its own kind, and only what the channels have to do with each other is lost (toroidal shift; Lotwick and
Silverman, J R Stat Soc B 44:406, 1982). What leaves the bounding box of the region on one side comes back on the other.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.cluster import intervals
from lucule.cluster.result import Clusters
from lucule.core import InputError, Region

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST_SHARED: Final = 0.3
"""Shifts that leave a smaller part of either channel inside the region tell too little, and are drawn again."""
_TRIES: Final = 50
MEASURES: Final = {
    "a_touching_b": "clusters of A that touch one of B",
    "b_touching_a": "clusters of B that touch one of A",
    "a_holding_b": "clusters of A that hold the centre of one of B",
    "b_holding_a": "clusters of B that hold the centre of one of A",
    "a_covered_by_b": "area of the clusters of A that clusters of B cover",
    "b_covered_by_a": "area of the clusters of B that clusters of A cover",
}

Floats = NDArray[np.float64]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Overlap:
    """What two channels have to do with each other, from `lucule.cluster.overlap`.

    Attributes
    ----------
    data
        One row for each of `MEASURES`: `measure`, `fraction` (0 to 1), `low` and `high` (its 95 % interval, clusters as
        independent units), `expected` (mean over the shifts), `expected_low` and `expected_high` (the middle 95 % of
        the shifts), `ratio` (observed over expected; NaN where nothing is expected), `p` (two-sided) and `meaning`.
    null
        Fractions after each shift, `(shifts, 6)`, in the order of the rows.
    clusters
        Clusters of A and B with an outline.
    edge
        What the shifts wrapped around, in words.
    """

    data: pl.DataFrame
    null: Floats
    clusters: tuple[int, int]
    edge: str

    def table(self) -> pl.DataFrame:
        """One row per measure."""
        return self.data

    def summary(self) -> dict[str, Any]:
        """All numbers by name, for JSON."""
        result: dict[str, Any] = {"clusters_a": self.clusters[0], "clusters_b": self.clusters[1]}
        for row in self.data.iter_rows(named=True):
            name = row["measure"]
            result |= {
                name: row["fraction"],
                f"{name}_confidence": [row["low"], row["high"]],
                f"{name}_expected": row["expected"],
                f"{name}_expected_interval": [row["expected_low"], row["expected_high"]],
                f"{name}_ratio": row["ratio"],
                f"{name}_p": row["p"],
            }
        return result | {"shifts": len(self.null), "edge": self.edge}

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw each fraction beside what the shifts expect."""
        import matplotlib.pyplot as plt

        axes = ax or plt.figure(layout="constrained").add_subplot()
        rows = np.arange(self.data.height)
        fraction, low, high, expected, expected_low, expected_high = (
            self.data[name].to_numpy()
            for name in ("fraction", "low", "high", "expected", "expected_low", "expected_high")
        )
        axes.hlines(rows, expected_low, expected_high, color="0.8", linewidth=9, label="expected by chance (95 %)")
        axes.plot(expected, rows, "|", color="0.4", markersize=9)
        axes.errorbar(
            fraction, rows, xerr=[fraction - low, high - fraction], fmt="o", color="tab:orange", label="observed (95 %)"
        )
        axes.set_yticks(rows, [name.replace("_", " ") for name in self.data["measure"]])
        axes.set(xlabel="fraction", ylim=(len(rows) - 0.5, -0.5))
        axes.legend(frameon=False)
        return axes


@dataclass(frozen=True, slots=True, eq=False)
class _Field:
    """Outlines of both channels in one field, their centres and the tree of A."""

    a: NDArray[Any]
    b: NDArray[Any]
    centre_a: Floats
    centre_b: Floats
    tree: Any


def overlap(
    a: Clusters,
    b: Clusters,
    *,
    region: Region | None = None,
    reach_nm: float = 0.0,
    shifts: int = 199,
    seed: int = 1,
) -> Overlap:
    """Fractions of clusters that touch, hold and cover those of another channel, and what chance would give.

    Parameters
    ----------
    a, b
        Clusters of the two channels in 2D, in the same coordinates: two tables, or `clusters.select(channel=0)` and
        `clusters.select(channel=1)` of one. Fields are shifted each for itself and counted together.
    region
        Where localizations can lie. Default: the region inside which `a` was measured; without one, the bounding box of
        all clusters, which makes chance look too small where they fill only a part of it (a warning is logged).
    reach_nm
        Outlines that are so near count as touching.
    shifts
        How many random shifts of B.
    seed
        Of the shifts.

    Raises
    ------
    InputError
        There are no outlines (3D), the region is so thin that shifts leave nothing inside it, or a number is not
        allowed.

    Notes
    -----
    In a region that is no rectangle a shift moves clusters out of it and empty space into it. So after a shift only
    those clusters of A count whose centre lies where B could be, in the shifted region, and only those of B whose
    centre lies inside the region. The fractions of the shifts are then those of fewer clusters, their spread is a
    little wider, and p a little too large rather than too small. A cluster that sticks out over the edge is moved as a
    whole.

    p is two-sided: twice the smaller of the two fractions of shifts, the observed one among them, that reach the
    observed value from above or from below. With 199 shifts it is at least 0.01.

    Examples
    --------
    >>> from lucule.cluster import measure
    >>> from lucule.core import Localizations
    >>> rng = np.random.default_rng(1)
    >>> centre = rng.uniform(100, 3900, (40, 1, 2))
    >>> points = (centre + rng.normal(0, 15, (40, 30, 2))).reshape(-1, 2)
    >>> columns = {"x": points[:, 0], "y": points[:, 1], "cluster": np.repeat(np.arange(40), 30)}
    >>> clusters = measure(Localizations(columns), region=Region.rectangle(0, 0, 4000, 4000))
    >>> with_itself = overlap(clusters, clusters)
    >>> with_itself.summary()["a_touching_b"], with_itself.summary()["a_touching_b_p"]
    (1.0, 0.01)
    """
    if reach_nm < 0 or shifts < 19:
        raise InputError(
            "The overlap cannot be tested so",
            received=f"reach_nm = {reach_nm}, shifts = {shifts}",
            allowed="reach_nm from 0, at least 19 shifts",
        )
    fields = list(_fields(a, b))
    counts = (sum(len(own.a) for own in fields), sum(len(own.b) for own in fields))
    if region is None:
        region, edge = _region_of(a, fields)
    else:
        edge = "the region"
    observed = [_overlaps(own, np.zeros(2), None, reach_nm) for own in fields]
    rng = np.random.default_rng(seed)
    null = np.array([_shifted(fields, region, reach_nm, rng) for _ in range(shifts)])
    rows = []
    for column, (name, meaning) in enumerate(MEASURES.items()):
        part, whole = (np.concatenate([own[column][side] for own in observed]) for side in (0, 1))
        fraction = float(part.sum() / whole.sum()) if whole.sum() else np.nan
        low, high = intervals.of_ratio(part, whole) or (np.nan, np.nan)
        chance = null[:, column]
        expected = float(chance.mean())
        beyond = min((chance >= fraction).sum(), (chance <= fraction).sum()) if np.isfinite(fraction) else np.nan
        expected_low, expected_high = np.quantile(chance, [0.025, 0.975])
        rows.append(
            {
                "measure": name,
                "fraction": fraction,
                "low": low,
                "high": high,
                "expected": expected,
                "expected_low": float(expected_low),
                "expected_high": float(expected_high),
                "ratio": fraction / expected if expected else np.nan,
                "p": min(2 * (1 + float(beyond)) / (1 + shifts), 1.0) if np.isfinite(fraction) else np.nan,
                "meaning": meaning,
            }
        )
    return Overlap(pl.DataFrame(rows), null, counts, edge)


def _fields(a: Clusters, b: Clusters) -> Iterator[_Field]:
    import shapely

    for clusters in (a, b):
        if clusters.outlines() is None:
            raise InputError(
                "The overlap needs outlines",
                received="clusters in 3D, or measured without outlines",
                next_step="measure the localizations with outlines, in the plane (without the column z)",
            )
    names = [set(own.fields["field"]) if "field" in own.fields.columns else {None} for own in (a, b)]
    if names[0] != names[1] and None in names[0] | names[1]:
        raise InputError("One of the tables has several fields and the other has not", next_step="measure both alike")
    for field in sorted(names[0] | names[1], key=lambda value: value or 0):
        shapes = [
            own.select(field=field).outlines() if field in theirs else np.empty(0, object)
            for own, theirs in zip((a, b), names, strict=True)
        ]
        kept = [own[~shapely.is_missing(own)] for own in shapes]
        centres = [shapely.get_coordinates(shapely.centroid(own)).reshape(-1, 2) for own in kept]
        yield _Field(*kept, *centres, shapely.STRtree(kept[0]))


def _region_of(a: Clusters, fields: list[_Field]) -> tuple[Region, str]:
    """The region inside which `a` was measured, or else the bounding box of all outlines."""
    import shapely

    measured_in = [step.parameters.get("region") for step in a.meta.history if step.function.endswith(".measure")]
    if measured_in and measured_in[-1] is not None:
        return Region.from_geojson(measured_in[-1]), "the region inside which A was measured"
    everything = np.concatenate([shapes for own in fields for shapes in (own.a, own.b)])
    if not len(everything):
        return Region.rectangle(0, 0, 1, 1), "nothing: there are no clusters"
    _log.warning(
        "The overlap was held against shifts in the bounding box of the clusters; where they fill only a part of it, "
        "chance looks too small. Next: name the region of the cell."
    )
    return Region.rectangle(*shapely.total_bounds(everything)), "the bounding box of the clusters"


def _shifted(fields: list[_Field], region: Region, reach_nm: float, rng: np.random.Generator) -> list[float]:
    """Fractions after one random shift of B in each field."""
    x_min, y_min, x_max, y_max = region.bounds
    size = np.array([x_max - x_min, y_max - y_min])
    found = []
    for own in fields:
        for _ in range(_TRIES):
            shift = rng.random(2) * size
            inside = _inside(own, region, shift)
            if all(len(kept) == 0 or kept.mean() >= LEAST_SHARED for kept in inside):
                break
        else:
            raise InputError(
                "Shifts leave too little of the clusters inside the region",
                allowed=f"at least {LEAST_SHARED:.0%} of either channel",
                next_step="choose a region that fills more of its bounding box",
            )
        found.append(_overlaps(own, shift, inside, reach_nm, region.bounds))
    result = []
    for column in range(len(MEASURES)):
        part, whole = (sum(float(own[column][side].sum()) for own in found) for side in (0, 1))
        result.append(part / whole if whole else 0.0)
    return result


def _inside(own: _Field, region: Region, shift: Floats) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Clusters of A where B can be after the shift, and clusters of B that are inside the region after it."""
    if region.is_rectangle:
        return np.ones(len(own.a), dtype=bool), np.ones(len(own.b), dtype=bool)
    return (
        region.contains(_wrapped(own.centre_a - shift, region.bounds)),
        region.contains(_wrapped(own.centre_b + shift, region.bounds)),
    )


def _wrapped(points: Floats, bounds: tuple[float, float, float, float]) -> Floats:
    low, high = np.array(bounds[:2]), np.array(bounds[2:])
    return low + (points - low) % (high - low)


def _overlaps(
    own: _Field,
    shift: Floats,
    inside: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None,
    reach_nm: float,
    bounds: tuple[float, float, float, float] | None = None,
) -> list[tuple[Floats, Floats]]:
    """For each measure the parts and the wholes, one of each per cluster that counts."""
    import shapely

    moved, centre_b = own.b, own.centre_b
    if bounds is not None:
        centre_b = _wrapped(own.centre_b + shift, bounds)
        moves = np.repeat(centre_b - own.centre_b, shapely.get_num_coordinates(own.b), axis=0)
        moved = shapely.set_coordinates(own.b.copy(), shapely.get_coordinates(own.b) + moves)
    in_a, in_b = inside if inside is not None else (np.ones(len(own.a), dtype=bool), np.ones(len(own.b), dtype=bool))

    predicate = {"predicate": "dwithin", "distance": reach_nm} if reach_nm else {"predicate": "intersects"}
    j, i = own.tree.query(moved, **predicate)
    counted = in_a[i] & in_b[j]
    i, j = i[counted], j[counted]
    area = shapely.area(shapely.intersection(own.a[i], moved[j]))
    a_holds = shapely.contains_xy(own.a[i], centre_b[j])
    b_holds = shapely.contains_xy(moved[j], own.centre_a[i])
    parts = []
    for shapes, kept, index, holds in ((own.a, in_a, i, a_holds), (own.b, in_b, j, b_holds)):
        whole_area = shapely.area(shapes)
        covered = np.minimum(np.bincount(index, area, minlength=len(shapes)), whole_area)
        touching = np.bincount(index, minlength=len(shapes)) > 0
        holding = np.bincount(index, holds, minlength=len(shapes)) > 0
        parts.append(
            [
                (touching[kept].astype(np.float64), np.ones(kept.sum())),
                (holding[kept].astype(np.float64), np.ones(kept.sum())),
                (covered[kept], whole_area[kept]),
            ]
        )
    return [side[measure] for measure in range(3) for side in parts]
