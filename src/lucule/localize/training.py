"""From a recipe to a localization network: frames on the fly, train, write weights and card."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lucule.core import SILENT, Progress, package_version
from lucule.localize import samplers
from lucule.localize.calibrate import calibrate
from lucule.localize.likelihood import loss
from lucule.localize.network import build
from lucule.localize.recipe import Recipe
from lucule.localize.scenes import Batch, prepare
from lucule.models import Card, save
from lucule.models.store import CARD
from lucule.nn import Stream, choose_device, count_parameters, train_stream


def train(
    recipe: Recipe | str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    budget: str = "full",
    device: str = "auto",
    progress: Progress = SILENT,
) -> Path:
    """Train a localization network and write it to the folder `out`.

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
        Where frames are made and the network is trained.

    Returns
    -------
    Path
        `out`, which `localize(movie, model=out)` and `lucule.models.find` understand.

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
    stage = prepare(used.scenes, used.kernel(), used.camera_used(), device=place, table=_table(used))
    with torch.random.fork_rng([]):
        torch.manual_seed(used.seed)
        network: nn.Module = build(used.network).to(place, memory_format=torch.channels_last)

    def value(model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return loss(model(batch.photons).flatten(0, 1), batch.truth, used.loss)

    stream = train_stream(
        network,
        stage.batch,
        value,
        settings=used.fit,
        seed=used.seed,
        folder=folder,
        device=place,
        identity=used.model_dump(mode="json", exclude={"title", "notes", "fit"}),
        progress=progress,
    )
    save(folder, card(used, stream, parameters=count_parameters(network)), network.state_dict())
    calibrate(folder, batches=used.validation_batches, device=str(place), progress=progress)
    return folder


def card(used: Recipe, stream: Stream, *, parameters: int) -> Card:
    """Write down what was trained, and the ranges it was trained in."""
    recipe = used.model_dump(mode="json")
    scenes = used.scenes
    kernel, camera = used.kernel(), used.camera_used()
    last: dict[str, Any] = stream.log[-1]
    return Card(
        name=used.name,
        title=used.title,
        notes=used.notes,
        task=used.task,
        architecture="LocalizationNet",
        options=used.network,
        parameters=parameters,
        features={"pixel_size_nm": list(kernel.pixel_size_nm), "z_range_nm": list(kernel.z_range_nm)},
        classes=(),
        recipe=recipe,
        command=used.command,
        seed=used.seed,
        data_sha256=hashlib.sha256(used.model_dump_json(exclude={"title", "notes"}).encode()).hexdigest(),
        scores={f"train_{name}": round(float(number), 4) for name, number in last.items() if name != "learning_rate"},
        training_range={
            "density_per_um2": scenes.density_per_um2,
            "photons": scenes.photons,
            "background_photons": scenes.background_photons,
            "on_frames": scenes.on_frames or (0.0, 0.0),
            "z_nm": kernel.z_range_nm,
            "pixel_size_nm": (min(kernel.pixel_size_nm), max(kernel.pixel_size_nm)),
            "photons_per_count": (camera.photons_per_count, camera.photons_per_count),
        },
        version=package_version(),
    )


def _table(used: Recipe) -> samplers.Sampler | None:
    if used.table is None:
        return None
    from lucule.io import read

    return samplers.table(torch.from_numpy(read(used.table).xyz()))
