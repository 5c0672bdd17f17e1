"""Simulated annotated images: shapes of many kinds, and cells on slides, for networks that need no drawing by hand."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.ndimage import binary_dilation, gaussian_filter, map_coordinates, zoom

from lucule.core import Config
from lucule.segment.annotations import Annotation, from_array
from lucule.simulate import Slide, widefield
from lucule.simulate.outlines import Cell

Floats: TypeAlias = NDArray[np.float64]
Generator: TypeAlias = np.random.Generator
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

Texture: TypeAlias = Literal["plain", "smooth", "grains", "dome", "rim", "filaments"]

KINDS: Final = ("rounds", "cells", "rods", "fibres")
_TRIES: Final = 40


class Shapes(Config):
    """Images of simple shapes: round ones, wobbly ones, rods and fibres, apart or touching, on clean or untidy ground.

    Attributes
    ----------
    images
        How many.
    side_px
        Side of an image.
    diameter_px
        Extent of objects, smallest and largest; those of one image differ by up to a factor of two.
    kinds
        What is drawn, one kind for each image.
    textures
        How the light of objects varies over them; one is drawn for each image.
    """

    kind: Literal["shapes"] = "shapes"
    images: int = Field(default=150, gt=0)
    side_px: int = Field(default=224, ge=64)
    diameter_px: tuple[Positive, Positive] = (12.0, 64.0)
    kinds: tuple[Literal["rounds", "cells", "rods", "fibres"], ...] = ("rounds", "rounds", "cells", "rods", "fibres")
    textures: tuple[Texture, ...] = ("plain", "smooth", "grains", "dome", "rim", "filaments")

    def draw(self, seed: int) -> list[tuple[NDArray[np.float32], Annotation]]:
        """Draw images and what is true in them."""
        rng = np.random.default_rng([seed, 7])
        return [self._one(rng, self.kinds[number % len(self.kinds)]) for number in range(self.images)]

    def _one(self, rng: Generator, kind: str) -> tuple[NDArray[np.float32], Annotation]:
        low, high = self.diameter_px
        typical = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        objects = np.zeros((self.side_px, self.side_px), np.int32)
        light = np.zeros(objects.shape)
        bodies = np.zeros(objects.shape)
        style = _Style(rng, objects.shape, self.textures)
        crowded = rng.random() < 0.6
        wanted = rng.integers(2, max(3, int((0.9 if crowded else 0.35) * (self.side_px / typical) ** 2)) + 1)
        number = 0
        for _ in range(int(wanted)):
            size = typical * np.exp(rng.uniform(-0.35, 0.35))
            placed = _place(rng, kind, objects, size, touching=crowded)
            if placed is None:
                continue
            number += 1
            whole, free = placed
            objects[free] = number
            shown = whole if style.transparent else free
            light[shown] += style.light(rng, shown)[shown]
            if rng.random() < style.bodies:
                bodies = np.maximum(bodies, _body(rng, free, size))
        if number == 0:
            return self._one(rng, kind)
        return _photograph(rng, light, bodies, objects, typical), from_array(objects, kind="labels")


class Cells(Config):
    """Wide-field images of cells on slides, as the simulated microscope shows them.

    Attributes
    ----------
    images
        How many, each of another slide.
    scene
        What lies in a cell.
    side_um
        Side of an image.
    density_per_mm2
        Cells for a mm2, smallest and largest.
    pixel_size_nm
        Size of a pixel.
    channels
        What is stained, one for each image.
    photons
        Light of a stain, smallest and largest (for stains of whole shapes per um2, for dyes a thousandth of it each).
    """

    kind: Literal["cells"] = "cells"
    images: int = Field(default=24, gt=0)
    scene: str = "cell"
    side_um: Positive = 110.0
    density_per_mm2: tuple[Positive, Positive] = (100.0, 500.0)
    pixel_size_nm: Positive = 400.0
    channels: tuple[str, ...] = ("cell", "cytoplasm", "cell", "dyes", "cell", "cytoplasm")
    photons: tuple[Positive, Positive] = (500.0, 20_000.0)

    def draw(self, seed: int) -> list[tuple[NDArray[np.float32], Annotation]]:
        """Draw images and what is true in them."""
        rng = np.random.default_rng([seed, 8])
        drawn: list[tuple[NDArray[np.float32], Annotation]] = []
        while len(drawn) < self.images:
            number = len(drawn)
            density = float(np.exp(rng.uniform(*np.log(self.density_per_mm2))))
            light = float(np.exp(rng.uniform(*np.log(self.photons))))
            slide = Slide(
                size_um=(self.side_um, self.side_um), gap_um=float(rng.uniform(0, 3)),
                cells={"cell": {"scene": self.scene, "density_per_mm2": density}},
            )  # fmt: skip
            image = widefield(
                slide, seed=seed * 1000 + number, channels=[self.channels[number % len(self.channels)]],
                pixel_size_nm=self.pixel_size_nm, shape_photons=light, photons_per_dye=light / 1000,
                background_photons=float(rng.uniform(5, 100)),
            )  # fmt: skip
            annotation = from_array(image.masks["cell"], kind="labels", names=("cell",))
            drawn.append((image.counts[0].astype(np.float32), annotation))
        return drawn


class _Style:
    """How the objects of one image look: their texture, and how much they differ."""

    def __init__(self, rng: Generator, shape: tuple[int, ...], textures: tuple[Texture, ...]) -> None:
        # a nucleus in division may be thirty times brighter than one at rest
        self.spread = rng.uniform(0.0, 0.5) if rng.random() < 0.6 else rng.uniform(0.5, 1.2)
        # where objects overlap, the light of both is seen, or that of the upper one
        self.transparent = rng.random() < 0.5
        # part of the objects that lie in a larger faint body, as nuclei in cells, which is no object
        self.bodies = rng.uniform(0.2, 1.0) if rng.random() < 0.35 else 0.0
        self.texture = str(rng.choice(textures))
        self.field = np.ones(shape)
        if self.texture == "filaments":
            self.field = np.clip(0.35 + 1.3 * _filaments(rng, shape), 0, 2)
        elif self.texture in ("smooth", "grains"):
            length = 6.0 if self.texture == "smooth" else 1.5
            self.field = np.clip(1 + rng.uniform(0.1, 0.5) * _noise(rng, shape, length), 0.1, None)

    def light(self, rng: Generator, mask: NDArray[np.bool_]) -> Floats:
        """Light of one object; each sees another part of the texture."""
        level = np.exp(self.spread * rng.normal())
        if self.texture in ("dome", "rim"):
            inner = gaussian_filter(mask.astype(np.float32), max(1.0, np.sqrt(mask.sum()) / 8))
            deep = inner / inner.max()
            return np.asarray(level * (deep**1.5 if self.texture == "dome" else 1.3 - deep))
        return np.asarray(level * np.roll(self.field, rng.integers(0, mask.shape[0], 2), (0, 1)))


def _place(rng: Generator, kind: str, taken: NDArray[np.int32], size: float, *, touching: bool) -> Any:
    """Mask of one object and of what of it is free, or None; touching ones may lie a little below their neighbours."""
    side = taken.shape[0]
    for _ in range(_TRIES):
        middle = rng.uniform(-0.02 * side, 1.02 * side, 2)
        column, row = np.clip(middle.astype(int), 0, side - 1)
        if taken[row, column]:
            continue  # what lies there covers too much of any shape
        box, mask = _shape(rng, kind, side, size, middle)
        if mask.sum() < 20:
            continue
        below = taken[box] > 0
        free = mask & ~below
        apart = free.sum() > 0.85 * mask.sum() if touching else not (binary_dilation(below, iterations=2) & mask).any()
        if apart:
            masks = np.zeros((2, *taken.shape), np.bool_)
            masks[:, *box] = mask, free
            return masks
    return None


def _body(rng: Generator, inside: NDArray[np.bool_], size: float) -> Floats:
    """Faint light, 0 to 1, of a larger sharp body around an object: its ends run out, its ground has a texture."""
    middle = np.argwhere(inside).mean(axis=0)[::-1] + rng.normal(0, 0.3 * size, 2)
    box, mask = _shape(rng, "cells", inside.shape[0], size * rng.uniform(1.5, 4.0), middle)
    body = np.zeros(inside.shape)
    body[box] = mask
    if rng.random() < 0.5:
        body *= 0.3 + 0.7 * _filaments(rng, inside.shape)
    y, x = np.indices(inside.shape)
    fall = np.exp(-np.hypot(x - middle[0], y - middle[1]) / (size * rng.uniform(0.8, 4.0)))
    return np.asarray(gaussian_filter(body, rng.uniform(0.5, 2.5)) * fall)


def _shape(rng: Generator, kind: str, side: int, size: float, middle: Floats) -> tuple[Any, NDArray[np.bool_]]:
    """Part of the image in which a shape lies, and its mask there."""
    reach = 1.5 * side if kind == "fibres" else 1.6 * size
    first, last = (np.clip((middle + sign * reach).astype(int), 0, side) for sign in (-1, 1))
    x, y = np.meshgrid(np.arange(first[0], last[0]) + 0.5 - middle[0], np.arange(first[1], last[1]) + 0.5 - middle[1])
    angle = rng.uniform(0, np.pi)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    box = (slice(first[1], last[1]), slice(first[0], last[0]))
    return box, _inside(rng, kind, side, size / 2, u, v)


def _inside(rng: Generator, kind: str, side: int, radius: float, u: Floats, v: Floats) -> NDArray[np.bool_]:
    """Which points lie in a shape around the origin; `u` runs along it."""
    if kind == "fibres":
        width = max(4.0, 0.6 * radius)
        bow = side * rng.uniform(-0.15, 0.15) * np.sin(u / side * rng.uniform(1, 4) + rng.uniform(0, 6))
        return np.asarray((np.abs(v - bow) < width / 2) & (np.abs(u) < rng.uniform(0.3, 1.5) * side))
    if kind == "rods":
        long = rng.uniform(1.0, 2.0) * radius
        width = rng.uniform(0.35, 0.6) * radius
        return np.asarray(np.hypot(np.maximum(np.abs(u) - long + width, 0), v) < width)
    stretch = np.exp(rng.uniform(0, 0.45))
    wobble = rng.uniform(0.85, 0.98) if kind == "rounds" else rng.uniform(0.45, 0.8)
    outline = Cell.draw(rng, centre_nm=(0.0, 0.0), radius_nm=(wobble * radius, (2 - wobble) * radius))
    return outline.contains(np.column_stack([(u / stretch).ravel(), (v * stretch).ravel()])).reshape(u.shape)


def _photograph(
    rng: Generator, light: Floats, bodies: Floats, objects: NDArray[np.int32], typical: float
) -> NDArray[np.float32]:
    """Blur, haze, dirt, uneven ground, shot noise."""
    shape = light.shape
    light = light + rng.uniform(0.05, 0.4) * bodies
    # objects of every size are seen sharp and unsharp: the same microscope images small and large ones
    image = gaussian_filter(light, max(0.5, typical * np.exp(rng.uniform(np.log(0.015), np.log(0.09)))))
    if rng.random() < 0.5:
        image = image + rng.uniform(0.05, 0.4) * gaussian_filter(light, rng.uniform(6, 25))
    ground = np.full(shape, rng.uniform(0.02, 0.3))
    if rng.random() < 0.6:
        ground = ground * np.exp(rng.uniform(0.1, 0.5) * _noise(rng, shape, rng.uniform(20, 80)))
    if rng.random() < 0.4:
        ground = ground + rng.uniform(0.05, 0.2) * np.clip(_noise(rng, shape, rng.uniform(2, 6)), 0, None)
    if rng.random() < 0.3:
        ground = ground + rng.uniform(0.1, 0.5) * _filaments(rng, shape)
    if rng.random() < 0.5:
        ground = ground + _dirt(rng, shape)
    # what lies below an object is hidden by it in part only
    image = image + ground * np.where(objects > 0, rng.uniform(0.3, 1.0), 1.0)
    photons = np.exp(rng.uniform(np.log(15), np.log(2000)))
    counts = rng.poisson(np.clip(image, 0, None) * photons) + rng.normal(0, 1.5, shape)
    return np.asarray(counts, np.float32)


def _dirt(rng: Generator, shape: tuple[int, ...]) -> Floats:
    """Small bright spots and large dim clouds, which are no objects."""
    dirt = np.zeros(shape)
    for _ in range(int(rng.integers(1, 12))):
        dirt[tuple(rng.integers(0, side) for side in shape)] += rng.uniform(5, 30)
    clouds = np.zeros(shape)
    for _ in range(int(rng.integers(0, 4))):
        clouds[tuple(rng.integers(0, side) for side in shape)] += 1
    spots = gaussian_filter(dirt, rng.uniform(0.8, 1.6))
    return np.asarray(spots + 900 * rng.uniform(0.1, 0.5) * gaussian_filter(clouds, 14))


def _noise(rng: Generator, shape: tuple[int, ...], length: float) -> Floats:
    """Smooth noise of mean 0 and standard deviation 1."""
    coarse = max(1.0, length / 2)
    small = rng.normal(size=tuple(int(side / coarse) + 4 for side in shape))
    smooth = gaussian_filter(small, length / coarse)
    smooth = (smooth - smooth.mean()) / max(float(smooth.std()), 1e-9)
    if coarse > 1:
        smooth = zoom(smooth, coarse, order=1)
    return np.asarray(smooth[: shape[0], : shape[1]])


def _filaments(rng: Generator, shape: tuple[int, ...]) -> Floats:
    """Fine lines in a few directions, as of a stained cytoskeleton, about 0 to 1."""
    total = np.zeros(shape)
    rows, columns = np.indices(shape)
    for _ in range(int(rng.integers(1, 4))):
        angle = rng.uniform(0, np.pi)
        across = columns * np.cos(angle) + rows * np.sin(angle)
        across = across + 3 * _noise(rng, shape, 25)
        profile = gaussian_filter(rng.random(int(np.abs(across).max()) + 3) ** 4, 0.6)
        total += map_coordinates(profile, [np.clip(np.abs(across), 0, len(profile) - 2)], order=1)
    return np.asarray(total / total.max())
