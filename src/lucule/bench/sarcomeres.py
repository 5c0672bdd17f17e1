"""Double lines: labels, objects and line distances against simulated truth, with the methods of the paper beside.

- `scene`: labels on the packaged scene of Varga et al. 2023 (fields no training saw): true positives and negatives in
  %, F1, recall in the outer tenth of the lines less that in the middle, true negatives between the lines. Once with all
  background, and once ("cleared") without the background localizations within 50 nm of those of a line, which the paper
  leaves out.
- `range`: the same for line distances of 60 to 200 nm, 10 to 100 % of the labels and 0 to 50 % background.
- `distances`: bias and coverage of the 95 % interval for single sarcomeres; localizations are the true positions with
  an error of the size that is asked. Beside it a double Gaussian fitted to the histogram, and the corrected fit of the
  paper; both get the symmetry axis of the likelihood.
- `speed`: table to report.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lucule import models, simulate
from lucule.bench.parts import Rows, in_parts
from lucule.classify import subsets
from lucule.classify.lines import LineModel
from lucule.core import SILENT, Localizations, Progress
from lucule.structures.sarcomeres import (
    LineFit,
    LineSettings,
    complete,
    errors_nm,
    follow_up,
    group_by_centre,
    line_distance,
    measure,
    sure,
    with_learned_width,
)
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
SCENES: Final = 2
PAPER_SCENE: Final[dict[str, Any]] = {}
"""Changes of the packaged scene."""
RANGE_NM: Final = (60.0, 120.0, 200.0)
LABELLING: Final = (0.1, 0.3, 1.0)
BACKGROUND: Final = (0.0, 0.25, 0.5)
DISTANCES_NM: Final = (60.0, 95.6, 120.0, 136.5, 158.0)
ERRORS_NM: Final = (5.0, 15.0, 25.0)
FIELDS: Final = 2
EVERYWHERE_PER_UM2: Final = (0.0, 30.0, 100.0, 300.0, 1000.0)
MOLECULES_PER_UM: Final = (50.0, 200.0, 600.0)
_LINES_NM: Final = (120.0, 1200.0)
CHANGES: Final[dict[str, Any]] = {
    "noise_clearance_nm": 50, "frames": 8000, "axial_tilt_deg": {"mean": 0, "sd": 1}, "epitopes_per_um2": [20, 60],
}  # fmt: skip
SMALL: Final[dict[str, Any]] = {"field.size_um": 22, "double_lines.placement.count": 2, "double_lines": 4}
"""A field of the range: a third of the packaged one, with background for half of the localizations."""
_CLEARANCE_NM: Final = 50.0
_FEWEST: Final = 100
_FEWEST_BETWEEN: Final = 20
_ELSEWHERE, _END, _MIDDLE, _BETWEEN = range(4)

SCHEMA: Final = {"what": pl.String, "method": pl.String, "value": pl.Float64, "unit": pl.String, "paper": pl.Float64,
                 "aim": pl.Float64}  # fmt: skip


def run(*, seed: int, folder: Path | None = None, progress: Progress = SILENT) -> pl.DataFrame:
    """One row for each measurement: value, unit, the paper's figure and the aim where there is one."""
    return in_parts(_parts(seed), schema=SCHEMA, folder=folder, progress=progress)


def _parts(seed: int) -> dict[str, Callable[[], Rows]]:
    return {
        **{f"scene_{number}": partial(_paper_scene, number, seed) for number in range(SCENES)},
        **{f"range_{distance:g}": partial(_range, distance, seed) for distance in RANGE_NM},
        **{f"everywhere_{density:g}": partial(_everywhere, density, seed) for density in EVERYWHERE_PER_UM2},
        **{f"distances_{distance:g}": partial(_distances, distance, seed) for distance in DISTANCES_NM},
        "speed": partial(_speed, seed),
    }


def _row(
    what: str, method: str, value: float | None, unit: str, paper: float | None = None, aim: float | None = None
) -> dict[str, Any]:
    return {"what": what, "method": method, "value": value, "unit": unit, "paper": paper, "aim": aim}


