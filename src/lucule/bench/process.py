"""Drift, linking, precision and resolution against the truth of simulated scenes; Picasso (AIM, RCC, link) beside.

Drift is left over after its mean is taken off, root mean square over all frames. Times are of the whole call, with the
interval by resampling where lucule makes one, after one call that compiles; Picasso gets the same table and, for AIM,
three times its NeNA as intersection distance, as its documentation advises.
"""

from __future__ import annotations

import contextlib
import io
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
import polars as pl

from lucule import process, simulate
from lucule.bench.parts import Rows
from lucule.core import Localizations

MOTION: Final = {
    "linear_nm_per_min": (25.0, -15.0, 10.0),
    "settling_nm": (120.0, -80.0, 100.0),
    "settling_time_s": 90.0,
    "walk_nm_per_sqrt_min": (8.0, 8.0, 8.0),
}
SCENES: Final[dict[str, dict[str, Any]]] = {"nuclear_pores": {"psf": "astigmatic"}, "microtubules": {}, "origami": {}}
METHODS: Final = ("auto", "aim", "rcc", "entropy")
FRAMES: Final[dict[str, int]] = {}
LINK_ROWS: Final = 10_000_000
RESOLUTION_SCENE: Final = "microtubules"
PIXEL_NM: Final = 100.0
_SEGMENT_FRAMES: Final = {"nuclear_pores": 100, "microtubules": 100, "origami": 50}
_RCC_FRAMES: Final = {"nuclear_pores": 1000, "microtubules": 500, "origami": 250}


def run(*, seed: int) -> pl.DataFrame:
    """One row for each measurement: value, unit, target where there is one."""
    rows: Rows = []
    tables = {name: _scene(name, seed) for name in SCENES}
    for name, (locs, truth) in tables.items():
        rows += _drift(name, locs, truth)
    rows += _resolution(tables[RESOLUTION_SCENE][0])
    rows += _linking(seed)
    schema = {"what": pl.String, "method": pl.String, "value": pl.Float64, "unit": pl.String, "target": pl.Float64}
    return pl.DataFrame(rows, schema=schema)


def _row(what: str, method: str, value: float | None, unit: str, target: float | None = None) -> dict[str, Any]:
    return {"what": what, "method": method, "value": value, "unit": unit, "target": target}


