"""Double lines: labels, objects and line distances against simulated truth, with the methods of the paper beside.

- `labels`: the packaged scene of Varga et al. 2023 (fields no training saw), and `sarcomere_varied` with line
  distances of 60 to 200 nm, 10 to 100 % of the labels and 0 to 50 % background. True positives and negatives in %, F1,
  recall in the outer tenth of the lines less that in the middle, true negatives between the lines.
- `distance`: bias and coverage of the 95 % interval for single sarcomeres; localizations are the true positions with an
  error of the size that is asked. Beside it a double Gaussian fitted to the histogram, and the corrected fit; both get
  the symmetry axis of the likelihood.
- `speed`: table to report.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule import models, simulate
from lucule.classify import subsets
from lucule.classify.lines import LineModel
from lucule.core import Localizations
from lucule.structures.sarcomeres import LineSettings, follow_up, group_by_centre, line_distance
from lucule.structures.sarcomeres.baselines import corrected, double_gaussian
from lucule.workflows import sarcomeres

PAPER: Final = {"distances": (95.8, 93.8), "directions": (93.2, 88.3), "both": (98.6, 96.4)}
AIMS: Final = {
    "true positive": 99.5,
    "true negative": 99.0,
    "F1": 0.95,
    "ends less middle": -1.0,
    "between lines": 97.0,
}
DISTANCES_NM: Final = (60.0, 95.6, 120.0, 136.5, 158.0)
ERRORS_NM: Final = (5.0, 15.0, 25.0)
GRID: Final = ((60, 1.0, 0.2), (60, 0.1, 0.2), (120, 0.3, 0.5), (200, 1.0, 0.5), (200, 0.1, 0.0))
FIELDS: Final = 1
_CHANGES: Final[dict[str, Any]] = {
    "noise_clearance_nm": 50, "frames": 8000, "axial_tilt_deg": {"mean": 0, "sd": 1}, "epitopes_per_um2": [20, 60],
}  # fmt: skip

Rows = list[dict[str, Any]]


def run(*, seed: int) -> pl.DataFrame:
    """One row for each measurement: value, unit, the paper's figure and the aim where there is one."""
    rows = _paper_scene(seed) + _grid(seed) + _distances(seed) + _speed(seed)
    schema = {"what": pl.String, "method": pl.String, "value": pl.Float64, "unit": pl.String, "paper": pl.Float64,
              "aim": pl.Float64}  # fmt: skip
    return pl.DataFrame(rows, schema=schema)


def _row(
    what: str, method: str, value: float | None, unit: str, paper: float | None = None, aim: float | None = None
) -> dict[str, Any]:
    return {"what": what, "method": method, "value": value, "unit": unit, "paper": paper, "aim": aim}


def _paper_scene(seed: int) -> Rows:
    """Labels on the paper's scene; the paper's classifier is told the true number of localizations of a double line."""
    locs = simulate.localizations("sarcomere", seed=_seed(seed, 0), outside="drop")
    truth = locs["true_label"] > 0
    rows = _found("labels, scene of the paper", locs)
    sizes = np.unique(locs["structure"][truth], return_counts=True)[1]
    for card in models.available():
        if card.task == subsets.TASK:
            vector = str(card.features["vector"])
            label = subsets.label_in_subsets(locs.xy(), float(sizes.mean()), model=card.name)[0]
            for name, value, paper in zip(
                ("true positive", "true negative"), _rates(label, truth), PAPER[vector], strict=True
            ):
                rows.append(_row(f"labels, scene of the paper, {name}", f"Varga et al., {vector}", value, "%", paper))
    return rows


def _grid(seed: int) -> Rows:
    rows: Rows = []
    for number, (distance, labelling, background) in enumerate(GRID):
        scene = simulate.load_scene("sarcomere_varied", line_distance_nm=distance, **_CHANGES)
        locs = simulate.localizations(scene, seed=_seed(seed, 100 + number), outside="drop")
        thinned = thin(locs, labelling, background, np.random.default_rng((seed, number)))
        what = f"labels, {distance} nm, {100 * labelling:g} % labelled, {100 * background:g} % background"
        rows += _found(what, thinned)
    return rows


