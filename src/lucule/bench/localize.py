"""Dense emitters and single ones: the localization network on a challenge-like phantom and against the bound.

The phantom is three bent tubes through the depth, blinking as in the SMLM Challenge 2016, with the network's own PSF
and camera. Its brightness is set so that lower bounds are distributed as those of the challenge's data with
experimental astigmatism (86 % of the emitters below 62.5 nm laterally; their root mean square 22.6 nm laterally,
31.1 nm axially; the rows `bound` say what they are here). Picasso's spline fit, calibrated on simulated beads and tuned
on a field of its own, runs on the same frames.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule import localize as room
from lucule import simulate
from lucule.bench import picasso_spline
from lucule.core import Camera
from lucule.localize.calibrate import scores_at, validate
from lucule.localize.predict import Predictor
from lucule.localize.recipe import Recipe
from lucule.localize.samplers import SAMPLERS
from lucule.localize.scenes import SceneSettings
from lucule.localize.scores import LocalizationScore, calibration_error, checkerboard, error_over_bound, pull_width
from lucule.models import find
from lucule.simulate.camera import expose
from lucule.simulate.crlb import crlb
from lucule.simulate.optics import Kernel

MODEL: Final = "localize_astigmatic"
FIELD_NM: Final = (6400.0, 6400.0)
# name, activation per s, frames: about 1.25 and 12.6 emitters per frame
DENSITIES: Final = (("low", 3.9e-4, 1200), ("high", 4.0e-3, 200))
PHOTONS_PER_S, MOLECULE_CV, BACKGROUND = 375_000.0, 0.6, 100.0
LATERAL_LIMIT_NM: Final = 62.5
DEPTHS_NM: Final = (-500, -250, 0, 250, 500)
LIGHT: Final = ((1000.0, 10.0), (5000.0, 50.0), (20_000.0, 200.0))
SINGLE_FRAMES: Final = 150
_SPACING_PX: Final = 32
STRUCTURE_SCENES: Final = SceneSettings(
    shape_px=(64, 64), frames=10, scenes=8, density_per_um2=(0.3, 0.3), photons=(6500, 6500),
    photons_spread=(0.55, 0.55), photons_per_background=(65, 65), background_unevenness=(0, 0), on_frames=(3, 3),
    stray=(0, 0),
)  # fmt: skip

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Phantom:
    """Frames and their emitters: frame `(n,)`, xyz `(n, 3)` in nm, photons `(n,)`."""

    movie: NDArray[np.uint16]
    frame: NDArray[np.int64]
    xyz: Floats
    photons: Floats


def run(*, seed: int, model: str = MODEL) -> pl.DataFrame:
    """Measure the network, and Picasso where it is installed."""
    predictor = room.load(model)
    recipe = Recipe.parse(find(model).card.recipe, source="recipe of the model")
    kernel, camera = recipe.kernel(), recipe.camera_used()
    fit = picasso_spline.calibrated(kernel, camera, seed) if find_spec("picasso") else None
    rows: list[dict[str, Any]] = []
    for name, activation_per_s, frames in DENSITIES:
        phantom = three_tubes(recipe, activation_per_s, frames, seed)
        where = f"three tubes, {name} density"
        rows += _bounds(where, phantom, kernel, camera)
        rows += _network(where, predictor, phantom)
        if fit is not None:
            tuning = three_tubes(recipe, activation_per_s, frames // 5, seed + 1000)
            rows += _picasso(where, fit, phantom, tuning)
    rows += _structures(predictor)
    rows += _single(predictor, kernel, camera, seed)
    schema = {"what": pl.String, "method": pl.String, "quantity": pl.String, "value": pl.Float64}
    return pl.DataFrame(rows, schema=schema)


def three_tubes(recipe: Recipe, activation_per_s: float, frames: int, seed: int) -> Phantom:
    """Simulate the phantom with the PSF and the camera of a recipe."""
    scene = simulate.load_scene("three_tubes", frames=frames)
    light = {"kind": "rate", "photons_per_s": PHOTONS_PER_S, "molecule_cv": MOLECULE_CV}
    dye = scene.dye.replace(activation_per_s=activation_per_s, photons=light)
    scene = scene.replace(dye=dye, background_photons=BACKGROUND)
    movie, truth = simulate.movie(scene, camera=recipe.camera_used(), psf=recipe.psf, seed=seed)
    emitters = truth.emitters
    xyz = np.stack([np.asarray(emitters[axis], dtype=np.float64) for axis in "xyz"], axis=1)
    return Phantom(movie[:], np.asarray(emitters["frame"], dtype=np.int64), xyz, np.asarray(emitters["photons"]))


def scored(what: str, method: str, locs: dict[str, Floats], phantom: Phantom) -> list[dict[str, Any]]:
    """Scores of localizations on a phantom, for all emitters and without the faintest quarter."""
    rows = []
    xyz = np.stack([locs[axis] for axis in "xyz"], axis=1)
    for setting, quantile in (("all", 0.0), ("brightest 75 %", 0.25)):
        metric = LocalizationScore(size_nm=FIELD_NM, photon_quantile=quantile)
        metric.update(locs["frame"], xyz, phantom.frame, phantom.xyz, phantom.photons)
        scores = metric.compute().table().row(0, named=True)
        names = ("jaccard", "recall", "precision", "lateral_nm", "axial_nm", "volume_nm", "efficiency_lateral",
                 "efficiency_axial", "efficiency_3d")  # fmt: skip
        rows += [_row(what, method, f"{name}, {setting}", scores[name]) for name in names]
    for period in (1.0, 2.0):
        value = checkerboard(xyz, 100.0, period_px=period)
        rows.append(_row(what, method, f"checkerboard, period {period:g} px", value))
    return rows


def _row(what: str, method: str, quantity: str, value: float) -> dict[str, Any]:
    return {"what": what, "method": method, "quantity": quantity, "value": float(value)}


def _bounds(what: str, phantom: Phantom, kernel: Kernel, camera: Camera) -> list[dict[str, Any]]:
    """How hard the phantom is: its density, and the bounds of its emitters if they were alone."""
    x, y, z = phantom.xyz.T
    # away from the border, at the same place on the pixels
    alone = crlb(kernel, camera, x % 100 + 1500, y % 100 + 1500, z, phantom.photons, BACKGROUND)
    lateral = np.hypot(alone.x_err, alone.y_err)
    good = lateral < LATERAL_LIMIT_NM
    bright = phantom.photons >= np.quantile(phantom.photons, 0.25)
    values = {
        "emitters per frame": len(x) / len(phantom.movie),
        "emitters below 62.5 nm": good.mean(),
        "their lateral_nm (rms)": np.sqrt((lateral[good] ** 2).mean()),
        "their axial_nm (rms)": np.sqrt((alone.z_err[good] ** 2).mean()),
        "lateral_nm (median), brightest 75 %": np.median(lateral[bright]),
        "axial_nm (median), brightest 75 %": np.median(alone.z_err[bright]),
    }
    return [_row(what, "bound", name, value) for name, value in values.items()]


def _network(what: str, predictor: Predictor, phantom: Phantom) -> list[dict[str, Any]]:
    method = "network"
    room.localize(phantom.movie[:64], model=predictor)
    start = time.perf_counter()
    locs = room.localize(phantom.movie, model=predictor)
    seconds = time.perf_counter() - start
    table = {name: locs[name].astype(np.float64) for name in ("frame", "x", "y", "z", "x_err", "y_err", "z_err", "p")}
    rows = scored(what, method, table, phantom)
    matches = room.match(table["frame"], np.stack([table[a] for a in "xyz"], axis=1), phantom.frame, phantom.xyz)
    hit = np.ones(len(locs), bool)
    hit[matches.wrong] = False
    errors = np.stack([table[f"{a}_err"] for a in "xyz"], axis=1)[matches.found]
    widths = pull_width(matches.difference_nm, errors)
    rows += [_row(what, method, f"pull width {a}", w) for a, w in zip("xyz", widths, strict=True)]
    rows.append(_row(what, method, "calibration error of p", calibration_error(table["p"], hit)))
    rows.append(_row(what, method, "frames/s", len(phantom.movie) / seconds))
    return rows


def _picasso(what: str, fit: picasso_spline.Fit, phantom: Phantom, tuning: Phantom) -> list[dict[str, Any]]:
    """Picasso's spline fit, with the detection threshold that is best on other frames of the same kind."""
    efficiencies = {}
    for gradient in picasso_spline.GRADIENTS:
        locs = fit.localize(tuning.movie, gradient)
        if len(locs["x"]):
            rows = scored(what, "", locs, tuning)
            efficiencies[gradient] = next(r["value"] for r in rows if r["quantity"] == "efficiency_3d, all")
    best = max(efficiencies, key=lambda gradient: np.nan_to_num(efficiencies[gradient], nan=-np.inf))
    start = time.perf_counter()
    locs = fit.localize(phantom.movie, best)
    seconds = time.perf_counter() - start
    method = "Picasso, spline MLE"
    return [*scored(what, method, locs, phantom), _row(what, method, "frames/s", len(phantom.movie) / seconds)]


