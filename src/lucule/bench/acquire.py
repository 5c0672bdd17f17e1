"""Automatic acquisition on the simulated microscope: kill -9 and resume, rate and memory, fields, density, resolution.

A run is killed at random instants until it has ended, and must then equal an undisturbed one. A movie of 30,000 frames
of 256 x 256 pixels goes through camera, engine and disk. Fields around objects are counted against tiles of 25 um x
25 um over the whole area (Linke et al. 2025: 13.6 times fewer). The density of emitters starts five times too sparse
and, as the live localization sees it, more than five times too dense. The ring correlation is that of all automatic
fields on rings (Linke et al. 2025: 34 +- 9 nm on test spheres).
"""

from __future__ import annotations

import multiprocessing
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from lucule import process
from lucule.acquire import experiment, feedback, planner, results, writing
from lucule.acquire.finder import find_in_overview
from lucule.acquire.ledger import RunLedger
from lucule.acquire.microscope import Microscope
from lucule.acquire.plan import Density, Objects, load_plan
from lucule.acquire.worker import localize_burst
from lucule.bench.parts import Rows, in_parts
from lucule.core import SILENT, Progress
from lucule.core.config import dump_yaml
from lucule.core.errors import InputError

SERIES: Final = 5
KILLS: Final = 4  # in each series
FRAMES: Final = 30_000
BURST: Final = 1000
RING_FIELDS: Final = 6
_TILE_UM: Final = 25.0
DENSITY_SLIDES: Final = 3
USUAL_MW: Final = 1.5
# emitters at the start over those wanted; of eight times as many, the live localization sees five to six where spots
# overlap
STARTS: Final = {"too sparse": 0.2, "too dense": 8.0}

SMALL: Final[dict[str, Any]] = {
    "microscope": {
        "based_on": "simulated",
        "properties": {"Camera-Rows": 64, "Camera-Columns": 64},
        "illumination_radius_um": 5.0,
    },
    "scan": {"area_um": [60, 110, 95, 145], "overview_pixel_um": 0.4},
    "objects": {"minimum_area_um2": 20, "fields_per_large": 4},
    "imaging": {"frames": 150, "burst_frames": 50, "density": {"target_per_um2": 0.05, "start_mw": 5}},
    "stop": {"count_gain": None},
}
RINGS: Final[dict[str, Any]] = {
    "size_um": [60, 60],
    "cells": {
        "patch": {
            "density_per_mm2": 2500,
            "scene": {
                "field": {"size_um": 12, "axial_range_nm": 0, "outline": "cell", "cell_radius_um": [3, 4]},
                "layers": {
                    "rings": {
                        "specimen": {"kind": "ring", "radius_nm": 70, "width_nm": 8, "epitopes": 60},
                        "placement": {"density_per_um2": 1.0, "gap_nm": 100},
                        "within": "cell",
                    }
                },
                "dye": "af647",
                "psf": "gaussian",
                "background_photons": 20,
            },
        }
    },
}


def run(*, seed: int, folder: Path | None = None, progress: Progress = SILENT) -> pl.DataFrame:
    """One row for each measurement: value, unit, target where there is one."""
    kills: dict[str, Callable[[Path], list[Row]]] = {
        f"kills_{number}": partial(_kills, seed=1000 * seed + number) for number in range(1, SERIES + 1)
    }
    measures: dict[str, Callable[[Path], list[Row]]] = {
        **kills, "fields": _fields, "density": partial(_density, seed=seed), "rings": _rings, "rate": _rate,
    }  # fmt: skip
    parts = {name: partial(_in_a_folder, measure) for name, measure in measures.items()}
    schema = {"what": pl.String, "value": pl.Float64, "unit": pl.String, "target": pl.Float64}
    return in_parts(parts, schema=schema, folder=folder, progress=progress)


Row = tuple[str, float | None, str, float | None]


def _in_a_folder(measure: Callable[[Path], list[Row]]) -> Rows:
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder))
    return [dict(zip(("what", "value", "unit", "target"), row, strict=True)) for row in rows]


