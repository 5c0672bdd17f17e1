"""Labels of the packaged classifier beside DBSCAN and the truth, and its speed beside the paper's neighbour search.

Parts of the table:

- `balanced`: localizations drawn evenly from 60 of the listed scenarios and from both classes, as in training, from
  new fields. The paper's figure is the test accuracy of its model XPILJZ (Williamson et al. 2020, Results).
- `fields`: whole fields, all localizations, for the pairs of density and points per cluster of the paper's Fig. 3, each
  with 10, 50 and 90 % clustered and radii of 20, 50 and 100 nm; `disc` and `gaussian` clusters.
- `random`: fields without clusters. The paper gives figures for its larger model 07VEJJ only.
- `speed`: one table of a million localizations.

DBSCAN runs twice on every field: as many would start (50 nm, 5 localizations), and with the pair of parameters that is
best on another field of the same scenario, whose truth it is told.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.classify import classify, score
from lucule.classify.pool import listed
from lucule.classify.recipe import PoolSettings
from lucule.core import SILENT, Localizations, Progress
from lucule.simulate import Scenario, simulate
from lucule.space import NeighbourGrid

MODEL: Final = "XPILJZ"
PAPER_BALANCED: Final = 0.920
PAPER_RANDOM: Final = {10: 0.845, 50: 0.892}

LISTED: Final = 60
PER_CLASS: Final = 250
FIGURE_3: Final = ((50, 10), (100, 20), (300, 100), (500, 80))
FRACTIONS: Final = (0.1, 0.5, 0.9)
RADII_NM: Final = (20, 50, 100)
RANDOM_PER_UM2: Final = (10, 50, 100, 300, 500, 1000)
EPS_NM: Final = (10, 15, 20, 30, 40, 50, 70, 100)
MIN_SAMPLES: Final = (3, 5, 10)
TIMED_ROWS: Final = 100

Labels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Field:
    """One kind of field: the rows of the table to which it belongs, and how to draw it."""

    part: str
    kind: str
    scenario: Scenario
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """What one method gave for one field."""

    field: Field
    method: str
    truth: Labels
    labels: Labels
    seconds: float

    def balanced(self) -> Labelled:
        """Keep as many localizations of each class as the balanced test takes from a field."""
        rows = np.concatenate([np.flatnonzero(self.truth == label)[:PER_CLASS] for label in (0, 1)])
        return replace(self, truth=self.truth[rows], labels=self.labels[rows])


def run(*, seed: int = 1, progress: Progress = SILENT) -> pl.DataFrame:
    """Measure accuracy and speed; takes some minutes.

    Returns
    -------
    polars.DataFrame
        One row for each part, kind of field and method: fields, localizations, accuracy, F1, precision and recall
        (averaged over the classes by size), the accuracy of the worst field, the paper's accuracy, seconds,
        microseconds per localization.
    """
    fields = list(_fields(seed))
    classify(simulate(fields[0].scenario, seed=0), model=MODEL, device="cpu")  # compiles the kernels
    measured: list[Labelled] = []
    with progress.task("Classify fields", len(fields), "fields") as task:
        for field in fields:
            measured += _measure(field)
            task.advance()
    groups: dict[tuple[str, str, str], list[Labelled]] = {}
    for one in measured:
        groups.setdefault((one.field.part, one.field.kind, one.method), []).append(one)
    return pl.DataFrame([_row(group) for group in groups.values()] + _speed(seed), infer_schema_length=None)


def _fields(seed: int) -> Iterator[Field]:
    # none of the seeds of a training, which come from sequences of four words
    seeds = (int(word) for word in np.random.SeedSequence((seed, 2020)).generate_state(1000))
    for scenario in listed(PoolSettings(train=2, validation=2, test=2, largest_number=LISTED)):
        yield Field("balanced", "scenario list", _sized(scenario), next(seeds))
    shapes: list[tuple[tuple[int, int], Literal["disc", "gaussian"]]] = [(pair, "disc") for pair in FIGURE_3]
    shapes.append((FIGURE_3[1], "gaussian"))
    for ((density, points), shape), fraction, radius in itertools.product(shapes, FRACTIONS, RADII_NM):
        scenario = Scenario(
            density_per_um2=density,
            points_per_cluster=points,
            fraction_clustered=fraction,
            radius_nm=radius,
            shape=shape,
        )
        kind = f"{density} per um2, {points} per cluster, {shape}"
        yield Field("fields", kind, _sized(scenario), next(seeds))
    for density in RANDOM_PER_UM2:
        yield Field("random", f"{density} per um2", _sized(Scenario(density_per_um2=density)), next(seeds))


def _sized(scenario: Scenario) -> Scenario:
    """Give dense fields a smaller cell, so that each holds at most some 45,000 localizations."""
    factor = min(1.0, (100 / scenario.density_per_um2) ** 0.5)
    return scenario.replace(cell_radius_um=(10 * factor, 14 * factor))


def _measure(field: Field) -> Iterator[Labelled]:
    locs = simulate(field.scenario, seed=field.seed)
    methods: dict[str, Callable[[], Labels]] = {
        MODEL: lambda: classify(locs, model=MODEL, device="cpu")["label"],
        "DBSCAN 50 nm, 5": lambda: dbscan(locs, 50, 5),
    }
    if field.part != "random":
        best = _tune(field)
        methods["DBSCAN tuned on the truth"] = lambda: dbscan(locs, *best)
    for method, function in methods.items():
        started = time.perf_counter()
        labels = function()
        one = Labelled(field, method, locs["true_label"], labels, time.perf_counter() - started)
        yield one.balanced() if field.part == "balanced" else one


def dbscan(locs: Localizations, eps_nm: float, min_samples: int) -> Labels:
    """Labels by scikit-learn's DBSCAN: 1 in any cluster, 0 noise."""
    from sklearn.cluster import DBSCAN

    clusters = DBSCAN(eps=eps_nm, min_samples=min_samples).fit_predict(locs.xy())
    return np.asarray(clusters >= 0, np.uint8)


