"""Clusters of our default beside every published method on the same simulated fields, and the speed of DBSCAN.

Fields are those of `lucule.simulate.varied_fields`: families of one difficulty each, with and without blinking; every
field draws its own density, size, contrast and error. Each method answers for each field:

- `lucule`: labels and groups as `lucule run clusters` makes them, nothing to tune; and the same with other networks.
- the published methods with their default settings, untuned.
- DBSCAN and HDBSCAN tuned on the answer: with those settings out of a grid that give the best adjusted Rand index, one
  pair for all fields of a family (`tuned per family`), or for every field its own (`tuned per field`). Nobody can do
  that with real data; it is what a method of this kind could reach at best.

Scores are averaged over the fields of a family, and rows `all` over the families. Rows of the part `speed` time DBSCAN
beside scikit-learn's.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule import models
from lucule.bench.dbscan_speed import speed
from lucule.bench.textbook_fields import PROCESSES, textbook_field
from lucule.cluster import methods, scores
from lucule.cluster.members import Members
from lucule.cluster.methods.hdbscan import hierarchy, select
from lucule.cluster.outlines import RADIUS_PER_SPACING, outlines
from lucule.core import SILENT, Localizations, Progress
from lucule.simulate.varied_fields import FAMILIES, Field, varied_field
from lucule.workflows import clusters as workflow

FIELDS: Final = 4
"""Fields of each family, with and without blinking."""
SLOW_FIELDS: Final = 1
"""As many for the two methods that take seconds for each."""
OTHER_MODELS: Final = ("XPILJZ", "07VEJJ", "87B144")
"""Networks after the paper, scored beside the default where they are packaged."""
EPSILON_NM: Final = (5, 8, 12, 18, 27, 40, 60, 90, 140, 210)
MIN_POINTS: Final = (3, 5, 8, 12, 20, 40)
MIN_CLUSTER_POINTS: Final = (5, 8, 12, 20, 40, 80)
CORE_POINTS: Final = (3, 5, 10, 20)
SCORES: Final = (
    "ari", "ari_clustered", "ami", "accuracy", "f1", "iou", "cluster_iou", "cluster_jaccard", "count_error",
    "count_error_abs", "centroid_error_nm", "ece", "random_clustered",
)  # fmt: skip
"""Columns that are averaged; `random_clustered` is the fraction of a field without clusters that was put into some."""

Clusters = NDArray[np.int32]


@dataclass(frozen=True)
class Case:
    """One field with its truth."""

    family: str
    blinking: bool
    field: Field

    @cached_property
    def locs(self) -> Localizations:
        """The table without its truth."""
        table = self.field.table()
        truth = ["molecule", "true_cluster", "true_label"]
        return Localizations(table.data.drop(truth), table.meta)

    @cached_property
    def shapes(self) -> list[Any]:
        """Outlines of the true clusters."""
        return _shapes(self.field.points, self.field.cluster)

    @cached_property
    def covered(self) -> list[Any]:
        """The same as one shape, so that it is merged once and not for every method."""
        import shapely

        return [shapely.union_all([shape for shape in self.shapes if shape is not None])]


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What one method found in one field."""

    case: Case
    method: str
    cluster: Clusters
    seconds: float
    probability: NDArray[np.float32] | None = None
    settings: str = ""
    scores: dict[str, float] = field(default_factory=dict)


def run(
    *,
    seed: int = 1,
    fields: int = FIELDS,
    families: tuple[str, ...] = (*FAMILIES, *PROCESSES),
    progress: Progress = SILENT,
) -> pl.DataFrame:
    """Score all methods on all families and on fields of textbook point processes; takes some minutes.

    Returns
    -------
    polars.DataFrame
        One row for each family or process (`part` "fields" or "textbook"), with and without blinking, and method:
        fields, localizations, settings (where all fields have the same), the mean scores, seconds and localizations
        per second. `count_error` is signed, `count_error_abs` not; areas and `cluster_iou` (mean over the true
        clusters) are for 2D. `ece` is the mean of the fields' own calibration errors, `ece_pooled` that of all their
        localizations together.
    """
    rows: list[dict[str, Any]] = []
    judged: dict[tuple[str, bool, str], list[Answer]] = {}
    parts = list(itertools.product(families, (False, True)))
    _warm_up()
    with progress.task("Find clusters", len(parts), "families") as task:
        for family, blinking in parts:
            cases = list(draw(family, blinking, fields, seed))
            answers = [scored(answer) for answer in (*default(cases), *published(cases), *tuned(cases))]
            names = dict.fromkeys(answer.method for answer in answers)
            rows += [_row([answer for answer in answers if answer.method == name]) for name in names]
            for answer in answers:
                if answer.probability is not None:
                    judged.setdefault((_part(family), blinking, answer.method), []).append(answer)
            task.advance()
    table = pl.DataFrame(rows, infer_schema_length=None)
    return pl.concat([table, _overall(table, judged), pl.DataFrame(speed(seed))], how="diagonal_relaxed")


