"""Maximum-likelihood fits: speed, error over the bound, and overlapping emitters, beside Picasso on the same frames.

Rates are processor time of one core (two cores do twice as much), so that other load on the machine does not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule import localize as room
from lucule.bench import picasso_spline
from lucule.bench.localize import DENSITIES, MODEL, Phantom, scored, three_tubes
from lucule.bench.parts import Rows, in_parts
from lucule.core import SILENT, Camera, Progress
from lucule.localize.fitting import FitSettings, fit_block, prepare
from lucule.localize.fitting.block import alone, candidates, in_photons
from lucule.localize.matching import Matches, MatchSettings, match
from lucule.localize.recipe import Recipe
from lucule.localize.scores import error_over_bound, pull_width
from lucule.models import find
from lucule.simulate import load_camera
from lucule.simulate.camera import expose, sensor
from lucule.simulate.crlb import crlb
from lucule.simulate.optics import Kernel, compile_psf

SIZE: Final = 64
SPEED_FRAMES, EMITTERS_PER_FRAME = 1000, 1.25
_SPEED_CAMERA: Final = "smlm_challenge"
_SPEED: Final = f"{SIZE} x {SIZE} px, {EMITTERS_PER_FRAME} emitters/frame"
PHOTONS, BACKGROUND = 3000.0, 30.0
SINGLE_FRAMES: Final = 250
DEPTHS_NM: Final = (-500, -250, 0, 250, 500)
LIGHT: Final = ((1000.0, 10.0), (5000.0, 50.0), (20_000.0, 200.0))
CAMERAS: Final = ("ideal", "smlm_challenge", "prime95b")
PHANTOM_METHODS: Final = ("alone", "multi", "network")
PAIRS: Final = (1.0, 1.5, 2.0, 3.0)
# bias: emitters of each setting, their places on a pixel along each axis, light, depths, camera
BIAS_EMITTERS: Final = 20_000
PLACES_PX: Final = (0.1, 0.3, 0.5, 0.7, 0.9)
BIAS_LIGHT: Final = ((1000.0, 10.0), (20_000.0, 200.0))
BIAS_DEPTHS_NM: Final = (-500, 0, 500)
BIAS_CAMERA: Final = "smlm_challenge"
# a hill of the background in the middle of the frame: photons on top, standard deviation; and what stands around it
HILL_PHOTONS, HILL_PX = 60.0, 14.0
HILL_LIGHT: Final = (1500.0, 20.0)
_PICASSO_BOX: Final = 13
_PICASSO_GRADIENT: Final = 3000.0

Floats: TypeAlias = NDArray[np.float64]


class Model(NamedTuple):
    """A fit: its name, the PSF of the frames, that of the fit, its settings, and the fits of Picasso beside it."""

    name: str
    made_with: str
    psf: str | None
    settings: FitSettings
    picasso: tuple[str, ...]


MODELS: Final = (
    Model("gaussian", "gaussian_2d", None, FitSettings(), ("gaussmle-spherical", "gausslq-spherical")),
    Model("elliptical", "gaussian_2d", None, FitSettings(model="elliptical"), ("gaussmle", "gausslq")),
    Model("astigmatic", "astigmatic", "astigmatic", FitSettings(), ()),
    Model("spline", "vectorial_astigmatic", "vectorial_astigmatic", FitSettings(), ("spline-mle",)),
)


def run(*, seed: int, folder: Path | None = None, progress: Progress = SILENT) -> pl.DataFrame:
    """Measure the fits, and Picasso where it is installed."""
    schema = {"what": pl.String, "method": pl.String, "quantity": pl.String, "value": pl.Float64}
    return in_parts(_parts(seed), schema=schema, folder=folder, progress=progress)


def _parts(seed: int) -> dict[str, Callable[[], Rows]]:
    """What is measured; each part makes its own data, so that any of them can be measured alone."""
    parts: dict[str, Callable[[], Rows]] = {}
    picasso = find_spec("picasso") is not None
    for model in MODELS:
        parts[f"speed_{model.name}"] = partial(_speed, model, seed)
        if picasso and model.picasso:
            parts[f"speed_{model.name}_picasso"] = partial(_picasso_speed, model, seed)
    for model in MODELS:
        for camera in CAMERAS:
            parts[f"single_{model.name}_{camera}"] = partial(_single, model, camera, seed)
    for model in MODELS:
        parts[f"bias_{model.name}"] = partial(_bias, model, seed)
        parts[f"uneven_{model.name}"] = partial(_uneven, model, seed)
    parts["pairs"] = partial(_pairs, seed)
    for density in DENSITIES:
        for method in PHANTOM_METHODS:
            parts[f"phantoms_{density[0]}_{method}"] = partial(_phantoms, density, method, seed)
        if picasso:
            parts[f"phantoms_{density[0]}_picasso"] = partial(_picasso_phantoms, density, seed)
    return parts


def _row(what: str, method: str, quantity: str, value: float) -> dict[str, Any]:
    return {"what": what, "method": method, "quantity": quantity, "value": float(value)}


def _seconds(work: Callable[[], Any], repeats: int = 3) -> float:
    """Processor time of the fastest of some calls, after one that compiles."""
    work()
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return min(spent)


def _sparse(kernel: Kernel, camera: Camera, seed: int) -> NDArray[np.uint16]:
    rng = np.random.default_rng(seed)
    light = np.full((SPEED_FRAMES, SIZE, SIZE), BACKGROUND, np.float32)
    low, high = np.clip(kernel.z_range_nm, -500, 500)
    for frame in light:
        n = rng.poisson(EMITTERS_PER_FRAME)
        xy = rng.uniform(0, SIZE * kernel.pixel_size_nm[0], (2, n))
        frame += kernel.image(*xy, rng.uniform(low, high, n), np.full(n, PHOTONS), (SIZE, SIZE))
    return expose(light, camera, seed=seed)


def _speed(model: Model, seed: int) -> Rows:
    camera = load_camera(_SPEED_CAMERA)
    movie = _sparse(compile_psf(model.made_with, 100), camera, seed)
    fitter = prepare(sensor(camera, (SIZE, SIZE)), model.psf, model.settings)
    light = in_photons(fitter, movie)
    frame, found = candidates(fitter, light)
    sides = sorted({int(fitter.sides.min()), int(fitter.sides.max())})
    method = f"lucule, {model.name}, {' to '.join(map(str, sides))} px"
    seconds = _seconds(partial(alone, fitter, light, frame, found))
    whole = _seconds(partial(fit_block, fitter, movie))
    together = prepare(sensor(camera, (SIZE, SIZE)), model.psf, model.settings.replace(multi=True))
    joint = _seconds(partial(fit_block, together, movie))
    return [
        _row(_SPEED, method, "fits/s of a core", len(frame) / seconds),
        _row(_SPEED, method, "frames/s of a core", len(movie) / whole),
        _row(_SPEED, f"lucule, {model.name}, {together.side} px, multi", "frames/s of a core", len(movie) / joint),
    ]


def _picasso_speed(model: Model, seed: int) -> Rows:
    """Picasso's fits of the same frames: the same model, one thread."""
    camera, kernel = load_camera(_SPEED_CAMERA), compile_psf(model.made_with, 100)
    movie = _sparse(kernel, camera, seed)
    rows = []
    for method in model.picasso:
        calibration = picasso_spline.calibrated(kernel, camera, seed).calibration if method == "spline-mle" else None
        box = picasso_spline.BOX_PX if calibration else _PICASSO_BOX
        name = f"Picasso, {method}, {box} px"
        spent = picasso_spline.timed(movie, camera, method, box, _PICASSO_GRADIENT, calibration)
        rows.append(_row(_SPEED, name, "fits/s of a core", spent.spots / spent.fits))
        rows.append(_row(_SPEED, name, "frames/s of a core", len(movie) / spent.whole))
    return rows


