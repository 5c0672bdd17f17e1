"""The camera: what turns photons into the numbers of a movie."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from lucule.core.config import Config
from lucule.core.errors import InputError


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
        Counts that the camera adds to every pixel, or the path of a map with one value per pixel.
    electrons_per_count
        Electrons for one count (ADU), behind the EM register; or the path of a map.
    em_gain
        Electron multiplication; 1 for cameras without it.
    quantum_efficiency
        Electrons for one photon, 0 to 1.
    read_noise_electrons
        Standard deviation of the read noise in electrons, behind the EM register; or the path of a map.
    spurious_charge_electrons
        Clock-induced charge, electrons per pixel and frame.
    saturation
        Largest count that the camera gives, counts.
    baseline_spread, gain_spread, read_noise_spread
        How pixels differ where no map was measured: standard deviation of the baseline in counts, of the electrons per
        count as a fraction, and of the logarithm of the read noise.
    hot_pixel_fraction, hot_pixel_electrons
        Fraction of pixels with a large dark current, and its mean in electrons per frame.
    sensor_seed
        Which sensor: pixels with one seed always differ in the same way.
    """

    kind: Literal["emccd", "scmos", "ideal"]
    pixel_size_nm: PixelSize
    baseline: float | Path = 0.0
    electrons_per_count: Annotated[float, Field(gt=0)] | Path = 1.0
    em_gain: float = Field(default=1.0, ge=1)
    quantum_efficiency: float = Field(default=1.0, gt=0, le=1)
    read_noise_electrons: Annotated[float, Field(ge=0)] | Path = 0.0
    spurious_charge_electrons: float = Field(default=0.0, ge=0)
    saturation: int = Field(default=65535, gt=0)
    baseline_spread: float = Field(default=0.0, ge=0)
    gain_spread: float = Field(default=0.0, ge=0, lt=0.3)
    read_noise_spread: float = Field(default=0.0, ge=0, le=2)
    hot_pixel_fraction: float = Field(default=0.0, ge=0, le=1)
    hot_pixel_electrons: float = Field(default=0.0, ge=0)
    sensor_seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.em_gain > 1 and self.kind != "emccd":
            raise ValueError(f"em_gain={self.em_gain:g} needs kind: emccd")
        noisy = ("read_noise_electrons", "spurious_charge_electrons", "hot_pixel_electrons")
        for name in noisy if self.kind == "ideal" else ():
            if getattr(self, name) != 0:
                raise ValueError(f"an ideal camera has no {name}; use kind: scmos or emccd")
        return self

    def without_pattern(self, **changes: Any) -> Self:
        """Give the camera without pixels that are drawn at random, for a real one; maps in files stay.

        Examples
        --------
        >>> Camera(kind="scmos", pixel_size_nm=100, gain_spread=0.01).without_pattern(baseline=99).gain_spread
        0.0
        """
        drawn = ("baseline_spread", "gain_spread", "read_noise_spread", "hot_pixel_fraction", "hot_pixel_electrons")
        return self.replace(**(dict.fromkeys(drawn, 0.0) | changes))

    @property
    def photons_per_count(self) -> float:
        """Photons on the sensor for one count above the baseline.

        Raises
        ------
        InputError
            The electrons per count are a map, so that there is no single number.
        """
        if isinstance(self.electrons_per_count, Path):
            raise InputError(
                "This camera has a map of electrons per count, not one number", received=self.electrons_per_count
            )
        return self.electrons_per_count / (self.em_gain * self.quantum_efficiency)