def _scene(name: str, seed: int) -> tuple[Localizations, np.ndarray[Any, Any]]:
    changes = {"frames": FRAMES[name]} if name in FRAMES else {}
    scene = simulate.load_scene(name, motion=MOTION, **changes)
    times = scene.acquisition
    moved = scene.motion.displacement(
        times.frames, frame_time_s=times.interval_s, exposure_s=times.exposure_s, seed=seed
    )
    return simulate.localizations(scene, seed=seed, outside="drop", **SCENES[name]), moved


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def _left(found: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> tuple[float, float | None]:
    """Lateral and axial root mean square of what is left over."""
    error = found - truth[:, : found.shape[1]]
    error = error - error.mean(axis=0)
    lateral = float(np.sqrt(np.mean(np.sum(error[:, :2] ** 2, axis=1))))
    return lateral, float(np.sqrt(np.mean(error[:, 2] ** 2))) if found.shape[1] == 3 else None


def _drift(name: str, locs: Localizations, truth: np.ndarray[Any, Any]) -> Rows:
    rows: Rows = []
    frames = np.arange(len(truth))

    def add(method: str, found: np.ndarray[Any, Any], seconds: float) -> None:
        lateral, axial = _left(found, truth)
        what = f"drift: {name}, {len(locs):,} localizations"
        rows.append(_row(what, method, lateral, "nm lateral", 2.0))
        if axial is not None:
            rows.append(_row(what, method, axial, "nm axial", 5.0))
        rows.append(_row(what, method, seconds, "s", 10.0 if len(locs) <= 1_200_000 else None))

    small = locs.filter(f"frame < {len(truth) // 4}")
    for method in METHODS:
        if method == "entropy" and len(locs) > 500_000:
            continue
        settings = process.DriftSettings(method=method)
        process.estimate_drift(small, settings=settings)
        curve, seconds = _timed(lambda s=settings: process.estimate_drift(locs, settings=s))
        add(f"lucule {method}" if method != "auto" else f"lucule auto ({curve.method})", curve.at(frames), seconds)
        if method == "auto":
            at = np.clip(curve.frame.round().astype(int), 0, len(truth) - 1)
            error = curve.nm - truth[at, : curve.nm.shape[1]]
            inside = np.abs(error - error.mean(axis=0)) < 1.96 * curve.error_nm
            rows.append(
                _row(f"drift: {name}, truth inside the 95 % interval", "lucule auto", float(100 * inside.mean()), "%")
            )
    if find_spec("picasso") is not None:
        for method, found, seconds in _picasso(name, locs, len(truth)):
            add(method, found, seconds)
    return rows


def _picasso(name: str, locs: Localizations, frames: int) -> list[tuple[str, np.ndarray[Any, Any], float]]:
    import pandas as pd

    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        from picasso import aim, postprocess

        table = pd.DataFrame({"frame": locs["frame"].astype(np.int64), "photons": locs["photons"]})
        for theirs, ours in {"x": "x", "y": "y", "lpx": "x_err", "lpy": "y_err"}.items():
            table[theirs] = locs[ours] / PIXEL_NM
        if locs.is_3d:
            table["z"] = locs["z"]
        size = int(np.ceil(max(locs["x"].max(), locs["y"].max()) / PIXEL_NM)) + 2
        info = [{"Width": size, "Height": size, "Frames": frames, "Pixelsize": PIXEL_NM}]
        nena = process.precision(locs).best_nm or 8.0
        results = []
        options = {"segmentation": _SEGMENT_FRAMES[name], "intersect_d": 3 * nena / PIXEL_NM, "roi_r": 60 / PIXEL_NM}
        early = table[table["frame"] < frames // 8]
        few = [info[0] | {"Frames": frames // 8}]
        aim.aim(early, few, **options)
        (_, _, drift), seconds = _timed(lambda: aim.aim(table, info, **options))
        axes = [axis for axis in "xyz" if axis in drift.columns]
        scale = np.array([PIXEL_NM, PIXEL_NM, 1.0])[: len(axes)]
        results.append(("Picasso AIM", drift[axes].to_numpy() * scale, seconds))
        (drift, _), seconds = _timed(
            lambda: postprocess.undrift(table, info, segmentation=_RCC_FRAMES[name], display=False)
        )
        results.append(("Picasso RCC", drift[["x", "y"]].to_numpy() * PIXEL_NM, seconds))
    # both give one row for each frame; AIM starts at the first frame of the table
    return [(label, found[:frames], seconds) for label, found, seconds in results]


def _resolution(locs: Localizations) -> Rows:
    still = process.correct_drift(locs, settings=process.DriftSettings(resample=False))
    what = f"{RESOLUTION_SCENE}, {len(locs):,} localizations, drift corrected"
    process.resolution(still.filter("frame < 1000"))
    found, seconds = _timed(lambda: process.resolution(still))
    rows = [
        _row(f"resolution: {what}, everything", "lucule", seconds, "s", 10.0),
        _row(f"resolution: {what}, ring correlation", "lucule", found.frc.resolution_nm if found.frc else None, "nm"),
        _row(f"resolution: {what}, random split", "lucule", found.frc.random_nm if found.frc else None, "nm"),
        _row(
            f"precision: {what}, true over reported errors",
            "lucule",
            found.precision.ratio if found.precision else None,
            "",
            1.0,
        ),
    ]
    return rows


def _linking(seed: int) -> Rows:
    """Molecules far apart, on for 1 to 8 frames: every blink has to come back whole."""
    rng = np.random.default_rng(seed)
    blinks = LINK_ROWS * 2 // 9
    length = rng.integers(1, 9, blinks)
    side = int(np.ceil(np.sqrt(blinks)))
    place = np.column_stack(np.divmod(np.arange(blinks), side)).astype(np.float32) * 150.0
    event = np.repeat(np.arange(blinks), length)
    start = rng.integers(0, 50_000, blinks)
    frame = np.repeat(start, length) + np.arange(len(event)) - np.repeat(np.cumsum(length) - length, length)
    xy = place[event] + rng.normal(0, 8, (len(event), 2)).astype(np.float32)
    locs = Localizations({"frame": frame, "x": xy[:, 0], "y": xy[:, 1], "photons": np.full(len(event), 1000.0),
                          "x_err": np.full(len(event), 8.0), "y_err": np.full(len(event), 8.0)})  # fmt: skip
    settings = process.LinkSettings(radius_nm=60, gap_frames=0)
    process.link(locs.filter("frame < 200"), settings=settings)
    linked, seconds = _timed(lambda: process.link(locs, settings=settings))
    what = f"linking: {len(locs):,} localizations of {blinks:,} blinks"
    rows = [
        _row(what, "lucule", seconds, "s", 60.0),
        _row(f"{what}, blinks found", "lucule", 100 * len(linked) / blinks, "%", 100.0),
    ]
    if find_spec("picasso") is not None:
        rows += _picasso_link(locs)
    return rows


def _picasso_link(locs: Localizations) -> Rows:
    """Picasso's link on a tenth of the movie: its time grows with the number of rows."""
    import pandas as pd

    part = locs.filter(f"frame < {(int(locs['frame'].max()) + 1) // 10}")
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        from picasso import postprocess

        table = pd.DataFrame(
            {"frame": part["frame"].astype(np.int64), "x": part["x"] / PIXEL_NM, "y": part["y"] / PIXEL_NM}
        )
        for name in ("photons", "sx", "sy", "bg", "lpx", "lpy"):
            table[name] = np.float32(0.08 if name.startswith("lp") else 1.0)
        size = int(part["x"].max() / PIXEL_NM) + 2
        info = [{"Width": size, "Height": size, "Frames": int(part["frame"].max()) + 1, "Pixelsize": PIXEL_NM}]
        options = {"r_max": 60 / PIXEL_NM, "max_dark_time": 0, "remove_ambiguous_lengths": False}
        postprocess.link(table.head(5000), info, **options)
        _, seconds = _timed(lambda: postprocess.link(table, info, **options))
    own = process.LinkSettings(radius_nm=60, gap_frames=0)
    _, ours = _timed(lambda: process.link(part, settings=own))
    what = f"linking: {len(part):,} of these localizations"
    return [_row(what, "Picasso", seconds, "s"), _row(what, "lucule", ours, "s")]