def _lone(
    kernel: Kernel, camera: Camera, z: float, light: tuple[float, float], offsets_px: Floats, seed: int
) -> Phantom:
    """Emitters far from each other, four in each frame, that many pixels `(n, 2)` from the middle of its quarters."""
    photons, background = light
    n = len(offsets_px)
    frame, quarter = np.divmod(np.arange(n), 4)
    centres = 16 + 32 * np.stack(np.divmod(quarter, 2), axis=1)
    xyz = np.column_stack([kernel.pixel_size_nm * (centres + offsets_px), np.full(n, float(z))])
    frames = np.full((frame[-1] + 1, SIZE, SIZE), background, np.float32)
    for f, image in enumerate(frames):
        own = xyz[4 * f : 4 * f + 4]
        image += kernel.image(*own.T, np.full(len(own), photons), image.shape)
    return Phantom(expose(frames, camera, seed=seed), frame, xyz, np.full(n, photons))


class _Errors(NamedTuple):
    """Fits of lone emitters beside the truth.

    Attributes
    ----------
    pairs
        Which fit is which emitter.
    difference, bound, said
        Difference, its lower bound and the error that the fit says, nm, `(pairs, axes)`.
    """

    pairs: Matches
    difference: Floats
    bound: Floats
    said: Floats


