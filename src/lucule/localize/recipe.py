"""Recipes of localization networks: everything that decides what a training gives, in one YAML file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from lucule.core import Camera, Config, InputError
from lucule.core.config import read_yaml
from lucule.localize.likelihood import LossWeights
from lucule.localize.scenes import SceneSettings
from lucule.nn import StreamSettings
from lucule.simulate import load_camera
from lucule.simulate.optics import PSF, Kernel, compile_psf

Budget = Literal["full", "gpu", "cpu", "smoke"]


class Recipe(Config):
    """How a localization network is made.

    Attributes
    ----------
    name, title, notes
        For the card.
    network
        Sizes, see `lucule.localize.network.LocalizationNet`.
    psf
        Name of a packaged PSF, the path of a YAML file, or a description.
    camera
        Name of a packaged camera, the path of a YAML file, or a description.
    scenes
        What the training frames look like.
    table
        A file with localizations, for the sampler `table`.
    loss
        Weights of the parts of the loss.
    fit
        Budget, optimizer, schedule.
    validation_batches
        Batches on which the trained network is validated and calibrated.
    seed
        Seed of everything.
    budgets
        For each budget the values that differ from the full recipe.

    Examples
    --------
    >>> recipe = Recipe(name="tiny", title="an example", fit={"steps": 100}, budgets={"smoke": {"fit": {"steps": 2}}})
    >>> recipe.at("smoke").fit.steps
    2
    """

    name: str
    title: str
    notes: str = ""
    task: Literal["localize"] = "localize"
    network: dict[str, Any] = {}
    psf: str | Annotated[PSF, Field()] = "astigmatic"
    camera: str | Camera = "smlm_challenge"
    scenes: SceneSettings = SceneSettings()
    table: Path | None = None
    loss: LossWeights = LossWeights()
    fit: StreamSettings
    validation_batches: int = Field(default=8, gt=0)
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

    def camera_used(self) -> Camera:
        """Give the camera."""
        return load_camera(self.camera) if isinstance(self.camera, str) else self.camera

    def kernel(self) -> Kernel:
        """Compile the PSF for the camera's pixels."""
        return compile_psf(self.psf, self.camera_used().pixel_size_nm)


def _merge(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, change in changes.items():
        both = isinstance(change, dict) and isinstance(merged.get(key), dict) and key not in ("network", "samplers")
        if key == "fit" and {"seconds", "steps"} & set(change):
            merged[key] = {k: v for k, v in merged[key].items() if k not in ("seconds", "steps")}
        merged[key] = _merge(merged[key], change) if both else change
    return merged
