"""Networks trained on randomness, on helices and on structures with equal budgets (the study of arXiv 2309.17265).

Three small networks are trained on equally many frames, which differ in nothing but the places of their emitters. They
are compared on tubes (the paper's question, which only `structures` has seen among others) at three levels of light and
nine densities; on emitters of the same tubes whose coordinates were exchanged, where every structure that a network
sees is hallucinated; and on complete randomness, reticulum and pores. Density is nominal: that of complete randomness
with the same mean distance to the nearest neighbour in the frame (Ripley; cut at 2 um), in emitters per 64 x 64
pixels. The last rows are relative changes against the network trained on randomness, mean over the nine densities.
"""

from __future__ import annotations

import itertools
import tempfile
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lucule import localize as room
from lucule.bench.localize import LIGHT
from lucule.bench.parts import Rows, in_parts
from lucule.core import SILENT, Progress
from lucule.localize.calibrate import scores_at, validate
from lucule.localize.predict import Predictor
from lucule.localize.recipe import Recipe
from lucule.localize.scenes import SceneSettings, prepare
from lucule.localize.scores import checkerboard
from lucule.nn import StreamSettings

STEPS: Final = 600
ARMS: Final = ("csr", "three_helix", "structures")
ALL_DENSITIES: Final = ("tubes", "shuffled")
ONE_DENSITY: Final = ("csr", "reticulum", "pores")
DENSITIES_PER_UM2: Final = tuple(np.geomspace(0.004, 0.25, 9))
BATCHES: Final = 6
COUNTED: Final = 500
COUNTED_BATCHES: Final = 40
_FAR_NM: Final = 2000.0
_SEED: Final = 9_000_001
_FRAME_UM2: Final = 6.4 * 6.4
_RESAMPLED: Final = 1000
_QUANTITIES: Final = ("jaccard", "precision", "lateral_nm", "axial_nm", "volume_nm", "efficiency_3d")

NETWORK: Final[dict[str, Any]] = {"context": 3, "widths": [16, 32, 48, 64, 64], "head": 32}
_SCENES: Final = SceneSettings(shape_px=(40, 40), frames=6, scenes=8)
SCHEMA: Final = {
    "trained_on": pl.String, "test": pl.String, "photons": pl.Float64, "nominal_density": pl.Float64,
    **{f"{name}{end}": pl.Float64 for name in _QUANTITIES for end in ("", "_low", "_high")},
    "checkerboard": pl.Float64,
}  # fmt: skip

Floats = NDArray[np.float64]


def run(*, seed: int, folder: Path | None = None, progress: Progress = SILENT) -> pl.DataFrame:
    """Train the networks and score them; intervals are 95 % bootstrap intervals over batches of frames."""
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        networks = {arm: _trained(place / arm, arm, seed, progress) for arm in ARMS}
        table = in_parts(_parts(networks, seed), schema=SCHEMA, folder=folder, progress=progress)
    return pl.concat([table, pl.DataFrame(_changes(table, seed), schema=SCHEMA)])


def _parts(networks: dict[str, Predictor], seed: int) -> dict[str, Callable[[], Rows]]:
    tests = dict.fromkeys(ALL_DENSITIES, DENSITIES_PER_UM2) | dict.fromkeys(ONE_DENSITY, DENSITIES_PER_UM2[-3:-2])
    return {
        f"{test}_{light[0]:g}_{number}": partial(_test, networks, test, density, light, seed)
        for test, densities in tests.items()
        for light in LIGHT
        for number, density in enumerate(densities)
    }


def _test(networks: dict[str, Predictor], test: str, density: float, light: tuple[float, float], seed: int) -> Rows:
    nominal = _nominal_density(test, density)
    scenes = _test_scenes(test, density, *light)
    rng = np.random.default_rng(seed)
    return [
        {"trained_on": arm, "test": test, "photons": light[0], "nominal_density": nominal}
        | _scores(network, scenes, rng)
        for arm, network in networks.items()
    ]


def _trained(folder: Path, arm: str, seed: int, progress: Progress) -> Predictor:
    return room.load(room.train(_recipe(arm).replace(seed=seed), out=folder, progress=progress))


def _recipe(arm: str) -> Recipe:
    return Recipe(
        name=arm,
        title=f"trained on {arm}",
        network=NETWORK,
        psf="vectorial_astigmatic",
        scenes=_SCENES.replace(samplers={arm: 1.0}),
        fit=StreamSettings(steps=STEPS, learning_rate=8e-4, warmup_fraction=0.02, clip_norm=1.0, ema_decay=0.995),
    )