def _errors(kernel: Kernel, camera: Camera, psf: str | None, settings: FitSettings, scene: Phantom,
            background: float) -> _Errors:  # fmt: skip
    axes = "xyz" if psf else "xy"
    locs = room.fit(scene.movie, camera=camera, psf=psf, settings=settings)
    found = np.stack([locs[a].astype(float) if a in axes else np.zeros(len(locs)) for a in "xyz"], axis=1)
    pairs = match(locs["frame"], found, scene.frame, scene.xyz)
    pixels = sensor(camera, (SIZE, SIZE))
    bound = crlb(kernel, pixels, *scene.xyz[pairs.true].T, scene.photons[pairs.true], background, free_z=len(axes) == 3)
    bounds = np.stack([getattr(bound, f"{a}_err") for a in axes], axis=1)
    said = np.stack([locs[f"{a}_err"].astype(float) for a in axes], axis=1)[pairs.found]
    return _Errors(pairs, pairs.difference_nm[:, : len(axes)], bounds, said)


def _single(model: Model, of_camera: str, seed: int) -> Rows:
    """Error over bound and pulls of single emitters anywhere on the pixels, by light and depth."""
    offsets = np.random.default_rng(seed).uniform(-4, 4, (4 * SINGLE_FRAMES, 2))
    rows = []
    kernel, camera = compile_psf(model.made_with, 100), load_camera(of_camera)
    for light, z in product(LIGHT, DEPTHS_NM if model.psf else (0,)):
        scene = _lone(kernel, camera, z, light, offsets, seed)
        pairs, difference, bound, said = _errors(kernel, camera, model.psf, model.settings, scene, light[1])
        what = f"alone, {of_camera}, {light[0]:g} photons on {light[1]:g}, z = {z} nm"
        for k, (a, ratio) in enumerate(zip("xyz", error_over_bound(difference, bound), strict=False)):
            rows.append(_row(what, model.name, f"error / bound {a}", ratio))
            rows.append(_row(what, model.name, f"pull width {a}", pull_width(difference[:, k], said[:, k])))
        rows.append(_row(what, model.name, "recall", len(pairs.true) / len(scene.frame)))
        rows.append(_row(what, model.name, "false alarms per frame", len(pairs.wrong) / SINGLE_FRAMES))
    return rows


