"""From a few annotated objects to a network that finds all others like them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Generator, Tensor, nn

from lucule.core import SILENT, Config, InputError, Progress, package_version
from lucule.models import Card, find, save
from lucule.nn import Stream, StreamSettings, choose_device, count_parameters, train_stream
from lucule.segment import annotations as notes
from lucule.segment.annotations import IGNORE, Annotation
from lucule.segment.augment import Augment, Crops
from lucule.segment.images import ENDINGS, Brightness, open_image
from lucule.segment.instances import THRESHOLD
from lucule.segment.networks import build
from lucule.segment.samples import Sample, batch, sample, scale_of, size_px

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

TASK: Final = "segment"
# the training ends early when the loss of this many lines of the log is not this much below that of as many before
_LINES, _GAIN = 10, 0.02
_LOG_STEPS: Final = 10


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
    crop_px, crops
        Side of a crop, and how many make a step.
    stop_early
        Whether the training may end before its budget when nothing improves any more.
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
    crop_px: int = Field(default=128, ge=32, multiple_of=16)
    crops: int = Field(default=8, gt=1)
    stop_early: bool = True
    augment: Augment = Augment()
    fit: StreamSettings = StreamSettings(
        seconds=120, learning_rate=1e-3, warmup_fraction=0.05, ema_decay=0.98, log_every_steps=_LOG_STEPS
    )


def train(
    images: Sequence[Any] | str | os.PathLike[str],
    annotations: Sequence[Any] | str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    settings: TrainSettings | None = None,
    names: Sequence[str] = (),
    kind: notes.Kind = "auto",
    everything: bool = True,
    pixel_size_nm: float | None = None,
    diameter_px: float | None = None,
    seed: int = 1,
    device: str = "auto",
    name: str | None = None,
    title: str = "",
    progress: Progress = SILENT,
) -> Path:
    """Train a network on annotated images and write it to the folder `out`.

    Parameters
    ----------
    images, annotations
        Two sequences of the same length (paths, arrays, `Annotation`), or a file or folder each, whose names are
        matched: `a.tif` and `a_labels.tif`, `a.zip`, `a_CLASS.tif`.
    settings
        Network, augmentation, budget.
    names
        Names of the classes; by default those that the annotations state.
    kind
        What the numbers of annotation images mean, see `lucule.segment.annotations.from_array`.
    everything
        Whether every object in the images is annotated. If not, only pixels near annotated objects count as background.
    pixel_size_nm
        Size of a pixel of the images. Where it is known here and for an image to be segmented, the magnification may
        differ.
    diameter_px
        Typical extent of an object, pixels; needed for strokes only.
    seed
        The same seed and a budget of steps give the same weights.
    name, title
        For the card.

    Returns
    -------
    Path
        `out`, which `lucule.segment.load` understands.

    Raises
    ------
    InputError
        Nothing is annotated, images and annotations do not fit, or `out` holds another training.
    """
    used = settings or TrainSettings()
    folder, place = Path(out), choose_device(device)
    sources, known = _pair(images, annotations, kind, tuple(names), pixel_size_nm)
    classes = _same_names(known)
    scale, median = scale_of(known, used.object_px, diameter_px)
    if not everything:
        known = [item.around_objects(max(3, round(0.4 * median))) for item in known]
    samples = [_on(sample(source, item, scale), place) for source, item in zip(sources, known, strict=True)]
    network, started = _network(used, len(classes), seed)

    def make(_: int, generator: Generator) -> Crops:
        return batch(samples, used.augment, used.crops, used.crop_px, generator)

    def value(model: nn.Module, crops: Crops) -> tuple[Tensor, dict[str, Tensor]]:
        if started:
            # few images say less about the statistics of layers than the many of the first training did
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return loss(model(crops.image), crops, len(classes))

    data = hashlib.sha256(b"".join(item.planes.cpu().numpy().tobytes() + item.image.cpu().numpy().tobytes()
                                   for item in samples)).hexdigest()  # fmt: skip
    stream = train_stream(
        network.to(place, memory_format=torch.channels_last),  # type: ignore[call-overload]
        make,
        value,
        settings=used.fit,
        seed=seed,
        folder=folder,
        device=place,
        identity=[used.model_dump(mode="json", exclude={"fit"}), data, list(classes)],
        enough=_no_gain if used.stop_early else None,
        progress=progress,
    )
    features = {
        "scale": scale,
        "threshold": used.threshold,
        "diameter_px": median,
        "pixel_size_nm": pixel_size_nm,
        # where colours were invented, any image will do
        "channels": None if used.augment.recoloured else _channels(sources),
        "apart": all(item.apart for item in known),
    }
    made = Card(
        name=name or folder.resolve().name,
        title=title or f"Segmentation of {', '.join(classes)}",
        task=TASK,
        architecture=used.architecture,
        options=used.options,
        parameters=count_parameters(network),
        features=features,
        classes=(notes.BACKGROUND, *classes),
        recipe=used.model_dump(mode="json"),
        command="lucule segment train IMAGES MASKS --out FOLDER",
        seed=seed,
        data_sha256=data,
        scores=_scores(stream, sum(item.count for item in known)),
        training_range=_ranges([item.brightness for item in samples], known),
        notes="" if everything else "Only some of the objects in the training images were annotated.",
        version=package_version(),
    )
    save(folder, made, half(network.state_dict()))
    return folder


def loss(logits: Tensor, crops: Crops, classes: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy of the classes, overlap (Dice) of the foreground, and both for the cores, where they are known."""
    logits = logits.float()
    of_class, of_core = logits[:, : classes + 1], logits[:, classes + 1]
    known = crops.classes != IGNORE
    entropy = F.cross_entropy(of_class, crops.classes, ignore_index=IGNORE, reduction="sum") / known.sum().clamp(min=1)
    foreground = 1 - of_class.softmax(dim=1)[:, 0]
    apart = ((crops.core <= 1) & known).float()
    target = crops.core.clamp(max=1)
    core = (F.binary_cross_entropy_with_logits(of_core, target, reduction="none") * apart).sum() / apart.sum().clamp(
        min=1
    )
    overlap = _dice(foreground * known, (crops.classes > 0) & known)
    core_overlap = _dice(of_core.sigmoid() * apart, (target * apart) > 0.5)
    total = entropy + core + 0.5 * (2 - overlap - core_overlap)
    return total, {"dice": overlap.detach()}


