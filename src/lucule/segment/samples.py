"""Training data at the scale of the network, and batches of augmented crops of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from lucule.core import InputError
from lucule.segment.annotations import IGNORE, Annotation
from lucule.segment.augment import Augment, Crops, blank, cut, dim, paste, places, relight
from lucule.segment.images import Brightness, Floats, brightness, normalised, open_image
from lucule.segment.instances import cores

UNKNOWN_CORE: Final = 2
"""Core of pixels whose object is not told apart from its neighbours."""
# part of the crops that lie around an annotated object rather than anywhere
_ON_OBJECTS: Final = 0.7
# thin objects count as so many times their width, so that their width is seen
_LENGTH_PER_WIDTH: Final = 3.0
_SCALES: Final = (0.02, 3.0)
# of the range from dark to bright: less is no rule about what objects look like
_CLEARLY: Final = 0.1


@dataclass(frozen=True, eq=False)
class Sample:
    """One annotated image at the scale of the network.

    Attributes
    ----------
    image
        `(3, rows, columns)`.
    planes
        Classes, objects and cores, `(3, rows, columns)` float32.
    centres
        Pixels (x, y) of annotated objects, `(n, 2)`, and anywhere that something is known, `(m, 2)`.
    brightness
        Of the whole image.
    """

    image: Tensor
    planes: Tensor
    on_objects: Tensor
    anywhere: Tensor
    brightness: Brightness


def size_px(annotation: Annotation) -> list[float]:
    """Typical extent of each object, pixels: the diameter of a disc of its area, of thin ones three times the width."""
    from scipy.ndimage import distance_transform_edt, find_objects

    sizes = []
    for number, box in enumerate(find_objects(annotation.objects), start=1):
        if box is None:
            continue
        own = np.pad(annotation.objects[box] == number, 1)
        width = 2 * float(distance_transform_edt(own).max())
        sizes.append(min(float(np.sqrt(4 * own.sum() / np.pi)), _LENGTH_PER_WIDTH * width))
    return sizes


def scale_of(annotations: Sequence[Annotation], object_px: float, diameter_px: float | None) -> tuple[float, float]:
    """Magnification that brings objects to `object_px`, and their median extent in the images, pixels.

    Raises
    ------
    InputError
        There are strokes only, and the extent is not given.
    """
    sizes = [size for annotation in annotations for size in size_px(annotation)]
    if diameter_px is None and not sizes:
        raise InputError("Strokes do not say how large objects are", next_step="give the diameter of an object, pixels")
    median = float(np.median(sizes)) if diameter_px is None else diameter_px
    return float(np.clip(object_px / median, *_SCALES)), median


def objects_are_dark(sources: Sequence[Any], annotations: Sequence[Annotation]) -> bool:
    """Whether annotated objects are clearly darker than annotated background, in the mean over the images.

    Dark objects on a bright field are the negative of what networks know best: bright ones on a dark field.
    """
    differences = []
    for source, annotation in zip(sources, annotations, strict=True):
        with open_image(source) as image:
            if image.shape != annotation.classes.shape:
                continue  # `sample` says what is wrong
            seen = normalised(image.whole(), brightness(image)).mean(axis=0)
        inside = (annotation.classes > 0) & (annotation.classes != IGNORE)
        outside = annotation.classes == 0
        if inside.any() and outside.any():
            differences.append(float(np.median(seen[inside]) - np.median(seen[outside])))
    return bool(differences) and float(np.mean(differences)) < -_CLEARLY


def sample(source: Any, annotation: Annotation, scale: float, *, dark: bool = False) -> Sample:
    """Prepare an image (path or array) with its annotation; `dark` as in `Brightness`.

    Raises
    ------
    InputError
        They differ in size, or nothing can be seen in the image.
    """
    with open_image(source) as image:
        if image.shape != annotation.classes.shape:
            raise InputError(
                f"{image.name} and its annotation differ in size",
                received=f"{image.shape} and {annotation.classes.shape} pixels",
            )
        light = replace(brightness(image), dark=dark)
        counts = normalised(image.whole(), light)
        if counts.max() <= counts.min() and (annotation.classes % IGNORE).any():
            raise InputError(f"{image.name} shows no object: it has the same brightness everywhere")
        seen = torch.from_numpy(rescaled(counts, scale))
    return annotated(seen, light, annotation)


def annotated(image: Tensor, light: Brightness, annotation: Annotation) -> Sample:
    """Bring an annotation to the scale of its image `(3, rows, columns)`, which is that of the network already."""
    shape = (image.shape[1], image.shape[2])
    classes, objects = (_nearest(plane, shape) for plane in (annotation.classes, annotation.objects))
    core = cores(objects).astype(np.float32) if annotation.apart else np.full(shape, UNKNOWN_CORE, np.float32)
    planes = torch.from_numpy(np.stack([classes, objects, core]).astype(np.float32))
    known = classes != IGNORE
    return Sample(image, planes, _pixels(known & (classes > 0)), _pixels(known), light)


def rescaled(image: Floats, scale: float) -> Floats:
    """Magnify `(channels, rows, columns)`; pixels are averaged where the image becomes smaller."""
    rows, columns = (max(1, round(size * scale)) for size in image.shape[1:])
    if (rows, columns) == image.shape[1:]:
        return image
    whole = torch.from_numpy(np.ascontiguousarray(image))[None]
    small: Floats = F.interpolate(whole, (rows, columns), mode="bilinear", antialias=scale < 1)[0].numpy()
    return small


def batch(samples: Sequence[Sample], settings: Augment, crops: int, side: int, generator: Generator) -> Crops:
    """Draw `crops` augmented crops of `side` pixels."""
    device = generator.device
    parts = []
    for _ in range(crops):
        one = samples[int(torch.randint(len(samples), (1,), generator=generator, device=device))]
        aimed = bool(torch.rand(1, generator=generator, device=device) < _ON_OBJECTS) and len(one.on_objects) > 0
        pixels = one.on_objects if aimed else one.anywhere
        pick = int(torch.randint(len(pixels), (1,), generator=generator, device=device))
        jitter = (torch.rand(2, generator=generator, device=device) - 0.5) * (side / 2)
        x, y = (pixels[pick].to(device) + jitter).tolist()
        parts.append(cut(one.image, one.planes, (x, y), places(settings, side, generator)))
    known = paste(Crops.stack(parts), settings, generator)
    for change in (dim, blank):
        known = change(known, settings, generator)
    return Crops(relight(known.image, settings, generator), known.classes, known.objects, known.core)


def _nearest(plane: Any, shape: tuple[int, int]) -> Any:
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(int), old - 1)
        for new, old in zip(shape, plane.shape, strict=True)
    )
    return plane[np.ix_(rows, columns)]


def _pixels(mask: Any) -> Tensor:
    rows, columns = np.nonzero(mask)
    return torch.from_numpy(np.column_stack([columns, rows]).astype(np.float32))