def _bias(model: Model, seed: int) -> Rows:
    """Mean error over bound at fixed places on the pixel: the largest of all places, and its standard error."""
    rng = np.random.default_rng(seed)
    place = rng.integers(len(PLACES_PX), size=(BIAS_EMITTERS, 2))
    offsets = rng.integers(-4, 4, place.shape) + np.array(PLACES_PX)[place]
    kernel, camera = compile_psf(model.made_with, 100), load_camera(BIAS_CAMERA)
    rows = []
    for light, z in product(BIAS_LIGHT, BIAS_DEPTHS_NM if model.psf else (0,)):
        scene = _lone(kernel, camera, z, light, offsets, seed)
        pairs, difference, bound, _ = _errors(kernel, camera, model.psf, model.settings, scene, light[1])
        what = f"bias, {BIAS_CAMERA}, {light[0]:g} photons on {light[1]:g}, z = {z} nm"
        for k in range(difference.shape[1]):
            # what the pixels do to x depends on the place along x; depth has no place of its own
            own = place[pairs.true, k] if k < 2 else np.zeros(len(difference), np.int64)
            relative = difference[:, k] / bound[:, k]
            groups = [relative[own == p] for p in np.unique(own)]
            worst = max(groups, key=lambda group: abs(group.mean()))
            rows.append(_row(what, model.name, f"largest bias / bound {'xyz'[k]}", worst.mean()))
            rows.append(_row(what, model.name, f"its standard error {'xyz'[k]}", worst.std() / np.sqrt(len(worst))))
    return rows


def _uneven(model: Model, seed: int) -> Rows:
    """Single emitters around a hill of the background: errors over those said, and how far they are drawn uphill."""
    camera, kernel = load_camera("ideal"), compile_psf(model.made_with, 100)
    offsets = np.random.default_rng(seed).uniform(-4, 4, (4 * SINGLE_FRAMES, 2))
    photons, background = HILL_LIGHT
    scene = _lone(kernel, camera, 0.0, HILL_LIGHT, offsets, seed)
    across = (np.arange(SIZE) + 0.5 - SIZE / 2) / HILL_PX
    hill = HILL_PHOTONS * np.exp(-0.5 * (across**2 + across[:, None] ** 2))
    movie = scene.movie + expose(np.broadcast_to(hill, scene.movie.shape), camera, seed=seed + 1)
    fitter = prepare(sensor(camera, (SIZE, SIZE)), model.psf, model.settings)
    light = in_photons(fitter, movie)
    even = alone(fitter, light, *candidates(fitter, light))
    locs = fit_block(fitter, movie)
    answers = {
        model.name: (locs["frame"], locs.select("x", "y").to_numpy(), locs.select("x_err", "y_err").to_numpy()),
        f"{model.name}, as if it were even": (even.frame, even.values[:, :2], even.errors[:, :2]),
    }
    rows = []
    for method, (frame, xy, said) in answers.items():
        pairs = match(frame, xy, scene.frame, scene.xyz[:, :2], MatchSettings(lateral_nm=100, axial_nm=None))
        difference = pairs.difference_nm[:, :2]
        towards = SIZE / 2 * kernel.pixel_size_nm[0] - scene.xyz[pairs.true, :2]
        towards /= np.linalg.norm(towards, axis=1, keepdims=True)
        what = f"{photons:g} photons on {background:g} and a hill of {HILL_PHOTONS:g}"
        rows.append(_row(what, method, "pull width", pull_width(difference.ravel(), said[pairs.found].ravel())))
        rows.append(_row(what, method, "lateral_nm", np.sqrt((difference**2).sum(axis=1).mean())))
        rows.append(_row(what, method, "drawn uphill, nm", (difference * towards).sum(axis=1).mean()))
        rows.append(_row(what, method, "recall", len(pairs.true) / len(scene.frame)))
    return rows