def _paper_scene(number: int, seed: int) -> Rows:
    """Labels on the paper's scene; its classifier is told the true number of localizations of a double line."""
    scene = simulate.load_scene("sarcomere", **PAPER_SCENE)
    locs = with_places(simulate.localizations(scene, seed=_seed(seed, number), outside="drop"))
    truth = locs["true_label"] > 0
    what = f"labels, scene of the paper, field {number + 1}"
    clear = _clear_of_lines(locs)
    rows = _found(what, locs, clear)
    if number:
        return rows
    sizes = np.unique(locs["structure"][truth], return_counts=True)[1]
    for card in models.available():
        if card.task == subsets.TASK:
            vector = str(card.features["vector"])
            label = subsets.label_in_subsets(locs.xy(), float(sizes.mean()), model=card.name)[0]
            for where, keep in ((what, np.ones(len(locs), np.bool_)), (f"{what}, cleared", clear)):
                for name, value, paper in zip(
                    ("true positive", "true negative"), _rates(label[keep], truth[keep]), PAPER[vector], strict=True
                ):
                    rows.append(_row(f"{where}, {name}", f"Varga et al., {vector}", value, "%", paper))
    return rows


def _clear_of_lines(locs: Localizations) -> NDArray[np.bool_]:
    """All localizations of lines, and background that is farther from them than in the paper."""
    xy, truth = locs.xy().astype(np.float64), locs["true_label"] > 0
    distance = cKDTree(xy[truth]).query(xy, distance_upper_bound=_CLEARANCE_NM)[0]
    return np.asarray(truth | np.isinf(distance))


def _range(distance: float, seed: int) -> Rows:
    scene = simulate.load_scene("sarcomere_varied", line_distance_nm=distance, **(CHANGES | SMALL))
    locs = with_places(simulate.localizations(scene, seed=_seed(seed, 100 + int(distance)), outside="drop"))
    rows: Rows = []
    for number, (labelling, background) in enumerate((a, b) for a in LABELLING for b in BACKGROUND):
        thinned = thin(locs, labelling, background, np.random.default_rng((seed, int(distance), number)))
        share = 100 * float((thinned["true_label"] == 0).mean())
        what = f"labels, {distance:g} nm, {100 * labelling:g} % labelled, {share:.0f} % background"
        rows += _found(what, thinned)
    return rows


def _everywhere(density: float, seed: int) -> Rows:
    """Straight double lines, drawn without the simulator, in background that is everywhere, on the lines too."""
    rows = []
    for number, on_lines in enumerate(MOLECULES_PER_UM):
        rng = np.random.default_rng((seed, 3000, int(density), number))
        locs = _straight_lines(on_lines, density, rng)
        label, truth = LineModel.load("lines").predict(locs.xy()).label, locs["true_label"] > 0
        clear = _clear_of_lines(locs)
        with tempfile.TemporaryDirectory() as folder:
            path = Localizations(locs.data.drop("true_label"), locs.meta).save(Path(folder) / "table.parquet")
            (outcome,) = sarcomeres.run([path], Path(folder) / "results")
        what = f"{on_lines:g} molecules per um of a line, {density:g} background per um2 everywhere"
        positive, negative = _rates(label[clear], truth[clear])
        rows += [
            _row(f"{what}, true positive", "lines, network alone", positive, "%"),
            _row(f"{what}, true negative", "lines, network alone", negative, "%"),
            _row(f"{what}, double lines of 24", "lucule", outcome.summary.get("double_lines", 0), ""),
            _row(f"{what}, distance off", "lucule", _off(outcome.summary.get("line_distance_nm")), "nm", None, 1.0),
        ]
    return [row for row in rows if np.isfinite(row["value"])]


def _off(distance: float | None) -> float:
    return np.nan if distance is None else distance - _LINES_NM[0]