def _kills(folder: Path, *, seed: int) -> list[Row]:
    """Kill a run until it has ended by itself, `KILLS` times at least, and compare it with an undisturbed one."""
    plan = load_plan(SMALL).to_yaml(folder / "small.yaml")
    begun = time.monotonic()
    _command([str(plan), "--out", str(folder / "whole")]).wait()
    # instants are spread over a whole run; the first one may have compiled, and a busy computer is slower
    whole_s = time.monotonic() - begun
    rng = random.Random(seed)
    kills = equal = opened = bursts = runs = faults = 0
    while kills < KILLS:
        runs += 1
        target = folder / f"killed_{runs}"
        arguments = [str(plan), "--out", str(target)]
        while True:
            process_, begun = _command(arguments), time.monotonic()
            try:
                process_.wait(timeout=rng.uniform(0.2, 1.0) * whole_s)
                if "--resume" not in arguments:
                    whole_s = min(whole_s, time.monotonic() - begun)
                break
            except subprocess.TimeoutExpired:
                process_.kill()
                process_.wait()
                kills += 1
            if (target / results.PLAN_FILE).exists():
                arguments = ["--resume", str(target)]
        equal += _same(folder / "whole", target)
        with RunLedger(target) as ledger:
            faults += int(results.summary(ledger)["faults"])
            for path, frames in ledger.rows("burst", state="done").select("path", "frames").iter_rows():
                bursts += 1
                opened += writing.read_burst(target / path).shape == (frames, 64, 64)
    return [
        (f"{runs} runs, {kills} kills: equal to an undisturbed one", 100 * equal / runs, "%", 100.0),
        (f"{runs} runs, {kills} kills: finished bursts that open", 100 * opened / bursts, "%", 100.0),
        # work that is tried again exposes the sample again, and the run is another one
        (f"{runs} runs, {kills} kills: faults of devices and processes", float(faults), "", 0.0),
    ]


