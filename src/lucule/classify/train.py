"""From a recipe to a model: simulate, measure neighbours, fit, score, write weights and card."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from lucule.classify import networks
from lucule.classify.metrics import Scores, score
from lucule.classify.parts import PARTS, Part, Pool
from lucule.classify.pool import draw_parts, listed, origins
from lucule.classify.recipe import Budget, Recipe
from lucule.core import SILENT, Progress, package_version
from lucule.models import Card, find, save
from lucule.models.store import CARD
from lucule.nn import Epoch, TensorBatches, choose_device, count_parameters, fit, torch_threads

_SCORED: Final = 2048


def train(
    recipe: Recipe | str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    budget: Budget = "full",
    device: str = "cpu",
    workers: int | None = 1,
    progress: Progress = SILENT,
) -> Path:
    """Train a classifier and write it to the folder `out`.

    Parameters
    ----------
    recipe
        A recipe or the path of its YAML file.
    out
        Folder for `weights.safetensors`, `card.yaml`, `recipe.yaml`, `log.csv`, `checkpoint.npz` and
        `scores_by_scenario.csv`. A training that was interrupted there goes on, a finished one is left as it is.
    budget
        `full`, or one of the smaller budgets that the recipe names.
    device
        Where the network is trained; the small ones are fastest on the CPU.
    workers
        Processes that simulate the fields; None: one for each core. The result does not depend on it.

    Returns
    -------
    Path
        `out`, which `classify(locs, model=out)` and `lucule.models.find` understand.

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
    classes = len(used.classes)
    pools = draw_parts(used, PARTS, workers=workers, progress=progress)
    network, log = fit_network(used, pools["train"], pools["validation"], place, folder=folder, progress=progress)
    labels = {part: label_with(network, pools[part], place) for part in PARTS}
    results = {part: score(pools[part].labels, labels[part], classes=classes) for part in PARTS}
    _by_scenario(pools["test"], labels["test"], origins(used.pool)).write_csv(folder / "scores_by_scenario.csv")
    card = Card(
        name=used.name,
        title=used.title,
        notes=used.notes,
        task=used.task,
        architecture=used.architecture,
        options=used.options,
        parameters=count_parameters(network),
        features=used.features.model_dump(mode="json"),
        classes=used.classes,
        recipe=used.model_dump(mode="json"),
        command=used.command,
        seed=used.seed,
        data_sha256=pools["train"].sha256,
        scores=_scores(results) | {"epochs": float(len(log))},
        training_range=_ranges(pools["train"], used),
        version=package_version(),
    )
    save(folder, card, network.state_dict())
    return folder


def fit_network(
    recipe: Recipe,
    train: Pool,
    validation: Pool,
    place: torch.device,
    *,
    folder: Path | None = None,
    progress: Progress = SILENT,
) -> tuple[torch.nn.Module, list[Epoch]]:
    """Build the recipe's network and train it; give it with the log."""
    with torch.random.fork_rng([]), torch_threads(_threads(recipe, place)):
        torch.manual_seed(recipe.seed)
        network = networks.build(
            recipe.architecture, k=recipe.features.width, classes=len(recipe.classes), options=recipe.options
        )
        if recipe.start is not None:
            network.load_state_dict(find(recipe.start).state())
        log = fit(
            network,
            _batches(train, recipe.batch_size, shuffle=True).to(place),
            _batches(validation, _SCORED).to(place),
            loss=networks.loss,
            score=networks.accuracy,
            settings=recipe.fit,
            seed=recipe.seed,
            folder=folder,
            device=place,
            progress=progress,
        )
    return network, log


def label_with(network: torch.nn.Module, pool: Pool, place: torch.device) -> NDArray[np.uint8]:
    """Labels `(n,)` of the localizations of a pool."""
    with torch.inference_mode():
        given = [
            networks.decide(network(x.to(place)))[0].cpu() for x, _ in _batches(pool, _SCORED).epoch(torch.Generator())
        ]
    labels: NDArray[np.uint8] = torch.cat(given).numpy()
    return labels


def _threads(recipe: Recipe, place: torch.device) -> int:
    """One thread for the network whose own kernels use all cores, or whose batches are tiny; else all."""
    return 1 if place.type == "cpu" and recipe.architecture == "dense" else torch.get_num_threads()


def _batches(pool: Pool, size: int, *, shuffle: bool = False) -> TensorBatches:
    return TensorBatches(torch.from_numpy(pool.features), torch.from_numpy(pool.labels), size, shuffle)


def _scores(results: Mapping[Part, Scores]) -> dict[str, float]:
    scores = {f"{part}_{name}": value for part, of in results.items() for name, value in of.weighted().items()}
    rows, columns = np.nonzero(np.ones_like(results["test"].confusion))
    counts = {
        f"test_true_{i}_labelled_{j}": results["test"].confusion[i, j] for i, j in zip(rows, columns, strict=True)
    }
    return {name: round(float(value), 6) for name, value in (scores | counts).items()}


def _ranges(pool: Pool, recipe: Recipe) -> dict[str, tuple[float, float]]:
    names = ("density_per_um2", "points_per_cluster", "fraction_clustered", "radius_nm")
    used = [] if recipe.pool.tables else listed(recipe.pool)
    limits = {name: [float(getattr(scenario, name)) for scenario in used] for name in names if used}
    ranges = {name: (min(values), max(values)) for name, values in limits.items()}
    low, high = np.quantile(pool.density, [0.001, 0.999])
    return ranges | {f"local_density_per_um{recipe.features.dims}": (float(f"{low:.3g}"), float(f"{high:.3g}"))}


def _by_scenario(pool: Pool, labels: NDArray[np.uint8], rows: pl.DataFrame) -> pl.DataFrame:
    """Give the accuracy in every scenario or table, the worst first."""
    hits = pl.DataFrame({"scenario": pool.scenario.astype(np.uint32), "accuracy": labels == pool.labels})
    means = hits.group_by("scenario").agg(pl.col("accuracy").mean(), pl.len().alias("localizations"))
    return rows.join(means, on="scenario", how="left", maintain_order="left").sort("accuracy")