def _straight_lines(molecules_per_um: float, background_per_um2: float, rng: np.random.Generator) -> Localizations:
    """24 double lines in four myofibrils, each molecule seen twice on average with an error of 12 nm."""
    apart, length = _LINES_NM
    parts = []
    for fibril in range(4):
        turn = rng.normal(0, 0.15)
        along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
        for number in range(6):
            centre = np.array([3000 + 1900 * number, 3000 + 3000 * fibril]) + rng.normal(0, 50, 2)
            n = rng.poisson(2 * molecules_per_um * length / 1000)
            u = rng.choice([-0.5, 0.5], n) * apart + rng.normal(0, 8, n)
            places = centre + np.outer(u, along) + np.outer(rng.uniform(-0.5, 0.5, n) * length, across)
            parts.append(np.repeat(places, 1 + rng.poisson(1.0, n), axis=0))
    on_lines = rng.normal(np.concatenate(parts), 12)
    size = on_lines.max(axis=0) + 2000
    around = rng.uniform(0, size, (rng.poisson(background_per_um2 * size.prod() / 1e6), 2))
    xy = np.concatenate([on_lines, around])
    label = np.arange(len(xy)) < len(on_lines)
    order, error = rng.permutation(len(xy)), np.full(len(xy), 12.0)
    return Localizations(
        {
            "x": xy[order, 0],
            "y": xy[order, 1],
            "x_err": error,
            "y_err": error,
            "true_label": label[order].astype(np.uint8),
        }
    )


def _found(what: str, locs: Localizations, clear: NDArray[np.bool_] | None = None) -> Rows:
    """Labels of the network alone, of the double lines made of them, and of what filters and fits leave of those."""
    said = LineModel.load("lines").predict(locs.xy())
    grouped = group_by_centre(said.chance, said.centre_nm)
    number = complete(locs.xy(), errors_nm(locs), grouped)[0] if sure(said.chance, grouped) else grouped
    filtered, _ = follow_up(locs, number)
    fitted = np.where(measure(locs, filtered).off_lines, -1, filtered)
    labels = {
        "lines, network alone": said.label,
        "lines, without completing": (grouped >= 0).astype(np.uint8),
        "lines": (number >= 0).astype(np.uint8),
        "lines, after the filters": (filtered >= 0).astype(np.uint8),
        "lines, after the fit": (fitted >= 0).astype(np.uint8),
    }
    rows = [row for method, label in labels.items() for row in _scores(what, method, locs, label)]
    if clear is not None:
        kept = locs.with_columns(_keep=clear).filter("_keep == 1")
        for method, label in labels.items():
            rows += _scores(f"{what}, cleared", method, kept, label[clear])
    return rows + _objects(what, locs, filtered)


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
    truth, place = locs["true_label"] > 0, locs["_place"]
    positive, negative = _rates(label, truth)
    hits = float((label[truth] == 1).sum())
    recall = {one: float((label[place == one] == 1).mean()) for one in (_END, _MIDDLE) if (place == one).any()}
    between = label[place == _BETWEEN]
    values = {
        "true positive": positive,
        "true negative": negative,
        "F1": 2 * hits / max(hits + float(label.sum() + (truth & (label == 0)).sum()), 1),
        "ends less middle": 100 * (recall[_END] - recall[_MIDDLE]) if len(recall) == 2 else np.nan,
        "between lines": 100 * float((between == 0).mean()) if len(between) >= _FEWEST_BETWEEN else np.nan,
    }
    return [
        _row(f"{what}, {name}", method, value, "" if name == "F1" else "%", None, AIMS[name])
        for name, value in values.items()
        if np.isfinite(value)
    ]


def _rates(label: NDArray[Any], truth: NDArray[np.bool_]) -> tuple[float, float]:
    positive = 100 * float((label[truth] == 1).mean()) if truth.any() else np.nan
    return positive, 100 * float((label[~truth] == 0).mean()) if (~truth).any() else np.nan


def with_places(locs: Localizations) -> Localizations:
    """Note in `_place` what lies in the outer tenth of a line, in its middle half, and as background between lines."""
    xy, structure, truth = locs.xy().astype(np.float64), locs["structure"], locs["true_label"] > 0
    place = np.full(len(locs), _ELSEWHERE, np.uint8)
    for one in np.unique(structure[truth]):
        mine = truth & (structure == one)
        fit = line_distance(xy[mine][::4], 10.0) if mine.sum() >= _FEWEST else None
        if fit is None or fit.reason is not None:
            continue
        u, v = fit.coordinates(xy)
        low, high = np.quantile(v[mine], [0.005, 0.995])
        part = np.abs(v - (low + high) / 2) / ((high - low) / 2)
        place[mine & (part > 0.9)] = _END
        place[mine & (part < 0.5)] = _MIDDLE
        place[~truth & (np.abs(u) < fit.distance_nm / 2 - 30) & (part < 1)] = _BETWEEN
    return locs.with_columns(_place=place)


