"""PSF and camera calibration against the truth of simulated beads and frames; Picasso's spline calibration beside.

Thirty beads lie anywhere in a field of 256 x 256 pixels, on a tilted coverslip, and bleach; 150 planes, 10 nm apart.
PSFs are compared at places all over a pixel within 400 nm of the focus and 600 nm of the emitter, after the shift
(x, y, z) that nobody can know, and with amplitude and background free in each image. Bias: how far a least-squares fit
with the measured PSF puts the true one off, root mean square. Times are CPU seconds of the whole call, after one call
that compiles; that of the command is of a process of its own, with what it imports and the page it draws.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import polars as pl
import tifffile
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.optimize import least_squares

from lucule.bench.parts import Rows, in_parts
from lucule.bench.picasso_spline import BOX_PX, quiet
from lucule.core import SILENT, Camera, Progress
from lucule.localize.calibration import PsfSettings, calibrate_camera, calibrate_psf, camera_from_movie
from lucule.simulate import BeadMovie, bead_stack, load_camera, load_psf, movie
from lucule.simulate.camera import expose, sensor
from lucule.simulate.crlb import crlb
from lucule.simulate.optics import Kernel, compile_psf

Floats: TypeAlias = NDArray[np.float64]

CAMERAS: Final = ("emccd_ixon897", "prime95b")
BEADS, PLANES, SIDE_PX, STEP_NM = 30, 150, 256, 10.0
_PHOTONS, _BACKGROUND, _PIXEL_NM = 30_000.0, 50.0, 100.0
_PLACES, _DEPTHS_NM, _REACH_PX = 6, np.linspace(-400, 400, 9), 6
# Picasso: least gradient of a bead, and planes averaged into one (20 nm, as ours)
_GRADIENT, _BINNED = 5000.0, 2
_DARK_FRAMES, _FLAT_PHOTONS = 200, (20.0, 80.0, 200.0, 500.0)
_MOVIE_FRAMES: Final = 200


def run(*, seed: int, folder: Path | None = None, progress: Progress = SILENT) -> pl.DataFrame:
    """One row for each measurement: value, unit, target where there is one."""
    kernel = compile_psf(load_psf("vectorial_astigmatic", z_range_nm=(-1000, 1000)), _PIXEL_NM)
    parts: dict[str, Callable[[], Rows]] = {}
    for name in CAMERAS:
        parts[f"psf_{name}"] = partial(_psf, name, kernel, seed)
        parts[f"command_{name}"] = partial(_command, name, kernel, seed)
        if find_spec("picasso") is not None:
            parts[f"picasso_{name}"] = partial(_picasso, name, kernel, seed)
        parts[f"camera_{name}"] = partial(_camera, name, seed)
    schema = {"what": pl.String, "method": pl.String, "value": pl.Float64, "unit": pl.String, "target": pl.Float64}
    return in_parts(parts, schema=schema, folder=folder, progress=progress)


def _row(what: str, method: str, value: float | None, unit: str, target: float | None = None) -> dict[str, Any]:
    return {"what": what, "method": method, "value": value, "unit": unit, "target": target}


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def _beads(kernel: Kernel, camera: Camera, seed: int) -> BeadMovie:
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, SIDE_PX * _PIXEL_NM, (2, BEADS))
    photons = _PHOTONS * np.exp(0.3 * rng.standard_normal(BEADS))
    return bead_stack(kernel, camera, x, y, photons, shape=(SIDE_PX, SIDE_PX), step_nm=STEP_NM, planes=PLANES,
                      tilt_nm_per_um=(6.0, -4.0), bleached=0.2, background=_BACKGROUND, seed=seed)  # fmt: skip


def _what(camera: str) -> str:
    return f"PSF: {BEADS} beads, {PLANES} planes, {camera}"


def _psf(name: str, kernel: Kernel, seed: int) -> Rows:
    camera = load_camera(name, pixel_size_nm=_PIXEL_NM)
    beads = _beads(kernel, camera, seed)
    what, settings = _what(name), PsfSettings(step_nm=STEP_NM)
    calibrate_psf(beads.counts[:, :128], camera, settings=settings)
    found, seconds = _timed(lambda: calibrate_psf(beads.counts, camera, settings=settings))
    ours = found.kernel()
    x = _PIXEL_NM * (ours.roi_px + np.linspace(0.1, 0.9, len(_DEPTHS_NM)))
    bounds = [crlb(k, load_camera("ideal"), x, x, _DEPTHS_NM, 5000, 50, roi_px=ours.roi_px) for k in (ours, kernel)]
    ratios = [float(np.mean(getattr(bounds[0], e) / getattr(bounds[1], e))) for e in ("x_err", "y_err", "z_err")]
    return [
        _row(what, "lucule", found.quality["beads_used"], "beads used"),
        _row(what, "lucule", seconds, "s CPU"),
        *_compared(what, "lucule", lambda x, y, z: _patch(ours, x, y, z), kernel),
        _row(what, "lucule", 100 * max(abs(r - 1) for r in ratios), "% off in the bound", 5.0),
    ]


def _command(name: str, kernel: Kernel, seed: int) -> Rows:
    beads = _beads(kernel, load_camera(name, pixel_size_nm=_PIXEL_NM), seed)
    return [_row(_what(name), "lucule", _command_seconds(beads.counts, name), "s CPU, the command", 10.0)]


def _picasso(name: str, kernel: Kernel, seed: int) -> Rows:
    """Picasso's template of the same beads, those that it finds itself."""
    camera = load_camera(name, pixel_size_nm=_PIXEL_NM)
    (template, used), seconds = _template(_beads(kernel, camera, seed).counts, camera)
    what, method = _what(name), f"Picasso, {BOX_PX} px, planes averaged by {_BINNED}"
    return [
        _row(what, method, used, "beads used"),
        _row(what, method, seconds, "s CPU"),
        *_compared(what, method, _interpolated(template), kernel),
    ]