def _found(what: str, locs: Localizations) -> Rows:
    """Labels of the network alone, and of what is left when clumps that are no double line are filtered out."""
    said = LineModel.load("lines").predict(locs.xy())
    number, _ = follow_up(locs, group_by_centre(locs.xy(), said.label, said.centre_nm))
    return [
        *_scores(what, "lines, network alone", locs, said.label),
        *_scores(what, "lines, with objects", locs, (number >= 0).astype(np.uint8)),
        *_objects(what, locs, number),
    ]


def thin(locs: Localizations, labelling: float, background: float, rng: np.random.Generator) -> Localizations:
    """Keep a fraction of the epitopes of double lines, and background up to a fraction of all localizations."""
    on_line, epitope = locs["true_label"] > 0, locs["epitope"].astype(np.int64)
    keep = ~on_line | (rng.random(int(epitope.max()) + 2) < labelling)[epitope]
    wanted = background / max(1 - background, 1e-9) * (keep & on_line).sum()
    share = min(1.0, wanted / max((~on_line).sum(), 1))
    # unspecific labels and false positives have no epitope, clusters of labels go as a whole
    units = np.where(epitope >= 0, epitope, int(epitope.max()) + 1 + np.arange(len(epitope)))
    keep &= on_line | (rng.random(int(units.max()) + 1) < share)[units]
    return locs.with_columns(_keep=keep).filter("_keep == 1")


def _scores(what: str, method: str, locs: Localizations, label: NDArray[np.uint8]) -> Rows:
    truth = locs["true_label"] > 0
    positive, negative = _rates(label, truth)
    hits = float((label[truth] == 1).sum())
    f1 = 2 * hits / max(hits + float(label.sum() + (truth & (label == 0)).sum()), 1)
    ends, between = _weak_places(locs, label)
    values = {"true positive": positive, "true negative": negative, "F1": f1, "ends less middle": ends,
              "between lines": between}  # fmt: skip
    return [
        _row(f"{what}, {name}", method, value, "" if name == "F1" else "%", None, AIMS[name])
        for name, value in values.items()
        if np.isfinite(value)
    ]


def _rates(label: NDArray[Any], truth: NDArray[np.bool_]) -> tuple[float, float]:
    positive = 100 * float((label[truth] == 1).mean()) if truth.any() else np.nan
    return positive, 100 * float((label[~truth] == 0).mean()) if (~truth).any() else np.nan


def _weak_places(locs: Localizations, label: NDArray[np.uint8]) -> tuple[float, float]:
    """Recall at line ends less that in the middle, and true negatives between lines, both in %."""
    xy, structure, truth = locs.xy().astype(np.float64), locs["structure"], locs["true_label"] > 0
    at_end, in_middle, between = [], [], []
    for one in np.unique(structure[truth]):
        mine = truth & (structure == one)
        if mine.sum() < 100:
            continue
        fit = line_distance(xy[mine], 10.0)
        if fit.reason is not None:
            continue
        u, v = fit.coordinates(xy)
        low, high = np.quantile(v[mine], [0.005, 0.995])
        part = np.abs(v - (low + high) / 2) / ((high - low) / 2)
        at_end.append(label[mine & (part > 0.9)] == 1)
        in_middle.append(label[mine & (part < 0.5)] == 1)
        between.append(label[~truth & (np.abs(u) < fit.distance_nm / 2 - 30) & (part < 1)] == 0)
    if not at_end:
        return np.nan, np.nan
    ends, middle, clear = (np.concatenate(one) for one in (at_end, in_middle, between))
    difference = 100 * float(ends.mean() - middle.mean()) if len(ends) and len(middle) else np.nan
    return difference, 100 * float(clear.mean()) if len(clear) >= 20 else np.nan


