"""Networks trained on randomness, on helices and on structures with equal budgets (the study of arXiv 2309.17265).

Three small networks are trained for the same number of seconds. They are compared on tubes (the paper's question), on
complete randomness, reticulum and pores, at three levels of light and nine densities. Density is nominal: that of
complete randomness with the same mean distance to the nearest neighbour in the frame (Ripley), in emitters per 64 x 64
pixels. On complete randomness, wrong localizations of a network that was trained on structures are hallucinated.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import torch
from scipy.spatial import cKDTree

from lucule import localize as room
from lucule.bench.localize import LIGHT
from lucule.localize.calibrate import scores_at, validate
from lucule.localize.predict import Predictor
from lucule.localize.recipe import Recipe
from lucule.localize.scenes import SceneSettings, prepare
from lucule.nn import StreamSettings

SECONDS: Final = 300.0
ARMS: Final = ("csr", "three_helix", "structures")
TESTS: Final = ("tubes", "csr", "reticulum", "pores")
DENSITIES_PER_UM2: Final = tuple(np.geomspace(0.005, 0.32, 9))
BATCHES: Final = 6
_SEED: Final = 9_000_001
_FRAME_UM2: Final = 6.4 * 6.4
_RESAMPLED: Final = 1000

NETWORK: Final[dict[str, Any]] = {"context": 3, "widths": [16, 32, 48, 64, 64], "head": 32}
_SCENES: Final = SceneSettings(shape_px=(40, 40), frames=6, scenes=8)


def run(*, seed: int, seconds: float = SECONDS) -> pl.DataFrame:
    """Train the networks and score them; intervals are 95 % bootstrap intervals over batches of frames."""
    rng = np.random.default_rng(seed)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        networks = {arm: _trained(Path(folder) / arm, arm, seconds, seed) for arm in ARMS}
        for test in TESTS:
            # the other structures at one density only
            densities = DENSITIES_PER_UM2 if test == "tubes" else DENSITIES_PER_UM2[-3:-2]
            for photons, background in LIGHT:
                for density in densities:
                    scenes = _test_scenes(test, density, photons, background)
                    nominal = _nominal_density(scenes, networks["csr"])
                    rows += [
                        {"trained_on": arm, "test": test, "photons": photons, "nominal_density": nominal}
                        | _scores(network, scenes, rng)
                        for arm, network in networks.items()
                    ]
    return pl.DataFrame(rows)


def _trained(folder: Path, arm: str, seconds: float, seed: int) -> Predictor:
    recipe = Recipe(
        name=arm,
        title=f"trained on {arm}",
        network=NETWORK,
        psf="vectorial_astigmatic",
        scenes=_SCENES.replace(samplers={arm: 1.0}),
        fit=StreamSettings(seconds=seconds, ema_decay=0.995),
        seed=seed,
    )
    return room.load(room.train(recipe, out=folder))


def _test_scenes(test: str, density: float, photons: float, background: float) -> SceneSettings:
    ratio = photons / background
    return _SCENES.replace(
        shape_px=(64, 64), scenes=4, samplers={test: 1.0}, density_per_um2=(density, density),
        photons=(photons, photons), photons_spread=(0.3, 0.3), photons_per_background=(ratio, ratio),
        background_unevenness=(0, 0), on_frames=(3, 3), stray=(0, 0),
    )  # fmt: skip


def _nominal_density(scenes: SceneSettings, network: Predictor) -> float:
    """Emitters per frame of complete randomness with the same mean distance to the nearest neighbour."""
    recipe = Recipe.parse(network.card.recipe, source="recipe of the model")
    stage = prepare(scenes, recipe.kernel(), recipe.camera_used())
    distances = []
    for number in range(BATCHES):
        truth = stage.batch(number, torch.Generator().manual_seed(_SEED + number)).truth
        xy = np.stack([truth.x.numpy(), truth.y.numpy()], axis=1) * network.camera.pixel_size_nm
        for frame in np.unique(truth.frame.numpy()):
            own = xy[truth.frame.numpy() == frame]
            if len(own) > 1:
                distances.append(cKDTree(own).query(own, k=2)[0][:, 1])
    if not distances:
        return float("nan")
    # in complete randomness the mean distance is 1 / (2 sqrt(density))
    return _FRAME_UM2 / (2e-3 * float(np.concatenate(distances).mean())) ** 2


def _scores(network: Predictor, scenes: SceneSettings, rng: np.random.Generator) -> dict[str, float]:
    names = ("jaccard", "precision", "lateral_nm", "axial_nm", "volume_nm", "efficiency_3d")
    parts = []
    for number in range(BATCHES):
        found = validate(network, batches=1, scenes=scenes, seed=_SEED + number)
        of = scores_at(found, float(network.laws.said(network.threshold)))
        parts.append([getattr(of, name) for name in names])
    values = np.array(parts)
    chosen = rng.integers(0, len(values), (_RESAMPLED, len(values)))
    means = values[chosen].mean(axis=1)
    # a batch without any pair has no errors; then there is no mean of them either
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    result: dict[str, float] = {}
    for k, name in enumerate(names):
        result |= {name: values[:, k].mean(), f"{name}_low": low[k], f"{name}_high": high[k]}
    return {name: float(value) for name, value in result.items()}
