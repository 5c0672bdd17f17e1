"""What is filtered from labelled double lines, step by step, with the counts of every step (Varga et al. 2023)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from lucule.core import Config, Localizations
from lucule.space import NeighbourGrid
from lucule.structures.sarcomeres.objects import by_size, largest_cluster


class FilterSettings(Config):
    """Filters after the classification; None leaves a step out.

    Attributes
    ----------
    outliers
        A localization is left out when its mean distance to the 10 nearest of its double line is more than this many
        times the median of all of them; 5 in the paper. Where labels are few, dyes that were seen less than ten times
        are such outliers; so by default the fit of the lines decides, after the filters.
    dbscan_nm, dbscan_points
        Only the largest DBSCAN cluster of a double line is kept. The paper's 50 nm divide sparse lines, and lines that
        are farther apart than that and have nothing between them; the default joins both.
    sigma_nm
        Smallest and largest PSF width; the paper takes 112 to 160 nm for its microscope.
    precision_nm
        Largest localization error; the paper takes 20 nm.
    shortest_nm
        Shortest double line: the longer side of the rectangle around its convex hull.
    fewest
        Localizations that must be left of a double line.
    """

    outliers: float | None = Field(default=None, gt=0)
    dbscan_nm: float | None = Field(default=500.0, gt=0)
    dbscan_points: int = Field(default=5, gt=1)
    sigma_nm: tuple[float, float] | None = None
    precision_nm: float | None = Field(default=None, gt=0)
    shortest_nm: float | None = Field(default=300.0, gt=0)
    fewest: int = Field(default=50, gt=1)


def follow_up(
    locs: Localizations, number: NDArray[np.int32], settings: FilterSettings | None = None
) -> tuple[NDArray[np.int32], pl.DataFrame]:
    """Filter double lines.

    Parameters
    ----------
    locs
        All localizations.
    number
        `(n,)` double line of each, -1 for none.
    settings
        Which steps, with which limits.

    Returns
    -------
    number
        `(n,)`, with -1 for what was left out, numbered anew by size.
    steps
        `step`, `before`, `discarded`, `percent` (of what was there before the step), as in the paper's Table 1.

    Notes
    -----
    Steps whose columns the table lacks are listed with nothing discarded.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> xy = np.vstack([rng.normal(0, 20, (200, 2)), [[180.0, 0.0]]])
    >>> left, steps = follow_up(Localizations({"x": xy[:, 0], "y": xy[:, 1]}), np.zeros(201, np.int32))
    >>> steps["step"].to_list()[1:3], steps["discarded"].to_list()[2]  # a single clump is no double line
    (['DBSCAN', 'convex hull'], 201)
    """
    settings = settings or FilterSettings()
    number = np.asarray(number, np.int32).copy()
    steps = [_counts("classification and grouping", len(number), int((number < 0).sum()))]

    def take(name: str, keep: NDArray[np.bool_]) -> None:
        before = int((number >= 0).sum())
        number[~keep] = -1
        steps.append(_counts(name, before, before - int((number >= 0).sum())))

    xy = locs.xy()
    if settings.outliers is not None:
        take("nearest neighbours", _near(xy, number, settings.outliers))
    if settings.dbscan_nm is not None:
        keep = np.zeros(len(number), np.bool_)
        for rows in members(number):
            keep[largest_cluster(xy, rows, settings.dbscan_nm, settings.dbscan_points)] = True
        take("DBSCAN", keep)
    if settings.sigma_nm is not None:
        take("sigma", _within(locs, ("sigma_x", "sigma_y"), *settings.sigma_nm))
    if settings.precision_nm is not None:
        take("precision", _within(locs, ("x_err", "y_err"), 0.0, settings.precision_nm))
    if settings.shortest_nm is not None:
        keep = np.zeros(len(number), np.bool_)
        for rows in members(number):
            keep[rows] = hull_measures(xy[rows])["hull_length_nm"] >= settings.shortest_nm
        take("convex hull", keep)
    before = int((number >= 0).sum())
    left = by_size(number, settings.fewest)
    steps.append(_counts("too few left", before, before - int((left >= 0).sum())))
    return left, pl.DataFrame(steps)


def members(number: NDArray[np.int32]) -> list[NDArray[np.int64]]:
    """Rows of every double line, in the order of their numbers."""
    order = np.argsort(number, kind="stable")
    starts = np.searchsorted(number[order], np.arange(int(number.max(initial=-1)) + 2))
    return [order[a:b] for a, b in pairwise(starts)]


def hull_measures(xy: NDArray[Any]) -> dict[str, float]:
    """Area, perimeter and longest side of the convex hull of `(n, 2)` positions, nm.

    Examples
    --------
    >>> {k: round(v, 3) for k, v in hull_measures(np.array([[0, 0], [1000, 0], [1000, 500], [0, 500]])).items()}
    {'hull_area_um2': 0.5, 'hull_perimeter_um': 3.0, 'hull_length_nm': 1000.0}
    """
    import shapely

    # a closed line has the hull of its points, and is made of an array at once
    line = np.concatenate([xy, xy[:1]]).astype(np.float64)
    hull = shapely.convex_hull(shapely.linestrings(line)) if len(line) else shapely.Polygon()
    box = np.asarray(shapely.minimum_rotated_rectangle(hull).exterior.coords) if hull.area > 0 else np.zeros((2, 2))
    return {
        "hull_area_um2": hull.area / 1e6,
        "hull_perimeter_um": hull.length / 1e3,
        "hull_length_nm": float(np.linalg.norm(np.diff(box, axis=0), axis=1).max()),
    }


def _counts(step: str, before: int, discarded: int) -> dict[str, Any]:
    return {
        "step": step,
        "before": before,
        "discarded": discarded,
        "percent": 100 * discarded / before if before else 0.0,
    }


def _near(xy: NDArray[np.float32], number: NDArray[np.int32], times: float) -> NDArray[np.bool_]:
    """Which localizations are no outliers of the distances to their 10 nearest."""
    mean = np.zeros(len(number))
    median = np.zeros(len(number))
    for rows in members(number):
        distances = NeighbourGrid(xy[rows]).distances(10)
        mean[rows] = np.where(np.isfinite(distances), distances, 0).sum(axis=1) / np.isfinite(distances).sum(
            axis=1
        ).clip(min=1)
        median[rows] = np.median(distances[np.isfinite(distances)]) if np.isfinite(distances).any() else 0
    return np.asarray(mean <= times * median)


def _within(locs: Localizations, columns: tuple[str, ...], low: float, high: float) -> NDArray[np.bool_]:
    keep = np.ones(len(locs), np.bool_)
    for column in columns:
        if column in locs:
            keep &= (locs[column] >= low) & (locs[column] <= high)
    return keep