def _command_seconds(counts: NDArray[np.uint16], camera: str) -> float:
    """CPU seconds of `lucule calibrate psf` on a file; the shorter of two runs, as the first may fill caches."""
    with tempfile.TemporaryDirectory() as folder:
        tifffile.imwrite(f"{folder}/beads.tif", counts)
        call = [sys.executable, "-c", "from lucule.cli import main; main()", "calibrate", "psf", f"{folder}/beads.tif",
                "--step-nm", f"{STEP_NM:g}", "--camera", camera, "--out", f"{folder}/psf.h5", "--json"]  # fmt: skip
        spent = []
        for _ in range(2):
            before = os.times()
            subprocess.run(call, check=True, capture_output=True)  # noqa: S603
            after = os.times()
            spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return min(spent)


def _patch(kernel: Kernel, x: float, y: float, z: float) -> Floats:
    """Light on the pixels around an emitter at (x, y) nm from the middle of the central one."""
    middle = (_REACH_PX + 0.5) * _PIXEL_NM
    side = 2 * _REACH_PX + 1
    # the search for the shift may look beyond the measured depths
    light: Floats = kernel.patch(middle + x, middle + y, float(np.clip(z, *kernel.z_range_nm)), (0, 0), (side, side))[0]
    return light


def _template(counts: NDArray[np.uint16], camera: Camera) -> tuple[tuple[Floats, int], float]:
    """Averaged PSF `(z, y, x)` and how many beads it holds; CPU seconds."""
    settings = {
        "Baseline": float(camera.baseline),  # type: ignore[arg-type]
        "Sensitivity": float(camera.electrons_per_count) / camera.quantum_efficiency,  # type: ignore[arg-type]
        "Gain": camera.em_gain,
        "Pixelsize": _PIXEL_NM,
    }
    with quiet():
        from picasso import spline

        # a few planes first, for what it compiles; the template is what takes the time of a calibration
        spline.build_psf_template(counts[::15, :128], settings, BOX_PX, _GRADIENT, 15 * STEP_NM)
        built, seconds = _timed(
            lambda: spline.build_psf_template(counts, settings, BOX_PX, _GRADIENT, STEP_NM, z_binning=_BINNED)
        )
    return (np.asarray(built["template"], np.float64).transpose(2, 0, 1), int(built["n_beads_used"])), seconds


def _interpolated(template: Floats) -> Callable[[float, float, float], Floats]:
    """Evaluate samples one pixel and some planes apart by natural cubic splines, as Picasso's fit does."""
    planes, side, _ = template.shape
    along_z = CubicSpline(np.arange(planes), template, axis=0, bc_type="natural")
    pixels = np.arange(-_REACH_PX, _REACH_PX + 1) + (side - 1) / 2

    def evaluate(x: float, y: float, z: float) -> Floats:
        image = along_z(np.clip(z / (_BINNED * STEP_NM) + (planes - 1) / 2, 0, planes - 1))
        image = CubicSpline(np.arange(side), image, axis=0, bc_type="natural")(pixels - y / _PIXEL_NM)
        moved: Floats = CubicSpline(np.arange(side), image, axis=1, bc_type="natural")(pixels - x / _PIXEL_NM)
        return moved

    return evaluate


