"""Which room trains what a recipe describes."""

from __future__ import annotations

import importlib
import os
from dataclasses import asdict
from typing import Any, Final

from lucule.core import SILENT, InputError, Progress
from lucule.core.config import read_yaml

ROOMS: Final = {
    "classify": "lucule.classify",
    "graph": "lucule.classify.graph",
    "lines": "lucule.classify.lines",
    "localize": "lucule.localize",
    "segment": "lucule.segment.packaged",
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


def for_microscope(
    recipe: Any,
    *,
    psf: str | None = None,
    camera: str | None = None,
    movie: str | os.PathLike[str] | None = None,
    progress: Progress = SILENT,
) -> tuple[Any, dict[str, float] | None]:
    """Give the recipe of a localization network for the user's own PSF, camera and movie.

    Returns
    -------
    recipe
        With PSF and camera, and with ranges around what was measured on the movie.
    seen
        What was measured; None without a movie.

    Raises
    ------
    InputError
        The recipe makes something else, PSF and camera do not fit each other, or the movie shows too few emitters.
    """
    from lucule import localize

    if not isinstance(recipe, localize.Recipe):
        raise InputError("Only localization networks are trained for a microscope", received=f"recipe {recipe.name}")
    given = {name: value for name, value in (("psf", psf), ("camera", camera)) if value is not None}
    used = recipe.replace(**given)
    used.kernel()  # refuses what does not fit together before hours are spent
    if movie is None:
        return used, None
    seen = localize.like(movie, camera=used.camera_used(), psf=used.psf, progress=progress)
    scenes = seen.widened(used.scenes)
    return used.replace(scenes=scenes.model_dump()), {
        name: float(f"{value:.4g}") for name, value in asdict(seen).items()
    }


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
