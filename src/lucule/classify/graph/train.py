"""Training of the graph network on simulated fields."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from lucule.classify.graph.batches import FieldBatch, FieldSettings, hide_columns, make_batch, stream
from lucule.classify.graph.gradients import PairKernels
from lucule.classify.graph.inputs import (
    PAIR_FEATURES,
    POINT_FEATURES,
    RANKS,
    SYMMETRIC_FEATURES,
    pairs,
    point_features,
    spacing_of,
)
from lucule.core import SILENT, InputError, Progress, package_version
from lucule.core.recipe import BaseRecipe
from lucule.models import Card, find, save
from lucule.models.store import CARD
from lucule.nn import choose_device, count_parameters
from lucule.nn.graph import GraphNetwork
from lucule.nn.streaming import StreamSettings, train_stream

_BACKGROUND_PAIRS = 0.1
_VALIDATION_SEED = 1_000_003


class Recipe(BaseRecipe):
    """How a graph network is made.

    Attributes
    ----------
    width, layers
        Size of the network.
    start
        Model whose weights the training starts from, by name or folder; None: new weights.
    classes
        Names of the classes, 0 first; they are those of the simulated fields.
    fields
        What it is trained on.
    fit
        Budget, optimizer, schedule.
    validation_steps
        Batches on which the finished network is scored.
    """

    WHOLE: ClassVar[frozenset[str]] = frozenset({"families"})

    task: Literal["graph"] = "graph"
    width: int = Field(default=64, gt=0)
    layers: int = Field(default=5, gt=0)
    start: str | None = None
    classes: tuple[str, ...] = ("not clustered", "cluster", "fibre", "ring")
    fields: FieldSettings
    fit: StreamSettings
    validation_steps: int = Field(default=20, gt=0)


def build(*, width: int, layers: int, classes: int) -> GraphNetwork:
    """Build the network with new weights."""
    return GraphNetwork(
        point_features=POINT_FEATURES, pair_features=PAIR_FEATURES, symmetric_features=SYMMETRIC_FEATURES,
        classes=classes, width=width, layers=layers,
    )  # fmt: skip


def train(
    recipe: Recipe | str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    budget: str = "full",
    device: str = "auto",
    workers: int | None = None,
    progress: Progress = SILENT,
) -> Path:
    """Train a graph network and write it to a folder.

    Parameters
    ----------
    recipe
        A recipe or the path of its YAML file.
    out
        Folder for `weights.safetensors`, `card.yaml`, `recipe.yaml`, `log.csv` and `checkpoint.safetensors`. A training
        that was interrupted there goes on, a finished one is left as it is.
    budget
        `full`, or one of the smaller budgets that the recipe names.
    device
        Where the network is trained.
    workers
        Processes that simulate; None: all cores but one, 0: this one. The result does not depend on it.

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
    network = _first(used)
    if workers is None:
        workers = max((os.cpu_count() or 1) - 1, 1)
    ready: Iterator[FieldBatch] | None = None
    current: FieldBatch | None = None

    def batch(step: int, generator: torch.Generator) -> FieldBatch:
        nonlocal ready, current
        if ready is None:  # an interrupted training goes on with the batches that it has not seen
            ready = stream(used.fields, seed=used.seed, start=step // used.fields.repeats, workers=workers)
        if current is None or step % used.fields.repeats == 0:
            current = next(ready).to(place)
        return hide_columns(current, used.fields, generator)

    train_stream(
        network, batch, loss, settings=used.fit, seed=used.seed, folder=folder, device=place, progress=progress,
        identity=used.model_dump(mode="json", exclude={"budgets"}),
    )  # fmt: skip
    save(folder, card(used, network, score(network, used, place)), network.state_dict())
    return folder


def _first(recipe: Recipe) -> GraphNetwork:
    """Build the network as it is before its first step."""
    with torch.random.fork_rng([]):
        torch.manual_seed(recipe.seed)
        network = build(width=recipe.width, layers=recipe.layers, classes=len(recipe.classes))
    if recipe.start is not None:
        packaged = find(recipe.start)
        wanted = {"width": recipe.width, "layers": recipe.layers}
        if packaged.card.task != recipe.task or packaged.card.options != wanted:
            raise InputError(
                f"Training cannot start from {packaged.card.name}: it is another network",
                received=f"task {packaged.card.task}, {packaged.card.options}", allowed=f"task graph, {wanted}",
            )  # fmt: skip
        if packaged.card.classes != recipe.classes:
            raise InputError(
                f"Training cannot start from {packaged.card.name}: it tells other classes apart",
                received=packaged.card.classes, allowed=", ".join(recipe.classes),
            )  # fmt: skip
        network.load_state_dict(packaged.state())
    return network


def outputs(network: GraphNetwork, batch: FieldBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Class logits `(n, classes)`, affinity logits `(n, ranks)`, and which pairs there are `(n, ranks)`."""
    everything = slice(None)
    features = point_features(batch.columns, batch.distance, everything)
    near = pairs(batch.columns, batch.index, batch.distance, spacing_of(batch.distance), everything)
    kernels = PairKernels.for_training(network, features)
    logits, affinity = network(features, near, batch.field, batch.fields, kernels)
    return logits.float(), affinity.float(), near.present


def loss(network: GraphNetwork, batch: FieldBatch) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy of the classes plus that of the pairs; pairs of two background points count a tenth."""
    logits, affinity, present = outputs(network, batch)
    classes = torch.nn.functional.cross_entropy(logits, batch.label)
    together, weight = _pair_truth(batch, present)
    each = torch.nn.functional.binary_cross_entropy_with_logits(affinity, together, reduction="none")
    pair_loss = (each * weight).sum() / weight.sum().clamp(min=1)
    with torch.no_grad():
        found = (logits.argmax(dim=1) > 0) == (batch.label > 0)
        right = ((affinity > 0) == (together > 0.5)).float()
        details = {"classes": classes, "pairs": pair_loss, "point_accuracy": found.float().mean(),
                   "pair_accuracy": (right * weight).sum() / weight.sum().clamp(min=1)}  # fmt: skip
    return classes + pair_loss, details


def _pair_truth(batch: FieldBatch, present: Tensor) -> tuple[Tensor, Tensor]:
    """Whether pairs are of one cluster, and how much each counts, `(n, ranks)` both."""
    other = batch.cluster[batch.index.clamp(min=0).long()]
    own = batch.cluster[:, None]
    together = ((other == own) & (own >= 0)).float()
    weight = torch.where((own >= 0) | (other >= 0), 1.0, _BACKGROUND_PAIRS) * present
    return together, weight


@torch.inference_mode()
def score(network: GraphNetwork, recipe: Recipe, device: torch.device) -> dict[str, float]:
    """Scores on fields that were not trained on."""
    network.eval()
    sums: dict[str, float] = {}
    generator = torch.Generator(device)
    for step in range(recipe.validation_steps):
        generator.manual_seed(step)
        batch = make_batch(recipe.fields, recipe.seed + _VALIDATION_SEED, step).to(device)
        value, details = loss(network, hide_columns(batch, recipe.fields, generator))
        for name, number in {"loss": value, **details}.items():
            sums[f"validation_{name}"] = sums.get(f"validation_{name}", 0.0) + float(number) / recipe.validation_steps
    return {name: round(number, 5) for name, number in sums.items()}


def card(recipe: Recipe, network: GraphNetwork, scores: dict[str, float]) -> Card:
    """What one must know about the trained network."""
    from lucule.simulate.varied_fields import FAMILIES

    widest = FAMILIES["mixed"]
    return Card(
        name=recipe.name, title=recipe.title, task="graph", architecture="graph",
        options={"width": recipe.width, "layers": recipe.layers}, parameters=count_parameters(network),
        features={"ranks": list(RANKS)}, classes=recipe.classes, recipe=recipe.model_dump(mode="json"),
        command=recipe.command, seed=recipe.seed, data_sha256=recipe.fields.sha256(recipe.seed), scores=scores,
        training_range={"density_per_um2": widest.density_per_um2, "radius_nm": widest.radius_nm,
                        "localizations_per_cluster": widest.points_per_cluster, "error_nm": widest.error_nm},
        notes=recipe.notes, version=package_version(),
    )  # fmt: skip