def _structures(predictor: Predictor) -> list[dict[str, Any]]:
    """Scores by structure at one density and light; with complete randomness wrong ones are hallucinated structure."""
    rows = []
    for name in SAMPLERS:
        scenes = STRUCTURE_SCENES.replace(samplers={name: 1.0})
        found = validate(predictor, batches=2, scenes=scenes)
        scores = scores_at(found, predictor.laws, predictor.threshold)
        emitters = found.emitters / (2 * scenes.scenes * scenes.frames)
        what = f"{name}, {STRUCTURE_SCENES.density_per_um2[0]:g} emitters per um2"
        rows.append(_row(what, "network", "emitters per frame", emitters))
        names = ("jaccard", "precision", "lateral_nm", "axial_nm", "efficiency_3d")
        rows += [_row(what, "network", f"{quantity}, all", getattr(scores, quantity)) for quantity in names]
    return rows


def _single(predictor: Predictor, kernel: Kernel, camera: Camera, seed: int) -> list[dict[str, Any]]:
    """Error over bound of emitters that are alone in space and time, in one frame each, by light and depth."""
    rng = np.random.default_rng(seed)
    rows = []
    for photons, background in LIGHT:
        for depth in DEPTHS_NM:
            frame, xyz = _alone(rng, depth)
            light = np.full((SINGLE_FRAMES, 64, 64), background, np.float32)
            for f in np.unique(frame):
                x, y, z = xyz[frame == f].T
                light[f] += kernel.image(x, y, z, np.full(len(x), photons), (64, 64))
            movie = expose(light, camera, seed=int(rng.integers(2**31)))
            locs = room.localize(movie, model=predictor)
            found = np.stack([locs[a].astype(np.float64) for a in "xyz"], axis=1)
            matches = room.match(locs["frame"], found, frame, xyz)
            true = xyz[matches.true]
            bound = crlb(kernel, camera, *true.T, photons, background)
            bounds = np.stack([bound.x_err, bound.y_err, bound.z_err], axis=1)
            what = f"alone, {photons:g} photons on {background:g}, z = {depth} nm"
            ratio = error_over_bound(matches.difference_nm, bounds)
            bias = (matches.difference_nm / bounds).mean(axis=0)
            rows += [_row(what, "network", f"error / bound {a}", r) for a, r in zip("xyz", ratio, strict=True)]
            rows += [_row(what, "network", f"bias / bound {a}", b) for a, b in zip("xyz", bias, strict=True)]
            rows.append(_row(what, "network", "recall", len(matches.found) / len(frame)))
    return rows


def _alone(rng: np.random.Generator, depth: float) -> tuple[NDArray[np.int64], Floats]:
    """Four emitters in every third frame, farther apart than the context, anywhere on the pixels."""
    places = np.array([[i, j] for i in (0, 1) for j in (0, 1)]) * _SPACING_PX + _SPACING_PX / 2
    filled = np.arange(0, SINGLE_FRAMES, 3)
    frame = np.repeat(filled, len(places))
    xy = 100 * (np.tile(places, (len(filled), 1)) + rng.uniform(-4, 4, (len(frame), 2)))
    return frame, np.column_stack([xy, np.full(len(frame), float(depth))])
