"""Recipes: everything that decides what a training gives, in one YAML file."""

from __future__ import annotations

import os
from typing import Any, Literal, Self

from pydantic import Field

from lucule.classify.features import FeatureSettings
from lucule.core import Config, InputError
from lucule.core.config import read_yaml
from lucule.nn import FitSettings
from lucule.simulate import Kind

Budget = Literal["full", "gpu", "cpu", "smoke"]


class PoolSettings(Config):
    """The localizations on which a network is trained, validated and tested.

    Attributes
    ----------
    kind, scenarios
        Kind and version of the list of scenarios, see `lucule.simulate.scenarios`.
    changes
        Values of `lucule.simulate.Scenario` that differ from the list, for all scenarios.
    largest_number
        Take only so many scenarios, evenly spread over the density ratio; None: all.
    largest_field
        Simulate smaller cells where a whole one would hold more localizations than that on average; None: whole cells.
        What a field costs grows with its localizations, of which only some are taken.
    train, validation, test
        Localizations of each part. Each part has fields of its own, classes are equally frequent, and all scenarios
        give the same number.
    """

    kind: Kind = "clusters"
    scenarios: int = 1
    changes: dict[str, Any] = {}
    largest_number: int | None = Field(default=None, gt=0)
    largest_field: int | None = Field(default=None, gt=0)
    train: int = Field(gt=1)
    validation: int = Field(gt=1)
    test: int = Field(gt=1)


class Recipe(Config):
    """How a classifier is made.

    Attributes
    ----------
    name, title, notes
        For the card.
    architecture, options
        See `lucule.classify.networks`.
    features
        What the network sees.
    classes
        Names of the classes, class 0 first.
    pool
        What it is trained on.
    batch_size
        Localizations in a training step.
    fit
        Optimizer, schedule, epochs.
    seed
        Seed of everything: fields, choice of localizations, initial weights, batches.
    budgets
        For each budget (`gpu`, `cpu`, `smoke`) the values that differ from the full recipe.

    Examples
    --------
    >>> Recipe(
    ...     name="tiny", title="an example", architecture="dense", features={"k": 10, "normalisation": "distances"},
    ...     pool={"train": 100, "validation": 100, "test": 100}, fit={"epochs": 2},
    ...     budgets={"smoke": {"fit": {"epochs": 1}}},
    ... ).at("smoke").fit.epochs
    1
    """

    name: str
    title: str
    notes: str = ""
    task: Literal["classify"] = "classify"
    architecture: str
    options: dict[str, Any] = {}
    features: FeatureSettings
    classes: tuple[str, ...] = ("not clustered", "clustered")
    pool: PoolSettings
    batch_size: int = Field(default=256, gt=0)
    fit: FitSettings
    seed: int = Field(default=1, ge=0)
    budgets: dict[Budget, dict[str, Any]] = {}

    @classmethod
    def load(cls, recipe: Recipe | str | os.PathLike[str]) -> Recipe:
        """Give a recipe as it is, or read it from a YAML file."""
        return recipe if isinstance(recipe, Recipe) else cls.parse(read_yaml(recipe), source=str(recipe))

    def at(self, budget: Budget) -> Self:
        """Give the recipe with the values that `budget` changes."""
        if budget not in ("full", *self.budgets):
            raise InputError(
                f"Recipe {self.name} has no such budget", received=budget, allowed=", ".join(("full", *self.budgets))
            )
        changed = _merge(self.model_dump(), self.budgets.get(budget, {}))
        return self.parse(changed | {"budgets": {}}, source=f"recipe {self.name}, budget {budget}")


def _merge(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, change in changes.items():
        both = isinstance(change, dict) and isinstance(merged.get(key), dict) and key not in ("changes", "options")
        merged[key] = _merge(merged[key], change) if both else change
    return merged
