"""Simulated tables of localizations with their truth."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from lucule.core import InputError, Localizations, Meta, Region, step
from lucule.simulate.clusters import Slab, around, outside, place
from lucule.simulate.fibres import Fibres, place_fibres
from lucule.simulate.outlines import Cell, Square
from lucule.simulate.scenario import Scenario

_EDGE_GAP_RADII: Final = 1.1
_NOTHING: Final = (np.empty((0, 3)), np.empty(0, np.int32))


@step
def simulate(scenario: Scenario, *, seed: int) -> Localizations:
    """Draw one field of view; the same seed gives the same bits.

    The number of localizations follows from density and area, so that realised and asked density agree to within one
    cluster; positions are random. Clusters lie wholly inside the outline with centres at least 2.2 radii apart, and
    localizations outside of clusters never fall into one. Rows come in random order.

    Parameters
    ----------
    scenario
        What the field looks like.
    seed
        Any whole number from 0.

    Returns
    -------
    Localizations
        x, y (and z), nm, with the truth: `true_label` (uint8, 1 = clustered, 2 = on a fibre) and `true_cluster` (int32,
        -1 = none; fibres are numbered after the clusters).

    Raises
    ------
    InputError
        Clusters or fibres do not fit into the field, or it is too small for one cluster, fibre or localization.

    Notes
    -----
    After CAML's simulator (Williamson et al. 2020, Methods); discs and spheres are truly uniform here.

    Examples
    --------
    >>> locs = simulate(Scenario(density_per_um2=100, fraction_clustered=0.5, radius_nm=30), seed=1)
    >>> bool(abs(locs["true_label"].mean() - 0.5) < 0.001)
    True
    """
    outline_rng, centre_rng, point_rng, fibre_rng = _generators(seed)
    outline = _outline(scenario, outline_rng)
    half = scenario.axial_range_nm / 2
    slab = Slab(outline, (-half, half) if scenario.dims == 3 else None)
    n_clusters, n_fibres, n_on_fibres, n_free = _counts(scenario, outline.area_um2)

    fibres = _fibres(scenario, slab, n_fibres, fibre_rng)
    # clusters keep the same distance from fibres as a tenth of their own spacing, 0.1 R between the edges
    clear = _EDGE_GAP_RADII * scenario.radius_nm + scenario.fibre_radius_nm
    cells = place(
        centre_rng, slab, n_clusters, scenario.radius_nm, (lambda at: fibres.near(at, clear)) if fibres else None
    )
    cluster = np.repeat(np.arange(n_clusters, dtype=np.int32), scenario.points_per_cluster)
    clustered = cells.centres_nm[cluster] + around(
        point_rng, len(cluster), scenario.radius_nm, shape=scenario.shape, dims=scenario.dims
    )
    free = outside(point_rng, slab, n_free, cells, scenario.radius_nm, fibres.covered if fibres else None)
    on_fibres, fibre = fibres.draw(fibre_rng, n_on_fibres) if fibres else _NOTHING

    positions = np.concatenate([clustered, free, on_fibres])
    membership = np.concatenate([cluster, np.full(n_free, -1, np.int32), n_clusters + fibre])
    label = np.repeat(np.array([1, 0, 2], np.uint8), [len(clustered), n_free, n_on_fibres])
    order = point_rng.permutation(len(positions))
    columns = _with_error(positions[order], scenario, point_rng)
    columns["true_label"] = label[order]
    columns["true_cluster"] = membership[order]
    counts = {"clusters": n_clusters} | ({"fibres": n_fibres} if n_fibres else {})
    meta = Meta(
        vendor={"simulation": counts | {"outline_area_um2": outline.area_um2}},
        errors="predicted" if "x_err" in columns else None,
    )
    return Localizations(pl.DataFrame(columns), meta)


def field_outline(scenario: Scenario, *, seed: int) -> Region:
    """Give the outline in which `simulate(scenario, seed=seed)` draws its localizations.

    Examples
    --------
    >>> field_outline(Scenario(density_per_um2=10, outline="square"), seed=1).area_um2
    1600.0
    """
    return _outline(scenario, _generators(seed)[0]).region()


def _generators(seed: int) -> list[np.random.Generator]:
    # independent streams: the outline does not depend on what is drawn inside it
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError("The seed must be a whole number", received=repr(seed), allowed="0 or more")
    return np.random.default_rng(seed).spawn(4)


def _outline(scenario: Scenario, rng: np.random.Generator) -> Cell | Square:
    size_nm = scenario.field_size_um * 1000
    if scenario.outline == "square":
        return Square((0.0, 0.0), size_nm)
    smallest, largest = scenario.cell_radius_um
    return Cell.draw(rng, centre_nm=(size_nm / 2, size_nm / 2), radius_nm=(smallest * 1000, largest * 1000))


def _fibres(scenario: Scenario, slab: Slab, n: int, rng: np.random.Generator) -> Fibres | None:
    if not n:
        return None
    return place_fibres(
        rng,
        slab,
        n,
        radius_nm=scenario.fibre_radius_nm,
        length_nm=1000 * scenario.fibre_length_um,
        persistence_nm=1000 * scenario.fibre_persistence_um,
        reach_nm=_EDGE_GAP_RADII * scenario.radius_nm + scenario.fibre_radius_nm,
    )


def _counts(scenario: Scenario, area_um2: float) -> tuple[int, int, int, int]:
    """Numbers of clusters, of fibres, of localizations on fibres, and of localizations outside of both."""
    total = scenario.density_per_um2 * area_um2
    n_clusters = round(total * scenario.fraction_clustered / scenario.points_per_cluster)
    n_on_fibres = round(total * scenario.fraction_in_fibres)
    n_fibres = round(n_on_fibres / (scenario.fibre_points_per_um * scenario.fibre_length_um))
    n_free = round(total * (1 - scenario.fraction_clustered - scenario.fraction_in_fibres))
    if scenario.fraction_in_fibres > 0 and n_fibres == 0:
        raise InputError(
            "The field is too small for one fibre",
            received=f"{n_on_fibres} localizations on fibres in {area_um2:.4g} um2",
            allowed=f"at least {scenario.fibre_points_per_um * scenario.fibre_length_um:g} (points per fibre)",
            next_step="raise density_per_um2, fraction_in_fibres or field_size_um",
        )
    if scenario.fraction_clustered > 0 and n_clusters == 0:
        raise InputError(
            "The field is too small for one cluster",
            received=f"{total * scenario.fraction_clustered:.1f} clustered localizations in {area_um2:.4g} um2",
            allowed=f"at least {scenario.points_per_cluster} (points_per_cluster)",
            next_step="raise density_per_um2, fraction_clustered or field_size_um",
        )
    if n_clusters + n_on_fibres + n_free == 0:
        raise InputError(
            "The field is too small for one localization",
            received=f"{scenario.density_per_um2:g} per um2 on {area_um2:.4g} um2",
            next_step="raise density_per_um2 or field_size_um",
        )
    return n_clusters, n_fibres, n_on_fibres, n_free


def _with_error(
    positions: np.ndarray[tuple[int, int], np.dtype[np.float64]], scenario: Scenario, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    columns = {}
    for axis, values in zip("xyz"[: scenario.dims], positions.T, strict=False):
        error = scenario.axial_error_nm if axis == "z" else scenario.localization_error_nm
        columns[axis] = (values + rng.normal(0.0, error, len(values)) if error else values).astype(np.float32)
        if error:
            columns[f"{axis}_err"] = np.full(len(values), error, np.float32)
    return columns
