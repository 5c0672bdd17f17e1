"""Colours: tables for numbers, palettes for classes and clusters, and the step from numbers to pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lucule.core import InputError

RGB = tuple[int, int, int]

BLUE: Final[RGB] = (74, 134, 255)
GOLD: Final[RGB] = (255, 196, 46)
WHITE: Final[RGB] = (245, 247, 250)
GREY: Final[RGB] = (96, 102, 112)
# not clustered blue, clustered gold, as in the figures of the paper; further classes of multi-class models after these
LABEL_COLOURS: Final[tuple[RGB, ...]] = (BLUE, GOLD, (236, 98, 160), (80, 205, 150), (240, 120, 60), (170, 130, 250))
# bright on black and told apart by most colour-blind readers through their lightness
CLUSTER_COLOURS: Final[tuple[RGB, ...]] = (
    (255, 196, 46),
    (86, 190, 255),
    (255, 110, 110),
    (110, 225, 140),
    (205, 140, 255),
    (255, 150, 50),
    (80, 225, 215),
    (255, 135, 195),
    (200, 225, 90),
    (140, 160, 255),
    (240, 235, 225),
)

Table = NDArray[np.uint8]


def colour_table(name: str) -> Table:
    """A colour table `(256, 3)` by the name of a matplotlib colormap, or `depth`.

    `depth` is a rainbow whose colours are all equally bright on black, so that brightness is free to show density.

    Raises
    ------
    InputError
        There is no such colour table.

    Examples
    --------
    >>> colour_table("gray")[255].tolist()
    [255, 255, 255]
    """
    import matplotlib as mpl

    if name == "depth":
        bright = mpl.colormaps["turbo"](np.linspace(0.04, 0.96, 256))[:, :3]
        return _to_bytes(bright / bright.max(axis=1, keepdims=True))
    if name not in mpl.colormaps:
        raise InputError(
            "Unknown colormap",
            received=name,
            allowed="depth, or a colormap of matplotlib such as inferno, hot, viridis",
        )
    return _to_bytes(mpl.colormaps[name](np.linspace(0, 1, 256))[:, :3])


def _to_bytes(values: NDArray[Any]) -> Table:
    scaled: Table = np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return scaled


def unit(colour: RGB) -> NDArray[np.float32]:
    """A colour as three numbers 0 to 1."""
    return np.array(colour, np.float32) / np.float32(255)


def label_palette(highest: int) -> NDArray[np.float32]:
    """Colours `(highest + 1, 3)`, 0 to 1, of the labels 0 to `highest`."""
    wanted = [LABEL_COLOURS[label % len(LABEL_COLOURS)] for label in range(highest + 1)]
    return np.array(wanted, np.float32) / np.float32(255)


def cluster_palette(centres: ArrayLike) -> NDArray[np.float32]:
    """A colour for each cluster `(m, 3)`, 0 to 1, given the centres `(m, 2)` in nm; near clusters differ.

    Each cluster takes the colour that is used least among those that its nearest neighbours do not have, in the order
    of the rows, so equal clusters get equal colours in every run.

    Examples
    --------
    >>> cluster_palette([[0, 0], [100, 0]]).shape
    (2, 3)
    """
    points = np.asarray(centres, np.float32).reshape(-1, 2)
    palette = np.array(CLUSTER_COLOURS, np.float32) / np.float32(255)
    if len(points) <= 1:
        return palette[: len(points)]
    from lucule.space import NeighbourGrid
    from lucule.view.kernels import greedy_colours

    _, neighbours = NeighbourGrid(points).neighbours(min(8, len(points) - 1))
    return palette[greedy_colours(np.ascontiguousarray(neighbours, np.int32), len(palette))]


def white_level(density: NDArray[np.number], *, percentile: float, touched: float = 0.0) -> float:
    """The density shown in full brightness: a percentile of the pixels that hold more than `touched`.

    Raises
    ------
    InputError
        The percentile is not within (0, 100].
    """
    if not 0 < percentile <= 100:
        raise InputError("Unusable clip percentile", received=percentile, allowed="more than 0, up to 100 percent")
    occupied = density[density > touched]
    return float(np.percentile(occupied, percentile)) if occupied.size else 1.0


def brightness(density: NDArray[np.number], white: float, gamma: float) -> NDArray[np.float32]:
    """Density as brightness 0 to 1: clipped at `white`, then raised to `gamma`."""
    if not gamma > 0:
        raise InputError("Unusable gamma", received=gamma, allowed="more than 0; below 1 lifts what is faint")
    scaled = density.astype(np.float32) / np.float32(white)
    np.clip(scaled, 0, 1, out=scaled)
    return scaled if gamma == 1 else np.power(scaled, np.float32(gamma), out=scaled)


def look_up(values: NDArray[np.float32], table: Table) -> Table:
    """Values 0 to 1 of any shape as colours `(..., 3)`."""
    index = np.minimum((values * 256).astype(np.int32), 255)
    return table[index]


def shade(colours: NDArray[np.float32], light: NDArray[np.float32]) -> Table:
    """Colours `(3, height, width)`, 0 to 1, times brightness `(height, width)`, as pixels `(height, width, 3)`."""
    picture = np.empty((*light.shape, 3), np.uint8)
    for channel in range(3):
        picture[..., channel] = np.clip(colours[channel] * light * 255 + 0.5, 0, 255)
    return picture


def hex_colour(colour: Sequence[float]) -> str:
    """A colour (0 to 255) as `#rrggbb`."""
    return "#" + "".join(f"{round(value):02x}" for value in colour)
