"""One training of a network on annotated samples: settings, loss, and when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Generator, Tensor, nn

from lucule.core import Config, Progress
from lucule.nn import Stream, StreamSettings, train_stream
from lucule.segment.annotations import IGNORE
from lucule.segment.augment import Augment, Crops
from lucule.segment.instances import THRESHOLD
from lucule.segment.samples import Sample, batch

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

# the training ends early when the loss of this many lines of the log is not this much below that of as many before
_LINES, _GAIN = 10, 0.02
_LOG_STEPS: Final = 10
# pixels between objects that touch are few and decide whether these are told apart (Ronneberger et al. 2015,
# arXiv:1505.04597, equation 2): there errors of the cores count so much more, within half of so many pixels
_AT_CONTACTS, _NEAR_PX = 5.0, 7


class TrainSettings(Config):
    """How a network is trained.

    Attributes
    ----------
    architecture, options
        `compact` or `deeplabv3_resnet101`, and its sizes.
    start
        Model whose weights it begins with, where the architecture is the same; None: random ones.
    object_px
        Extent to which objects are brought before the network sees them.
    threshold
        Smallest probability of a pixel of an object when the network is used, unless another one is asked for then.
    confidence
        Smallest mean probability of an object then: what is seen everywhere just above the threshold is none.
    crop_px, crops
        Side of a crop, and how many make a step.
    stop_early
        Whether the training may end before its budget when nothing improves any more.
    keep
        How far to go from the weights of `start` (0) to the trained ones (1); None: as far as annotated objects that
        were left out of trainings of their own speak for, see `lucule.segment.keep`; all the way where `start` knows
        another number of classes.
    augment
        How crops are changed.
    fit
        Budget, optimizer, schedule.
    """

    architecture: str = "compact"
    options: dict[str, Any] = {}
    start: str | None = "objects"
    object_px: Positive = 28.0
    threshold: float = Field(default=THRESHOLD, gt=0, lt=1)
    confidence: float = Field(default=0.0, ge=0, lt=1)
    crop_px: int = Field(default=128, ge=32, multiple_of=16)
    crops: int = Field(default=8, gt=1)
    stop_early: bool = True
    keep: float | None = Field(default=None, ge=0, le=1)
    augment: Augment = Augment()
    fit: StreamSettings = StreamSettings(
        seconds=120, learning_rate=1e-3, warmup_fraction=0.05, ema_decay=0.98, log_every_steps=_LOG_STEPS
    )


@dataclass(frozen=True, eq=False)
class Tuning:
    """A network that is trained from the same weights on one or several sets of samples.

    Attributes
    ----------
    network
        On the device of the samples.
    first
        The weights that each training begins with.
    classes
        Number of classes besides the background.
    started
        Whether the first weights are those of a trained network, whose statistics of layers are kept.
    """

    network: nn.Module
    first: dict[str, Tensor]
    classes: int
    started: bool
    settings: TrainSettings
    seed: int
    progress: Progress

    def run(self, samples: Sequence[Sample], *, share: float = 1.0, folder: Path | None = None,
            identity: Any = None) -> tuple[dict[str, Tensor], Stream]:  # fmt: skip
        """Train on samples.

        Parameters
        ----------
        share
            Part of the seconds that the settings allow.
        folder, identity
            Where an interrupted training goes on, see `lucule.nn.train_stream`.

        Returns
        -------
        dict, Stream
            The weights, and how the training went.
        """
        settings, device = self.settings, samples[0].image.device
        seconds = settings.fit.seconds
        self.network.load_state_dict(self.first)

        def make(_: int, generator: Generator) -> Crops:
            return batch(samples, settings.augment, settings.crops, settings.crop_px, generator)

        def value(model: nn.Module, crops: Crops) -> tuple[Tensor, dict[str, Tensor]]:
            if self.started:
                # few images say less about the statistics of layers than the many of the first training did
                for module in model.modules():
                    if isinstance(module, nn.BatchNorm2d):
                        module.eval()
            return loss(model(crops.image), crops, self.classes)

        stream = train_stream(
            self.network,
            make,
            value,
            settings=settings.fit if seconds is None else settings.fit.replace(seconds=seconds * share),
            seed=self.seed,
            folder=folder,
            device=device,
            identity=identity,
            enough=_no_gain if settings.stop_early else None,
            progress=self.progress,
        )
        return {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}, stream


def loss(logits: Tensor, crops: Crops, classes: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy of the classes, overlap (Dice) of the foreground, and both for the cores, where they are known."""
    logits = logits.float()
    of_class, of_core = logits[:, : classes + 1], logits[:, classes + 1]
    known = crops.classes != IGNORE
    entropy = F.cross_entropy(of_class, crops.classes, ignore_index=IGNORE, reduction="sum") / known.sum().clamp(min=1)
    foreground = 1 - of_class.softmax(dim=1)[:, 0]
    apart = ((crops.core <= 1) & known).float()
    target = crops.core.clamp(max=1)
    weight = apart * (1 + _AT_CONTACTS * _contacts(crops.objects).float())
    of_pixels = F.binary_cross_entropy_with_logits(of_core, target, reduction="none")
    core = (of_pixels * weight).sum() / weight.sum().clamp(min=1)
    overlap = _dice(foreground * known, (crops.classes > 0) & known)
    core_overlap = _dice(of_core.sigmoid() * apart, (target * apart) > 0.5)
    total = entropy + core + 0.5 * (2 - overlap - core_overlap)
    return total, {"dice": overlap.detach()}


def _contacts(objects: Tensor) -> Tensor:
    """Pixels `(n, rows, columns)` near which two objects touch, or nearly do."""
    numbers, options = objects.float()[:, None], {"kernel_size": _NEAR_PX, "stride": 1, "padding": _NEAR_PX // 2}
    highest = F.max_pool2d(numbers, **options)
    lowest = -F.max_pool2d(torch.where(numbers > 0, -numbers, -torch.inf), **options)
    return (lowest < highest)[:, 0]


def _dice(found: Tensor, true: Tensor) -> Tensor:
    both = (found * true).sum()
    return (2 * both + 1) / (found.sum() + true.sum() + 1)


def _no_gain(stream: Stream) -> bool:
    losses = [line["loss"] for line in stream.log]
    if len(losses) < 2 * _LINES:
        return False
    return float(np.mean(losses[-_LINES:])) > (1 - _GAIN) * float(np.mean(losses[-2 * _LINES : -_LINES]))