def draw(family: str, blinking: bool, fields: int, seed: int, *, series: int = 20_201_493) -> Iterator[Case]:
    """Fields of a family or of a textbook process; the seeds are none of a training."""
    make: Callable[..., Field]
    if family in PROCESSES:
        make, place = partial(textbook_field, family, blinking=blinking), 1000 + list(PROCESSES).index(family)
    else:
        limits = FAMILIES[family].always_blinking() if blinking else FAMILIES[family].without_blinking()
        make, place = partial(varied_field, limits), list(FAMILIES).index(family)
    for number in range(fields):
        yield Case(family, blinking, make(seed=(series, seed, place, int(blinking), number)))


def default(cases: list[Case]) -> Iterator[Answer]:
    """Ours, by the same calls as in the workflow; and the paper's networks in place of the default one."""
    settings = workflow.Settings()
    rows = {"lucule": settings}
    packaged = {card.name for card in models.available()}
    for model in OTHER_MODELS:
        if model in packaged and model != settings.model:
            rows[f"lucule, {model}"] = settings.replace(model=model)
    for name, chosen in rows.items():
        for case in cases:
            started = time.perf_counter()
            found = workflow.find(case.locs, chosen, device="cpu")
            seconds = time.perf_counter() - started
            clustered = found["label"] > 0
            probability = np.where(clustered, found["p_label"], 1 - found["p_label"]) if "p_label" in found else None
            yield Answer(case, name, found["cluster"], seconds, probability)


def published(cases: list[Case]) -> Iterator[Answer]:
    """Every published method with its defaults."""
    untuned: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in methods.METHODS}
    untuned["voronoi, random"] = ("voronoi", {"threshold": "random", "random_fields": 10})
    # the default grid takes minutes for a field of thousands
    untuned["bayesian"] = ("bayesian", {"radii_nm": (20, 200, 20), "thresholds_nm": (20, 500, 20)})
    slow = ("bayesian", "voronoi, random")
    for label, (name, settings) in untuned.items():
        for number, case in enumerate(cases):
            if (label in slow and number >= SLOW_FIELDS) or (name == "getis" and case.locs.is_3d):
                continue
            yield _timed(case, label, name, settings)


def tuned(cases: list[Case]) -> Iterator[Answer]:
    """DBSCAN and HDBSCAN with the settings that are best, for the family and for each field."""
    grids: dict[str, Callable[[Case], Iterator[tuple[dict[str, int], Clusters]]]] = {
        "dbscan": _dbscan_grid,
        "hdbscan": _hdbscan_grid,
    }
    for name, grid in grids.items():
        tried: list[dict[str, int]] = []
        reached = []
        for case in cases:
            results = list(grid(case))
            tried = [settings for settings, _ in results]
            reached.append([scores.rand_index(case.field.cluster, cluster) for _, cluster in results])
        best = int(np.argmax(np.mean(reached, axis=0)))
        for number, case in enumerate(cases):
            yield _timed(case, f"{name}, tuned per family", name, tried[best])
            yield _timed(case, f"{name}, tuned per field", name, tried[int(np.argmax(reached[number]))])


def _dbscan_grid(case: Case) -> Iterator[tuple[dict[str, int], Clusters]]:
    for epsilon, fewest in itertools.product(EPSILON_NM, MIN_POINTS):
        settings = {"epsilon_nm": epsilon, "min_points": fewest}
        yield settings, methods.find_clusters(case.locs, "dbscan", **settings)["cluster"]


def _hdbscan_grid(case: Case) -> Iterator[tuple[dict[str, int], Clusters]]:
    points = case.field.points
    for core in CORE_POINTS:
        tree = hierarchy(points, core)
        for fewest in MIN_CLUSTER_POINTS:
            yield {"min_points": fewest, "core_points": core}, select(tree, fewest, "lasting")


def _timed(case: Case, label: str, name: str, settings: dict[str, Any]) -> Answer:
    started = time.perf_counter()
    found = methods.find_clusters(case.locs, name, **settings)
    text = ", ".join(f"{key}={value}" for key, value in settings.items())
    return Answer(case, label, found["cluster"], time.perf_counter() - started, settings=text)


