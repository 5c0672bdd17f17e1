"""Sites of an average: where its localizations gather, how much each place holds, and how far apart places are."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter
from scipy.spatial import cKDTree

from lucule.structures.averaging.average import Average
from lucule.structures.averaging.density import blurred

Floats = NDArray[np.float64]

# maxima that reach this part of the usual one are sites
_FAINTEST: Final = 0.2
_SHIFTS: Final = 30
_REACH: Final = 2.0


def sites(found: Average) -> pl.DataFrame:
    """Places where the average is densest.

    Each is the mean of the localizations around it, weighted with a Gaussian of twice the precision, followed from a
    maximum of the density. Where there is a symmetry it is imposed first; of several classes the largest is taken.

    Returns
    -------
    table
        x, y (and z), nm; `weight`, the share of all localizations within two precisions (repeats of one dye count as
        one); `nearest_nm`, the distance to the next site (null for a single one). The densest site first.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> from lucule.core import Localizations
    >>> from lucule.structures.averaging import AverageSettings, average
    >>> xy = np.tile([[0.0, 0], [50, 0], [0, 80]], (12, 1)).repeat(6, axis=0) + rng.normal(0, 3, (216, 2))
    >>> table = Localizations({"x": xy[:, 0], "y": xy[:, 1], "x_err": np.full(216, 3.0), "group": np.arange(216) // 18})
    >>> len(sites(average(table, settings=AverageSettings(symmetry="none", starts=1))))
    3
    """
    grid, reach = found.grid, _REACH * found.particles.precision_nm
    times = found.symmetry.order
    keep = np.tile(found.main[found.particles.owner], times)
    points = found.points(symmetric=True)[keep]
    weight = np.tile(found.particles.weight, times)[keep]
    density = blurred(found.symmetric_density, max(found.blur_nm, found.particles.precision_nm), grid)
    side = 2 * max(round(reach / grid.voxel_nm), 1) + 1
    peaks = density == maximum_filter(density, size=(1 if grid.flat else side, side, side))
    heights = density[peaks]
    usual = float(np.median(heights[heights > _FAINTEST * heights.max()]))
    k, j, i = np.nonzero(peaks & (density > _FAINTEST * usual))
    starts = np.column_stack([axis[at] for axis, at in zip(grid.axes(), (i, j, k), strict=True)])
    tree = cKDTree(points)
    places = np.array([_followed(tree, points, weight, start, reach) for start in starts])
    places = _distinct(places, reach)
    held = np.array([weight[tree.query_ball_point(place, reach)].sum() for place in places]) / weight.sum()
    order = np.argsort(-held, kind="stable")
    places, held = places[order], held[order]
    nearest = cKDTree(places).query(places, k=2)[0][:, 1] if len(places) > 1 else np.full(len(places), np.nan)
    columns = {axis: places[:, n] for n, axis in enumerate("xy" if grid.flat else "xyz")}
    return pl.DataFrame(columns | {"weight": held, "nearest_nm": nearest}).with_columns(
        pl.col("nearest_nm").fill_nan(None)
    )


def _followed(tree: cKDTree, points: Floats, weight: Floats, start: Floats, width_nm: float) -> Floats:
    """Where the weighted mean of the surroundings comes to rest."""
    place = start
    for _ in range(_SHIFTS):
        near = tree.query_ball_point(place, 2.5 * width_nm)
        if not near:
            break
        apart = points[near] - place
        share = weight[near] * np.exp(-0.5 * (apart**2).sum(axis=1) / width_nm**2)
        move = share @ apart / share.sum()
        place = place + move
        if float((move**2).sum()) < 1e-6 * width_nm**2:
            break
    return place


def _distinct(places: Floats, reach_nm: float) -> Floats:
    """Places at least `reach_nm` apart; of nearer ones the first."""
    kept: list[Floats] = []
    for place in places:
        if all(float(((place - other) ** 2).sum()) > reach_nm**2 for other in kept):
            kept.append(place)
    return np.array(kept)