def _pairs(seed: int) -> Rows:
    """Two Gaussians at a distance in units of their width: how many are found within 100 nm, and how well."""
    camera, kernel = load_camera("ideal"), compile_psf("gaussian_2d", 100)
    rows = []
    for distance in PAIRS:
        rng = np.random.default_rng(seed)
        first, angle = rng.uniform(2800, 3600, (SINGLE_FRAMES, 2)), rng.uniform(0, 2 * np.pi, SINGLE_FRAMES)
        away = 130 * distance * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        xyz = np.column_stack([np.concatenate([first, first + away]), np.zeros(2 * SINGLE_FRAMES)])
        frame = np.tile(np.arange(SINGLE_FRAMES), 2)
        light = np.full((SINGLE_FRAMES, SIZE, SIZE), 20.0, np.float32)
        for f in range(SINGLE_FRAMES):
            light[f] += kernel.image(*xyz[frame == f].T, np.full(2, 4000.0), (SIZE, SIZE))
        movie = expose(light, camera, seed=seed)
        for multi in (False, True):
            locs = room.fit(movie, camera=camera, psf="gaussian_2d", settings=FitSettings(multi=multi))
            gates = room.MatchSettings(lateral_nm=100, axial_nm=None)
            pairs = match(locs["frame"], locs.xy().astype(float), frame, xyz[:, :2], gates)
            what, method = f"two of 4000 photons, {distance:g} widths apart", "multi" if multi else "alone"
            rows.append(_row(what, method, "recall within 100 nm", len(pairs.true) / len(frame)))
            # one fit between both has no pair, and then no error
            lateral = np.sqrt((pairs.difference_nm**2).sum(axis=1).mean()) if len(pairs.true) else np.nan
            rows.append(_row(what, method, "lateral_nm", lateral))
            rows.append(_row(what, method, "wrong", len(pairs.wrong)))
    return rows


def _phantoms(density: tuple[str, float, int], method: str, seed: int) -> Rows:
    """Blinking tubes, as in `bench localize`: fits alone, fits together, or the packaged network."""
    recipe = _recipe()
    name, activation_per_s, frames = density
    phantom = three_tubes(recipe, activation_per_s, frames, seed)
    what = f"three tubes, {name} density"
    work: Callable[..., Any]
    if method == "network":
        work = partial(room.localize, model=room.load(MODEL))
    else:
        settings = FitSettings(multi=method == "multi")
        work = partial(room.fit, camera=recipe.camera_used(), psf=recipe.psf, settings=settings)
    work(phantom.movie[:20])  # compiles
    start = time.process_time()
    locs = work(phantom.movie)
    seconds = time.process_time() - start
    table = {a: locs[a].astype(np.float64) for a in ("frame", "x", "y", "z")}
    return [*scored(what, method, table, phantom), _row(what, method, "frames/s of a core", frames / seconds)]


def _picasso_phantoms(density: tuple[str, float, int], seed: int) -> Rows:
    """Picasso's spline fit of the same frames, with the threshold that is best on others."""
    recipe = _recipe()
    name, activation_per_s, frames = density
    fit = picasso_spline.calibrated(recipe.kernel(), recipe.camera_used(), seed)
    tuning = three_tubes(recipe, activation_per_s, frames // 5, seed + 1000)
    phantom = three_tubes(recipe, activation_per_s, frames, seed)
    locs = fit.localize(phantom.movie, _tuned(fit, tuning))
    return scored(f"three tubes, {name} density", "Picasso, spline MLE", locs, phantom)


def _recipe() -> Recipe:
    return Recipe.parse(find(MODEL).card.recipe, source="recipe of the model")


def _tuned(fit: picasso_spline.Fit, tuning: Phantom) -> float:
    """Detection threshold of Picasso that is best on other frames of the same kind."""
    best, most = picasso_spline.GRADIENTS[0], -np.inf
    for gradient in picasso_spline.GRADIENTS:
        locs = fit.localize(tuning.movie, gradient)
        if len(locs["x"]):
            rows = scored("", "", locs, tuning)
            value = next(r["value"] for r in rows if r["quantity"] == "efficiency_3d, all")
            if np.isfinite(value) and value > most:
                best, most = gradient, value
    return best
