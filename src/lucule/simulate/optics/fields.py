"""Maps over the field of view: uneven illumination, uneven and structured background."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from scipy.ndimage import map_coordinates

from lucule.core import Config, InputError
from lucule.simulate import streams

Floats = NDArray[np.float64]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]

# Waves that make up a random structure; many, so that its values are close to normal.
_WAVES: Final = 64


class Illumination(Config):
    """How strongly each place is illuminated, 1 where it is brightest.

    Attributes
    ----------
    profile
        `uniform`; `gaussian` (laser beam); `flat_top` (super-Gaussian of order 8, as from a beam shaper or a fibre).
    waist_um
        Distance from the centre at which a beam has fallen to 1 / e^2.
    centre
        Centre of the beam (x, y) as fractions of the field.
    unevenness, unevenness_length_um
        Relative standard deviation and size of a random pattern, as interference and speckle make it.
    """

    profile: Literal["uniform", "gaussian", "flat_top"] = "uniform"
    waist_um: Positive = 20.0
    centre: tuple[float, float] = (0.5, 0.5)
    unevenness: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    unevenness_length_um: Positive = 2.0

    def at(self, x: ArrayLike, y: ArrayLike, field_nm: tuple[float, float], *, seed: int = 0) -> Floats:
        """Relative illumination at positions in nm, for a field of the size (x, y) in nm.

        Examples
        --------
        >>> Illumination(profile="gaussian", waist_um=10).at([5000, 15000], 5000, (10_000, 10_000)).round(3).tolist()
        [1.0, 0.135]
        """
        x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        u = (x - self.centre[0] * field_nm[0]) / (1000 * self.waist_um)
        v = (y - self.centre[1] * field_nm[1]) / (1000 * self.waist_um)
        squared = u * u + v * v
        beam = {"uniform": 0.0 * squared, "gaussian": 2 * squared, "flat_top": 2 * squared**4}[self.profile]
        pattern = (
            random_structure(x, y, 1000 * self.unevenness_length_um, seed, "illumination") if self.unevenness else 0.0
        )
        light: Floats = np.exp(-beam) * np.clip(1 + self.unevenness * pattern, 0, None)
        return light

    def map(self, shape: tuple[int, int], pixel_size_nm: float | tuple[float, float], *, seed: int = 0) -> Floats:
        """Relative illumination of every pixel `(rows, columns)`."""
        x, y, field_nm = pixel_centres(shape, pixel_size_nm)
        return self.at(x, y, field_nm, seed=seed)


class Background(Config):
    """Light that does not come from the emitters, per pixel and frame.

    Attributes
    ----------
    photons_per_pixel
        Mean over the field in the first frame.
    gradient
        Relative change from one edge to the other (x, y).
    structure, structure_length_um
        Relative standard deviation and size of a smooth random structure, as out-of-focus parts of a cell make it.
    follows_illumination
        Whether the background is bright where the illumination is.
    decay_frames
        Frames after which the bleaching part has fallen to 1 / e; None: it stays.
    bleaching_fraction
        Part of the background that decays.
    """

    photons_per_pixel: NotNegative = 10.0
    gradient: tuple[Annotated[float, Field(ge=-2, le=2)], Annotated[float, Field(ge=-2, le=2)]] = (0.0, 0.0)
    structure: Annotated[float, Field(ge=0, le=2)] = 0.0
    structure_length_um: Positive = 3.0
    follows_illumination: bool = True
    decay_frames: Positive | None = None
    bleaching_fraction: Annotated[float, Field(ge=0, le=1)] = 0.5

    def map(
        self,
        shape: tuple[int, int],
        pixel_size_nm: float | tuple[float, float],
        *,
        illumination: Illumination | None = None,
        seed: int = 0,
    ) -> NDArray[np.float32]:
        """Photons of every pixel in the first frame, float32 `(rows, columns)`; the mean is `photons_per_pixel`.

        Raises
        ------
        InputError
            Nothing is left of the background, for example because the illumination misses the field.

        Examples
        --------
        >>> float(Background(photons_per_pixel=20, structure=0.5).map((32, 32), 100, seed=1).mean().round(3))
        20.0
        """
        x, y, (width, height) = pixel_centres(shape, pixel_size_nm)
        relative = np.clip(1 + self.gradient[0] * (x / width - 0.5) + self.gradient[1] * (y / height - 0.5), 0, None)
        if self.structure:
            # log-normal: never negative, with bright places rarer than dark ones, as in cells
            spread = np.sqrt(np.log1p(self.structure**2))
            relative = relative * np.exp(
                spread * random_structure(x, y, 1000 * self.structure_length_um, seed, "background")
            )
        if illumination is not None and self.follows_illumination:
            relative = relative * illumination.at(x, y, (width, height), seed=seed)
        if self.photons_per_pixel > 0 and relative.mean() <= 0:
            raise InputError("No background is left in the field", received="zero everywhere")
        scale = self.photons_per_pixel / relative.mean() if self.photons_per_pixel else 0.0
        return (scale * relative).astype(np.float32)

    def over_time(self, frames: ArrayLike) -> Floats:
        """Background of some frames relative to the first."""
        numbers = np.asarray(frames, dtype=np.float64)
        if self.decay_frames is None:
            return np.ones_like(numbers)
        return 1 - self.bleaching_fraction * (1 - np.exp(-numbers / self.decay_frames))


def pixel_centres(
    shape: tuple[int, int], pixel_size_nm: float | tuple[float, float]
) -> tuple[Floats, Floats, tuple[float, float]]:
    """Positions x `(1, columns)` and y `(rows, 1)` of the pixels' middles in nm, and the size of the field (x, y)."""
    across, down = np.broadcast_to(np.asarray(pixel_size_nm, dtype=np.float64), (2,))
    x, y = (np.arange(shape[1]) + 0.5) * across, (np.arange(shape[0]) + 0.5) * down
    return x[None, :], y[:, None], (float(shape[1] * across), float(shape[0] * down))


def random_structure(x: ArrayLike, y: ArrayLike, length_nm: float, seed: int, name: str) -> Floats:
    """Evaluate a smooth random function of mean 0 and standard deviation 1, correlated over `length_nm`, anywhere.

    A sum of waves with normal wave vectors: its correlation is a Gaussian of that standard deviation.
    """
    rng = streams.stream(seed, "field", name)
    kx, ky = rng.normal(size=(2, _WAVES)) / length_nm
    phase = rng.uniform(0, 2 * np.pi, _WAVES)
    x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
    total = np.zeros(x.shape)
    for wave in range(_WAVES):
        total += np.cos(kx[wave] * x + ky[wave] * y + phase[wave])
    pattern: Floats = total * np.sqrt(2 / _WAVES)
    return pattern


def sample_map(values: ArrayLike, x: ArrayLike, y: ArrayLike, pixel_size_nm: float | tuple[float, float]) -> Floats:
    """Read a map given per pixel at positions in nm, linearly between the pixels' middles, constant beyond the edge.

    Examples
    --------
    >>> sample_map([[1.0, 2.0], [1.0, 2.0]], [50, 100, 150], 60, 100).tolist()
    [1.0, 1.5, 2.0]
    """
    across, down = np.broadcast_to(np.asarray(pixel_size_nm, dtype=np.float64), (2,))
    x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
    values_there: Floats = map_coordinates(
        np.asarray(values, np.float64), [y / down - 0.5, x / across - 0.5], order=1, mode="nearest"
    )
    return values_there
