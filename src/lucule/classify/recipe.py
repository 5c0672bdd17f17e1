"""Recipes: everything that decides what a training gives, in one YAML file."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from lucule.classify.features import FeatureSettings
from lucule.core import Config
from lucule.core.recipe import BaseRecipe, Kind
from lucule.nn import FitSettings

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
    tables, label_column
        Annotated tables (paths or patterns) in place of simulated fields, and their column of labels: numbers or names
        of the recipe's classes; -1, an empty text or nothing where there is no label.
    train, validation, test
        Localizations of each part. Each part has fields of its own, classes are equally frequent, and all scenarios
        give the same number.
    """

    kind: Kind = "clusters"
    scenarios: int = 1
    changes: dict[str, Any] = {}
    largest_number: int | None = Field(default=None, gt=0)
    largest_field: int | None = Field(default=None, gt=0)
    tables: tuple[str, ...] = ()
    label_column: str = "label"
    train: int = Field(gt=1)
    validation: int = Field(gt=1)
    test: int = Field(gt=1)


class Recipe(BaseRecipe):
    """How a classifier is made.

    Attributes
    ----------
    architecture, options
        See `lucule.classify.networks`.
    features
        What the network sees.
    classes
        Names of the classes, class 0 first.
    pool
        What it is trained on.
    start
        Packaged model, or folder of a trained one, whose weights the training begins with; None: new weights.
    batch_size
        Localizations in a training step.
    fit
        Optimizer, schedule, epochs.
    seed
        Seed of everything: fields, choice of localizations, initial weights, batches.
    name, title, notes, budgets, budget
        See `lucule.core.recipe.BaseRecipe`.

    Examples
    --------
    >>> Recipe(
    ...     name="tiny", title="an example", architecture="dense", features={"k": 10, "normalisation": "distances"},
    ...     pool={"train": 100, "validation": 100, "test": 100}, fit={"epochs": 2},
    ...     budgets={"smoke": {"fit": {"epochs": 1}}},
    ... ).at("smoke").fit.epochs
    1
    """

    WHOLE: ClassVar[frozenset[str]] = frozenset({"changes", "options"})

    task: Literal["classify"] = "classify"
    architecture: str
    options: dict[str, Any] = {}
    features: FeatureSettings
    classes: tuple[str, ...] = ("not clustered", "clustered")
    pool: PoolSettings
    start: str | None = None
    batch_size: int = Field(default=256, gt=0)
    fit: FitSettings
