"""Periods of simulated axons: error, interval, false periods and AUC beside published and plain methods (Linke 2025).

Axons of 4 to 9 um with rings whose spacings vary so that errors add up, missing and tilted rings, antibodies with
several dyes and several blinks of each, straight or bent; the truth is the mean realised spacing. Without a period:
molecules anywhere, molecules in clusters, and both thinned. All methods are given the same molecules; those for
straight regions see the straight line between the ends of the axon. `oracle` is told the ring of each localization:
what it is wrong by, no way of finding rings can mend.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule import simulate
from lucule.bench.parts import Rows, in_parts
from lucule.core import SILENT, Localizations, Progress
from lucule.simulate.sample import draw_sample
from lucule.simulate.scene import Scene
from lucule.structures import axons
from lucule.structures.axons import Axon, baselines, distances

Floats = NDArray[np.float64]

AXONS: Final = 8
"""Axons of each labelling and shape, and of each kind without a period and labelling."""
LABELLING: Final = (0.1, 0.25, 0.5, 0.75, 1.0)
SHAPES: Final = ("straight", "curved")
WITHOUT: Final = ("random", "clusters")
_HARD: Final[dict[str, Any]] = {
    "persistence_um": 2000.0, "spacing_jitter_nm": 10.0, "phase_jitter_nm": 5.0, "missing": 0.1, "ring_tilt_deg": 4.0,
}  # fmt: skip

_FEWEST: Final = 5
_MEASURED: Final = {
    "kind": pl.String, "shape": pl.String, "labelling": pl.Float64, "truth": pl.Float64, "seed": pl.Int64,
    "method": pl.String, "period": pl.Float64, "low": pl.Float64, "high": pl.Float64, "score": pl.Float64,
    "seconds": pl.Float64,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Case:
    kind: str
    shape: str
    labelling: float
    truth: float
    scene: Scene
    locs: Localizations
    seed: int


def run(*, seed: int, folder: Path | None = None, progress: Progress = SILENT) -> pl.DataFrame:
    """One row for each measurement: value, unit, target where there is one."""
    found = measured(seed=seed, folder=folder, progress=progress)
    schema = {"what": pl.String, "method": pl.String, "value": pl.Float64, "unit": pl.String, "target": pl.Float64}
    return pl.DataFrame(summarised(found), schema=schema)


def measured(*, seed: int, folder: Path | None = None, progress: Progress = SILENT) -> pl.DataFrame:
    """One row for each axon and method: truth, estimate, score, seconds of CPU time.

    A part is one axon of each shape and kind; five of them, one for each labelling, are a smaller benchmark.
    """
    parts = {
        f"axon_{number}_{100 * labelled:.0f}": partial(_part, seed, number, labelled)
        for number in range(AXONS)
        for labelled in LABELLING
    }
    axons.measure(_case("rings", "straight", 0.25, seed).locs)  # compiles
    return in_parts(parts, schema=_MEASURED, folder=folder, progress=progress)


def _part(seed: int, number: int, labelling: float) -> Rows:
    rows: Rows = []
    for position, kind in enumerate((*SHAPES, *WITHOUT)):
        shape = kind if kind in SHAPES else SHAPES[number % 2]
        own = int(np.random.SeedSequence((seed, number, int(100 * labelling), position)).generate_state(1)[0])
        rows += _measure(_case("rings" if kind in SHAPES else kind, shape, labelling, own))
    return rows


def _case(kind: str, shape: str, labelling: float, seed: int) -> _Case:
    rng = np.random.default_rng(seed)
    length, period = rng.uniform(4, 9), rng.uniform(190, 230)
    bend = None if shape == "straight" else float(rng.uniform(2, 5))
    specimen = {"arrangement": kind, "length_um": length, "period_nm": period, "bend_radius_um": bend, **_HARD}
    changes = {f"axons.specimen.{name}": value for name, value in specimen.items()}
    scene = simulate.load_scene(
        "axon", labelling=labelling, frames=6000, **{"axons.placement": {"count": 1}, "field.size_um": 12}, **changes
    )
    truth = float(draw_sample(scene, seed=seed).structures["mean_spacing_nm"][0])
    return _Case(kind, shape, labelling, truth, scene, simulate.localizations(scene, seed=seed, outside="drop"), seed)


def _measure(case: _Case) -> Rows:
    start = time.process_time()
    found = axons.measure(case.locs)
    seconds = time.process_time() - start
    common = {"kind": case.kind, "shape": case.shape, "labelling": case.labelling, "truth": case.truth,
              "seed": case.seed}  # fmt: skip
    own = found.periods[0] if found.periods else None
    low, high = own.period_nm_interval if own and own.period_nm_interval else (None, None)
    rows = [
        common
        | {
            "method": "lucule",
            "period": own.period_nm if own else None,
            "low": low,
            "high": high,
            "score": own.evidence if own else -np.inf,
            "seconds": seconds,
        }
    ]
    if found.axons:
        if case.kind == "rings":
            rows.append(common | {"method": "oracle", "period": _oracle(case, found.axons[0])})
        for name, method in _methods(found.axons[0], found.molecules_nm).items():
            start = time.process_time()
            period, score = method()
            rows.append(common | {"method": name, "period": period, "score": score,
                                  "seconds": time.process_time() - start})  # fmt: skip
    return rows


def _methods(axon: Axon, molecules: Floats) -> dict[str, Callable[[], tuple[float, float]]]:
    along, away = axon.along_nm, axon.away_nm
    straight = baselines.straight_positions(axon.course, molecules[axon.molecules])
    return {
        "pairwise distances (Linke 2025)": lambda: distances.linke(along, away),
        "autocorrelation, straight": lambda: baselines.autocorrelation(straight),
        "ring pattern, straight": lambda: baselines.ring_pattern(straight),
        "relative positions": lambda: baselines.relative_positions(along),
        "periodogram, straight": lambda: baselines.periodogram(straight),
        "periodogram, along the axon": lambda: baselines.periodogram(along),
        "pair histogram": lambda: baselines.pair_histogram(along),
    }


def _oracle(case: _Case, axon: Axon) -> float | None:
    """Mean spacing where the true ring of each localization is known, along the same centre line."""
    sample = draw_sample(case.scene, seed=case.seed)
    rings = sample.epitopes.data["part"].to_numpy()
    own = (case.locs["structure"] == 0) & (case.locs["epitope"] >= 0)
    ring = rings[case.locs["epitope"][own]]
    along, _ = axon.course.coordinates(case.locs.xy()[own])
    numbers, counts = np.unique(ring, return_counts=True)
    numbers = numbers[counts >= _FEWEST]
    if len(numbers) < 2:
        return None
    # the median, since a few localizations are two molecules at once and lie between them
    first, last = (float(np.median(along[ring == number])) for number in (numbers[0], numbers[-1]))
    return abs(last - first) / float(numbers[-1] - numbers[0])


def summarised(found: pl.DataFrame) -> Rows:
    """Rows of the table from those of `measured`."""
    rows: Rows = []
    rings, without = found.filter(pl.col("kind") == "rings"), found.filter(pl.col("kind") != "rings")
    for method in dict.fromkeys(found["method"]):
        own = rings.filter(pl.col("method") == method)
        for shape in SHAPES:
            for labelling in LABELLING:
                cell = own.filter((pl.col("shape") == shape) & (pl.col("labelling") == labelling))
                rows += _errors(f"{shape}, labelling {100 * labelling:.0f} %", method, cell, labelling)
        if method != "oracle":
            rows += _detection(method, own, without.filter(pl.col("method") == method))
    return rows


def _errors(what: str, method: str, cell: pl.DataFrame, labelling: float) -> Rows:
    known = cell.filter(pl.col("period").is_finite())
    if not cell.height or not known.height:
        return [_row(f"{what}: axons with a period", method, 0.0, "%")] if cell.height else []
    error = known["period"].to_numpy() - known["truth"].to_numpy()
    limit = {1.0: 0.707, 0.1: 1.0}.get(labelling) if method == "lucule" else None
    rows = [
        _row(f"{what}: RMS error", method, float(np.sqrt(np.mean(error**2))), "nm", limit),
        _row(f"{what}: mean squared error", method, float(np.mean(error**2)), "nm2", 0.5 if limit == 0.707 else None),
        _row(f"{what}: median absolute error", method, float(np.median(np.abs(error))), "nm"),
    ]
    if method == "lucule":
        truth = known["truth"].to_numpy()
        inside = (known["low"].to_numpy() <= truth) & (truth <= known["high"].to_numpy())
        rows.append(_row(f"{what}: truth inside the 95 % interval", method, 100 * float(inside.mean()), "%", 95.0))
        rows.append(_row(f"{what}: axons with a period", method, 100 * known.height / cell.height, "%"))
    return rows


def _detection(method: str, rings: pl.DataFrame, without: pl.DataFrame) -> Rows:
    rows: Rows = []
    if not rings.height or not without.height:
        return rows
    target = 0.95 if method == "lucule" else None
    rows.append(
        _row("AUC, rings against none, all labellings", method, _auc(rings["score"], without["score"]), "", target)
    )
    if method != "lucule":
        return rows
    for kind in WITHOUT:
        for name, part in (("", pl.col("labelling") > 0.3), ("thinned ", pl.col("labelling") < 0.3)):
            cell = without.filter((pl.col("kind") == kind) & part)
            if cell.height:
                said = 100 * float(cell["period"].is_not_null().to_numpy().mean())
                rows.append(_row(f"false periods, {name}{kind}, {cell.height} axons", method, said, "%", 5.0))
    everything = pl.concat([rings, without])
    rows.append(_row("CPU time from table to periods, median", method, everything["seconds"].median(), "s", 1.0))
    return rows


def _auc(yes: pl.Series, no: pl.Series) -> float:
    first, second = yes.to_numpy()[:, None], no.to_numpy()[None]
    return float((first > second).mean() + 0.5 * (first == second).mean())


def _row(what: str, method: str, value: Any, unit: str, target: float | None = None) -> dict[str, Any]:
    return {"what": what, "method": method, "value": value, "unit": unit, "target": target}
