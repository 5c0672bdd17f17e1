"""The experiments of Williamson et al. 2020 (CAML) with the models of its family, and our default beside them.

Parts of the table:

- `test`: localizations drawn evenly from the listed scenarios and from all classes, as in training, from new fields,
  beside the accuracy that the paper gives for its model of the same name.
- `figure 3`: whole fields for the pairs of density and points per cluster of Fig. 3, each with 10, 50 and 90 %
  clustered and radii of 20, 50 and 100 nm; `gaussian`: the same with Gaussian clusters (Supplementary Fig. 3).
- `random`: fields without clusters (Fig. 3g).
- `large`: clusters of 150 and 200 localizations (Supplementary Fig. 4).
- `structures`: small clusters along lines and rings in an uneven background (Supplementary Fig. 2).
- `window`: networks that see 50, 100 and 200 neighbours, trained here on clusters of up to that many localizations, on
  clusters of 30 to 250 (Supplementary Figs. 9 and 10).
- `input`: the LSTM network trained here on distances and on coordinates of the same neighbours (Results).
- `speed`: one table, from positions to labels.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from lucule.classify import FeatureSettings, Recipe, Scores, classify, score
from lucule.classify.pool import draw_from, listed, sized
from lucule.classify.predict import Classifier
from lucule.classify.recipe import PoolSettings
from lucule.classify.train import fit_network, label_with
from lucule.core import SILENT, Localizations, Progress
from lucule.models import available
from lucule.nn import FitSettings
from lucule.simulate import Scenario, simulate
from lucule.workflows import clusters as workflow

GRAPH: Final = "graph"
PAPER: Final = {"XPILJZ": 0.920, "07VEJJ": 0.924, "87B144": 0.940, "GAXJPR": 0.975}
PAPER_RANDOM: Final = {("07VEJJ", 10): 0.845, ("07VEJJ", 50): 0.892}
PAPER_COORDINATES: Final = 0.94
PLANE: Final = ("XPILJZ", "07VEJJ", "87B144")

TESTED_SCENARIOS: Final = 100
TESTED: Final = 20_000
LARGEST_FIELD: Final = 8_000
FIGURE_3: Final = ((50, 10), (100, 20), (300, 100), (500, 80))
FRACTIONS: Final = (0.1, 0.5, 0.9)
RADII_NM: Final = (20, 50, 100)
RANDOM_PER_UM2: Final = (10, 50, 100, 300, 500, 1000)
LARGE: Final = (150, 200)
WINDOWS: Final = (50, 100, 200)
WINDOW_SIZES: Final = (30, 80, 150, 250)
WINDOW_RATIOS: Final = (4, 10)
WINDOW_TRAIN: Final = FitSettings(epochs=10, optimizer="adam", learning_rate=5e-3)
INPUT_TRAIN: Final = FitSettings(epochs=8, optimizer="adam", learning_rate=3e-3, clip_norm=1.0)
TRAINED: Final = 20_000
TIMED: Final = 30_000

CPU: Final = torch.device("cpu")


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One kind of field: the rows of the table to which it belongs, and one table with the truth."""

    part: str
    kind: str
    locs: Localizations


def run(*, seed: int = 1, progress: Progress = SILENT) -> pl.DataFrame:
    """Measure everything; takes some minutes on two cores.

    Returns
    -------
    polars.DataFrame
        One row for each part, kind of field and model: fields, localizations, accuracy, F1, precision and recall
        (averaged over the classes by size), the confusion matrix (true classes as rows), the accuracy of the worst
        field, the paper's accuracy, seconds, microseconds per localization.
    """
    packaged = [card.name for card in available() if card.name in (*PLANE, "GAXJPR", "3TXKFS")]
    plane = [name for name in PLANE if name in packaged]
    steps: list[Callable[[], list[dict[str, Any]]]] = [
        *(lambda name=name: [_tested(name, seed)] for name in packaged),  # type: ignore[misc]
        lambda: _fields([*plane, GRAPH], seed),
        lambda: _windows(seed),
        lambda: _inputs(seed),
        lambda: _speed([*packaged, GRAPH], seed),
    ]
    rows: list[dict[str, Any]] = []
    with progress.task("Repeat the experiments", len(steps), "parts") as task:
        for step in steps:
            rows += step()
            task.advance()
    return pl.DataFrame(rows, infer_schema_length=None)