def _objects(what: str, locs: Localizations, number: NDArray[np.int32]) -> Rows:
    """How many double lines are found and how many finds are double lines; a match holds most of the localizations."""
    truth, structure = locs["true_label"] > 0, locs["structure"]
    sizes = {int(s): int((truth & (structure == s)).sum()) for s in np.unique(structure[truth])}
    there = {s for s, n in sizes.items() if n >= _FEWEST}
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
            "lines, after the filters",
            100 * len(found & there) / max(len(there), 1),
            "%",
            None,
            98.0,
        ),
        _row(
            f"{what}, finds that are double lines",
            "lines, after the filters",
            100 * right / max(finds, 1),
            "%",
            None,
            98.0,
        ),
    ]


def _distances(distance: float, seed: int) -> Rows:
    scene = simulate.load_scene("sarcomere_varied", line_distance_nm=distance, **CHANGES)
    objects = [
        one
        for field in range(FIELDS)
        for one in _true_lines(
            simulate.localizations(scene, seed=_seed(seed, 1000 + 10 * int(distance) + field), outside="drop")
        )
    ]
    rng = np.random.default_rng((seed, int(distance)))
    return [row for error in ERRORS_NM for row in _distance(objects, distance, error, rng)]


def _true_lines(locs: Localizations) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """True positions and relative errors of the localizations of every double line."""
    position = np.column_stack([locs["true_x"], locs["true_y"]]).astype(np.float64)
    truth, structure = locs["true_label"] > 0, locs["structure"]
    return [
        (position[mine], locs["x_err"][mine] / np.median(locs["x_err"][mine]))
        for one in np.unique(structure[truth])
        if (mine := truth & (structure == one)).sum() >= 3 * _FEWEST
    ]


def _distance(
    objects: list[tuple[NDArray[np.float64], NDArray[np.float64]]], distance: float, error: float,
    rng: np.random.Generator,
) -> Rows:  # fmt: skip
    errors = [error * relative for _, relative in objects]
    seen = [
        position + rng.normal(size=position.shape) * own[:, None]
        for (position, _), own in zip(objects, errors, strict=True)
    ]
    rows_of = np.split(np.arange(sum(map(len, seen))), np.cumsum([len(one) for one in seen])[:-1])
    learned = with_learned_width(np.vstack(seen), np.concatenate(errors), rows_of, LineSettings())
    fits = [line_distance(xy, own, settings=learned) for xy, own in zip(seen, errors, strict=True)]
    told = [(fit, fit.coordinates(xy)[0]) for fit, xy in zip(fits, seen, strict=True) if fit.reason is None]
    found = {
        "lucule": [fit.distance_nm for fit, _ in told],
        "double Gaussian": [double_gaussian(u)[0] for _, u in told],
        "corrected fit": [corrected(u, error) for _, u in told],
    }
    what = f"distance, {distance:g} nm, error {error:g} nm, {len(objects)} sarcomeres"
    rows = []
    for method, values in found.items():
        away = np.array(values)[np.isfinite(values)] - distance
        rows.append(_row(f"{what}, bias", method, float(away.mean()), "nm", None, 1.0))
        rows.append(_row(f"{what}, standard error of the bias", method, float(away.std() / len(away) ** 0.5), "nm"))
        rows.append(_row(f"{what}, standard deviation", method, float(away.std()), "nm"))
    inside = [_holds(fit, distance) for fit, _ in told]
    rows.append(_row(f"{what}, coverage", "lucule", 100 * float(np.mean(inside)), "%", None, 95.0))
    rows.append(_row(f"{what}, measured", "lucule", 100 * len(told) / len(objects), "%"))
    return rows


def _holds(fit: LineFit, distance: float) -> bool:
    return fit.interval_nm[0] < distance < fit.interval_nm[1]


def _speed(seed: int) -> Rows:
    locs = simulate.localizations(simulate.load_scene("sarcomere", **PAPER_SCENE), seed=_seed(seed, 0), outside="drop")
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
