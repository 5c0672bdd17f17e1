"""The classifier of Varga et al. 2023: distances and directions of neighbours, in random subsets of equal size.

A network of one hidden layer sees the 350 nearest neighbours of a localization. How many of them belong to its own
object depends on how many localizations the object has; so the table is divided at random into subsets in which a
double line has about 300, and each localization is judged among those of its own subset.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from lucule.classify import networks
from lucule.classify.directions import BINS, directions
from lucule.core import SILENT, Config, InputError, Progress, package_version
from lucule.core.recipe import BaseRecipe
from lucule.models import Card, find, save
from lucule.models.store import CARD
from lucule.nn import FitSettings, TensorBatches, choose_device, count_parameters, fit, torch_threads
from lucule.simulate import load_scene, localizations
from lucule.space import NeighbourGrid

TASK: Final = "subsets"
CLASSES: Final = ("noise", "double line")
_BATCH: Final = 4096
_TEST_SEED: Final = 1_000_003

Vector = Literal["distances", "directions", "both"]


class SubsetSettings(Config):
    """What the network sees.

    Attributes
    ----------
    vector
        Distances to the neighbours, distribution of their directions, or both.
    k
        Number of neighbours.
    per_object
        Localizations of a double line in a subset.
    """

    vector: Vector = "both"
    k: int = Field(default=350, gt=0)
    per_object: int = Field(default=300, gt=0)

    @property
    def width(self) -> int:
        """Numbers that describe a localization."""
        return {"distances": self.k, "directions": BINS, "both": self.k + BINS}[self.vector]


class PoolSettings(Config):
    """Data of a training, from simulated fields; a tenth is for validation and a tenth for the test.

    Attributes
    ----------
    scene
        Packaged scene or YAML file.
    lines, noise
        Localizations on double lines and of the noise.
    """

    scene: str = "sarcomere"
    lines: int = Field(default=626_347, gt=9)
    noise: int = Field(default=509_831, gt=9)


class Recipe(BaseRecipe):
    """How the classifier of Varga et al. is made.

    Attributes
    ----------
    seen
        What the network sees.
    hidden
        Units of the hidden layer.
    pool
        What it is trained on.
    batch_size, fit
        Batches, optimizer, epochs.
    """

    task: Literal["subsets"] = "subsets"
    seen: SubsetSettings = SubsetSettings()
    hidden: int = Field(default=32, gt=0)
    pool: PoolSettings = PoolSettings()
    batch_size: int = Field(default=32, gt=0)
    fit: FitSettings


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """Feature vectors `(n, width)` and true labels `(n,)`."""

    values: NDArray[np.float32]
    labels: NDArray[np.uint8]


def build(width: int, hidden: int) -> nn.Module:
    """One hidden layer of ReLU units and a single output."""
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 1))


def subsets_of(n: int, count: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Divide rows at random into `count` subsets.

    Examples
    --------
    >>> [len(part) for part in subsets_of(10, 3, np.random.default_rng(1))]
    [4, 3, 3]
    """
    return [np.sort(part) for part in np.array_split(rng.permutation(n), max(count, 1))]


def vectors_of(xy: NDArray[Any], settings: SubsetSettings) -> NDArray[np.float32]:
    """Feature vectors `(n, width)` of the localizations of one subset `(n, 2)`, nm; distances enter in um.

    Neighbours that a subset of fewer than k + 1 localizations lacks are put at the distance of the last.
    """
    points = np.ascontiguousarray(xy, np.float32)
    if len(points) < 2:
        return np.zeros((len(points), settings.width), np.float32)
    distances, indices = NeighbourGrid(points).neighbours(settings.k)
    parts: list[NDArray[Any]] = []
    if settings.vector != "directions":
        known = np.where(np.isfinite(distances), distances, 0)
        parts.append(np.where(np.isfinite(distances), distances, known.max(axis=1, keepdims=True)) / np.float32(1000))
    if settings.vector != "distances":
        parts.append(directions(points, np.arange(len(points)), indices))
    return np.concatenate(parts, axis=1).astype(np.float32)


def draw(pool: PoolSettings, seen: SubsetSettings, *, seed: int, progress: Progress = SILENT) -> Vectors:
    """Simulate fields until there are enough localizations of both classes, and give their feature vectors."""
    values, labels = [], []
    missing = np.array([pool.noise, pool.lines])
    scene = load_scene(pool.scene)
    number = 0
    with progress.task("Simulate", int(missing.sum()), "localizations") as task:
        while missing.any():
            own = int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
            rng = np.random.default_rng((seed, number))
            locs = localizations(scene, seed=own, outside="drop")
            truth, xy = locs["true_label"], locs.xy()
            sizes = np.unique(locs["structure"][truth > 0], return_counts=True)[1]
            for rows in subsets_of(len(locs), round(float(sizes.mean()) / seen.per_object), rng):
                chosen = [rng.permutation(np.flatnonzero(truth[rows] == label))[: missing[label]] for label in (0, 1)]
                taken = np.sort(np.concatenate(chosen))
                if len(taken):
                    values.append(vectors_of(xy[rows], seen)[taken])
                    labels.append(truth[rows][taken])
                    missing -= np.bincount(labels[-1], minlength=2)[:2]
                    task.advance(len(taken))
            number += 1
    return Vectors(np.concatenate(values), np.concatenate(labels).astype(np.uint8))