def half(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of layers in half precision, which is all that they need on disk."""
    return {name: tensor.half() if tensor.is_floating_point() and tensor.ndim > 1 else tensor
            for name, tensor in state.items()}  # fmt: skip


def _dice(found: Tensor, true: Tensor) -> Tensor:
    both = (found * true).sum()
    return (2 * both + 1) / (found.sum() + true.sum() + 1)


def _no_gain(stream: Stream) -> bool:
    losses = [line["loss"] for line in stream.log]
    if len(losses) < 2 * _LINES:
        return False
    return float(np.mean(losses[-_LINES:])) > (1 - _GAIN) * float(np.mean(losses[-2 * _LINES : -_LINES]))


def _pair(
    images: Any, annotations: Any, kind: notes.Kind, names: tuple[str, ...], pixel_size_nm: float | None
) -> tuple[list[Any], list[Annotation]]:
    if isinstance(images, str | os.PathLike):
        files = _files(images, ENDINGS)
        single = Path(images).is_file() and isinstance(annotations, str | os.PathLike) and Path(annotations).is_file()
        found: list[tuple[Any, dict[str, Any]]] = (
            [(files[0], {"": Path(annotations)})]
            if single
            else list(notes.pairs(files, _files(annotations, (*ENDINGS, *notes.OUTLINES))))
        )
    else:
        given = list(annotations)
        if len(given) != len(images) or not given:
            raise InputError(
                "Images and annotations must be as many", received=f"{len(images)} images, {len(given)} annotations"
            )
        found = [(image, {"": item}) for image, item in zip(images, given, strict=True)]
    known = []
    for image, parts in found:
        with open_image(image) as opened:
            shape = opened.shape
        read = {
            part: _annotation(item, shape, kind, names if part == "" else (part,), pixel_size_nm)
            for part, item in parts.items()
        }
        wanted = [part for part in names if part in read] + [part for part in read if part not in names]
        known.append(read[""] if list(read) == [""] else notes.combine({part: read[part] for part in wanted}))
    return [image for image, _ in found], known


def _annotation(
    item: Any, shape: tuple[int, int], kind: notes.Kind, names: tuple[str, ...], pixel_size_nm: float | None
) -> Annotation:
    if isinstance(item, Annotation):
        return item
    if isinstance(item, str | os.PathLike):
        return notes.read(item, shape, kind=kind, names=names, pixel_size_nm=pixel_size_nm)
    return notes.from_array(item, kind=kind, names=names or (notes.DEFAULT_CLASS,))


def _files(where: str | os.PathLike[str], endings: Sequence[str]) -> list[Path]:
    path = Path(where)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError("There is no such file or folder", received=path)
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in endings and not file.name.startswith("."))
    if not files:
        raise InputError("The folder holds no file that is understood", received=path, allowed=", ".join(endings))
    return files


def _same_names(known: Sequence[Annotation]) -> tuple[str, ...]:
    longest = max((item.names for item in known), key=len)
    for item in known:
        if item.names != longest[: len(item.names)]:
            raise InputError(
                "The annotations name different classes",
                received=f"{', '.join(longest)}; {', '.join(item.names)}",
                next_step="name all classes in their order",
            )
    return longest


def _network(used: TrainSettings, classes: int, seed: int) -> tuple[nn.Module, bool]:
    """Build the network; start from the weights of another one where they fit."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = build(used.architecture, classes + 2, used.options)
    if used.start is None:
        return network, False
    begin = find(used.start)
    if begin.card.task != TASK or begin.card.architecture != used.architecture:
        raise InputError(
            f"Training cannot start from {used.start}",
            received=f"{begin.card.task}, {begin.card.architecture}",
            allowed=f"{TASK}, {used.architecture}",
            next_step="choose another start, or none",
        )
    if begin.card.options != used.options:
        raise InputError(f"The network of {used.start} has other sizes", received=used.options,
                         allowed=str(begin.card.options))  # fmt: skip
    network.load_state_dict(fitted(begin.state(), len(begin.card.classes) - 1, classes))
    return network, True


def fitted(state: dict[str, Tensor], had: int, classes: int) -> dict[str, Tensor]:
    """Weights for another number of classes: new classes begin as the first one of the old."""
    if had == classes:
        return state
    rows = [0, *(min(number, had) if number <= had else 1 for number in range(1, classes + 1)), had + 1]
    outputs = had + 2
    last = [name for name in state if name.startswith(("out.", "classifier.4.")) and len(state[name]) == outputs]
    return state | {name: state[name][rows] for name in last}


def _on(item: Sample, device: torch.device) -> Sample:
    return Sample(item.image.to(device), item.planes.to(device), item.on_objects, item.anywhere, item.brightness)


def _channels(sources: Sequence[Any]) -> int:
    numbers = set()
    for source in sources:
        with open_image(source) as image:
            numbers.add(image.channels)
    if len(numbers) > 1:
        raise InputError("The images differ in their channels", received=f"{sorted(numbers)} channels")
    return numbers.pop()


def _scores(stream: Stream, objects: int) -> dict[str, float]:
    last = stream.log[-1]
    return {
        "train_dice": round(float(last["dice"]), 4),
        "train_loss": round(float(last["loss"]), 4),
        "train_steps": float(stream.step),
        "train_seconds": round(stream.seconds, 1),
        "train_objects": float(objects),
    }


def _ranges(lights: Sequence[Brightness], known: Sequence[Annotation]) -> dict[str, tuple[float, float]]:
    sizes = [size for item in known for size in size_px(item)] or [0.0]
    contrasts = [min(light.contrast, 1e6) for light in lights]
    return {
        "low_counts": (min(min(light.low) for light in lights), max(max(light.low) for light in lights)),
        "high_counts": (min(min(light.high) for light in lights), max(max(light.high) for light in lights)),
        "contrast_to_noise": (min(contrasts), max(contrasts)),
        "diameter_px": (min(sizes), max(sizes)),
    }
