"""Find the objects of images of any size with a trained network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from pydantic import Field
from torch import Tensor, nn

from lucule.core import SILENT, Config, InputError, Progress
from lucule.core.executor import executor
from lucule.models import Card, find
from lucule.nn import choose_device
from lucule.segment import explain, tiling
from lucule.segment.images import Brightness, Floats, Image, brightness, check_length, normalised, open_image
from lucule.segment.instances import THRESHOLD, Labels, separate
from lucule.segment.networks import build
from lucule.segment.objects import Found, Segmentation, merge, pieces
from lucule.segment.samples import rescaled
from lucule.segment.tiling import Window
from lucule.segment.train import TASK

STRIDE: Final = 16
_PAD_PX: Final = 32
# side of a tile as the network sees it
_TILE_PX: Final = 768
# side of a tile in pixels of the image, so that few hundred MB are in the memory
_LARGEST_TILE_PX: Final = 4096
# what would have to be magnified by more holds no more than it does at this magnification
_LARGEST_SCALE: Final = 20.0
# smallest object, as part of the area of a typical one
_LEAST_AREA: Final = 0.05


class PredictSettings(Config):
    """How objects are found.

    Attributes
    ----------
    threshold
        Smallest probability of a pixel of an object; None: that of the model.
    confidence
        Smallest mean probability of an object; None: that of the model.
    least_area_px
        Smallest area of an object, pixels of the image; None: a twentieth of the typical area in training.
    tile_px
        Side of a tile, pixels of the image; None: as the network likes it.
    second_pass
        Whether the borders between tiles are looked at a second time.
    views
        1, or 4 or 8 turned and mirrored views of the image that are averaged.
    dark
        Whether objects are darker than what is around them; None: as they were in training.
    """

    threshold: float | None = Field(default=None, ge=0, le=1)
    confidence: float | None = Field(default=None, ge=0, le=1)
    least_area_px: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    tile_px: int | None = Field(default=None, ge=32)
    second_pass: bool = True
    views: Literal[1, 4, 8] = 1
    dark: bool | None = None


@dataclass(frozen=True, eq=False)
class Segmenter:
    """A network ready for images.

    Attributes
    ----------
    network
        In evaluation mode, on `device`.
    card
        What it was trained for.
    """

    network: nn.Module
    card: Card
    device: torch.device
    source: str

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes of objects."""
        return self.card.classes[1:]

    @property
    def diameter_px(self) -> float:
        """Typical extent of an object in the training images, pixels."""
        return float(self.card.features["diameter_px"])

    @property
    def threshold(self) -> float:
        """Smallest probability of a pixel of an object, unless another one is asked for."""
        return float(self.card.features.get("threshold", THRESHOLD))

    @property
    def confidence(self) -> float:
        """Smallest mean probability of an object, unless another one is asked for."""
        return float(self.card.features.get("confidence", 0.0))

    @property
    def dark(self) -> bool:
        """Whether objects were darker than what was around them in the training images."""
        return bool(self.card.features.get("dark", False))

    def scale_for(self, pixel_size_nm: float | None, diameter_px: float | None) -> float:
        """Magnification from an image to what the network sees.

        Parameters
        ----------
        pixel_size_nm
            Size of the pixels of the image; it counts where that of the training images is known, too.
        diameter_px
            Typical extent of an object in the image, where the magnification is another one.

        Raises
        ------
        InputError
            One of them is no number above 0, or objects would be smaller than what can be seen.
        """
        check_length(pixel_size_nm, "The size of a pixel", "nm")
        check_length(diameter_px, "The diameter of an object", "pixels")
        scale = float(self.card.features["scale"])
        trained = self.card.features.get("pixel_size_nm")
        if diameter_px is not None:
            scale *= self.diameter_px / diameter_px
        elif pixel_size_nm is not None and trained is not None:
            scale *= pixel_size_nm / float(trained)
        if scale > _LARGEST_SCALE:
            least = float(self.card.features["scale"]) * self.diameter_px / _LARGEST_SCALE
            raise InputError(
                f"{self.card.name} cannot see objects that are so small in the image",
                received=f"a pixel of {pixel_size_nm:g} nm" if diameter_px is None else f"{diameter_px:g} pixels wide",
                allowed=f"objects at least {least:.2g} pixels wide",
            )
        return scale

    def probabilities(self, part: Floats, *, views: int = 1) -> tuple[Floats, Floats]:
        """Probabilities of the classes `(classes + 1, rows, columns)` and of the cores `(rows, columns)`.

        Parameters
        ----------
        part
            `(3, rows, columns)`, brightness and magnification as the network wants them.
        views
            Turned and mirrored views that are averaged.
        """
        rows, columns = part.shape[1:]
        pads = [(_PAD_PX, _PAD_PX + -(size + 2 * _PAD_PX) % STRIDE) for size in (rows, columns)]
        seen = torch.from_numpy(np.pad(part, ((0, 0), *pads), mode="symmetric"))[None].to(self.device)
        with torch.inference_mode():
            turns = [(turn, mirror) for turn in range(min(views, 4)) for mirror in range(1 + views // 8)]
            maps = torch.stack([self._view(seen, *view) for view in turns]).mean(dim=0)[0]
        inner = maps[:, _PAD_PX : _PAD_PX + rows, _PAD_PX : _PAD_PX + columns].cpu().numpy()
        return inner[:-1], inner[-1]

    def _view(self, seen: Tensor, turn: int, mirror: int) -> Tensor:
        view = torch.rot90(seen.flip(-1) if mirror else seen, turn, (-2, -1))
        logits = self.network(view.contiguous(memory_format=torch.channels_last)).float()
        maps = torch.cat([logits[:, :-1].softmax(dim=1), logits[:, -1:].sigmoid()], dim=1)
        back = torch.rot90(maps, -turn, (-2, -1))
        return back.flip(-1) if mirror else back

    def predict(
        self,
        image: Any,
        *,
        settings: PredictSettings | None = None,
        pixel_size_nm: float | None = None,
        diameter_px: float | None = None,
        light: Brightness | None = None,
        stage: ArrayLike | None = None,
        workers: int | None = 1,
        progress: Progress = SILENT,
    ) -> Segmentation:
        """Find the objects of an image.

        Parameters
        ----------
        image
            Path, array, or `lucule.segment.Image`; large files are read in windows.
        settings
            Threshold, tiles, views.
        pixel_size_nm
            Size of a pixel; gives areas in um2.
        diameter_px
            Typical extent of an object, where the magnification differs from that of the training images.
        light
            What is dark and bright; measured in the image by default. Single tiles of a slide are best given that of
            the slide.
        stage
            `(2, 3)`: stage position (x, y) in um of the pixel position (x, y, 1).
        workers
            Processes that share the tiles of an image given as a path.

        Returns
        -------
        Segmentation
            Its `objects` is a table; `labels()` gives the image of labels; `reason` says why there is no object.

        Raises
        ------
        InputError
            The image does not fit the network.
        """
        how = settings or PredictSettings()
        threshold = self.threshold if how.threshold is None else how.threshold
        confidence = self.confidence if how.confidence is None else how.confidence
        with open_image(image) as source:
            self._check(source)
            dark = self.dark if how.dark is None else how.dark
            measured = replace(light or brightness(source), dark=dark)
            scale = self.scale_for(pixel_size_nm, diameter_px)
            job = Job(self.source, str(self.device), source.name, measured, scale, threshold, confidence, how)
            # arrays would be copied to every worker
            apart = isinstance(image, str | os.PathLike) or not isinstance(source.data, np.ndarray)
            shared = image if apart else None
            seen, highest = self._all(source, shared, job, workers, progress)
            found = _sure(seen, confidence)
            reason = None
            if not found:
                reason = explain.nothing(
                    source,
                    measured,
                    self.card,
                    highest=highest,
                    threshold=threshold,
                    surest=max((item.confidence for item in seen), default=None),
                    confidence=confidence,
                    count_at=lambda factor: self._in_the_middle(source, replace(job, scale=scale * factor)),
                )
            return Segmentation.of(
                found,
                image=source.name,
                shape=source.shape,
                classes=self.classes,
                pixel_size_nm=pixel_size_nm,
                stage=stage,
                reason=reason,
                warnings=tuple(explain.remarks(source, measured, self.card) if found else ()),
            )

    def _check(self, source: Image) -> None:
        wanted = self.card.features["channels"]
        if wanted is not None and source.channels != wanted:
            raise InputError(
                f"{source.name} has other channels than the training images of {self.card.name}",
                received=f"{source.channels} channels",
                allowed=f"{wanted}",
                next_step="choose the channels, or another model",
            )

    def _all(
        self, source: Image, path: Any, job: Job, workers: int | None, progress: Progress
    ) -> tuple[list[Found], float]:
        side = job.how.tile_px or min(round(_TILE_PX / job.scale), _LARGEST_TILE_PX)
        reach = round(1.25 * max(self.card.training_range["diameter_px"][1], self.diameter_px) * self._zoom(job.scale))
        guard = max(4, round(tiling.GUARD_PX / job.scale))
        first = tiling.first_pass(source.shape, side)
        second = tiling.second_pass(source.shape, side, reach + 2 * guard) if job.how.second_pass else []
        windows = [*first, *second]
        found: list[list[Found]] = []
        highest = 0.0
        with progress.task("Segmentation", len(windows), "tiles") as task, ExitStack() as stack:
            if path is None or len(windows) == 1:
                results = (in_window(self, source, window, job) for window in windows)
            else:
                pool = stack.enter_context(executor(len(windows), workers=workers))
                results = (future.result() for future in [pool.submit(_in_file, path, w, job) for w in windows])
            for part, strongest in results:
                found.append(part)
                highest = max(highest, strongest)
                task.advance()
        return merge(found, windows, len(first), source.shape, guard), highest

    def _in_the_middle(self, source: Image, job: Job) -> int:
        """Count the objects of one window in the middle of an image."""
        rows, columns = (min(size, round(_TILE_PX / job.scale)) for size in source.shape)
        top, left = (source.shape[0] - rows) // 2, (source.shape[1] - columns) // 2
        found, _ = in_window(self, source, Window(top, top + rows, left, left + columns), job)
        return len(_sure(found, job.confidence))

    def _zoom(self, scale: float) -> float:
        """How much larger objects are in the image than in the training images."""
        return float(self.card.features["scale"]) / scale


@dataclass(frozen=True)
class Job:
    """What a worker must know of an image; small, because it is sent with each tile."""

    model: str
    device: str
    name: str
    light: Brightness
    scale: float
    threshold: float
    confidence: float
    how: PredictSettings


def load(model: str | os.PathLike[str], *, device: str = "auto") -> Segmenter:
    """Load a network by the name of a packaged one or the folder that `train` wrote.

    Raises
    ------
    InputError
        There is no such model, or it is for something else.

    Examples
    --------
    >>> load("cells_widefield").classes
    ('cell',)
    """
    packaged = find(model)
    if packaged.card.task != TASK:
        raise InputError(
            f"Model {packaged.card.name} does not segment images", received=f"task {packaged.card.task}",
            allowed=f"task {TASK}", next_step="see: lucule models",
        )  # fmt: skip
    place = choose_device(device)
    network = build(packaged.card.architecture, len(packaged.card.classes) + 1, packaged.card.options)
    state = {
        name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in packaged.state().items()
    }
    try:
        network.load_state_dict(state)
    except RuntimeError:
        raise InputError(
            f"The weights of model {packaged.card.name} do not fit its network",
            received=f"made by version {packaged.card.version}",
            next_step="train it again with this version",
        ) from None
    network.to(place, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    return Segmenter(network, packaged.card, place, str(packaged.weights_path.parent))


def in_window(segmenter: Segmenter, source: Image, window: Window, job: Job) -> tuple[list[Found], float]:
    """Objects of one window in the coordinates of the image, and the highest probability of any."""
    # small first: a window of a slide may have a hundred times the pixels that the network sees
    counts = np.nan_to_num(source.window(*window.slices), nan=job.light.background)
    part = normalised(rescaled(counts, job.scale), job.light)
    classes, core = segmenter.probabilities(part, views=job.how.views)
    foreground = 1 - classes[0]
    typical = np.pi / 4 * (segmenter.diameter_px * float(segmenter.card.features["scale"])) ** 2
    least = _LEAST_AREA * typical if job.how.least_area_px is None else job.how.least_area_px * job.scale**2
    labels: Labels = separate(foreground, core, threshold=job.threshold, least_px=least)
    zoom = (window.columns_px / part.shape[2], window.rows_px / part.shape[1])
    return pieces(labels, classes, foreground, window, zoom), float(foreground.max(initial=0.0))


def _sure(found: Sequence[Found], confidence: float) -> list[Found]:
    return [item for item in found if item.confidence >= confidence]


def _in_file(path: Any, window: Window, job: Job) -> tuple[list[Found], float]:
    segmenter = loaded(job.model, job.device)
    with open_image(path) as source:
        return in_window(segmenter, source, window, job)


@lru_cache(maxsize=2)
def loaded(model: str, device: str) -> Segmenter:
    """Load a network once for each process; see `load`."""
    return load(model, device=device)