def _compared(what: str, method: str, measured: Callable[[float, float, float], Floats], kernel: Kernel) -> Rows:
    rng = np.random.default_rng(0)
    places = [(*rng.uniform(-50, 50, 2), z) for z in _DEPTHS_NM for _ in range(_PLACES)]
    side = 2 * _REACH_PX + 1
    middle = (_REACH_PX + 0.5) * _PIXEL_NM
    true = [kernel.patch(middle + x, middle + y, z, (0, 0), (side, side)) for x, y, z in places]

    def rest(shift: Floats) -> list[Floats]:
        left = []
        for (x, y, z), (expected, *_) in zip(places, true, strict=True):
            seen = measured(x + shift[0], y + shift[1], z + shift[2])
            design = np.stack([seen.ravel(), np.ones(seen.size)], axis=1)
            left.append(expected.ravel() - design @ np.linalg.lstsq(design, expected.ravel(), rcond=None)[0])
        return left

    # a coarse search first: focus and centre of the stack may lie far apart
    start = min(np.arange(-400.0, 401, 50), key=lambda z: float(np.sum(np.square(rest(np.array([0, 0, z]))))))
    shift = least_squares(lambda s: np.concatenate(rest(s)), [0, 0, start], diff_step=1e-2, x_scale=[5, 5, 5]).x
    left = rest(shift)
    error = np.linalg.norm(left) / np.linalg.norm([t[0] - t[0].mean() for t in true])
    bias = []
    for residual, (light, *slopes) in zip(left, true, strict=True):
        root = 1 / np.sqrt(5000 * np.clip(light, 0, None) + 50).ravel()
        design = np.stack([*(s.ravel() for s in slopes), light.ravel(), np.ones(light.size)], axis=1) * root[:, None]
        bias.append(np.linalg.lstsq(design, residual * root, rcond=None)[0][:3])
    off = np.sqrt(np.mean(np.square(bias), axis=0))
    depth = np.polyfit([z for *_, z in places], np.array(bias)[:, 2], 1)[0]
    return [
        _row(what, method, 100 * float(error), "% error of the PSF"),
        _row(what, method, float(np.hypot(off[0], off[1]) / np.sqrt(2)), "nm bias in x and y"),
        _row(what, method, float(off[2]), "nm bias in z"),
        _row(what, method, 100 * abs(float(depth)), "% off in the scale of z", 1.0),
    ]


def _camera(name: str, seed: int) -> Rows:
    camera = load_camera(name)
    pixels = sensor(camera, (128, 128))
    true = camera.em_gain / float(pixels.electrons_per_count.mean())
    dark = expose(np.zeros((_DARK_FRAMES, 128, 128), np.float32), pixels, seed=seed)
    flats = [expose(np.full(dark.shape, level, np.float32), pixels, seed=seed + 1 + i)
             for i, level in enumerate(_FLAT_PHOTONS)]  # fmt: skip
    found, seconds = _timed(lambda: calibrate_camera(dark, flats, camera))
    what = f"camera: {name}, dark and {len(flats)} flat levels of {_DARK_FRAMES} frames"
    rows = [
        _row(what, "lucule", 100 * abs(found.counts_per_electron / true - 1), "% off in the gain", 2.0),
        _row(what, "lucule", abs(found.baseline - float(pixels.baseline.mean())), "counts off in the baseline", 0.2),
        _row(what, "lucule", seconds, "s CPU"),
    ]
    if found.maps:
        variance = pixels.read_noise.astype(np.float64) ** 2 + pixels.dark_electrons
        noise = found.maps["read_noise_electrons"].astype(np.float64) ** 2
        alike = float(np.corrcoef(np.log(noise.ravel()), np.log(variance.ravel()))[0, 1])
        rows.append(_row(what, "lucule", alike, "correlation of the variance map"))
    frames, _ = movie("origami", frames=_MOVIE_FRAMES, camera=name, psf="gaussian_2d", seed=seed)
    shown = frames[:]
    found, seconds = _timed(lambda: camera_from_movie(shown, camera))
    low, high = found.counts_per_electron_interval
    true = camera.em_gain / float(camera.electrons_per_count)  # type: ignore[arg-type]
    what = f"camera: {name}, from {_MOVIE_FRAMES} frames of DNA origami"
    return [
        *rows,
        _row(what, "lucule", 100 * abs(found.counts_per_electron / true - 1), "% off in the gain"),
        _row(what, "lucule", 50 * (high - low) / true, "% half width of the 95 % interval"),
        _row(what, "lucule", seconds, "s CPU"),
    ]
