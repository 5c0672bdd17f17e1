"""Averaging of simulated and real particles against the truth: poses found, hot spots, time; Picasso's average beside.

A pose is found when, up to one pose of all particles and the symmetry of the structure, its rotation is right to 11
degrees (pores) or 10 degrees (origami), and the true centre comes to lie within 10 nm of that of the others. Particles
are STORM of nuclear pores (Nup96, Alexa Fluor 647) or DNA-PAINT of origami grids; every particle counts, few labels or
not. Times are of the processor, all threads together, after one small call that compiles.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule import io, simulate, structures
from lucule.bench.parts import Rows, in_parts
from lucule.bench.picasso_spline import quiet
from lucule.core import SILENT, Localizations, Progress
from lucule.structures.averaging import Average, AverageSettings, sites, symmetry
from lucule.structures.averaging.poses import about_z
from lucule.workflows import averaging as workflow

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Case:
    """Particles to average."""

    name: str
    scene: str
    side: int
    labelling: float
    order: int
    tolerance_deg: float
    target_percent: float | None = None
    target_seconds: float | None = None
    space: bool = False
    starts: int = 1


CASES: tuple[Case, ...] = (
    Case("256 pores, 50 % labelled", "nuclear_pores", 16, 0.5, 8, 11.0, 90.0),
    Case("256 pores, 30 % labelled", "nuclear_pores", 16, 0.3, 8, 11.0, 70.0),
    Case("196 origami, 85 % of the sites", "origami", 14, 0.85, 2, 10.0, 90.0, 240.0),
    Case("196 origami, 50 % of the sites", "origami", 14, 0.5, 2, 10.0),
    Case("256 pores in 3D, 50 % labelled", "nuclear_pores", 16, 0.5, 8, 11.0, 90.0, 600.0, space=True),
    Case("256 pores in 3D, 30 % labelled", "nuclear_pores", 16, 0.3, 8, 11.0, 70.0, 600.0, space=True),
    Case("25 pores in 3D, 50 % labelled", "nuclear_pores", 5, 0.5, 8, 11.0, space=True),
)
REAL: Final = "picasso/raw_movie_locs_picked.hdf5"
SPACING_NM: Final = 500.0
SHIFT_NM: Final = 10.0
PICASSO_ITERATIONS: Final = 10


def run(*, seed: int, folder: Path | None = None, progress: Progress = SILENT) -> pl.DataFrame:
    """One row for each measurement: value, unit, target where there is one."""
    _warm_up(seed)
    parts = {f"case_{number}": partial(_case, case, seed) for number, case in enumerate(CASES)}
    parts["real"] = partial(_real, seed)
    schema = {"what": pl.String, "method": pl.String, "value": pl.Float64, "unit": pl.String, "target": pl.Float64}
    return in_parts(parts, schema=schema, folder=folder, progress=progress)


def particles(case: Case, *, seed: int) -> tuple[Localizations, Floats, Floats]:
    """Simulated particles on a grid, with column `particle`; true angles (degrees) and centres (nm) by particle."""
    rng = np.random.default_rng(seed)
    row, column = np.divmod(np.arange(case.side**2), case.side)
    centres = np.column_stack([column, row]) * SPACING_NM + SPACING_NM
    angles = rng.uniform(-180, 180, len(centres))
    base = simulate.load_scene(case.scene)
    name = next(iter(base.layers))
    placement = {"positions_nm": [tuple(xy) for xy in centres.tolist()], "angles_deg": angles.tolist()}
    values = base.model_dump(mode="python")
    values["field"] = {"size_um": (case.side + 1) * SPACING_NM / 1000, "axial_range_nm": base.field.axial_range_nm}
    values["layers"][name] |= {"within": None, "placement": placement}
    changed = simulate.Scene.parse(values)
    changed = changed.with_changes(
        **({"incorporation": case.labelling} if case.scene == "origami" else {"labelling": case.labelling})
    )
    optics: dict[str, Any] = {"psf": "astigmatic"} if case.space else {}
    locs = simulate.localizations(changed, seed=seed, outside="drop", **optics)
    known = locs.filter(pl.col("structure") >= 0)
    return known.with_columns(particle=known["structure"]), angles, centres


def found_percent(case: Case, rotations: Floats, moved_centres: Floats, angles_deg: Floats) -> float:
    """Part of the particles whose pose is right up to one pose of all and the symmetry, in percent."""
    total = rotations @ about_z(np.radians(angles_deg))
    group = about_z(2 * np.pi * np.arange(case.order) / case.order)
    if case.scene == "nuclear_pores" and case.space:  # two-fold axes in the plane lay the upper ring on the lower one
        group = np.concatenate([group, group @ np.diag([1.0, -1.0, -1.0])])
    near = np.linalg.norm(moved_centres - np.median(moved_centres, axis=0), axis=1) < SHIFT_NM
    best = 0.0
    for reference in total:
        trace = np.einsum("ji,njk,gki->ng", reference, total, group, optimize=True)
        angle = np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1))).min(axis=1)
        best = max(best, float(np.mean((angle < case.tolerance_deg) & near)))
    return 100 * best


def hot_spot(points: Floats, order: int) -> float:
    """Localizations at the brightest corner of a ring over those at the median one."""
    apart = points - np.median(points, axis=0)
    angle, radius = np.arctan2(apart[:, 1], apart[:, 0]), np.hypot(apart[:, 0], apart[:, 1])
    angle = angle[(radius > 30) & (radius < 80)]
    phase = np.angle(np.exp(1j * order * angle).sum()) / order
    corner = np.round((angle - phase) / (2 * np.pi / order)).astype(int) % order
    counts = np.bincount(corner, minlength=order)
    return float(counts.max() / np.median(counts))


def _row(what: str, method: str, value: float | None, unit: str, target: float | None = None) -> dict[str, Any]:
    return {"what": what, "method": method, "value": value, "unit": unit, "target": target}


def _case(case: Case, seed: int) -> Rows:
    locs, angles, centres = particles(case, seed=seed)
    start = time.process_time()
    found = structures.average(locs, settings=AverageSettings(starts=case.starts), seed=seed)
    seconds = time.process_time() - start
    of = found.particles.ids
    away = np.column_stack([centres[of], np.zeros(len(of))]) - found.particles.centres_nm
    away[:, 2] = 0.0 if found.particles.flat else away[:, 2]
    moved = np.einsum("nij,nj->ni", found.rotations, away) + found.shifts_nm
    lateral = moved if case.space else moved[:, :2]
    percent = found_percent(case, found.rotations, lateral, angles[of]) * len(of) / len(angles)
    rows = [
        _row(f"{case.name}: poses found", "lucule", percent, "%", case.target_percent),
        _row(f"{case.name}: symmetry found", "lucule", float(found.symmetry.order), "", float(case.order)),
        _row(f"{case.name}: time", "lucule", seconds, "CPU s", case.target_seconds),
    ]
    if case.space:
        rows += _in_space(case, locs, found, seed)
    pores = case.scene == "nuclear_pores" and not case.space
    if pores:
        rows.append(
            _row(f"{case.name}: brightest over median corner", "lucule", hot_spot(found.points()[:, :2], 8), "", 1.3)
        )
    if find_spec("picasso") is not None and not case.space:
        aligned, seconds = _picasso(locs)
        rotations, moved = _poses(locs, aligned, centres)
        percent = found_percent(case, rotations, moved, angles)
        rows.append(_row(f"{case.name}: poses found", "Picasso average", percent, "%", case.target_percent))
        rows.append(_row(f"{case.name}: time", "Picasso average", seconds, "CPU s", case.target_seconds))
        if pores:
            value = hot_spot(aligned, 8)
            rows.append(_row(f"{case.name}: brightest over median corner", "Picasso average", value, "", 1.3))
    return rows


def _in_space(case: Case, locs: Localizations, found: Average, seed: int) -> Rows:
    """Corners of the rings seen along their axis, correlation of halves, and how sure the symmetry is."""
    axis = found.symmetry
    if axis.order == 1:
        axis = symmetry.axis_of(found.density, found.grid, case.order, found.blur_nm)
    start = time.process_time()
    halves = workflow.half_sets(locs, found, AverageSettings(starts=case.starts), seed=seed)
    resolution = workflow.correlated(*halves)
    return [
        _row(f"{case.name}: brightest over median corner", "lucule",
             hot_spot(along_axis(found.points(), axis.axis, axis.centre_nm), case.order), "", 1.3),
        _row(f"{case.name}: orders that may be meant", "lucule", float(len(found.candidates)), "", 0.0),
        _row(f"{case.name}: half-set resolution", "lucule", resolution.resolution_nm, "nm"),
        _row(f"{case.name}: time for halves", "lucule", time.process_time() - start, "CPU s"),
    ]  # fmt: skip


def along_axis(points: Floats, axis: Floats, centre: Floats) -> Floats:
    """Points `(n, 3)` as seen along an axis through a centre, `(n, 2)`."""
    plane = np.linalg.svd(axis[None])[2][1:]
    return np.asarray((points - centre) @ plane.T)


def _picasso(locs: Localizations) -> tuple[Floats, float]:
    """Picasso's average by cross-correlation of pictures; aligned positions in nm, in the order of the table."""
    import pandas as pd

    pixel = 100.0
    with quiet():
        from picasso import average

        table = pd.DataFrame({"x": locs["x"] / pixel, "y": locs["y"] / pixel, "group": locs["particle"],
                              "frame": locs["frame"], "lpx": locs["x_err"] / pixel, "lpy": locs["y_err"] / pixel,
                              "row": np.arange(len(locs))})  # fmt: skip
        size = int(max(table["x"].max(), table["y"].max())) + 2
        info = [{"Width": size, "Height": size, "Frames": int(table["frame"].max()) + 1, "Pixelsize": pixel}]
        before = os.times()
        with average.AveragePool(table, n_workers=2) as pool:
            done = average.average(table, info, display_pixel_size=5.0, iterations=PICASSO_ITERATIONS, pool=pool)
        after = os.times()
    seconds = sum(
        getattr(after, n) - getattr(before, n) for n in ("user", "system", "children_user", "children_system")
    )
    done = done.sort_values("row")
    return done[["x", "y"]].to_numpy() * pixel, seconds


