"""Networks trained on simulated images alone, from recipes: `lucule train recipes/NAME.yaml`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from lucule.core import SILENT, Progress
from lucule.core.recipe import BaseRecipe
from lucule.models import find
from lucule.models.store import CARD
from lucule.segment.scenes import Cells, Shapes
from lucule.segment.train import train as train_on
from lucule.segment.tuning import TrainSettings


class Recipe(BaseRecipe):
    """How a network is made from simulated images.

    Attributes
    ----------
    scenes
        What is drawn.
    training
        Network, augmentation, budget.
    names
        Names of the classes.
    pixel_size_nm, diameter_px
        Size of a pixel of the images, where they have one, and typical extent of an object; measured by default.

    Examples
    --------
    >>> Recipe(name="tiny", title="an example").scenes.kind
    'shapes'
    """

    WHOLE: ClassVar[frozenset[str]] = frozenset({"options"})

    task: Literal["segment"] = "segment"
    scenes: Annotated[Shapes | Cells, Field(discriminator="kind")] = Shapes(kind="shapes")
    training: TrainSettings = TrainSettings()
    names: tuple[str, ...] = ("object",)
    pixel_size_nm: float | None = None
    diameter_px: float | None = None


def train(
    recipe: Recipe | str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    budget: str = "full",
    device: str = "auto",
    progress: Progress = SILENT,
) -> Path:
    """Draw the images of a recipe and train its network into the folder `out`.

    Raises
    ------
    InputError
        The recipe is not valid, has no such budget, or `out` holds another training.
    """
    used = Recipe.load(recipe).at(budget)
    folder = Path(out)
    used.claim(folder)
    if (folder / CARD).exists():
        return folder
    drawn = used.scenes.draw(used.seed)
    train_on(
        [image for image, _ in drawn],
        [annotation for _, annotation in drawn],
        out=folder,
        settings=used.training,
        pixel_size_nm=used.pixel_size_nm,
        diameter_px=used.diameter_px,
        seed=used.seed,
        device=device,
        name=used.name,
        title=used.title,
        progress=progress,
    )
    card = find(folder).card
    whole: dict[str, Any] = used.model_dump(mode="json")
    card.replace(recipe=whole, command=used.command, notes=used.notes).to_yaml(folder / CARD)
    return folder