def _tune(field: Field) -> tuple[float, int]:
    """Give the pair of parameters that is best on a smaller field of the same scenario."""
    small = tuple(radius / 3 for radius in field.scenario.cell_radius_um)
    locs = simulate(field.scenario.replace(cell_radius_um=small), seed=field.seed + 1)
    truth = locs["true_label"]
    weights = 1 / np.bincount(truth, minlength=2)[truth] if field.part == "balanced" else np.ones(len(truth))
    pairs = list(itertools.product(EPS_NM, MIN_SAMPLES))
    hits = [float(weights @ (dbscan(locs, *pair) == truth)) for pair in pairs]
    return pairs[int(np.argmax(hits))]


def _row(group: list[Labelled]) -> dict[str, Any]:
    field, method = group[0].field, group[0].method
    truth, labels = (np.concatenate([getattr(one, name) for one in group]) for name in ("truth", "labels"))
    paper = {"balanced": PAPER_BALANCED, "random": PAPER_RANDOM.get(int(field.scenario.density_per_um2))}
    return {
        "part": field.part,
        "kind": field.kind,
        "method": method,
        "fields": len(group),
        "localizations": len(truth),
        **{name: round(value, 4) for name, value in score(truth, labels).weighted().items()},
        "worst_field_accuracy": round(min(float((one.truth == one.labels).mean()) for one in group), 4),
        "paper_accuracy": paper.get(field.part) if method == MODEL else None,
        "seconds": round(sum(one.seconds for one in group), 3),
    }


def _speed(seed: int) -> list[dict[str, Any]]:
    """Seconds for a million localizations; the paper's search is timed on some of them and extrapolated."""
    scenario = Scenario(
        density_per_um2=200, points_per_cluster=40, fraction_clustered=0.5, radius_nm=50, outline="square",
        field_size_um=70.72,
    )  # fmt: skip
    locs = simulate(scenario, seed=seed)
    few = _timed(lambda: box_search(locs.xy(), 100, np.arange(TIMED_ROWS)))
    timed = {
        f"{MODEL}, table to labels": _timed(lambda: classify(locs, model=MODEL, device="cpu")),
        "neighbour search alone, k = 100": _timed(lambda: [None for _ in NeighbourGrid(locs.xy()).batches(100)]),
        f"search as in the paper, k = 100 (from {TIMED_ROWS} localizations)": few * len(locs) / TIMED_ROWS,
        "DBSCAN 50 nm, 5": _timed(lambda: dbscan(locs, 50, 5)),
    }
    return [
        {
            "part": "speed",
            "kind": "200 per um2, 40 per cluster, disc",
            "method": method,
            "fields": 1,
            "localizations": len(locs),
            "seconds": round(seconds, 3),
            "us_per_localization": round(1e6 * seconds / len(locs), 3),
        }
        for method, seconds in timed.items()
    ]


def box_search(xy: NDArray[np.float32], k: int, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Neighbour distances `(m, k)` as the paper's scripts find them.

    For each point all others are compared with a box around it, the distances to those inside are sorted, and the box
    is doubled until it holds a circle with k neighbours. The cost grows with the square of the number of points.
    """
    from scipy.spatial.distance import cdist

    points = xy.astype(np.float64)
    extent = np.ptp(points, axis=0)
    half = float(np.sqrt(extent.prod() * k / len(points)))
    distances = np.empty((len(rows), k))
    for i, row in enumerate(rows):
        size = half
        while True:
            inside = (np.abs(points - points[row]) <= size).all(axis=1)
            near = np.sort(cdist(points[row : row + 1], points[inside])[0])
            if (near.size > k and near[k] <= size) or size > 2 * extent.max():
                break
            size *= 2
        distances[i] = near[1 : k + 1]
    return distances


def _timed(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started