def _poses(locs: Localizations, aligned: Floats, centres: Floats) -> tuple[Floats, Floats]:
    """Rotations and moved true centres, from where the localizations of each particle were and where they went."""
    angles, moved = np.zeros(len(centres)), np.full((len(centres), 2), np.inf)
    xy, owner = locs.xy().astype(np.float64), locs["particle"]
    for k in np.unique(owner):
        of = owner == k
        before, after = xy[of], aligned[of]
        a, b = before - before.mean(axis=0), after - after.mean(axis=0)
        angles[k] = np.arctan2((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum(), (a * b).sum())
        turn = about_z(angles[k : k + 1])[0, :2, :2]
        moved[k] = turn @ (centres[k] - before.mean(axis=0)) + after.mean(axis=0)
    return about_z(angles), moved


def _real(seed: int) -> Rows:
    """Nine picked DNA origami of 3 x 4 sites at 20 nm, of Picasso's sample data."""
    path = Path(os.environ.get("LUCULE_DATA", "../shared/data")) / REAL
    if not path.exists():
        return []
    found = structures.average(io.read(path), seed=seed)
    places = sites(found)
    spacing = float(places["nearest_nm"].mean()) if len(places) > 1 else None
    what = "9 real origami of 3 x 4 sites"
    return [
        _row(f"{what}: sites", "lucule", float(len(places)), "", 12.0),
        _row(f"{what}: spacing", "lucule", spacing, "nm", 20.0),
    ]


def _warm_up(seed: int) -> None:
    """Compile, on a few points."""
    rng = np.random.default_rng(seed)
    for depth in (False, True):
        xyz = rng.normal(0, 30, (80, 3))
        columns = {"x": xyz[:, 0], "y": xyz[:, 1], "x_err": np.full(80, 5.0), "group": np.arange(80) // 20}
        table = Localizations(columns | ({"z": xyz[:, 2]} if depth else {}))
        structures.average(table, settings=AverageSettings(starts=1, symmetry=2))
