"""From a few annotated objects to a network that finds all others like them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from lucule.core import SILENT, InputError, Progress, package_version
from lucule.models import Card, Packaged, find, save
from lucule.nn import Stream, choose_device, count_parameters
from lucule.segment import annotations as notes
from lucule.segment.annotations import Annotation
from lucule.segment.images import ENDINGS, Brightness, check_length, image_files, open_image
from lucule.segment.instances import THRESHOLD
from lucule.segment.keep import Kept, blend, folds, measured, unmarked, without
from lucule.segment.networks import build
from lucule.segment.samples import Sample, annotated, objects_are_dark, sample, scale_of, size_px
from lucule.segment.tuning import TrainSettings, Tuning

TASK: Final = "segment"


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
    check_length(pixel_size_nm, "The size of a pixel", "nm")
    check_length(diameter_px, "The diameter of an object", "pixels")
    folder, place = Path(out), choose_device(device)
    sources, known = _pair(images, annotations, kind, tuple(names), pixel_size_nm)
    classes = _same_names(known)
    scale, median = scale_of(known, used.object_px, diameter_px)
    if not everything:
        known = [item.around_objects(max(3, round(0.4 * median))) for item in known]

    dark = objects_are_dark(sources, known)
    samples = [_on(sample(source, item, scale, dark=dark), place) for source, item in zip(sources, known, strict=True)]

    def without_objects(left_out: dict[int, list[int]]) -> list[Sample]:
        remaining = zip(samples, without(known, left_out), strict=True)
        return [_on(annotated(one.image, one.brightness, item), place) for one, item in remaining if item is not None]

    network, begin = _network(used, len(classes), seed)
    network.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    first = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    tuning = Tuning(network, first, len(classes), begin is not None, used, seed, progress)
    data = hashlib.sha256(b"".join(item.planes.cpu().numpy().tobytes() + item.image.cpu().numpy().tobytes()
                                   for item in samples)).hexdigest()  # fmt: skip
    # what does not know the classes cannot be compared
    weighed = begin is not None and used.keep is None and len(begin.card.classes) == 1 + len(classes)
    parts = folds(known) if weighed else []
    share = 1 / (1 + len(parts))
    identity = [used.model_dump(mode="json", exclude={"fit"}), data, list(classes)]
    last, stream = tuning.run(samples, share=share, folder=folder, identity=identity)
    kept, more, confidence = None, 0, used.confidence
    if begin is not None and weighed:
        # what was learned is judged by objects left out of other trainings, a single object by itself
        trials = [(tuning.run(without_objects(left_out), share=share)[0], left_out) for left_out in parts]
        threshold = float(begin.card.features.get("threshold", THRESHOLD))
        sure = float(begin.card.features.get("confidence", 0.0))
        kept = measured(network, first, trials or [(last, None)], samples, threshold, (sure, used.confidence))
        last = blend(first, last, kept.part)
        confidence = used.confidence if kept.part == 1 else sure
        if everything:
            network.load_state_dict(first)
            more = unmarked(network, samples, threshold, sure, used.object_px)
    elif begin is not None and used.keep is not None:
        last = blend(first, last, used.keep)
    features = {
        "scale": scale,
        "threshold": used.threshold if kept is None else kept.threshold,
        "confidence": confidence,
        "diameter_px": median,
        "pixel_size_nm": pixel_size_nm,
        # where colours were invented, any image will do
        "channels": None if used.augment.recoloured else _channels(sources),
        "apart": all(item.apart for item in known),
        "dark": dark,
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
        scores=_scores(stream, sum(item.count for item in known), kept, more),
        training_range=_ranges([item.brightness for item in samples], known),
        notes=" ".join(
            ([] if everything else ["Only some of the objects in the training images were annotated."])
            + ([kept.sentence(used.start or "")] if kept else [])
        ),
        version=package_version(),
    )
    save(folder, made, half(last))
    return folder


def half(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of layers in half precision, which is all that they need on disk."""
    return {name: tensor.half() if tensor.is_floating_point() and tensor.ndim > 1 else tensor
            for name, tensor in state.items()}  # fmt: skip


def _pair(
    images: Any, annotations: Any, kind: notes.Kind, names: tuple[str, ...], pixel_size_nm: float | None
) -> tuple[list[Any], list[Annotation]]:
    if isinstance(images, str | os.PathLike):
        files = image_files(images)
        single = Path(images).is_file() and isinstance(annotations, str | os.PathLike) and Path(annotations).is_file()
        found: list[tuple[Any, dict[str, Any]]] = (
            [(files[0], {"": Path(annotations)})]
            if single
            else list(notes.pairs(files, image_files(annotations, (*ENDINGS, *notes.OUTLINES))))
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


def _same_names(known: Sequence[Annotation]) -> tuple[str, ...]:
    longest = max((item.names for item in known), key=len)
    for item in known:
        if item.names != longest[: len(item.names)]:
            raise InputError(
                "The annotations name different classes",
                received=f"{', '.join(longest)}; {', '.join(item.names)}",
                next_step="name all classes in their order",
            )
    seen = {int(number) for item in known for number in np.unique(item.classes)}
    if unseen := [name for number, name in enumerate(longest, start=1) if number not in seen]:
        raise InputError(
            "Nothing is annotated of a class that is named",
            received=", ".join(unseen),
            allowed="classes of which there are objects",
            next_step="one annotation file for each class, or --kind classes where the numbers are classes",
        )
    return longest


def _network(used: TrainSettings, classes: int, seed: int) -> tuple[nn.Module, Packaged | None]:
    """Build the network; start from the weights of another one where they fit."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = build(used.architecture, classes + 2, used.options)
    if used.start is None:
        return network, None
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
    return network, begin


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


def _scores(stream: Stream, objects: int, kept: Kept | None, more: int) -> dict[str, float]:
    last = stream.log[-1]
    return {
        "train_dice": round(float(last["dice"]), 4),
        "train_loss": round(float(last["loss"]), 4),
        "train_steps": float(stream.step),
        "train_seconds": round(stream.seconds, 1),
        "train_objects": float(objects),
        **({} if kept is None else kept.scores()),
        **({"unmarked_objects": float(more)} if more else {}),
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
