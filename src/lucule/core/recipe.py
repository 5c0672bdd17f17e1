"""Recipes: everything that decides what a training gives, in one YAML file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, Self

from pydantic import Field

from lucule.core.config import Config, read_yaml
from lucule.core.errors import InputError

RECIPE: Final = "recipe.yaml"
Kind = Literal["clusters", "fibres"]
"""Kinds of scenarios, of which recipes name one and the simulator has lists."""


class BaseRecipe(Config):
    """What all recipes have.

    Attributes
    ----------
    name, title, notes
        For the card.
    seed
        Seed of everything.
    budgets
        For each smaller budget (`gpu`, `cpu`, `smoke`) the values that differ from the full recipe.
    budget
        Name of the budget whose values these are; set by `at`.
    """

    WHOLE: ClassVar[frozenset[str]] = frozenset()
    """Mappings that a budget replaces as a whole, where others are merged key by key."""

    name: str
    title: str
    notes: str = ""
    seed: int = Field(default=1, ge=0)
    budgets: dict[str, dict[str, Any]] = {}
    budget: str = "full"

    @property
    def command(self) -> str:
        """The command that trains with these values, as long as nothing else was changed."""
        return f"lucule train recipes/{self.name}.yaml" + ("" if self.budget == "full" else f" --budget {self.budget}")

    def claim(self, folder: Path) -> None:
        """Make a folder that of this training: write `recipe.yaml`, unless it is there from an interrupted run.

        Raises
        ------
        InputError
            The folder holds another training.
        """
        path = folder / RECIPE
        if not path.exists():
            self.to_yaml(path)
        elif self.from_yaml(path) != self:
            raise InputError("The folder holds another training", received=folder, next_step="name an empty folder")

    @classmethod
    def load(cls, recipe: Self | str | os.PathLike[str]) -> Self:
        """Give a recipe as it is, or read it from a YAML file."""
        return recipe if isinstance(recipe, cls) else cls.parse(read_yaml(recipe), source=str(recipe))  # type: ignore[arg-type]

    def at(self, budget: str) -> Self:
        """Give the recipe with the values that `budget` changes; `full` changes nothing.

        Raises
        ------
        InputError
            The recipe has no such budget.
        """
        if budget not in ("full", *self.budgets):
            raise InputError(
                f"Recipe {self.name} has no such budget", received=budget, allowed=", ".join(("full", *self.budgets))
            )
        changed = self._merged(self.model_dump(), self.budgets.get(budget, {}))
        named = self.budget if budget == "full" else budget
        return self.parse(changed | {"budgets": {}, "budget": named}, source=f"recipe {self.name}, budget {budget}")

    @classmethod
    def _merged(cls, values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
        merged = dict(values)
        for key, change in changes.items():
            both = isinstance(change, dict) and isinstance(merged.get(key), dict) and key not in cls.WHOLE
            merged[key] = cls._merged(merged[key], change) if both else change
        return merged
