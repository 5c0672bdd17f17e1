"""The camera: what turns photons into the numbers of a movie."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer

from lucule.core.config import Config


def _pair(value: Any) -> Any:
    return (value, value) if isinstance(value, int | float) else value


def _number_if_square(value: tuple[float, float]) -> float | list[float]:
    return value[0] if value[0] == value[1] else list(value)


PixelSize = Annotated[
    tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]],
    BeforeValidator(_pair),
    PlainSerializer(_number_if_square),
]
"""Size of a pixel in nm along (x, y); a single number means square pixels."""


class Camera(Config):
    """A camera as lucule's files describe it.

    Attributes
    ----------
    kind
        `emccd`, `scmos` or `ideal` (every photon counted, no noise of its own).
    pixel_size_nm
        Size of a pixel in the sample, nm; a number or (x, y).
    baseline
        Counts that the camera adds to every pixel, counts.
    electrons_per_count
        Electrons for one count (ADU), before EM gain.
    em_gain
        Electron multiplication; 1 for cameras without it.
    quantum_efficiency
        Electrons for one photon, 0 to 1.
    read_noise_electrons
        Standard deviation of the read noise in electrons, or the path of a map with one value per pixel.
    spurious_charge_electrons
        Clock-induced charge, electrons per pixel and frame.
    saturation
        Largest count that the camera gives, counts.
    """

    kind: Literal["emccd", "scmos", "ideal"]
    pixel_size_nm: PixelSize
    baseline: float = 0.0
    electrons_per_count: float = Field(default=1.0, gt=0)
    em_gain: float = Field(default=1.0, ge=1)
    quantum_efficiency: float = Field(default=1.0, gt=0, le=1)
    read_noise_electrons: Annotated[float, Field(ge=0)] | Path = 0.0
    spurious_charge_electrons: float = Field(default=0.0, ge=0)
    saturation: int = Field(default=65535, gt=0)

    @property
    def photons_per_count(self) -> float:
        """Detected photons for one count above the baseline."""
        return self.electrons_per_count / (self.em_gain * self.quantum_efficiency)
