"""Exact nearest-neighbour distances: lucule beside scipy, pykdtree and the search that CAML's scripts use.

All methods search the same million points (300 per um2, half of them in clusters of 25 nm) in random order, each with
all cores. Where a method is slow, it answers for a random sample of the points, as the column `queries` tells. The
search of CAML crops a box around each point, computes all distances inside and sorts them, one point after the other;
it is timed for few points, and its time for all is an extrapolation.
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
SAMPLE: Final = {10: 1_000_000, 100: 200_000, 1000: 20_000}
CAML_SAMPLE: Final = 100

Points = NDArray[np.float32]
Distances = NDArray[np.floating[Any]]
Answer = Callable[[int, NDArray[np.int64]], Distances]


def run(
    *, seed: int = 1, points: int = POINTS, ks: tuple[int, ...] = (10, 100, 1000), dims: tuple[int, ...] = (2, 3)
) -> pl.DataFrame:
    """One row for each method, number of dimensions and number of neighbours k.

    Returns
    -------
    table
        `points_per_s` of the search, `build_s` for tree or index, `ratio_to_scipy` of searching speeds, and
        `max_difference_nm` to scipy's distances.
    """
    rows: list[dict[str, Any]] = []
    for d in dims:
        xyz = clustered_points(points, d, seed)
        methods = {name: _built(make, xyz) for name, make in _METHODS.items()}
        for k in ks:
            rng = np.random.default_rng(seed + k)
            sample = np.sort(rng.choice(points, min(SAMPLE.get(k, points), points), replace=False))
            reference: Distances | None = None
            scipy_speed = 0.0
            for name, (answer, build_s) in methods.items():
                queries = sample[:: max(1, len(sample) // CAML_SAMPLE)] if name == "caml" else sample
                answer(k, queries[:64])  # compile and warm up
                start = time.perf_counter()
                found = answer(k, queries)
                seconds = time.perf_counter() - start
                speed = len(queries) / seconds
                if reference is None:
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
                        "seconds_for_all": round(build_s + points / speed, 1),
                        "queries": len(queries),
                        "max_difference_nm": float(np.abs(found - expected).max()),
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


def _built(make: Callable[[Points], Answer], points: Points) -> tuple[Answer, float]:
    make(points[:1000])  # compile
    start = time.perf_counter()
    answer = make(points)
    return answer, time.perf_counter() - start


def _scipy(points: Points) -> Answer:
    from scipy.spatial import cKDTree

    tree = cKDTree(points)
    return lambda k, rows: tree.query(points[rows], k + 1, workers=-1)[0][:, 1:]


def _lucule(points: Points) -> Answer:
    grid = NeighbourGrid(points)
    return lambda k, rows: grid.distances(k, rows)


def _pykdtree(points: Points) -> Answer:
    from pykdtree.kdtree import KDTree

    tree = KDTree(points)
    return lambda k, rows: tree.query(points[rows], k + 1)[0][:, 1:]


def _caml(points: Points) -> Answer:
    density = len(points) / np.prod(np.ptp(points[:, :2].astype(float), axis=0))

    def answer(k: int, rows: NDArray[np.int64]) -> Distances:
        found = np.empty((len(rows), k))
        for slot, row in enumerate(rows):
            half_side = np.sqrt(k / density) / 2
            inside = np.empty(0, np.int64)
            while True:
                box = np.abs(points - points[row]).max(axis=1) <= half_side
                inside = np.flatnonzero(box)
                distances = np.sort(np.sqrt(((points[inside] - points[row]).astype(float) ** 2).sum(axis=1)))
                # complete when the kth neighbour is no farther than the nearest side of the box
                if len(inside) > k and distances[k] <= half_side:
                    break
                half_side *= 1.5
            found[slot] = distances[1 : k + 1]
        return found

    return answer


_METHODS: Final = {"scipy cKDTree": _scipy, "lucule": _lucule, "pykdtree": _pykdtree, "caml": _caml}