def _tested(name: str, seed: int) -> dict[str, Any]:
    """The model on new localizations of the kind it was trained on."""
    model = Classifier.load(name, "cpu")
    recipe = Recipe.parse(model.card.recipe)
    settings = recipe.pool.replace(largest_number=TESTED_SCENARIOS, largest_field=4 * LARGEST_FIELD)
    classes = len(recipe.classes)
    # no training has such a second word
    new = draw_from(listed(settings), recipe.features, total=TESTED, entropy=(seed, 2020), classes=classes)
    started = time.perf_counter()
    scores = score(new.labels, label_with(model.network, new, CPU), classes=classes)
    seconds = time.perf_counter() - started
    return _row("test", "listed scenarios", name, scores, paper=PAPER.get(name), seconds=seconds)


def _fields(models: list[str], seed: int) -> list[dict[str, Any]]:
    """All models on the same whole fields."""
    groups: dict[tuple[str, str, str], list[tuple[Scores, float]]] = {}
    for field in _all_fields(seed):
        for name in models:
            started = time.perf_counter()
            labels = _labels(field.locs, name)
            one = score(field.locs["true_label"], labels), time.perf_counter() - started
            groups.setdefault((field.part, field.kind, name), []).append(one)
    rows = []
    for (part, kind, name), scored in groups.items():
        paper = PAPER_RANDOM.get((name, int(kind.split()[0]))) if part == "random" else None
        total = Scores(np.sum([scores.confusion for scores, _ in scored], axis=0))
        rows.append(
            _row(part, kind, name, total, paper=paper, seconds=sum(seconds for _, seconds in scored))
            | {"fields": len(scored), "worst_field_accuracy": round(min(scores.accuracy for scores, _ in scored), 4)}
        )
    return rows


def _labels(locs: Localizations, name: str) -> NDArray[np.uint8]:
    """Labels of the models after CAML; of the graph network those of the clusters that it finds, as in the workflow."""
    if name != GRAPH:
        return classify(locs, model=name, device="cpu")["label"]
    found = workflow.find(locs, workflow.Settings(model=GRAPH), device="cpu")["label"]
    return (found > 0).astype(np.uint8)


def _all_fields(seed: int) -> Iterator[Field]:
    seeds = (int(word) for word in np.random.SeedSequence((seed, 1493)).generate_state(1000))

    def field(part: str, kind: str, size: int = 1, **values: Any) -> Field:
        return Field(part, kind, simulate(sized(Scenario(**values), size * LARGEST_FIELD), seed=next(seeds)))

    for (density, points), fraction, radius in itertools.product(FIGURE_3, FRACTIONS, RADII_NM):
        values = {"density_per_um2": density, "points_per_cluster": points, "fraction_clustered": fraction}
        kind = f"{density} per um2, {points} per cluster"
        for part, shape in (("figure 3", "disc"), ("gaussian", "gaussian")):
            yield field(part, kind, radius_nm=radius, shape=shape, **values)
    for density in RANDOM_PER_UM2:
        yield field("random", f"{density} per um2", 5, density_per_um2=density)
    for points, radius in itertools.product(LARGE, RADII_NM[1:]):
        kind = f"{points} per cluster, 300 per um2"
        yield field("large", kind, density_per_um2=300, points_per_cluster=points, fraction_clustered=0.5,
                    radius_nm=radius)  # fmt: skip
    for kind in ("lines", "rings"):
        yield Field("structures", f"{kind}, uneven background", structures(kind, seed=next(seeds)))


def structures(kind: str, *, seed: int, size_nm: float = 8000.0) -> Localizations:
    """Clusters of 20 localizations within 25 nm, 200 nm apart, along `lines` or `rings`.

    The background rises from 20 to 200 per um2 over the width of the field and has no gaps.
    """
    rng = np.random.default_rng(seed)
    along = np.arange(100, size_nm, 200.0)
    if kind == "lines":
        centres = np.concatenate([np.column_stack([along, np.full(len(along), y)]) for y in (1000, 3000, 5000, 7000)])
    else:
        angle = np.arange(0, 2 * np.pi, 200 / 700)
        ring = 700 * np.column_stack([np.cos(angle), np.sin(angle)])
        centres = np.concatenate([ring + np.array(place) for place in itertools.product((1500, 4000, 6500), repeat=2)])
    radius, turn = 25 * np.sqrt(rng.random((len(centres), 20))), rng.uniform(0, 2 * np.pi, (len(centres), 20))
    members = (centres[:, None] + np.stack([radius * np.cos(turn), radius * np.sin(turn)], axis=2)).reshape(-1, 2)
    low, high = 20e-6, 200e-6
    free = rng.random((rng.poisson(high * size_nm**2), 2)) * size_nm
    free = free[rng.random(len(free)) * high < low + (high - low) * free[:, 0] / size_nm]
    xy = np.concatenate([members, free])
    label = np.repeat(np.array([1, 0], np.uint8), [len(members), len(free)])
    return Localizations({"x": xy[:, 0], "y": xy[:, 1], "true_label": label})


