"""What a movie says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from lucule.core import Camera, InputError

# what no camera can do without; an EMCCD needs its gain beside these
_NEEDED: Final = ("kind", "pixel_size_nm", "baseline", "electrons_per_count")

ARRAY: Final = "array"
"""Format of movies that are arrays in memory, whose camera no file can tell."""


@dataclass(frozen=True, slots=True)
class CameraNotes:
    """What a file says about the camera; None where it says nothing.

    Attributes
    ----------
    name
        Model, or what the program calls it.
    em_gain
        Electron multiplication as it was set.
    baseline
        Counts in the dark.
    electrons_per_count
        Electrons for one count, behind the EM register.
    quantum_efficiency
        Electrons for one photon.
    bit_depth
        Bits that the converter gives; the counts saturate at 2**bit_depth - 1.
    binning
        Pixels of the sensor along one side of a pixel of the movie.
    region_px
        First column, first row, width and height of the part of the sensor that was read.
    """

    name: str | None = None
    em_gain: float | None = None
    baseline: float | None = None
    electrons_per_count: float | None = None
    quantum_efficiency: float | None = None
    bit_depth: int | None = None
    binning: int | None = None
    region_px: tuple[int, int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class MovieInfo:
    """What a movie is, found out without reading its frames.

    Attributes
    ----------
    path
        File or folder.
    format, title
        Name of the format, short and in full.
    shape
        Frames, rows, columns.
    dtype
        Type of its values, as numpy calls it.
    size_bytes
        Size of all its files.
    axes
        Name of every axis of the file with more than one element -> its length.
    chosen
        Axes of which one element was chosen -> that element, from 0.
    pixel_size_nm
        Size of a pixel in the sample along (x, y).
    exposure_ms
        Exposure of a frame.
    camera
        What is said about the camera.
    notes
        What was noticed while opening it: one sentence each.
    """

    path: Path
    format: str
    title: str
    shape: tuple[int, int, int]
    dtype: str
    size_bytes: int
    axes: Mapping[str, int] = field(default_factory=dict)
    chosen: Mapping[str, int] = field(default_factory=dict)
    pixel_size_nm: tuple[float, float] | None = None
    exposure_ms: float | None = None
    camera: CameraNotes = field(default_factory=CameraNotes)
    notes: tuple[str, ...] = ()

    def camera_values(self) -> dict[str, Any]:
        """Keys of a camera file that the movie answers, and their values."""
        notes = self.camera
        values: dict[str, Any] = {
            "pixel_size_nm": self.pixel_size_nm,
            "baseline": notes.baseline,
            "electrons_per_count": notes.electrons_per_count,
            "em_gain": notes.em_gain if notes.em_gain is None else max(notes.em_gain, 1.0),
            "quantum_efficiency": notes.quantum_efficiency,
            "saturation": notes.bit_depth and 2**notes.bit_depth - 1,
            "kind": "emccd" if (notes.em_gain or 0) > 1 else None,
        }
        return {key: value for key, value in values.items() if value is not None}

    @property
    def unsaid(self) -> list[str]:
        """Keys that a camera file needs and the movie does not answer."""
        return _missing(self.camera_values())

    def disagreements(self, camera: Camera) -> list[str]:
        """Say where a camera is not the one that the file describes: one sentence each."""
        said = self.camera_values()
        found = []
        for key in ("pixel_size_nm", "em_gain", "baseline", "electrons_per_count"):
            used = getattr(camera, key)
            if key in said and not isinstance(used, Path) and not np.allclose(said[key], used, rtol=0.02):
                found.append(f"The movie says {key} {_short(said[key])}; the camera that is used has {_short(used)}")
        return found

    def camera_with(self, **given: Any) -> Camera:
        """Build the camera of the movie: what the file says, overridden by `given`.

        Raises
        ------
        InputError
            Something is still missing; the message names it.

        Examples
        --------
        >>> info = MovieInfo(Path("a.tif"), "tiff", "TIFF", (9, 8, 8), "uint16", 1152, pixel_size_nm=(100, 100))
        >>> info.camera_with(kind="scmos", baseline=100, electrons_per_count=0.5).pixel_size_nm
        (100.0, 100.0)
        """
        values = self.camera_values() | given
        missing = _missing(values)
        if missing:
            known = ", ".join(f"{key}={value}" for key, value in values.items()) or "nothing"
            raise InputError(
                f"{self.path.name} does not say everything about its camera: {', '.join(missing)} missing",
                received=known,
                allowed=", ".join(_NEEDED),
                next_step=f"write {', '.join(missing)} into a file and name it: --camera camera.yaml",
            )
        return Camera.parse(values, source=f"The camera of {self.path.name}")


def _missing(values: Mapping[str, Any]) -> list[str]:
    needed = (*_NEEDED, "em_gain") if values.get("kind") == "emccd" else _NEEDED
    return [key for key in needed if key not in values]


def _short(value: float | tuple[float, float]) -> str:
    numbers = value if isinstance(value, tuple) else (value,)
    return " x ".join(f"{number:g}" for number in sorted(set(numbers)))