def scored(answer: Answer) -> Answer:
    """An answer with its scores; those that do not exist are left out."""
    truth, found, points = answer.case.field.cluster, answer.cluster, answer.case.field.points
    values = {
        "ari": scores.rand_index(truth, found),
        "ari_clustered": scores.rand_index(truth, found, clustered_only=True),
        "ami": scores.mutual_information(truth, found),
        "accuracy": scores.clustered_accuracy(truth, found),
        "f1": scores.clustered_f1(truth, found),
        "cluster_jaccard": scores.cluster_jaccard(truth, found),
        "count_error": scores.count_error(truth, found),
        "count_error_abs": abs(scores.count_error(truth, found)),
    }
    errors = scores.centroid_errors(truth, found, points)
    values["centroid_error_nm"] = float(np.median(errors)) if len(errors) else np.nan
    if not (truth >= 0).any():
        values["random_clustered"] = float((found >= 0).mean())
        # nothing to find: whatever these say of it is the row above
        values = {name: value for name, value in values.items() if name in ("ari", "accuracy", "random_clustered")}
    elif points.shape[1] == 2:
        shapes = _shapes(points, found)
        values["iou"] = scores.area_iou(answer.case.covered, shapes)
        ious = scores.matched_area_ious(answer.case.shapes, shapes)
        values["cluster_iou"] = float(ious.mean()) if len(ious) else np.nan
    if answer.probability is not None:
        values["ece"] = scores.calibration_error(truth >= 0, answer.probability)
    answer.scores.update({name: value for name, value in values.items() if np.isfinite(value)})
    return answer


def _shapes(points: NDArray[np.float32], cluster: Clusters) -> list[Any]:
    """Outlines of clusters as `lucule.cluster.measure` draws them."""
    if points.shape[1] == 3:
        return []
    members = Members.of(points, cluster, np.flatnonzero(cluster >= 0))
    radius = RADIUS_PER_SPACING * members.nearest_neighbour()
    with SILENT.task("Outline") as task:
        return list(outlines(members.places, members.place_starts, radius, task))


def _row(answers: list[Answer]) -> dict[str, Any]:
    first = answers[0]
    n = sum(len(answer.cluster) for answer in answers)
    seconds = sum(answer.seconds for answer in answers)
    means: dict[str, float | None] = dict.fromkeys(SCORES)
    for name in SCORES:
        values = [answer.scores[name] for answer in answers if name in answer.scores]
        if values:
            means[name] = round(float(np.mean(values)), 4)
    settings = {answer.settings for answer in answers}
    return {
        "part": _part(first.case.family),
        "family": first.case.family,
        "blinking": first.case.blinking,
        "method": first.method,
        "settings": settings.pop() if len(settings) == 1 else "of each field",
        "fields": len(answers),
        "localizations": n,
        **means,
        "seconds": round(seconds, 3),
        "localizations_per_s": round(n / seconds),
    }


def _part(family: str) -> str:
    return "textbook" if family in PROCESSES else "fields"


def _overall(table: pl.DataFrame, judged: dict[tuple[str, bool, str], list[Answer]]) -> pl.DataFrame:
    """Means over the families and over the processes, with the calibration of all their localizations."""
    together = [
        {
            "part": part,
            "blinking": blinking,
            "method": method,
            "ece_pooled": scores.calibration_error(
                np.concatenate([answer.case.field.cluster >= 0 for answer in answers]),
                np.concatenate([answer.probability for answer in answers if answer.probability is not None]),
            ),
        }
        for (part, blinking, method), answers in judged.items()
    ]
    means = [pl.col(name).mean().round(4) for name in SCORES if table[name].dtype != pl.Null]
    sums = [pl.col("fields", "localizations", "seconds").sum()]
    return (
        table.group_by("part", "blinking", "method", maintain_order=True)
        .agg(*sums, *means)
        .with_columns(
            family=pl.lit("all"),
            localizations_per_s=(pl.col("localizations") / pl.col("seconds")).round().cast(pl.Int64),
        )
        .join(pl.DataFrame(together), on=["part", "blinking", "method"], how="left", maintain_order="left")
        .with_columns(part=pl.lit("all ") + pl.col("part"))
    )


def _warm_up() -> None:
    """Compile the kernels, so that no method pays for it."""
    for dims in ("discs", "three_d"):
        cases = [Case(dims, False, varied_field(FAMILIES[dims], seed=(20_201_493, 0)))]
        for _ in (*default(cases), *published(cases)):
            pass
