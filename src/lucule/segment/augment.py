"""Strong augmentation: from few annotated objects to many different crops.

Everything is drawn on the device, from one generator. Image, classes, objects and cores are moved together; light,
blur and noise change the image only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Final

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Generator, Tensor

from lucule.core import Config

Part = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]

# knots of the smooth fields that bend and shade a crop
_KNOTS: Final = 5


class Augment(Config):
    """How much a crop is changed.

    Attributes
    ----------
    zoom
        Smallest and largest magnification.
    shear, bend
        Largest shear, and displacement of a smooth deformation as a part of the crop.
    pasted
        Part of the crops into which objects of another crop are pasted, so that objects touch.
    gain, offset
        Smallest and largest contrast, and largest change of the dark level (small ones are more frequent).
    gamma
        Smallest and largest exponent of the brightness.
    shading
        Standard deviation of the logarithm of a smooth change of the light over the crop.
    blur_px, noise
        Largest standard deviation of blur and of noise (small ones are more frequent).
    colour
        Largest change of the light in single channels, where they differ.
    dimmed
        Part of the crops in which objects are dimmed, each by another factor from 0.1 to 1.
    blank
        Part of the crops in which there is nothing but noise, so that empty fields stay empty.
    recoloured
        Part of the crops that get new colours, dark on bright ones among them: for networks of many kinds of images.
    """

    zoom: tuple[float, float] = (0.7, 1.4)
    shear: NotNegative = 0.12
    bend: NotNegative = 0.03
    pasted: Part = 0.4
    gain: tuple[float, float] = (0.6, 1.5)
    offset: NotNegative = 0.1
    gamma: tuple[float, float] = (0.7, 1.4)
    shading: NotNegative = 0.2
    blur_px: NotNegative = 1.0
    noise: NotNegative = 0.08
    colour: NotNegative = 0.1
    dimmed: Part = 0.4
    blank: Part = 0.06
    recoloured: Part = 0.0


@dataclass(frozen=True)
class Crops:
    """Crops of images and what is known of them.

    Attributes
    ----------
    image
        `(n, 3, side, side)`, float32.
    classes
        `(n, side, side)`, 255 where nothing is known.
    objects
        `(n, side, side)`, number of the object in its image.
    core
        `(n, side, side)`, 1 in the core of objects.
    """

    image: Tensor
    classes: Tensor
    objects: Tensor
    core: Tensor

    @classmethod
    def stack(cls, parts: list[Crops]) -> Crops:
        """Put single crops behind one another."""
        fields = ("image", "classes", "objects", "core")
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in fields))


def places(settings: Augment, side: int, generator: Generator) -> Tensor:
    """Where the pixels of a crop come from: offsets (x, y) from its middle in pixels, `(side, side, 2)`."""
    device = generator.device
    angle, zoom, shear, flip = torch.rand(4, generator=generator, device=device).tolist()
    angle *= 2 * math.pi
    size = _between(settings.zoom, zoom, logarithmic=True)
    lean = (2 * shear - 1) * settings.shear
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], device=device)
    stretch = torch.tensor([[1.0 if flip < 0.5 else -1.0, lean], [0.0, 1.0]], device=device) / size
    axis = torch.arange(side, device=device, dtype=torch.float32) - (side - 1) / 2
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)
    bend = _smooth(2, side, generator) * (settings.bend * side)
    return grid @ (turn @ stretch).T + bend.permute(1, 2, 0)


def cut(image: Tensor, planes: Tensor, centre: tuple[float, float], offsets: Tensor) -> Crops:
    """Cut one crop around `centre` (x, y) out of an image `(3, rows, columns)` and its classes, objects and cores."""
    rows, columns = image.shape[-2:]
    size = torch.tensor([columns, rows], device=image.device, dtype=torch.float32)
    grid = (2 * (offsets + torch.tensor(centre, device=image.device) + 0.5) / size - 1)[None]
    options = {"padding_mode": "reflection", "align_corners": False}
    seen = F.grid_sample(image[None], grid, mode="bilinear", **options)  # type: ignore[arg-type]
    known = F.grid_sample(planes[None], grid, mode="nearest", **options)[0]  # type: ignore[arg-type]
    classes, objects, core = known.round().long()
    return Crops(seen, classes[None], objects[None], core[None].float())


def paste(crops: Crops, settings: Augment, generator: Generator) -> Crops:
    """Lay one object of each crop over the next crop; a thin rim around it belongs to no core."""
    chosen = torch.rand(len(crops.image), generator=generator, device=generator.device) < settings.pasted
    image, classes, objects, core = (
        crops.image.clone(), crops.classes.clone(), crops.objects.clone(), crops.core.clone(),
    )  # fmt: skip
    for target in chosen.nonzero()[:, 0].tolist():
        source = (target + 1) % len(crops.image)
        mask = _some_object(crops.objects[source], generator)
        if mask is None:
            continue
        shift = torch.randint(-mask.shape[0] // 3, mask.shape[0] // 3 + 1, (2,), generator=generator,
                              device=generator.device).tolist()  # fmt: skip
        mask = torch.roll(mask, shift, (0, 1))
        soft = F.avg_pool2d(mask[None, None].float(), 3, 1, 1)[0, 0]
        rim = (F.max_pool2d(mask[None, None].float(), 3, 1, 1)[0, 0] > 0) & ~mask
        image[target] = torch.lerp(image[target], torch.roll(crops.image[source], shift, (1, 2)), soft)
        core[target][rim] = 0
        for plane, given in ((classes, crops.classes), (core, crops.core), (objects, crops.objects)):
            plane[target][mask] = torch.roll(given[source], shift, (0, 1))[mask]
    return Crops(image, classes, objects, core)


def dim(crops: Crops, settings: Augment, generator: Generator) -> Crops:
    """Bring objects closer to the brightness of the background."""
    if settings.dimmed == 0:
        return crops
    n, device = len(crops.image), generator.device
    chosen = torch.rand(n, generator=generator, device=device) < settings.dimmed
    number = int(crops.objects.max()) + 1
    factor = 0.1 ** torch.rand(n, number, generator=generator, device=device)
    factor[:, 0] = 1
    factor[~chosen] = 1
    share = factor.gather(1, crops.objects.flatten(1)).view_as(crops.objects)[:, None]
    soft = F.avg_pool2d(F.pad(share, (1, 1, 1, 1), mode="replicate"), 3, 1)
    level = _ground(crops)
    return Crops(level + soft * (crops.image - level), crops.classes, crops.objects, crops.core)


def _ground(crops: Crops) -> Tensor:
    """Brightness of the background of each crop, `(n, 3, 1, 1)`."""
    ground = (crops.classes == 0).float()[:, None]
    return (crops.image * ground).sum(dim=(2, 3), keepdim=True) / ground.sum(dim=(2, 3), keepdim=True).clamp(min=1)


def blank(crops: Crops, settings: Augment, generator: Generator) -> Crops:
    """Empty some crops: the brightness of their background and noise are left."""
    if settings.blank == 0:
        return crops
    n, device = len(crops.image), generator.device
    chosen = torch.rand(n, generator=generator, device=device) < settings.blank
    strength = _between((0.003, 0.15), torch.rand(n, 1, 1, 1, generator=generator, device=device), logarithmic=True)
    noise = torch.randn(n, 1, *crops.image.shape[2:], generator=generator, device=device)
    image = torch.where(chosen[:, None, None, None], _ground(crops) + strength * noise, crops.image)
    keep = ~chosen[:, None, None]
    return Crops(image, crops.classes * keep, crops.objects * keep, crops.core * keep)


def relight(image: Tensor, settings: Augment, generator: Generator) -> Tensor:
    """Change light, colours, sharpness and noise of images `(n, 3, rows, columns)`."""
    n, side = len(image), image.shape[-1]

    def draw(*shape: int) -> Tensor:
        return torch.rand(n, *shape, generator=generator, device=generator.device)

    def normal(*shape: int) -> Tensor:
        return torch.randn(n, *shape, generator=generator, device=generator.device)

    image = _recoloured(image, settings, generator)
    gamma = _between(settings.gamma, draw(1, 1, 1), logarithmic=True)
    image = image.sign() * (image.abs() + 1e-4) ** gamma
    if settings.shading:
        light = torch.stack([_smooth(1, side, generator) for _ in range(n)])
        image = image * torch.exp(settings.shading * light)
    image = image * _between(settings.gain, draw(1, 1, 1), logarithmic=True)
    image = image + settings.offset * (2 * draw(1, 1, 1) - 1) ** 3
    differ = (image - image.mean(dim=1, keepdim=True)).abs().amax(dim=(1, 2, 3), keepdim=True) > 1e-3
    image = image + differ * settings.colour * normal(3, 1, 1)
    image = torch.stack(
        [_blurred(one, float(sd)) for one, sd in zip(image, settings.blur_px * draw() ** 2, strict=True)]
    )
    shape = (1, side, side)
    noise = torch.where(differ, normal(3, side, side), normal(*shape).expand(n, 3, side, side))
    return (image + settings.noise * draw(1, 1, 1) ** 3 * noise).clamp(-0.5, 3.0)


def _recoloured(image: Tensor, settings: Augment, generator: Generator) -> Tensor:
    if settings.recoloured == 0:
        return image
    n = len(image)
    dice = torch.rand(n, 5, generator=generator, device=generator.device)
    colours = torch.rand(n, 2, 3, 1, 1, generator=generator, device=generator.device)
    grey = (dice[:, 1] < 0.4)[:, None, None, None]
    dark, bright = colours[:, 0], colours[:, 1]
    # grey ones are dark on bright or weak; colours need a difference that can be seen
    dark = torch.where(grey, dark.mean(dim=1, keepdim=True), dark)
    bright = torch.where(grey, bright.mean(dim=1, keepdim=True), bright)
    span = bright - dark
    least = 0.25 / span.abs().amax(dim=1, keepdim=True).clamp(min=0.05)
    new = dark + span * least.clamp(min=1.0) * image
    chosen = (dice[:, 0] < settings.recoloured)[:, None, None, None]
    return torch.where(chosen, new, image)


def _some_object(objects: Tensor, generator: Generator) -> Tensor | None:
    """Mask of one object that does not touch the edge of its crop."""
    edge = torch.cat([objects[0], objects[-1], objects[:, 0], objects[:, -1]])
    whole = [number for number in objects.unique().tolist() if number > 0 and not (edge == number).any()]
    if not whole:
        return None
    pick = int(torch.randint(len(whole), (1,), generator=generator, device=generator.device))
    mask: Tensor = objects == whole[pick]
    return mask


def _smooth(channels: int, side: int, generator: Generator) -> Tensor:
    """Smooth random fields of mean 0 and standard deviation about 1, `(channels, side, side)`."""
    knots = torch.randn(1, channels, _KNOTS, _KNOTS, generator=generator, device=generator.device)
    return F.interpolate(knots, size=(side, side), mode="bicubic", align_corners=True)[0]


def _blurred(image: Tensor, sd: float) -> Tensor:
    if sd < 0.2:
        return image
    reach = max(1, math.ceil(2.5 * sd))
    x = torch.arange(-reach, reach + 1, device=image.device, dtype=image.dtype)
    kernel = torch.exp(-(x**2) / (2 * sd**2))
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    planes = F.pad(image[:, None], (reach, reach, reach, reach), mode="reflect")
    return F.conv2d(F.conv2d(planes, kernel), kernel.transpose(2, 3))[:, 0]


def _between(limits: tuple[float, float], share: Tensor | float, *, logarithmic: bool) -> Tensor | float:
    low, high = limits
    return low * (high / low) ** share if logarithmic else low + (high - low) * share
