"""Cross-validation: how much the accuracy of a recipe depends on which localizations it was trained on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from lucule.classify.metrics import score
from lucule.classify.pool import draw_parts
from lucule.classify.recipe import Budget, Recipe
from lucule.classify.train import fit_network, label_with
from lucule.core import SILENT, InputError, Progress
from lucule.core.files import atomic_path
from lucule.nn import choose_device

TABLE: Final = "folds.csv"


@dataclass(frozen=True, slots=True, eq=False)
class Folds:
    """One row for each fold: localizations left out, accuracy, F1, precision, recall and epochs."""

    data: pl.DataFrame

    def table(self) -> pl.DataFrame:
        """Give the rows."""
        return self.data

    @property
    def accuracy(self) -> tuple[float, float]:
        """Mean and standard deviation of the accuracy over the folds."""
        values = self.data["accuracy"].to_numpy()
        return float(values.mean()), float(values.std(ddof=1))


def cross_validate(
    recipe: Recipe | str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    folds: int = 10,
    budget: Budget = "full",
    device: str = "cpu",
    workers: int | None = 1,
    progress: Progress = SILENT,
) -> Folds:
    """Train `folds` networks, each without one part of the training data, and score each on the part it never saw.

    The parts are drawn at random from the recipe's training data (Williamson et al. 2020: ten), so that they share
    fields; the recipe's test part has fields of its own. A limit on the training time is divided among the folds.

    Parameters
    ----------
    recipe, budget, device, workers
        As for `train`.
    out
        Folder for `folds.csv`. Folds that are already there are not trained again.
    folds
        Number of parts, 2 or more.

    Raises
    ------
    InputError
        The recipe is not valid, `folds` is too small, or `out` holds something else.
    """
    if folds < 2:
        raise InputError("Too few folds", received=folds, allowed="2 or more")
    used, place, folder = Recipe.load(recipe).at(budget), choose_device(device), Path(out)
    finished = _finished(folder, used)
    classes = len(used.classes)
    pools = draw_parts(used, ("train", "validation"), workers=workers, progress=progress)
    train, validation = pools["train"], pools["validation"]
    part_of = np.random.default_rng(used.seed).permutation(len(train.labels)) % folds
    limit = used.fit.seconds and used.fit.seconds / folds
    settings = used.replace(fit=used.fit.replace(seconds=limit).model_dump())
    for fold in range(len(finished), folds):
        left_out = train.rows(part_of == fold)
        seed = int(np.random.SeedSequence((used.seed, fold)).generate_state(1)[0])
        network, log = fit_network(
            settings.replace(seed=seed), train.rows(part_of != fold), validation, place, progress=progress
        )
        scores = score(left_out.labels, label_with(network, left_out, place), classes=classes)
        row = {"fold": fold, "localizations": len(left_out.labels), **scores.weighted(), "epochs": len(log)}
        finished = pl.concat([finished, pl.DataFrame([row])]) if len(finished) else pl.DataFrame([row])
        with atomic_path(folder / TABLE) as temporary:
            finished.write_csv(temporary)
    return Folds(finished)


def _finished(folder: Path, recipe: Recipe) -> pl.DataFrame:
    recipe.claim(folder)
    return pl.read_csv(folder / TABLE) if (folder / TABLE).exists() else pl.DataFrame()
