"""Which images of a file are the frames: files may hold channels, positions and planes beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lucule.core import FormatError, InputError
from lucule.io.movies.format import Choice

_LETTERS: Final = {"T": "time", "Z": "z", "C": "channel", "P": "position", "R": "position", "S": "sample"}
_CHOICES: Final = ("channel", "position", "z")
# a longer axis of channels is a movie whose writer did not say so, as tifffile's ImageJ files
_MOST_CHANNELS: Final = 6


@dataclass(frozen=True, slots=True)
class Picked:
    """The images that are frames.

    Attributes
    ----------
    images
        Their numbers in the order of the file, `(frames,)`.
    axes
        All axes with more than one element -> their length.
    chosen
        Axes of which one element was chosen -> that element.
    notes
        One sentence on what was taken as time, where that is not written.
    """

    images: NDArray[np.int64]
    axes: Mapping[str, int]
    chosen: Mapping[str, int]
    notes: tuple[str, ...] = ()


def named(letters: str, sizes: tuple[int, ...]) -> dict[str, int]:
    """Names of axes that are given as letters, in their order.

    Examples
    --------
    >>> named("TZC", (50, 1, 2))
    {'time': 50, 'z': 1, 'channel': 2}
    """
    return {_LETTERS.get(letter, f"axis {letter}"): size for letter, size in zip(letters, sizes, strict=True)}


def pick(path: Path, sizes: Mapping[str, int], choice: Choice) -> Picked:
    """Choose the images of a file that are frames.

    Parameters
    ----------
    path
        For messages.
    sizes
        Name of every axis but rows and columns -> its length; the last one varies fastest from image to image.
    choice
        What the user wants of the other axes.

    Raises
    ------
    InputError
        An axis beside time has several elements and none is chosen, or there is no such element.
    FormatError
        The images are coloured.

    Examples
    --------
    >>> pick(Path("movie.tif"), {"time": 3, "channel": 2}, Choice(channel=1)).images.tolist()
    [1, 3, 5]
    """
    if sizes.get("sample", 1) > 1:
        raise FormatError(
            f"{path.name} holds colour images",
            received=f"{sizes['sample']} values per pixel",
            allowed="one value per pixel: what the camera counted",
            next_step="save the raw movie of the camera, not a picture of it",
        )
    chosen: dict[str, int] = {}
    numbers = np.arange(prod(sizes.values()), dtype=np.int64).reshape(tuple(sizes.values()))
    for axis in _CHOICES:
        element = getattr(choice, axis)
        if element is None:
            continue
        length = sizes.get(axis, 1)
        if not 0 <= element < length:
            raise InputError(f"{path.name} has no such {axis}", received=element, allowed=f"0 to {length - 1}")
        chosen[axis] = element
        if axis in sizes:
            numbers = numbers.take([element], axis=list(sizes).index(axis))
    long = {axis: n for axis, n in sizes.items() if n > 1}
    open_axes = {axis: n for axis, n in long.items() if axis not in chosen}
    time = _time(open_axes)
    for axis, length in open_axes.items():
        if axis != time:
            raise InputError(
                f"{path.name} has more than one {axis}",
                received=", ".join(f"{name} {n}" for name, n in long.items()),
                allowed=f"one {axis} at a time",
                next_step=f"choose one: --{axis} 0 to {length - 1}"
                if axis in _CHOICES
                else "save one of them as a movie",
            )
    notes = (f"its {numbers.size} elements along {time} are taken as the frames",) if time in _CHOICES else ()
    return Picked(numbers.ravel(), long, chosen, notes)


def _time(sizes: Mapping[str, int]) -> str | None:
    """Name of the axis that is time: many programs write a movie as planes or as a bare sequence."""
    if "time" in sizes:
        return "time"
    unnamed = [axis for axis in sizes if axis.startswith("axis ")]
    if unnamed:
        return unnamed[0]
    if set(sizes) == {"channel"}:
        return "channel" if sizes["channel"] > _MOST_CHANNELS else None
    return "z" if set(sizes) == {"z"} else None
