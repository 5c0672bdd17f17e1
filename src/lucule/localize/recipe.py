"""Recipes of localization networks: everything that decides what a training gives, in one YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from lucule.core import Camera
from lucule.core.recipe import BaseRecipe
from lucule.localize.likelihood import LossWeights
from lucule.localize.scenes import SceneSettings
from lucule.nn import StreamSettings
from lucule.simulate import load_camera
from lucule.simulate.optics import PSF, Kernel, compile_psf


class Recipe(BaseRecipe):
    """How a localization network is made.

    Attributes
    ----------
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

    Examples
    --------
    >>> recipe = Recipe(name="tiny", title="an example", fit={"steps": 100}, budgets={"smoke": {"fit": {"steps": 2}}})
    >>> recipe.at("smoke").fit.steps
    2
    """

    WHOLE: ClassVar[frozenset[str]] = frozenset({"network", "samplers"})

    task: Literal["localize"] = "localize"
    network: dict[str, Any] = {}
    psf: str | Annotated[PSF, Field()] = "astigmatic"
    camera: str | Camera = "smlm_challenge"
    scenes: SceneSettings = SceneSettings()
    table: Path | None = None
    loss: LossWeights = LossWeights()
    fit: StreamSettings
    validation_batches: int = Field(default=8, gt=0)

    def camera_used(self) -> Camera:
        """Give the camera."""
        return load_camera(self.camera) if isinstance(self.camera, str) else self.camera

    def kernel(self) -> Kernel:
        """Compile the PSF for the camera's pixels."""
        return compile_psf(self.psf, self.camera_used().pixel_size_nm)

    @classmethod
    def _merged(cls, values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
        """A budget in steps replaces one in seconds, and the other way round."""
        if {"seconds", "steps"} & set(changes):
            values = {key: value for key, value in values.items() if key not in ("seconds", "steps")}
        return super()._merged(values, changes)
