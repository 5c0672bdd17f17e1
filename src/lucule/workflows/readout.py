"""Train the readout of the graph network on fields that went through the pipeline of `lucule cluster`.

The blinks of simulated tables are linked as those of real ones are, the network looks at them, and what it sees is kept
for a fit that takes minutes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import numpy as np
from pydantic import Field

from lucule.classify.graph.readout import FieldStates, ReadoutSettings
from lucule.core import SILENT, Config, InputError, Localizations, Progress, package_version
from lucule.core.executor import executor
from lucule.core.files import atomic_path
from lucule.core.recipe import BaseRecipe

_KEPT: Final = 1_000  # points of a field: more say nothing new of it
_FEWEST: Final = 20
_PART: Final = 100
_HIDDEN: Final = ("frame", "photons", "x_err", "y_err", "z_err")


class TableSettings(Config):
    """On which simulated tables the readout is fitted.

    Attributes
    ----------
    count, validation
        Tables to fit to, and tables to score on.
    families
        How often each family of `lucule.simulate.varied_fields` occurs (any positive numbers).
    blinking
        Fraction that is made to blink, beside those that do so by themselves.
    incomplete
        Fraction of the tables that lack frames, photons or errors, each with even odds.
    """

    count: int = Field(gt=0)
    validation: int = Field(gt=0)
    families: dict[str, float]
    blinking: float = Field(default=0.4, ge=0, le=1)
    incomplete: float = Field(default=0.25, ge=0, le=1)


class Recipe(BaseRecipe):
    """How a readout is made.

    Attributes
    ----------
    start
        Graph network that gets it, by name or folder; a readout that it has is forgotten.
    tables
        What it looks at.
    fit
        How the readout is fitted to that.
    """

    WHOLE: ClassVar[frozenset[str]] = frozenset({"families"})

    task: Literal["readout"] = "readout"
    start: str = "graph"
    tables: TableSettings
    fit: ReadoutSettings


def train(
    recipe: Recipe | str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    budget: str = "full",
    device: str = "auto",
    workers: int | None = None,
    progress: Progress = SILENT,
) -> Path:
    """Give a graph network a readout, and write the network to a folder.

    Parameters
    ----------
    recipe
        A recipe or the path of its YAML file.
    out
        Folder for `weights.safetensors`, `card.yaml`, `recipe.yaml` and, until it is finished, what the network saw of
        the tables: an interrupted training goes on there, a finished one is left as it is.
    budget
        `full`, or one of the smaller budgets that the recipe names.
    device
        All is done on the CPU: `auto` or `cpu`.
    workers
        Processes that simulate and look; all cores by default. The result does not depend on it.

    Returns
    -------
    Path
        `out`, which `lucule.models.find` understands.

    Raises
    ------
    InputError
        The recipe is not valid, `start` is no graph network, or `out` holds another training.
    """
    from lucule import models
    from lucule.classify.graph.readout import fit_readout, score
    from lucule.models.store import CARD
    from lucule.nn import count_parameters

    used, folder = Recipe.load(recipe).at(budget), Path(out)
    if device not in ("auto", "cpu"):
        raise InputError("A readout is trained on the CPU", received=f"device {device}", allowed="auto, cpu")
    network = with_readout(used)
    used.claim(folder)
    if (folder / CARD).exists():
        return folder
    fitted, judged = _look(used, folder / "seen", workers, progress)
    fit_readout(network, fitted, used.fit, seed=used.seed, progress=progress)
    first = models.find(used.start).card
    card = first.model_copy(update={
        "options": first.options | {"readout": True}, "parameters": count_parameters(network),
        "recipe": {**first.recipe, "readout": used.model_dump(mode="json")}, "scores": score(network, judged),
        "command": f"{first.command}; {used.command}", "version": package_version(),
    })  # fmt: skip
    models.save(folder, card, network.state_dict())
    for part in (folder / "seen").iterdir():
        part.unlink()
    (folder / "seen").rmdir()
    return folder


def with_readout(recipe: Recipe) -> Any:
    """The network of the recipe, with a readout that changes nothing yet."""
    import torch

    from lucule import models
    from lucule.classify.graph import TASK
    from lucule.classify.graph.train import build

    packaged = models.find(recipe.start)
    card = packaged.card
    if card.task != TASK:
        raise InputError(f"Model {card.name} is no graph network", received=f"task {card.task}")
    with torch.random.fork_rng([]):
        torch.manual_seed(recipe.seed)
        network = build(classes=len(card.classes), **card.options | {"readout": True})
    own = {name: value for name, value in packaged.state().items() if not name.startswith("readout.")}
    network.load_state_dict(own, strict=False)
    return network


def _look(
    recipe: Recipe, folder: Path, workers: int | None, progress: Progress
) -> tuple[list[FieldStates], list[FieldStates]]:
    """What the network sees of the tables to fit to, and of those to score on."""
    folder.mkdir(parents=True, exist_ok=True)
    total = recipe.tables.count + recipe.tables.validation
    parts = range((total + _PART - 1) // _PART)
    missing = [part for part in parts if not _file(folder, part).exists()]
    with (
        progress.task("Look at simulated tables", len(parts), "parts") as task,
        executor(len(missing), workers=workers) as pool,
    ):
        task.advance(len(parts) - len(missing))
        look = partial(_look_at_part, recipe, folder)
        for done in pool.as_completed([pool.submit(look, part) for part in missing]):
            done.result()
            task.advance(1)
    seen = [field for part in parts for field in _load(_file(folder, part))]
    return seen[recipe.tables.validation :], seen[: recipe.tables.validation]


def _look_at_part(recipe: Recipe, folder: Path, part: int) -> None:
    from lucule.classify.graph import GraphModel
    from lucule.workflows.clusters import as_blinks

    model = GraphModel.load(recipe.start, "cpu")
    total = recipe.tables.count + recipe.tables.validation
    states, labels = [], []
    for number in range(part * _PART, min((part + 1) * _PART, total)):
        locs, rng = table(recipe.tables, (recipe.seed, number))
        blinks, blink_of = as_blinks(locs)
        label = np.zeros(len(blinks), np.uint8)
        label[slice(None) if blink_of is None else blink_of] = locs["true_label"]
        kept = rng.permutation(len(blinks))[:_KEPT]
        states.append(model.last_states(blinks)[kept])
        labels.append(label[kept])
    sizes = np.array([len(label) for label in labels])
    with atomic_path(_file(folder, part)) as path, path.open("wb") as file:
        np.savez(file, states=np.concatenate(states), labels=np.concatenate(labels), sizes=sizes)


def table(settings: TableSettings, seed: tuple[int, ...]) -> tuple[Localizations, np.random.Generator]:
    """Simulate one table with `true_label`, and give the generator for what follows."""
    from lucule.simulate.varied_fields import FAMILIES, varied_field

    rng = np.random.default_rng(seed)
    names, weights = list(settings.families), np.array(list(settings.families.values()))
    while True:
        family = FAMILIES[names[int(rng.choice(len(names), p=weights / weights.sum()))]]
        if rng.random() < settings.blinking:
            family = family.always_blinking()
        locs = varied_field(family, seed=(*seed, int(rng.integers(2**31)))).table()
        if len(locs) >= _FEWEST:
            break
    hidden = _hidden(rng) if rng.random() < settings.incomplete else ()
    return Localizations(locs.data.drop([name for name in hidden if name in locs]), locs.meta), rng


def _hidden(rng: np.random.Generator) -> Sequence[str]:
    frame, photons, errors = rng.random(3) < 0.5
    return [name for name, hide in zip(_HIDDEN, (frame, photons, errors, errors, errors), strict=True) if hide]


def _file(folder: Path, part: int) -> Path:
    return folder / f"{part:04d}.npz"


def _load(path: Path) -> list[FieldStates]:
    with np.load(path) as part:
        ends = np.cumsum(part["sizes"])[:-1]
        both = zip(np.split(part["states"], ends), np.split(part["labels"], ends), strict=True)
    return [FieldStates(states, labels) for states, labels in both]
