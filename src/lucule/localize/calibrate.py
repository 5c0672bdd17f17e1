"""After training: make predicted errors and probabilities mean what they say, on frames the network has not seen.

The card receives factors for the standard deviations, the threshold with the best 3D efficiency, and the scores.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from lucule.core import SILENT, Progress
from lucule.localize.decode import decode
from lucule.localize.matching import match
from lucule.localize.predict import Predictor, load, raw_output
from lucule.localize.recipe import Recipe
from lucule.localize.scenes import SceneSettings, prepare
from lucule.localize.scores import Scores, calibration_error, score
from lucule.models import Card, Packaged, find, save

Floats: TypeAlias = NDArray[np.float64]

# batches are numbered from here, far from those of any training
_SEED: Final = 7_000_001
_LEAST: Final = 0.2
_THRESHOLDS: Final = np.round(np.arange(0.25, 0.76, 0.05), 2)
# with fewer pairs the predicted standard deviations are left as they are
_FEWEST: Final = 200
# between these quantiles a Gaussian has one standard deviation to each side
_LOW, _HIGH = 0.1587, 0.8413
_ON_CARD: Final = ("jaccard", "precision", "recall", "lateral_nm", "axial_nm", "efficiency_3d")


@dataclass(frozen=True, eq=False)
class Validation:
    """Localizations on validation frames beside the truth; lengths in nm.

    Attributes
    ----------
    p, hit
        Probability of each localization, and whether it has a partner.
    difference, sigma
        Of the pairs: localization minus truth, and predicted standard deviation, x, y, z and logarithm of photons.
    pair_p
        Probability of the pairs.
    emitters
        Number of true emitters.
    """

    p: Floats
    hit: NDArray[np.bool_]
    difference: Floats
    sigma: Floats
    pair_p: Floats
    emitters: int


def calibrate(
    model: str | os.PathLike[str], *, batches: int = 10, device: str = "auto", progress: Progress = SILENT
) -> Packaged:
    """Validate a trained network on new frames of its own recipe, and write the result into its card.

    Parameters
    ----------
    model
        Folder of the network.
    batches
        Batches of frames, of the size of the training's.

    Returns
    -------
    Packaged
        The model with its new card.
    """
    packaged = find(model)
    plain = packaged.card.replace(
        features={k: v for k, v in packaged.card.features.items() if k not in ("sigma_scale", "threshold")}
    )
    found = validate(load(model, device=device), batches=batches, progress=progress)
    return save(Path(model), calibrated(plain, found), packaged.state())


def validate(
    predictor: Predictor,
    *,
    batches: int,
    scenes: SceneSettings | None = None,
    seed: int = _SEED,
    progress: Progress = SILENT,
) -> Validation:
    """Localize frames that the network has not seen, at a low threshold, and pair them with the truth.

    Parameters
    ----------
    predictor
        The network.
    batches
        Batches of frames.
    scenes
        What the frames look like; None: as in the network's training. PSF and camera are always those of the training.
    seed
        Seed of the first batch; the next ones follow.
    """
    recipe = Recipe.parse(predictor.card.recipe, source="recipe of the model")
    stage = prepare(scenes or recipe.scenes, recipe.kernel(), recipe.camera_used(), device=predictor.device)
    generator = torch.Generator(predictor.device)
    pixel = predictor.camera.pixel_size_nm
    unit = np.array([pixel[0], pixel[1], predictor.z_scale_nm, 1.0])
    parts: list[tuple[Floats, NDArray[np.bool_], Floats, Floats, Floats, int]] = []
    with progress.task("Validate", batches, "batches") as task:
        for number in range(batches):
            batch = stage.batch(number, generator.manual_seed(seed + number))
            raw = torch.cat([raw_output(predictor, scene) for scene in batch.photons])
            found = decode(raw, threshold=_LEAST)
            own = found.values[:, 1:5] * unit
            true = np.stack([getattr(batch.truth, n).cpu().numpy() for n in ("x", "y", "z", "photons")], axis=1) * unit
            pairs = match(found.frame, own[:, :3], batch.truth.frame.cpu().numpy(), true[:, :3])
            hit = np.ones(len(own), bool)
            hit[pairs.wrong] = False
            p = found.values[:, 0].astype(np.float64)
            sigma = found.values[pairs.found, 5:9] * unit
            parts.append((p, hit, own[pairs.found] - true[pairs.true], sigma, p[pairs.found], len(true)))
            task.advance()
    *arrays, emitters = zip(*parts, strict=True)
    p, hit, difference, sigma, pair_p = (np.concatenate(part) for part in arrays)
    return Validation(p, hit, difference, sigma, pair_p, sum(emitters))


def calibrated(card: Card, found: Validation) -> Card:
    """Card with the factors of the standard deviations, the best threshold, and the scores there."""
    pulls = found.difference / found.sigma
    # widths between quantiles, for a few pairs of neighbours that were mistaken for each other must not widen all
    width = np.ones(4)
    if len(pulls) >= _FEWEST:
        width = (np.quantile(pulls, _HIGH, axis=0) - np.quantile(pulls, _LOW, axis=0)) / 2
    tried = {float(t): scores_at(found, float(t)) for t in _THRESHOLDS}
    # without any pair there is no efficiency, and no threshold is better than another
    best = max(tried, key=lambda t: np.nan_to_num(tried[t].efficiency_3d, nan=-np.inf)) if len(pulls) else 0.5
    scores = {name: getattr(tried[best], name) for name in _ON_CARD}
    scores |= {f"pull_{name}": value for name, value in zip("xyz", width, strict=False)}
    scores |= {"calibration_error": calibration_error(found.p, found.hit)}
    features = card.features | {
        "sigma_scale": [round(float(value), 4) for value in width],
        "threshold": best,
    }
    kept = {k: v for k, v in card.scores.items() if not k.startswith("validation_")}
    new = {f"validation_{name}": round(float(value), 4) for name, value in scores.items() if np.isfinite(value)}
    return card.replace(features=features, scores=kept | new)


def scores_at(found: Validation, threshold: float) -> Scores:
    """Scores of the localizations above a threshold; pairs are those made at the lowest one."""
    kept = found.pair_p >= threshold
    wrong = int(((found.p >= threshold) & ~found.hit).sum())
    return score(found.difference[kept, :3], wrong, found.emitters - int(kept.sum()))