def _windows(seed: int) -> list[dict[str, Any]]:
    """Networks with windows of several sizes, on clusters that fit into them and on clusters that do not."""
    rows = []
    for window in WINDOWS:
        network = _trained("dense", FeatureSettings(k=window, normalisation="differences_minmax"), WINDOW_TRAIN, seed,
                           _dense_fields([n for n in (10, 20, 30, 50, 80, 100, 150, 200) if n <= window]))  # fmt: skip
        for size in WINDOW_SIZES:
            new = draw_from(
                _dense_fields([size]), FeatureSettings(k=window, normalisation="differences_minmax"),
                total=TRAINED // 5, entropy=(seed, 2021),
            )  # fmt: skip
            scores = score(new.labels, label_with(network, new, CPU))
            rows.append(_row("window", f"{size} per cluster", f"dense, {window} neighbours", scores))
    return rows


def _dense_fields(sizes: list[int]) -> list[Scenario]:
    """600 per um2, one cluster per um2, inside which the density is about 4 or 10 times that outside."""
    scenarios = []
    for size, ratio in itertools.product(sizes, WINDOW_RATIOS):
        outside_per_um2 = 600 - size
        scenario = Scenario(
            density_per_um2=600,
            points_per_cluster=size,
            fraction_clustered=size / 600,
            radius_nm=1000 * (size / (np.pi * ratio * outside_per_um2)) ** 0.5,
        )
        scenarios.append(sized(scenario, 4 * LARGEST_FIELD))
    return scenarios


def _inputs(seed: int) -> list[dict[str, Any]]:
    """The same network and training, told the distances of the neighbours or where they lie."""
    rows = []
    settings = PoolSettings(train=2, validation=2, test=2, largest_number=TESTED_SCENARIOS, largest_field=LARGEST_FIELD)
    for normalisation, options in (("differences_minmax", {}), ("coordinates", {"channels": 2})):
        seen = FeatureSettings(k=100, normalisation=normalisation)
        started = time.perf_counter()
        network = _trained("recurrent", seen, INPUT_TRAIN, seed, listed(settings), options)
        seconds = time.perf_counter() - started
        new = draw_from(listed(settings), seen, total=TRAINED // 2, entropy=(seed, 2021))
        scores = score(new.labels, label_with(network, new, CPU))
        paper = PAPER_COORDINATES if normalisation == "coordinates" else None
        rows.append(_row("input", f"{TRAINED} for training", f"LSTM, {normalisation}", scores, paper, seconds))
    return rows


def _trained(
    architecture: str,
    seen: FeatureSettings,
    fit: FitSettings,
    seed: int,
    scenarios: list[Scenario],
    options: dict[str, Any] | None = None,
) -> torch.nn.Module:
    pools = [
        draw_from(scenarios, seen, total=total, entropy=(seed, part))
        for part, total in ((2022, TRAINED), (2023, TRAINED // 5))
    ]
    recipe = Recipe(
        name="bench", title="", architecture=architecture, options=options or {}, features=seen, batch_size=128,
        fit=fit, pool=PoolSettings(train=2, validation=2, test=2), seed=seed,
    )  # fmt: skip
    return fit_network(recipe, *pools, CPU)[0]


def _speed(models: list[str], seed: int) -> list[dict[str, Any]]:
    """From a table to labels; a first, small run compiles the kernels."""
    rows = []
    for name in models:
        dims = 2 if name == GRAPH else Classifier.load(name, "cpu").features.dims
        scenario = Scenario(
            density_per_um2=200, points_per_cluster=40, fraction_clustered=0.5, radius_nm=50, outline="square",
            field_size_um=(TIMED / 200) ** 0.5, dims=dims,
        )  # fmt: skip
        locs = simulate(scenario, seed=seed)
        _labels(locs.filter("x < 4000"), name)
        started = time.perf_counter()
        _labels(locs, name)
        seconds = time.perf_counter() - started
        rows.append(
            {
                "part": "speed",
                "kind": "table to labels, CPU",
                "method": name,
                "fields": 1,
                "localizations": len(locs),
                "seconds": round(seconds, 3),
                "us_per_localization": round(1e6 * seconds / len(locs), 3),
            }
        )
    return rows


def _row(
    part: str, kind: str, method: str, scores: Scores, paper: float | None = None, seconds: float | None = None
) -> dict[str, Any]:
    return {
        "part": part,
        "kind": kind,
        "method": method,
        "localizations": int(scores.confusion.sum()),
        **{name: round(value, 4) for name, value in scores.weighted().items()},
        "confusion": "; ".join(" ".join(str(n) for n in row) for row in scores.confusion),
        "paper_accuracy": paper,
        "seconds": None if seconds is None else round(seconds, 3),
    }