def _objects(what: str, locs: Localizations, number: NDArray[np.int32]) -> Rows:
    """How many double lines are found and how many finds are double lines; a match holds most of the localizations."""
    truth, structure = locs["true_label"] > 0, locs["structure"]
    sizes = {int(s): int((truth & (structure == s)).sum()) for s in np.unique(structure[truth])}
    there = {s for s, n in sizes.items() if n >= 100}
    found, right = set(), 0
    for one in range(int(number.max(initial=-1)) + 1):
        inside = structure[(number == one) & truth]
        if not len(inside):
            continue
        values, counts = np.unique(inside, return_counts=True)
        best = int(values[counts.argmax()])
        if 2 * counts.max() > max(sizes[best], int((number == one).sum())):
            right += 1
            found.add(best)
    finds = int(number.max(initial=-1)) + 1
    return [
        _row(
            f"{what}, double lines found",
            "lines, with objects",
            100 * len(found & there) / max(len(there), 1),
            "%",
            None,
            98.0,
        ),
        _row(
            f"{what}, finds that are double lines", "lines, with objects", 100 * right / max(finds, 1), "%", None, 98.0
        ),
    ]


def _distances(seed: int) -> Rows:
    rows: Rows = []
    for number, distance in enumerate(DISTANCES_NM):
        scene = simulate.load_scene("sarcomere_varied", line_distance_nm=distance, **_CHANGES)
        objects = [
            one
            for field in range(FIELDS)
            for one in _true_lines(simulate.localizations(scene, seed=_seed(seed, 1000 + 10 * number + field)))
        ]
        for error in ERRORS_NM:
            rows += _distance(objects, distance, error, np.random.default_rng((seed, number)))
    return rows


def _true_lines(locs: Localizations) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """True positions and relative errors of the localizations of every double line."""
    position = np.column_stack([locs["true_x"], locs["true_y"]]).astype(np.float64)
    truth, structure = locs["true_label"] > 0, locs["structure"]
    return [
        (position[mine], locs["x_err"][mine] / np.median(locs["x_err"][mine]))
        for one in np.unique(structure[truth])
        if (mine := truth & (structure == one)).sum() >= 300
    ]


def _distance(
    objects: list[tuple[NDArray[np.float64], NDArray[np.float64]]], distance: float, error: float,
    rng: np.random.Generator,
) -> Rows:  # fmt: skip
    found: dict[str, list[float]] = {"lucule": [], "double Gaussian": [], "corrected fit": []}
    inside = []
    for position, relative in objects:
        errors = error * relative
        xy = position + rng.normal(size=position.shape) * errors[:, None]
        fit = line_distance(xy, errors, settings=LineSettings())
        if fit.reason is not None:
            continue
        u = fit.coordinates(xy)[0]
        found["lucule"].append(fit.distance_nm - distance)
        found["double Gaussian"].append(double_gaussian(u)[0] - distance)
        found["corrected fit"].append(corrected(u, error) - distance)
        inside.append(fit.interval_nm[0] < distance < fit.interval_nm[1])
    what = f"distance, {distance:g} nm, error {error:g} nm, {len(objects)} sarcomeres"
    rows = []
    for method, values in found.items():
        rows.append(_row(f"{what}, bias", method, float(np.nanmean(values)), "nm", None, 1.0))
        rows.append(_row(f"{what}, standard deviation", method, float(np.nanstd(values)), "nm"))
    rows.append(_row(f"{what}, coverage", "lucule", 100 * float(np.mean(inside)), "%", None, 95.0))
    rows.append(_row(f"{what}, measured", "lucule", 100 * len(inside) / len(objects), "%"))
    return rows


def _speed(seed: int) -> Rows:
    locs = simulate.localizations("sarcomere", seed=_seed(seed, 0), outside="drop")
    with tempfile.TemporaryDirectory() as folder:
        path = locs.save(Path(folder) / "table.parquet")
        started, used = time.perf_counter(), time.process_time()
        (outcome,) = sarcomeres.run([path], Path(folder) / "results")
        wall, cpu = time.perf_counter() - started, time.process_time() - used
    what = f"table to report, {len(locs):,} localizations, {outcome.summary.get('double_lines', 0)} double lines"
    return [_row(what, "lucule", wall, "s", None, 20.0), _row(f"{what}, CPU time", "lucule", cpu, "s")]


def _seed(seed: int, number: int) -> int:
    """A seed of none of the trainings."""
    return int(np.random.SeedSequence((seed, 2023, number)).generate_state(1)[0])
