"""After training: make predicted errors and probabilities mean what they say, on frames the network has not seen.

A short training leaves a network too careful where it is good. The card receives power laws for the standard
deviations and logistic ones for the probabilities, the threshold with the best 3D efficiency, and the scores. The
probabilities are to hold also where molecules are on for shorter than in the training: they and the threshold are
learned from movies like those of the training, from movies in which every emitter is seen in one frame only, and from
single frames, which count alike.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from lucule.core import SILENT, Progress
from lucule.localize.decode import decode
from lucule.localize.laws import CANDIDATES, EVIDENCE, Emitters, Laws, evidence, log_odds, persistence, witnesses
from lucule.localize.matching import match
from lucule.localize.predict import Predictor, load, placed, raw_output
from lucule.localize.recipe import Recipe
from lucule.localize.scenes import SceneSettings, prepare
from lucule.localize.scores import Scores, calibration_error, score
from lucule.models import Card, Packaged, find, save
from lucule.simulate.crlb import noise_of

Floats: TypeAlias = NDArray[np.float64]

# batches are numbered from here, far from those of any training
_SEED: Final = 7_000_001
_THRESHOLDS: Final = tuple(float(t) for t in np.round(np.arange(0.3, 0.86, 0.05), 2))
# with fewer pairs the predicted standard deviations are left as they are
_FEWEST: Final = 200
_NEWTON_STEPS: Final = 25
_SMALLEST_STEP: Final = 1e-6
# between these quantiles a Gaussian has one standard deviation to each side
_LOW, _HIGH = 0.1587, 0.8413
_CALIBRATED: Final = ("sigma_law", "p_law", "evidence_law", "threshold")
_ON_CARD: Final = ("jaccard", "precision", "recall", "lateral_nm", "axial_nm", "efficiency_3d")


@dataclass(frozen=True, eq=False)
class Validation:
    """Localizations on validation frames beside the truth.

    Attributes
    ----------
    found
        The localizations, `(n,)`.
    hit
        Whether each has a partner, `(n,)`.
    pairs
        Those that have, `(pairs,)`.
    difference
        Of the pairs: localization minus truth, of x, y, z in nm and the logarithm of the photons, `(pairs, 4)`.
    weight
        Weights of the localizations, so that every scene counts alike, however many emitters it has, `(n,)`.
    lasting
        Persistence of the molecules of each one's scene, `(n,)`.
    emitters
        Number of true emitters.
    """

    found: Emitters
    hit: NDArray[np.bool_]
    pairs: NDArray[np.int64]
    difference: Floats
    weight: Floats
    lasting: Floats
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
    predictor = load(model, device=device)
    own = Recipe.parse(plain.recipe, source="recipe of the model").scenes
    found, once, single = (
        validate(predictor, batches=batches, scenes=scenes, progress=progress)
        for scenes in (own, own.replace(on_frames=None), own.replace(frames=1, scenes=own.scenes * own.frames))
    )
    return save(Path(model), calibrated(plain, found, once, single), packaged.state())


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
    parts: list[Emitters] = []
    hits, pairs, differences, weights, lasting = [], [], [], [], []
    emitters = count = 0
    with progress.task("Validate", batches, "batches") as task:
        for number in range(batches):
            batch = stage.batch(number, generator.manual_seed(seed + number))
            frames = batch.photons.shape[1]
            true = np.stack([getattr(batch.truth, n).cpu().numpy() for n in ("x", "y", "z", "photons")], axis=1)
            true[:, :3] *= unit
            frame = batch.truth.frame.cpu().numpy()
            for scene, photons in enumerate(batch.photons):
                found = placed(
                    predictor,
                    decode(raw_output(predictor, photons), threshold=CANDIDATES),
                    photons.cpu().numpy(),
                    noise,
                )
                here = frame // frames == scene
                own = np.column_stack([found.values[:, :3], np.log(found.values[:, 3])])
                matches = match(found.frame, own[:, :3], frame[here] - scene * frames, true[here, :3])
                parts.append(found)
                hits.append(np.isin(np.arange(len(own)), matches.found))
                pairs.append(count + matches.found)
                differences.append(own[matches.found] - true[here][matches.true])
                weights.append(np.full(len(own), 1 / max(len(own), 1)))
                sure, again = witnesses(found)
                lasting.append(np.full(len(own), persistence(int(sure.sum()), int(again.sum()))))
                count += len(own)
            emitters += len(true)
            task.advance()
    columns = (np.concatenate(each) for each in (hits, pairs, differences, weights, lasting))
    return Validation(_joined(parts), *columns, emitters)


def _joined(parts: Sequence[Emitters]) -> Emitters:
    return Emitters(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Emitters)))


def calibrated(card: Card, found: Validation, once: Validation, single: Validation) -> Card:
    """Card with the laws of standard deviations and probabilities, the best threshold, and the scores there.

    Parameters
    ----------
    card
        Card of the network.
    found
        What it found in movies; the only ones that count for the errors.
    once
        What it found in movies in which every emitter is seen in one frame only.
    single
        What it found in single frames.
    """
    of, moved, weight = found.found, found.found.moved[found.pairs], found.weight[found.pairs]
    sigma, said = of.errors[found.pairs], of.said[found.pairs]
    laws = Laws(
        [_rounded(sigma_law(found.difference[:, k], sigma[:, k], said[:, k], moved, weight)) for k in range(4)],
        _rounded(p_law(np.column_stack([log_odds(of.p), np.ones(len(of.p))]), (1, 0), found.hit, found.weight)),
        [_rounded(law) for law in evidence_laws(found, once, single)],
    )
    kinds = {"": found, "_once": once, "_single": single}
    # where nothing is found there is no efficiency, and no threshold is better than another
    tried = {t: sum(np.nan_to_num(scores_at(v, laws, t).efficiency_3d) for v in kinds.values()) for t in _THRESHOLDS}
    best = max(tried, key=lambda t: tried[t])
    scores = {name: getattr(scores_at(found, laws, best), name) for name in _ON_CARD}
    for k, name in enumerate("xyz"):
        pulls = found.difference[:, k] / laws.sigma(of, k)[found.pairs]
        scores[f"pull_{name}"] = _width(pulls, weight) if len(pulls) else float("nan")
    for kind, v in kinds.items():
        scores[f"calibration_error{kind}"] = calibration_error(laws.p(v.found, v.lasting), v.hit)
    features = card.features | {
        "sigma_law": [list(law) for law in laws.of_sigma],
        "p_law": list(laws.of_p),
        "evidence_law": [list(law) for law in laws.of_evidence or ()],
        "threshold": best,
    }
    kept = {k: v for k, v in card.scores.items() if not k.startswith("validation_")}
    new = {f"validation_{name}": round(float(value), 4) for name, value in scores.items() if np.isfinite(value)}
    return card.replace(features=features, scores=kept | new)


def evidence_laws(found: Validation, once: Validation, single: Validation) -> Floats:
    """Fit the weights of evidence where no molecule is seen again, where all are, and in single frames, `(3, 9)`.

    A scene with more emitters counts more, but only by the root of their number: all scenes alike would leave it to
    the few emitters of the sparsest, all emitters alike to the most crowded ones.
    """
    start = (0, 1, *[0] * (EVIDENCE - 2))
    movies = [(evidence(v.found), v.lasting[:, None], v.hit, np.sqrt(v.weight)) for v in (found, once)]
    inputs, lasting, hit, weight = (np.concatenate(of) for of in zip(*movies, strict=True))
    two = p_law(np.hstack([(1 - lasting) * inputs, lasting * inputs]), start * 2, hit, weight)
    one = p_law(evidence(single.found), start, single.hit, np.sqrt(single.weight))
    return np.vstack([two.reshape(2, EVIDENCE), one])


def _rounded(law: Sequence[float] | Floats) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in law)


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


def p_law(inputs: Floats, start: Sequence[float], hit: NDArray[np.bool_], weight: Floats) -> Floats:
    """Fit a law logistic(inputs @ law) to how often localizations are right, by Newton's method.

    Parameters
    ----------
    inputs
        What is known of each localization, `(n, k)`.
    start
        The law where there is not enough to learn from, `(k,)`.
    hit
        Whether each is right, `(n,)`.
    weight
        Weights of the localizations, `(n,)`.
    """
    law = np.array(start, dtype=np.float64)
    if len(hit) < _FEWEST or hit.all() or not hit.any():
        return law
    relative = weight / weight.mean()
    signed = np.where(hit[:, None], inputs, -inputs)

    def surprise(law: Floats) -> float:
        return float(relative @ np.logaddexp(0, -(signed @ law)))

    now = surprise(law)
    for _ in range(_NEWTON_STEPS):
        chance = expit(inputs @ law)
        slope = inputs.T @ (relative * (hit - chance))
        # a weak pull towards small laws keeps the steps finite where the classes hardly overlap
        curvature = (inputs * (relative * chance * (1 - chance))[:, None]).T @ inputs + 1e-3 * np.eye(len(law))
        change = np.linalg.solve(curvature, slope)
        # a whole step may lead too far
        while (then := surprise(law + change)) > now and np.abs(change).max() > _SMALLEST_STEP:
            change = 0.5 * change
        if then >= now:
            break
        law, now = law + change, then
    return law


def _width(values: Floats, weight: Floats) -> float:
    """Half the distance of the two quantiles, weighted."""
    order = np.argsort(values)
    share = (np.cumsum(weight[order]) - 0.5 * weight[order]) / weight.sum()
    low, high = np.interp([_LOW, _HIGH], share, values[order])
    return float(high - low) / 2


def scores_at(found: Validation, laws: Laws, threshold: float) -> Scores:
    """Scores of the localizations whose calibrated probability reaches a threshold; pairs are those of all."""
    kept = laws.p(found.found, found.lasting) >= threshold
    right = kept[found.pairs]
    return score(found.difference[right, :3], int((kept & ~found.hit).sum()), found.emitters - int(right.sum()))
