"""Training of the line network on windows of simulated fields."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field as Setting
from torch import Tensor, nn

from lucule.classify.lines.fields import Field, SceneSettings, Windows, WindowSettings, batch_of, simulate_fields
from lucule.classify.lines.network import LineNetwork
from lucule.core import SILENT, Progress, package_version
from lucule.core.recipe import BaseRecipe
from lucule.models import Card, find, save
from lucule.models.store import CARD
from lucule.nn import StreamSettings, choose_device, count_parameters, train_stream

CLASSES = ("background", "double line")
_OFFSET_WEIGHT = 0.3
_VALIDATION = 1_000_003
# of most tables; much more of it moves the boundary between the classes for all others
_USUAL_BACKGROUND = (1.0, 30.0)


class Recipe(BaseRecipe):
    """How a line network is made.

    Attributes
    ----------
    widths, hidden
        Size of the network.
    start
        Packaged model, or folder of a trained one, whose weights the training begins with; None: new weights.
    scenes
        Simulated fields on which it is trained; each kind is used as often as it has fields.
    windows
        How windows are cut from them.
    batch_size
        Windows in a step.
    fit
        Budget, optimizer, schedule.
    validation_fields, validation_steps
        Fields of each kind, and batches of windows of them, on which the finished network is scored.
    """

    task: Literal["lines"] = "lines"
    widths: tuple[int, ...] = (8, 16, 32, 32, 32)
    hidden: int = Setting(default=32, gt=0)
    start: str | None = None
    scenes: tuple[SceneSettings, ...]
    windows: WindowSettings = WindowSettings()
    batch_size: int = Setting(default=8, gt=0)
    fit: StreamSettings
    validation_fields: int = Setting(default=1, gt=0)
    validation_steps: int = Setting(default=20, gt=0)


def train(
    recipe: Recipe | str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    budget: str = "full",
    device: str = "auto",
    progress: Progress = SILENT,
) -> Path:
    """Train a line network and write it to a folder.

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
    with torch.random.fork_rng([]):
        torch.manual_seed(used.seed)
        network = LineNetwork(used.widths, used.hidden)
    if used.start is not None:
        network.load_state_dict(find(used.start).state())
    fields = simulate_fields(used.scenes, seed=used.seed, progress=progress)

    def batch(step: int, generator: torch.Generator) -> Windows:
        del generator
        return moved(batch_of(fields, used.windows, used.batch_size, np.random.default_rng((used.seed, step))), place)

    train_stream(
        network, batch, loss, settings=used.fit, seed=used.seed, folder=folder, device=place, progress=progress,
        identity=used.model_dump(mode="json", exclude={"budgets"}),
    )  # fmt: skip
    settle(network, [field for field in fields if len(field.centres)] or fields, used, place)
    fewer = tuple(scene.replace(fields=min(scene.fields, used.validation_fields)) for scene in used.scenes)
    scores = score(network, simulate_fields(fewer, seed=used.seed + _VALIDATION, progress=progress), used, place)
    save(folder, _card(used, network, fields, scores), network.state_dict())
    return folder


def moved(windows: Windows, place: torch.device) -> Windows:
    """Give the same windows on another device."""
    parts = (windows.counts, windows.batch, windows.xy_px, windows.label, windows.offset_um, windows.weight)
    return Windows(*(part.to(place) for part in parts))


def loss(network: nn.Module, windows: Windows) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy of the labels, both classes weighing the same, and the error of the vectors to the centre."""
    answer = network(windows.counts, windows.batch, windows.xy_px).float()
    wanted = windows.label.float()
    entropy = nn.functional.binary_cross_entropy_with_logits(answer[:, 0], wanted, reduction="none")
    shares = [windows.weight * wanted, windows.weight * (1 - wanted)]
    label_loss = sum(((w * entropy).sum() / w.sum().clamp(min=1e-6) for w in shares), torch.zeros(())) / 2
    error = nn.functional.smooth_l1_loss(answer[:, 1:], windows.offset_um, reduction="none", beta=0.1).sum(1)
    offset_loss = (shares[0] * error).sum() / shares[0].sum().clamp(min=1e-6)
    return label_loss + _OFFSET_WEIGHT * offset_loss, {"label": label_loss, "offset": offset_loss}


def settle(network: LineNetwork, fields: list[Field], recipe: Recipe, place: torch.device, steps: int = 30) -> None:
    """Measure the means and widths of the normalisation layers anew: the averaged weights have others than the last.

    `fields` should be of the kind that will be looked at; those of distractors move the boundary between the classes.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
    network.train()
    rng = np.random.default_rng((recipe.seed, _VALIDATION))
    usual = recipe.windows.replace(background_per_um2=_USUAL_BACKGROUND)
    with torch.no_grad():
        for _ in range(steps):
            windows = moved(batch_of(fields, usual, recipe.batch_size, rng), place)
            network(windows.counts, windows.batch, windows.xy_px)
    network.eval()


def score(network: LineNetwork, fields: list[Field], recipe: Recipe, place: torch.device) -> dict[str, float]:
    """True positives and negatives (%), F1 and the median error of the centres (nm) on windows of other fields."""
    rng = np.random.default_rng((recipe.seed, _VALIDATION, 1))
    hits = np.zeros((2, 2))
    errors = []
    network.eval()
    with torch.inference_mode():
        for _ in range(recipe.validation_steps):
            windows = moved(batch_of(fields, recipe.windows, recipe.batch_size, rng), place)
            answer = network(windows.counts, windows.batch, windows.xy_px)
            counted, label = windows.weight > 0, windows.label
            given = answer[:, 0] > 0
            for truth in (0, 1):
                for said in (0, 1):
                    hits[truth, said] += int((counted & (label == truth) & (given == said)).sum())
            of = (answer[:, 1:] - windows.offset_um)[counted & label & given]
            errors.append(1000 * of.norm(dim=1).cpu().numpy())
    return {
        "validation_true_positive_percent": round(float(100 * hits[1, 1] / max(hits[1].sum(), 1)), 3),
        "validation_true_negative_percent": round(float(100 * hits[0, 0] / max(hits[0].sum(), 1)), 3),
        "validation_f1": round(float(2 * hits[1, 1] / max(2 * hits[1, 1] + hits[0, 1] + hits[1, 0], 1)), 4),
        "validation_centre_error_nm": round(float(np.median(np.concatenate(errors))), 1) if errors else 0.0,
    }


def _card(recipe: Recipe, network: LineNetwork, fields: list[Field], scores: dict[str, float]) -> Card:
    digest = hashlib.sha256()
    for field in fields:
        digest.update(field.xy.tobytes())
        digest.update(field.structure.tobytes())
    density = [1e6 * len(field.xy) / np.prod(np.ptp(field.xy, axis=0)) for field in fields]
    most = max(density) + recipe.windows.background_per_um2[1]
    return Card(
        name=recipe.name,
        title=recipe.title,
        notes=recipe.notes,
        task=recipe.task,
        architecture="unet",
        options={"widths": list(recipe.widths), "hidden": recipe.hidden},
        parameters=count_parameters(network),
        features={"pixel_nm": recipe.windows.pixel_nm},
        classes=CLASSES,
        recipe=recipe.model_dump(mode="json"),
        command=recipe.command,
        seed=recipe.seed,
        data_sha256=digest.hexdigest(),
        scores=scores,
        training_range={
            "density_per_um2": (float(f"{min(density) * recipe.windows.events:.3g}"), float(f"{most:.3g}"))
        },
        version=package_version(),
    )