def _test_scenes(test: str, density: float, photons: float, background: float) -> SceneSettings:
    ratio = photons / background
    return _SCENES.replace(
        shape_px=(64, 64), scenes=4, samplers={test: 1.0}, density_per_um2=(density, density),
        photons=(photons, photons), photons_spread=(0.3, 0.3), photons_per_background=(ratio, ratio),
        background_unevenness=(0, 0), on_frames=(3, 3), stray=(0, 0),
    )  # fmt: skip


@cache
def _nominal_density(test: str, density: float) -> float:
    """Emitters per frame of complete randomness with the same mean distance to the nearest neighbour."""
    recipe = _recipe(test)
    stage = prepare(_test_scenes(test, density, *LIGHT[0]), recipe.kernel(), recipe.camera_used())
    frames: list[Floats] = []
    for number in itertools.count():
        if number >= COUNTED_BATCHES and sum(map(len, frames)) >= COUNTED:
            break
        truth = stage.batch(number, torch.Generator().manual_seed(_SEED + number)).truth
        xy = np.stack([truth.x.numpy(), truth.y.numpy()], axis=1) * recipe.camera_used().pixel_size_nm
        frames += [xy[truth.frame.numpy() == frame] for frame in np.unique(truth.frame.numpy())]
    return float(np.exp(np.interp(-_mean_nearest_nm(frames), *_randomness()))) * _FRAME_UM2


@cache
def _randomness() -> tuple[Floats, Floats]:
    """Mean distance of complete randomness, with the sign changed, and the logarithm of its density, per um2."""
    rng = np.random.default_rng(_SEED)
    densities = np.geomspace(0.001, 3, 25)
    nearness = []
    for density in densities:
        frames = max(20, int(20_000 / (density * _FRAME_UM2)))
        nearness.append(
            -_mean_nearest_nm([rng.uniform(0, 6400, (n, 2)) for n in rng.poisson(density * _FRAME_UM2, frames)])
        )
    return np.maximum.accumulate(nearness), np.log(densities)


def _mean_nearest_nm(frames: list[Floats]) -> float:
    """Mean distance, at most `_FAR_NM`: beyond it emitters do not overlap, and one alone in its frame counts too."""
    near = [np.minimum(cKDTree(xy).query(xy, k=[2])[0][:, 0], _FAR_NM) for xy in frames if len(xy)]
    return float(np.concatenate(near).mean())


def _scores(network: Predictor, scenes: SceneSettings, rng: np.random.Generator) -> dict[str, float]:
    parts, places = [], []
    for number in range(BATCHES):
        found = validate(network, batches=1, scenes=scenes, seed=_SEED + number)
        of = scores_at(found, network.laws, network.threshold)
        parts.append([getattr(of, name) for name in _QUANTITIES])
        places.append(found.found.values[network.laws.p(found.found, found.lasting) >= network.threshold, :2])
    xy = np.concatenate(places)
    value = checkerboard(xy, network.camera.pixel_size_nm[0]) if len(xy) else float("nan")
    return {"checkerboard": value} | _means(np.array(parts), rng)


def _means(values: Floats, rng: np.random.Generator) -> dict[str, float]:
    """Means of `(n, quantities)` and their intervals from resampling; where there were no pairs there are no errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        means = np.nanmean(values[rng.integers(0, len(values), (_RESAMPLED, len(values)))], axis=1)
        low, high = np.nanquantile(means, [0.025, 0.975], axis=0)
        all_values = np.nanmean(values, axis=0)
    result: dict[str, float] = {}
    for name, value, one, other in zip(_QUANTITIES, all_values, low, high, strict=True):
        result |= {name: float(value), f"{name}_low": float(one), f"{name}_high": float(other)}
    return result


def _ratio(values: Floats, others: Floats) -> Floats:
    return np.divide(values, others, out=np.full_like(values, np.nan), where=others > 0)


def _changes(table: pl.DataFrame, seed: int) -> Rows:
    """Relative changes against training on randomness; intervals from resampling the densities."""
    rng = np.random.default_rng(seed)
    rows: Rows = []
    for (test, photons), of in table.filter(pl.col("test").is_in(ALL_DENSITIES)).group_by(
        ["test", "photons"], maintain_order=True
    ):
        values = {arm: of.filter(pl.col("trained_on") == arm).select(_QUANTITIES).to_numpy() for arm in ARMS}
        for arm in ARMS[1:]:
            of_arm = {"trained_on": f"{arm} over csr", "test": test, "photons": photons}
            rows.append(of_arm | _means(_ratio(values[arm], values[ARMS[0]]) - 1, rng))
    return rows
