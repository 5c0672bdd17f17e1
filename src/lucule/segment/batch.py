"""Many images with one network: each is a task of its own, and one that fails does not stop the others."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from numpy.typing import ArrayLike

from lucule.core import SILENT, InputError, LuculeError, Progress
from lucule.core.executor import executor
from lucule.segment.objects import SCHEMA, Segmentation
from lucule.segment.predict import PredictSettings, load, loaded

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one image.

    Attributes
    ----------
    image
        Its path.
    found
        Its objects; None where it could not be segmented.
    error
        Why not.
    """

    image: str
    found: Segmentation | None = None
    error: str | None = None

    def line(self) -> dict[str, Any]:
        """One line for people."""
        objects = None if self.found is None else len(self.found)
        note = self.error if self.found is None else self.found.reason or "; ".join(self.found.warnings)
        return {"image": Path(self.image).name, "objects": objects, "note": note or ""}


@dataclass(frozen=True, slots=True)
class Batch:
    """What came of many images."""

    outcomes: tuple[Outcome, ...] = field(default_factory=tuple)

    def table(self) -> pl.DataFrame:
        """Objects of all images, numbered within each; images of the same name are told apart by their paths."""
        names = Counter(Path(outcome.image).name for outcome in self.outcomes)
        tables = [
            outcome.found.objects
            if names[Path(outcome.image).name] == 1
            else outcome.found.objects.with_columns(image=pl.lit(outcome.image))
            for outcome in self.outcomes
            if outcome.found is not None
        ]
        return pl.concat(tables) if tables else pl.DataFrame(schema=SCHEMA)

    @property
    def failed(self) -> int:
        """Number of images that could not be segmented."""
        return sum(outcome.found is None for outcome in self.outcomes)


def predict_files(
    images: Sequence[Any],
    model: str | os.PathLike[str],
    *,
    settings: PredictSettings | None = None,
    pixel_size_nm: float | None = None,
    diameter_px: float | None = None,
    stage: ArrayLike | None = None,
    device: str = "auto",
    workers: int | None = None,
    progress: Progress = SILENT,
) -> Batch:
    """Find the objects of image files.

    Parameters
    ----------
    images
        Paths, or one `lucule.segment.Image`. Several are shared among the workers, of a single one its tiles are.
    model
        Name of a packaged network, or a folder.

    Other parameters are those of `lucule.segment.Segmenter.predict`.

    Raises
    ------
    InputError
        There is no image, or no such model.
    """
    if not images:
        raise InputError("No image is named", allowed="one or more files")
    segmenter = load(model, device=device)
    options = {"settings": settings, "pixel_size_nm": pixel_size_nm, "diameter_px": diameter_px, "stage": stage}
    if len(images) == 1:
        found = segmenter.predict(images[0], **options, workers=workers, progress=progress)  # type: ignore[arg-type]
        return Batch((Outcome(getattr(images[0], "name", str(images[0])), found),))
    outcomes: dict[str, Outcome] = {}
    with (
        progress.task("Segmentation", len(images), "images") as task,
        executor(len(images), workers=workers) as pool,
    ):
        waiting = [pool.submit(_one, segmenter.source, device, str(image), options) for image in images]
        for future in pool.as_completed(waiting):
            outcome = future.result()
            outcomes[outcome.image] = outcome
            task.advance()
    return Batch(tuple(outcomes[str(image)] for image in images))


def _one(model: str, device: str, image: str, options: dict[str, Any]) -> Outcome:
    try:
        return Outcome(image, loaded(model, device).predict(image, **options))
    except (LuculeError, MemoryError, OSError) as error:
        return Outcome(image, error=str(error) or type(error).__name__)
    except Exception as error:
        # a fault, which must not cost the other images; it is told as one
        _LOG.debug("%s failed", image, exc_info=True)
        return Outcome(image, error=f"this is a fault in lucule, not in your data: {type(error).__name__}: {error}")
