"""Exact nearest-neighbour distances: lucule beside scipy, pykdtree and the search that CAML's scripts use.

All methods search the same points (300 per um2, half of them in clusters of 25 nm) in the same random order, each with
all cores. lucule answers for all points, batch by batch, as the rest of the package asks it to. The others are slower
and answer for a random sample; what they would need for all points is extrapolated, as the column `note` tells. The
search of CAML crops a box around each point, computes all distances inside and sorts them, one point after the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.space import NeighbourGrid

POINTS: Final = 1_000_000
CLUSTER_SIGMA_NM: Final = 25.0
DENSITY_PER_UM2: Final = 300.0
AXIAL_RANGE_NM: Final = 500.0
PER_CLUSTER: Final = 50
SAMPLE: Final = {10: 500_000, 100: 200_000, 1000: 20_000}
CAML_SAMPLE: Final = 50

Points = NDArray[np.float32]
Distances = NDArray[np.floating[Any]]
Rows = NDArray[np.int64]
# k and rows -> their distances, and how many points were answered for
Search = Callable[[int, Rows], tuple[Distances, int]]


def run(
    *, seed: int = 1, points: int = POINTS, ks: tuple[int, ...] = (10, 100, 1000), dims: tuple[int, ...] = (2, 3)
) -> pl.DataFrame:
    """One row for each method, number of dimensions and number of neighbours k.

    Returns
    -------
    table
        `points_per_s` of the search alone, `build_s` for tree or index, `seconds` for both and all points,
        `ratio_to_scipy` of searching speeds, and `max_difference_nm` to scipy's distances.
    """
    rows: list[dict[str, Any]] = []
    for d in dims:
        xyz = clustered_points(points, d, seed)
        methods = {name: _built(make, xyz) for name, make in _METHODS.items()}
        for k in ks:
            rng = np.random.default_rng(seed + k)
            sample = np.sort(rng.choice(points, min(SAMPLE.get(k, points), points), replace=False))
            reference: Distances = np.empty((0, k))
            scipy_speed = np.nan
            for name, (search, build_s) in methods.items():
                queries = sample[:: max(1, len(sample) // CAML_SAMPLE)] if name == "CAML" else sample
                start = time.perf_counter()
                found, answered = search(k, queries)
                speed = answered / (time.perf_counter() - start)
                if name == "scipy cKDTree":
                    reference, scipy_speed = found, speed
                expected = reference[np.searchsorted(sample, queries)]
                rows.append(
                    {
                        "method": name,
                        "dims": d,
                        "k": k,
                        "points_per_s": round(speed),
                        "ratio_to_scipy": round(speed / scipy_speed, 3),
                        "build_s": round(build_s, 2),
                        "seconds": round(build_s + points / speed, 1),
                        "max_difference_nm": float(np.abs(found - expected).max()),
                        "note": "all points" if answered == points else f"{answered:,} random points, extrapolated",
                    }
                )
    return pl.DataFrame(rows)


def clustered_points(n: int, dims: int, seed: int) -> Points:
    """Half of `n` points in Gaussian clusters, half anywhere, in random order, nm."""
    rng = np.random.default_rng(seed)
    side = 1000 * np.sqrt(n / DENSITY_PER_UM2)
    size = np.array([side, side, AXIAL_RANGE_NM][:dims])
    centres = rng.uniform(0, size, (max(1, n // 2 // PER_CLUSTER), dims))
    inside = centres[rng.integers(0, len(centres), n // 2)] + rng.normal(0, CLUSTER_SIGMA_NM, (n // 2, dims))
    xyz = np.concatenate([inside, rng.uniform(0, size, (n - n // 2, dims))])
    return rng.permutation(xyz).astype(np.float32)


def _built(make: Callable[[Points], Search], points: Points) -> tuple[Search, float]:
    make(points[:1000])(5, np.arange(10))  # compile
    start = time.perf_counter()
    search = make(points)
    return search, time.perf_counter() - start


def _scipy(points: Points) -> Search:
    from scipy.spatial import cKDTree

    tree = cKDTree(points)
    return lambda k, rows: (tree.query(points[rows], k + 1, workers=-1)[0][:, 1:], len(rows))


def _lucule(points: Points) -> Search:
    grid = NeighbourGrid(points)

    def search(k: int, rows: Rows) -> tuple[Distances, int]:
        slots = np.full(len(points), -1)
        slots[rows] = np.arange(len(rows))
        found = np.empty((len(rows), k), np.float32)
        for batch, distances in grid.batches(k, size=16_384):
            asked = slots[batch] >= 0
            found[slots[batch[asked]]] = distances[asked]
        return found, len(points)

    return search


def _pykdtree(points: Points) -> Search:
    from pykdtree.kdtree import KDTree

    tree = KDTree(points)
    return lambda k, rows: (tree.query(points[rows], k + 1)[0][:, 1:], len(rows))


def _caml(points: Points) -> Search:
    density = len(points) / np.prod(np.ptp(points[:, :2].astype(float), axis=0))

    def search(k: int, rows: Rows) -> tuple[Distances, int]:
        found = np.empty((len(rows), k))
        for slot, row in enumerate(rows):
            half_side = np.sqrt(k / density) / 2
            while True:
                inside = np.flatnonzero(np.abs(points - points[row]).max(axis=1) <= half_side)
                distances = np.sort(np.sqrt(((points[inside] - points[row]).astype(float) ** 2).sum(axis=1)))
                # complete when the kth neighbour is no farther than the nearest side of the box
                if len(inside) > k and distances[k] <= half_side:
                    break
                half_side *= 1.5
            found[slot] = distances[1 : k + 1]
        return found, len(rows)

    return search


_METHODS: Final[dict[str, Callable[[Points], Search]]] = {
    "scipy cKDTree": _scipy,
    "lucule": _lucule,
    "pykdtree": _pykdtree,
    "CAML": _caml,
}