def _command(arguments: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "lucule", "acquire", *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603


def _same(first: Path, second: Path) -> bool:
    fields = []
    for folder in (first, second):
        with RunLedger(folder) as ledger:
            fields.append(ledger.rows("field").drop("dose_mj_per_um2"))
    if not fields[0].equals(fields[1]):
        return False
    return all(
        results.localizations(first, number).data.equals(results.localizations(second, number).data)
        for number in fields[0]["id"]
    )


def _rate(folder: Path) -> list[Row]:
    """A long movie beside a cell, through camera, engine and disk; in a process of its own, for its peak of memory."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        lost, wall, cpu, memory = pool.submit(_long_movie, folder).result()
    what = f"{FRAMES:,} frames of 256 x 256"
    course: list[Row] = [
        (f"{what}: peak of memory after burst {number}", memory[number - 1], "MiB", None)
        for number in (1, 2, 5, 10, 20, 30)
        if number <= len(memory)
    ]
    return [
        (f"{what}: lost", float(lost), "frames", 0.0),
        (f"{what}: end to end", FRAMES / wall, "frames/s", None),
        (f"{what}: CPU time", 1000 * cpu / FRAMES, "ms/frame", None),
        *course,
        (f"{what}: memory added after the first burst", memory[-1] - memory[0], "MiB", 50.0),
    ]


def _long_movie(folder: Path) -> tuple[int, float, float, list[float]]:
    """Frames lost, seconds, processor seconds, and the peak of memory (MiB) after each burst."""
    memory = []
    with Microscope("simulated") as microscope:
        microscope.move_to(78.5, 135.9)
        microscope.set_channel("molecules")
        wall, cpu = time.perf_counter(), time.process_time()
        for number in range(FRAMES // BURST):
            path = folder / f"long_{number:03d}.ome.zarr"
            writing.write_burst(
                path, microscope.frames(BURST), shape=(BURST, 256, 256), pixel_size_um=0.1, exposure_ms=20, notes={}
            )
            memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    # afterwards: what is read to be checked is no memory of the acquisition
    lost = FRAMES - sum(len(writing.read_burst(path)) for path in folder.glob("long_*.ome.zarr"))
    return lost, wall, cpu, memory


def _fields(folder: Path) -> list[Row]:
    """Fields around all cells of a slide of 1 mm2 against tiles over all of it."""
    from lucule.acquire.devices import DATA
    from lucule.acquire.finder import Overview
    from lucule.acquire.specimen import load_slide
    from lucule.simulate import widefield

    slide = load_slide(DATA / "slide.yaml")  # type: ignore[arg-type]
    slide = slide.replace(size_um=(1000, 1000), gap_um=2.0)
    image = widefield(slide, seed=1, channels=["cell"], pixel_size_nm=500)
    Overview(image.counts[0], (0.0, 0.0), 0.5).save(folder / "slide.npz")
    settings = Objects(minimum_area_um2=30, large="centre", merge_distance_um=25)
    find_in_overview(folder / "slide.npz", settings, folder / "objects.parquet")
    objects = pl.read_parquet(folder / "objects.parquet").with_row_index("id").with_columns(region=pl.lit("area"))
    choice = planner.choose_fields(
        objects, settings, field_um=(_TILE_UM, _TILE_UM), radius_um=_TILE_UM / 2, start=(0, 0)
    )
    tiles = (1000 / _TILE_UM) ** 2
    cells = len(slide.overview(seed=1))
    return [
        (f"objects found of {cells} cells on 1 mm2", float(len(objects)), "", float(cells)),
        ("fields for them", float(len(choice.fields)), "", None),
        ("tiles of 25 um over the area / fields", tiles / max(len(choice.fields), 1), "", 13.6),
    ]


def _density(scratch: Path, *, seed: int) -> list[Row]:
    """Density over 10 s from too few and too many emitters: bursts of 2 s, new cells on `DENSITY_SLIDES` slides."""
    courses: dict[str, list[list[float]]] = {name: [] for name in STARTS}
    for number in range(DENSITY_SLIDES):
        size = {"Camera-Rows": 96, "Camera-Columns": 96, "Slide-Seed": seed + number}
        with Microscope({"based_on": "simulated", "properties": size}) as microscope:
            assert microscope.specimen is not None  # noqa: S101 (it is a simulated one)
            specimen = microscope.specimen
            cells = specimen.slide.overview(seed=seed + number).select("x_um", "y_um").rows()
            _at(microscope, cells[0], USUAL_MW)
            target = _seen(microscope, USUAL_MW, scratch).density_per_um2
            for (name, factor), place in zip(STARTS.items(), cells[1:], strict=False):
                # the density follows the sum of activation and return by itself
                power = (USUAL_MW + specimen.thermal) * factor - specimen.thermal
                density, course = Density(target_per_um2=target, start_mw=power), []
                for _ in range(5):
                    _at(microscope, place, power)
                    seen = _seen(microscope, power, scratch)
                    course.append(seen.density_per_um2 / target)
                    power, _ = feedback.next_power(seen, density)
                courses[name].append(course)
    rows: list[Row] = []
    for name, course_of_each in courses.items():
        start, end = (np.mean(course_of_each, axis=0)[part].mean() for part in (slice(0, 1), slice(3, 5)))
        rows.append((f"density / target at the start, {name}", float(start), "", None))
        rows.append((f"density / target after 6 to 10 s, {name}", float(end), "", 1.0))
    return rows


def _at(microscope: Microscope, place: tuple[float, float], activation_mw: float) -> None:
    microscope.move_to(*place)
    microscope.set_channel("molecules")
    microscope.set_laser("405", activation_mw)


def _seen(microscope: Microscope, power_mw: float, scratch: Path, frames: int = 100) -> feedback.Seen:
    path = scratch / "burst.ome.tif"
    shape = (frames, *microscope.shape_px)
    writing.write_burst(path, microscope.frames(frames), shape=shape, pixel_size_um=0.1, exposure_ms=20, notes={})
    numbers = localize_burst(path, microscope.rig.camera, 0, scratch / "burst.parquet")
    area = float(np.prod(microscope.field_um))
    return feedback.Seen(frames, numbers.localizations, numbers.localizations / (frames * area), activation_mw=power_mw)


def _rings(folder: Path) -> list[Row]:
    """Ring correlation over all fields of an automatic run on rings."""
    slide = folder / "rings.yaml"
    slide.write_text(dump_yaml(RINGS), encoding="utf-8")
    plan = load_plan(
        {
            "microscope": {
                "based_on": "simulated",
                "properties": {"Slide-File": str(slide), "Camera-Rows": 96, "Camera-Columns": 96},
                "illumination_radius_um": 6.8,
            },
            "scan": {"area_um": [0, 0, 60, 60], "overview_pixel_um": 0.2},
            "objects": {"quota": RING_FIELDS, "large": "centre"},
            "imaging": {"frames": 2000, "burst_frames": 250, "density": {"target_per_um2": 0.05, "start_mw": 5}},
            "stop": {"count_gain": None},
        }
    )
    done = experiment.acquire(plan, folder / "rings")
    found = []
    for number in range(int(done.numbers["fields"].get("done", 0))):
        try:
            found.append(process.frc(results.localizations(folder / "rings", number), compare=False).resolution_nm)
        except InputError:
            continue
    known = np.array([value for value in found if value is not None])
    return [
        ("automatic fields on rings", float(len(found)), "", float(RING_FIELDS)),
        ("ring correlation, mean over them", float(known.mean()) if len(known) else None, "nm", 34.0),
        ("ring correlation, standard deviation", float(known.std(ddof=1)) if len(known) > 1 else None, "nm", 9.0),
    ]
