"""Time and memory of DBSCAN beside scikit-learn's, each in a process of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SIZES: Final = (10_000, 100_000, 1_000_000)
DENSITY_PER_UM2: Final = 300.0
CLUSTER_SIGMA_NM: Final = 25.0
PER_CLUSTER: Final = 50
EPSILON_NM: Final = 20.0
MIN_POINTS: Final = 5
FEW_POINTS: Final = 100_000
REPEATS: Final = 5
"""For small tables, whose time is soon disturbed; the shortest counts."""
DENSE_POINTS: Final = 180_000
DENSE_SIDE_NM: Final = 2000.0
DENSE_EPSILON_NM: Final = 100.0
"""With 1,400 neighbours for each of the dense points, lists of which take 2 GB."""


def speed(seed: int, sizes: tuple[int, ...] = SIZES, dense: int = DENSE_POINTS) -> list[dict[str, Any]]:
    """Rows of the part `speed`: seconds, localizations per second, and the memory that the search took at its peak."""
    rows = []
    fields = [(f"clustered, {n:,}", n, EPSILON_NM) for n in sizes] + [(f"dense, {dense:,}", dense, DENSE_EPSILON_NM)]
    for family, n, epsilon in fields:
        for method in ("dbscan", "scikit-learn DBSCAN"):
            # memory once used stays with a process, so each has one of its own
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                seconds, megabytes, found = pool.submit(_measure, method, n, epsilon, seed).result()
            rows.append(
                {
                    "part": "speed",
                    "family": family,
                    "method": method,
                    "settings": f"epsilon_nm={epsilon:g}, min_points={MIN_POINTS}",
                    "localizations": n,
                    "clusters": found,
                    "seconds": round(seconds, 3),
                    "localizations_per_s": round(n / seconds),
                    "peak_memory_mb": None if megabytes is None else round(megabytes),
                }
            )
    return rows


def points(n: int, seed: int) -> NDArray[np.float32]:
    """Half of the points in Gaussian clusters, half free, or (180,000 of them) all as dense as can be."""
    rng = np.random.default_rng(seed)
    if n == DENSE_POINTS:
        return rng.uniform(0, DENSE_SIDE_NM, (n, 2)).astype(np.float32)
    side = 1000 * np.sqrt(n / DENSITY_PER_UM2)
    centres = rng.uniform(0, side, (n // 2 // PER_CLUSTER, 2))
    clustered = np.repeat(centres, PER_CLUSTER, axis=0)
    clustered = clustered + rng.normal(0, CLUSTER_SIGMA_NM, clustered.shape)
    free = rng.uniform(0, side, (n - len(clustered), 2))
    return rng.permutation(np.concatenate([clustered, free])).astype(np.float32)


def _measure(method: str, n: int, epsilon_nm: float, seed: int) -> tuple[float, float | None, int]:
    """Seconds, megabytes of memory beyond those before (None where the system does not tell), number of clusters."""
    from sklearn.cluster import DBSCAN

    from lucule.cluster.methods import Dbscan, dbscan
    from lucule.core import Localizations

    settings = Dbscan(epsilon_nm=epsilon_nm, min_points=MIN_POINTS)

    def find(xy: NDArray[np.float32]) -> int:
        if method == "dbscan":
            return int(dbscan(Localizations({"x": xy[:, 0], "y": xy[:, 1]}), settings)["cluster"].max())
        return int(DBSCAN(eps=epsilon_nm, min_samples=MIN_POINTS).fit_predict(xy).max())

    find(points(1000, seed))  # loads and compiles
    xy = points(n, seed)
    _forget_peak()
    before = _memory_mb("VmRSS")
    seconds = np.inf
    for _ in range(REPEATS if n <= FEW_POINTS else 1):
        started = time.perf_counter()
        found = find(xy) + 1
        seconds = min(seconds, time.perf_counter() - started)
    peak = _memory_mb("VmHWM")
    return seconds, None if peak is None or before is None else peak - before, found


def _forget_peak() -> None:
    """Let the highest memory of this process be counted from now; on Linux."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _memory_mb(name: str) -> float | None:
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    sizes = [line.split()[1] for line in status.read_text(encoding="ascii").splitlines() if line.startswith(name)]
    return int(sizes[0]) / 1024 if sizes else None
