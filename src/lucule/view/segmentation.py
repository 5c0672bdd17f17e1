"""Objects of a segmentation drawn over their image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.segment import Image, brightness
from lucule.segment.objects import outlines_of
from lucule.view import colours, overlay
from lucule.view.annotate import number_text
from lucule.view.picture import Picture, Swatches

LARGEST_PX: Final = 1600
_SMALLEST_PX: Final = 700


def picture_of(image: Image, *, pixel_size_nm: float | None = None, largest_px: int = LARGEST_PX) -> Picture:
    """Show an image in grey or in its colours, large ones made smaller.

    Parameters
    ----------
    image
        What `lucule.segment.open_image` gives.
    pixel_size_nm
        Size of a pixel; without it there is no scale bar, and positions count in pixels.
    largest_px
        Longest side of the picture.

    Examples
    --------
    >>> from lucule.segment.images import as_image
    >>> picture_of(as_image(np.eye(1600)), largest_px=800).rgb.shape
    (800, 800, 3)
    """
    step = max(1, math.ceil(max(image.shape) / largest_px))
    rows, columns = (size // step for size in image.shape)
    light = brightness(image)
    shown = np.empty((rows, columns, 3), np.uint8)
    # stripes, so that an image of gigapixels is never in the memory as a whole
    for first in range(0, rows, 128):
        last = min(first + 128, rows)
        part = image.window(slice(first * step, last * step), slice(0, columns * step))
        small = part.reshape(len(part), last - first, step, columns, step).mean(axis=(2, 4))
        low, high = (np.asarray(values, np.float32)[:, None, None] for values in (light.low, light.high))
        grey = np.clip((small - low) / np.maximum(high - low, 1e-9), 0, 1)
        rgb = grey if len(grey) == 3 else np.repeat(grey.mean(axis=0, keepdims=True), 3, axis=0)
        shown[first:last] = np.round(255 * np.moveaxis(np.nan_to_num(rgb), 0, -1))
    if (enlarge := _SMALLEST_PX // max(rows, columns)) > 1:
        shown = shown.repeat(enlarge, axis=0).repeat(enlarge, axis=1)
    return Picture(shown, (pixel_size_nm or 1.0) * step / max(enlarge, 1), (0.0, 0.0))


def objects_overlay(
    image: Image, objects: pl.DataFrame, classes: Sequence[str], *, pixel_size_nm: float | None = None
) -> Picture:
    """Draw the outlines of a table of objects over their image, one colour for each class.

    With a single class neighbouring objects differ in colour, so that one sees what was told apart.
    """
    import shapely

    picture = picture_of(image, pixel_size_nm=pixel_size_nm)
    shapes: NDArray[Any] = shapely.transform(outlines_of(objects), lambda xy: xy * (pixel_size_nm or 1.0))
    kinds = objects["class"].to_numpy()
    entries = []
    for number, name in enumerate(classes):
        colour = colours.CLUSTER_COLOURS[number % len(colours.CLUSTER_COLOURS)]
        chosen = shapes[kinds == name]
        if len(chosen):
            picture = overlay.outlines(picture, chosen, colour="neighbours" if len(classes) == 1 else colour)
        entries.append((f"{name}: {number_text(len(chosen))}", colour))
    return Picture(picture.rgb, picture.pixel_nm, picture.origin_nm, Swatches(tuple(entries)))
