"""After training: make predicted errors and probabilities mean what they say, on frames the network has not seen.

A short training leaves a network too careful where it is good. The card receives a power law for the standard
deviations and a logistic one for the probabilities, the threshold with the best 3D efficiency, and the scores.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, logit
from torch import Tensor

from lucule.core import SILENT, Progress
from lucule.localize.decode import decode
from lucule.localize.matching import match
from lucule.localize.predict import Emitters, Laws, Predictor, load, placed, raw_output
from lucule.localize.recipe import Recipe
from lucule.localize.scenes import SceneSettings, prepare
from lucule.localize.scores import Scores, calibration_error, score
from lucule.models import Card, Packaged, find, save
from lucule.simulate.crlb import Noise, noise_of

Floats: TypeAlias = NDArray[np.float64]

# batches are numbered from here, far from those of any training
_SEED: Final = 7_000_001
_LEAST: Final = 0.2
_THRESHOLDS: Final = np.round(np.arange(0.25, 0.76, 0.05), 2)
# with fewer pairs the predicted standard deviations are left as they are
_FEWEST: Final = 200
_NEWTON_STEPS: Final = 25
_SMALLEST_STEP: Final = 1e-6
# between these quantiles a Gaussian has one standard deviation to each side
_LOW, _HIGH = 0.1587, 0.8413
_CALIBRATED: Final = ("sigma_law", "p_law", "threshold")
_ON_CARD: Final = ("jaccard", "precision", "recall", "lateral_nm", "axial_nm", "efficiency_3d")


@dataclass(frozen=True, eq=False)
class Validation:
    """Localizations on validation frames beside the truth; lengths in nm.

    Attributes
    ----------
    xy
        Position of each localization, `(n, 2)`.
    p, hit
        Probability of each localization, and whether it has a partner.
    difference, sigma, said
        Of the pairs: localization minus truth, and standard deviations after and before refinement, of x, y, z and the
        logarithm of the photons.
    moved, pair_p
        How far refinement moved the pairs, in standard deviations; their probability.
    weight, pair_weight
        Weights of localizations and pairs, so that every scene counts alike, however many emitters it has.
    emitters
        Number of true emitters.
    """

    xy: Floats
    p: Floats
    hit: NDArray[np.bool_]
    difference: Floats
    sigma: Floats
    said: Floats
    moved: Floats
    pair_p: Floats
    weight: Floats
    pair_weight: Floats
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
    plain = packaged.card.replace(features={k: v for k, v in packaged.card.features.items() if k not in _CALIBRATED})
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
    noise = noise_of(stage.sensor.pixels)
    unit = np.array([*stage.pixel_nm, predictor.z_scale_nm])
    parts: list[tuple[Any, ...]] = []
    with progress.task("Validate", batches, "batches") as task:
        for number in range(batches):
            batch = stage.batch(number, generator.manual_seed(seed + number))
            frames = batch.photons.shape[1]
            found = _joined([_of_scene(predictor, scene, noise) for scene in batch.photons], frames)
            own = np.column_stack([found.values[:, :3], np.log(found.values[:, 3])])
            true = np.stack([getattr(batch.truth, n).cpu().numpy() for n in ("x", "y", "z", "photons")], axis=1)
            true[:, :3] *= unit
            pairs = match(found.frame, own[:, :3], batch.truth.frame.cpu().numpy(), true[:, :3])
            hit = np.ones(len(own), bool)
            hit[pairs.wrong] = False
            difference = own[pairs.found] - true[pairs.true]
            sigma, said, moved = (of[pairs.found] for of in (found.errors, found.said, found.moved))
            scene = found.frame // frames
            weight = 1 / np.bincount(scene)[scene] if len(scene) else np.empty(0)
            pair_p, pair_weight = found.p[pairs.found], weight[pairs.found]
            parts.append(
                (own[:, :2], found.p, hit, difference, sigma, said, moved, pair_p, weight, pair_weight, len(true))
            )
            task.advance()
    *arrays, emitters = zip(*parts, strict=True)
    return Validation(*(np.concatenate(part) for part in arrays), sum(emitters))


def _of_scene(predictor: Predictor, scene: Tensor, noise: Noise) -> Emitters:
    found = decode(raw_output(predictor, scene), threshold=_LEAST)
    return placed(predictor, found, scene.cpu().numpy(), noise)


def _joined(scenes: Sequence[Emitters], frames: int) -> Emitters:
    """Emitters of scenes of so many frames each, with frames numbered through all of them."""
    frame = np.concatenate([scene.frame + number * frames for number, scene in enumerate(scenes)])
    others = ("p", "values", "errors", "said", "moved")
    return Emitters(frame, *(np.concatenate([getattr(scene, name) for scene in scenes]) for name in others))


def calibrated(card: Card, found: Validation) -> Card:
    """Card with the laws of standard deviations and probabilities, the best threshold, and the scores there."""
    laws = [
        sigma_law(found.difference[:, k], found.sigma[:, k], found.said[:, k], found.moved, found.pair_weight)
        for k in range(4)
    ]
    law = p_law(found.p, found.hit, found.weight)
    tried = {float(t): scores_at(found, float(t)) for t in _THRESHOLDS}
    # without any pair there is no efficiency, and no threshold is better than another
    best = max(tried, key=lambda t: np.nan_to_num(tried[t].efficiency_3d, nan=-np.inf))
    scores = {name: getattr(tried[best], name) for name in _ON_CARD}
    for k, name in enumerate("xyz"):
        pulls = found.difference[:, k] / Laws(laws, law).sigma(found.sigma[:, k], found.said[:, k], found.moved, k)
        scores[f"pull_{name}"] = _width(pulls, found.pair_weight) if len(pulls) else float("nan")
    scores["calibration_error"] = calibration_error(Laws(laws, law).p(found.p), found.hit)
    features = card.features | {
        "sigma_law": [[round(value, 4) for value in pair] for pair in laws],
        "p_law": [round(value, 4) for value in law],
        "threshold": round(float(Laws(laws, law).p(best)), 4),
    }
    kept = {k: v for k, v in card.scores.items() if not k.startswith("validation_")}
    new = {f"validation_{name}": round(float(value), 4) for name, value in scores.items() if np.isfinite(value)}
    return card.replace(features=features, scores=kept | new)


def sigma_law(
    difference: Floats, sigma: Floats, said: Floats, moved: Floats, weight: Floats
) -> tuple[float, float, float, float]:
    """Fit `a`, `b`, `c` and `d` of exp(a) sigma^b said^c (1 + moved)^d to the size of the differences.

    The exponents come from a regression of the logarithm of the absolute difference, which a few pairs of neighbours
    that were mistaken for each other hardly disturb, and the factor from the width of the pulls between quantiles. The
    fit of one emitter does not know that its neighbours are uncertain, or that there is one more; the network does, and
    its disagreement with the frame shows.
    """
    if len(sigma) < _FEWEST:
        return 0.0, 1.0, 0.0, 0.0
    inputs = np.stack([np.ones(len(sigma)), np.log(sigma), np.log(said), np.log1p(moved)], axis=1)
    size = np.log(np.maximum(np.abs(difference), 1e-3 * sigma))
    # of all exponents that fit equally well those nearest to the fit's own errors, where the two say the same
    start = np.array([0.0, 1.0, 0.0, 0.0])
    root = np.sqrt(weight / weight.mean())
    change, *_ = np.linalg.lstsq(inputs * root[:, None], (size - inputs @ start) * root, rcond=1e-6)
    _, b, c, d = (float(value) for value in start + change)
    shape = sigma**b * said**c * (1 + moved) ** d
    return float(np.log(_width(difference / shape, weight))), b, c, d


def p_law(p: Floats, hit: NDArray[np.bool_], weight: Floats) -> tuple[float, float]:
    """Fit `a` and `b` of logistic(a logit(p) + b) to how often localizations are right, by Newton's method."""
    law = np.array([1.0, 0.0])
    if len(p) < _FEWEST or hit.all() or not hit.any():
        return 1.0, 0.0
    relative = weight / weight.mean()
    inputs = np.stack([logit(np.clip(p, 1e-4, 1 - 1e-4)), np.ones(len(p))], axis=1)
    signed = np.where(hit[:, None], inputs, -inputs)

    def surprise(law: Floats) -> float:
        return float(relative @ np.logaddexp(0, -(signed @ law)))

    now = surprise(law)
    for _ in range(_NEWTON_STEPS):
        chance = expit(inputs @ law)
        slope = inputs.T @ (relative * (hit - chance))
        # a weak pull towards small laws keeps the steps finite where the classes hardly overlap
        curvature = (inputs * (relative * chance * (1 - chance))[:, None]).T @ inputs + 1e-3 * np.eye(2)
        change = np.linalg.solve(curvature, slope)
        # a whole step may lead too far
        while (then := surprise(law + change)) > now and np.abs(change).max() > _SMALLEST_STEP:
            change = 0.5 * change
        if then >= now:
            break
        law, now = law + change, then
    return float(law[0]), float(law[1])


def _width(values: Floats, weight: Floats) -> float:
    """Half the distance of the two quantiles, weighted."""
    order = np.argsort(values)
    share = (np.cumsum(weight[order]) - 0.5 * weight[order]) / weight.sum()
    low, high = np.interp([_LOW, _HIGH], share, values[order])
    return float(high - low) / 2


def scores_at(found: Validation, threshold: float) -> Scores:
    """Scores of the localizations above a threshold (as the network says it); pairs are those of the lowest one."""
    kept = found.pair_p >= threshold
    wrong = int(((found.p >= threshold) & ~found.hit).sum())
    return score(found.difference[kept, :3], wrong, found.emitters - int(kept.sum()))
