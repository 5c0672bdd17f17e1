"""Which room trains what a recipe describes."""

from __future__ import annotations

import importlib
import os
from typing import Any, Final

from lucule.core import InputError
from lucule.core.config import read_yaml

ROOMS: Final = {
    "classify": "lucule.classify",
    "graph": "lucule.classify.graph",
    "lines": "lucule.classify.lines",
    "localize": "lucule.localize",
    "subsets": "lucule.classify.subsets",
}
"""For each `task` of a recipe the module with its `Recipe` and `train`."""


def kind_of(recipe: str | os.PathLike[str]) -> Any:
    """Give the module whose `Recipe` reads and whose `train` trains a recipe file.

    Raises
    ------
    InputError
        The file cannot be read, or its task is unknown.
    """
    task = read_yaml(recipe).get("task", "classify")
    if task not in ROOMS:
        raise InputError(
            f"{recipe} is no recipe that can be trained", received=f"task: {task}", allowed=", ".join(ROOMS)
        )
    return importlib.import_module(ROOMS[task])


def cross_validate(recipe: Any, *, folds: int, **options: Any) -> Any:
    """Cross-validate a classifier; see `lucule.classify.cross_validate`.

    Raises
    ------
    InputError
        The recipe makes something else.
    """
    from lucule import classify

    if not isinstance(recipe, classify.Recipe):
        raise InputError("Only classifiers can be cross-validated", received=f"recipe {recipe.name}")
    return classify.cross_validate(recipe, folds=folds, **options)