def train(
    recipe: Recipe | str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    budget: str = "full",
    device: str = "cpu",
    progress: Progress = SILENT,
) -> Path:
    """Train the classifier of Varga et al. and write it to a folder.

    Parameters
    ----------
    recipe
        A recipe or the path of its YAML file.
    out
        Folder for `weights.safetensors`, `card.yaml`, `recipe.yaml`, `log.csv` and `checkpoint.npz`.
    budget
        `full`, or one of the smaller budgets that the recipe names.
    device
        Where the network is trained.

    Returns
    -------
    Path
        `out`, which `lucule.models.find` understands.

    Raises
    ------
    InputError
        The recipe is not valid, has no such budget, or `out` holds another training.
    """
    used = Recipe.load(recipe).at(budget)
    folder, place = Path(out), choose_device(device)
    used.claim(folder)
    if (folder / CARD).exists():
        return folder
    data = draw(used.pool, used.seen, seed=used.seed, progress=progress)
    order = np.random.default_rng(used.seed).permutation(len(data.labels))
    tenth = len(order) // 10
    parts = {"test": order[:tenth], "validation": order[tenth : 2 * tenth], "train": order[2 * tenth :]}
    batches = {
        name: TensorBatches(
            torch.from_numpy(data.values[rows]),
            torch.from_numpy(data.labels[rows]),
            used.batch_size if name == "train" else _BATCH,
            name == "train",
        ).to(place)
        for name, rows in parts.items()
    }
    with torch.random.fork_rng([]), torch_threads(1):
        torch.manual_seed(used.seed)
        network = build(used.seen.width, used.hidden)
        fit(
            network, batches["train"], batches["validation"], loss=networks.loss, score=networks.accuracy,
            settings=used.fit, seed=used.seed, folder=folder, device=place, progress=progress,
        )  # fmt: skip
    scores: dict[str, float] = {}
    for name in ("validation", "test"):
        rows = parts[name]
        scores |= rates(label_with(network, data.values[rows], place)[0], data.labels[rows], name)
    small = used.pool.replace(lines=max(used.pool.lines // 10, 10), noise=max(used.pool.noise // 10, 10))
    other = draw(small, used.seen, seed=used.seed + _TEST_SEED, progress=progress)
    scores |= rates(label_with(network, other.values, place)[0], other.labels, "other_fields")
    digest = hashlib.sha256(data.values.tobytes())
    digest.update(data.labels.tobytes())
    card = Card(
        name=used.name, title=used.title, notes=used.notes, task=used.task, architecture="hidden",
        options={"hidden": used.hidden}, parameters=count_parameters(network),
        features=used.seen.model_dump(mode="json"), classes=CLASSES, recipe=used.model_dump(mode="json"),
        command=used.command, seed=used.seed, data_sha256=digest.hexdigest(), scores=scores,
        training_range={"localizations_per_object": (0.8 * used.seen.per_object, 1.25 * used.seen.per_object)},
        version=package_version(),
    )  # fmt: skip
    save(folder, card, network.state_dict())
    return folder


def label_with(
    network: nn.Module, values: NDArray[np.float32], place: torch.device
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Labels `(n,)` and their probabilities `(n,)`."""
    labels, probabilities = [np.empty(0, np.uint8)], [np.empty(0, np.float32)]
    with torch.inference_mode():
        for part in torch.split(torch.from_numpy(values), _BATCH):
            label, probability = networks.decide(network(part.to(place)))
            labels.append(label.cpu().numpy())
            probabilities.append(probability.cpu().numpy())
    return np.concatenate(labels), np.concatenate(probabilities)


def rates(given: NDArray[np.uint8], truth: NDArray[np.uint8], name: str) -> dict[str, float]:
    """True positives and true negatives, %.

    Examples
    --------
    >>> rates(np.array([1, 1, 0, 0]), np.array([1, 1, 1, 0]), "test")
    {'test_true_positive_percent': 66.667, 'test_true_negative_percent': 100.0}
    """
    positive, negative = (given[truth == 1] == 1).mean(), (given[truth == 0] == 0).mean()
    return {
        f"{name}_true_positive_percent": round(100 * float(positive), 3),
        f"{name}_true_negative_percent": round(100 * float(negative), 3),
    }


def label_in_subsets(
    xy: NDArray[Any],
    per_object: float,
    *,
    model: str | os.PathLike[str] = "varga",
    seed: int = 1,
    device: str = "cpu",
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Label localizations as Varga et al. do.

    Parameters
    ----------
    xy
        `(n, 2)` nm, a table or what lies in a grown region.
    per_object
        How many localizations a double line here has, about.
    seed
        Of the division into subsets.

    Returns
    -------
    labels, probabilities
        `(n,)` each.

    Raises
    ------
    InputError
        The model is none of this kind, or `per_object` is not positive.
    """
    packaged = find(model)
    if packaged.card.task != TASK:
        raise InputError(f"Model {packaged.card.name} does not label in subsets", received=f"task {packaged.card.task}")
    if not per_object > 0:
        raise InputError("The number of localizations of a double line must be positive", received=per_object)
    settings = SubsetSettings.parse(packaged.card.features)
    place = choose_device(device)
    network = build(settings.width, packaged.card.options["hidden"])
    network.load_state_dict(packaged.state())
    network.to(place).eval()
    label, probability = np.zeros(len(xy), np.uint8), np.ones(len(xy), np.float32)
    count = round(per_object / settings.per_object)
    with torch_threads(1):
        for rows in subsets_of(len(xy), count, np.random.default_rng(seed)):
            label[rows], probability[rows] = label_with(network, vectors_of(xy[rows], settings), place)
    return label, probability
