"""Training frames made on the fly, on the device: emitters on structures, blinking, PSF, camera, all drawn anew.

A batch holds short movies ("scenes"). Density, brightness, background, ON time and structure are drawn for each scene,
so that one network learns the whole range that a user may meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field as Limits
from pydantic import field_validator
from torch import Tensor

from lucule.core import Camera, Config
from lucule.localize.likelihood import Truth
from lucule.localize.samplers import SAMPLERS, Field, Sampler, mixture
from lucule.simulate.optics import Kernel
from lucule.simulate.torch_render import TorchKernel, TorchSensor, expose, render, sensor_to_torch, to_torch

Range = tuple[float, float]

# emitters beyond the border of the frame still shine into it
_MARGIN_PX: Final = 8
_BACKGROUND_KNOTS: Final = 3


class SceneSettings(Config):
    """What training frames look like. Ranges are drawn from evenly on a logarithmic scale unless said otherwise.

    Attributes
    ----------
    shape_px
        Rows and columns of the frames, multiples of 8.
    frames, scenes
        Frames of each scene, scenes of each batch.
    samplers
        Weights of the samplers of `lucule.localize.samplers`; `structures` is a mixture of them.
    density_per_um2
        Emitters that shine in a frame, for a um2.
    photons
        Photons of a typical emitter of a scene in a frame during which it is on throughout.
    photons_spread
        Standard deviation of the logarithm of the brightness between the emitters of a scene (evenly).
    photons_per_background
        Photons of the typical emitter over the background of a pixel.
    background_photons
        Background of a pixel; limits the ratio above.
    background_unevenness
        Amplitude of a smooth variation of the background as a fraction of it (evenly).
    on_frames
        Mean ON time, exponential, in frames; None: every emitter shines throughout one frame and never again.
    stray
        Fraction of a structure's emitters that lie anywhere instead (evenly).
    faintest_photons
        Emitters with fewer photons in a frame are there, but need not be found.
    """

    shape_px: tuple[int, int] = (48, 48)
    frames: int = Limits(default=10, gt=0)
    scenes: int = Limits(default=48, gt=0)
    samplers: dict[str, Annotated[float, Limits(ge=0)]] = {"structures": 1.0}
    density_per_um2: Range = (0.01, 0.9)
    photons: Range = (800.0, 25_000.0)
    photons_spread: Range = (0.05, 0.8)
    photons_per_background: Range = (20.0, 200.0)
    background_photons: Range = (2.0, 300.0)
    background_unevenness: Range = (0.0, 0.5)
    on_frames: Range | None = (0.7, 8.0)
    stray: Range = (0.0, 0.2)
    faintest_photons: float = Limits(default=50.0, gt=0)

    @field_validator("density_per_um2", "photons", "photons_per_background", "background_photons", "on_frames")
    @classmethod
    def _positive(cls, value: Range | None) -> Range | None:
        if value is not None and not 0 < value[0] <= value[1]:
            raise ValueError("the lower value first, then the higher one, above 0")
        return value

    @field_validator("photons_spread", "background_unevenness", "stray")
    @classmethod
    def _not_negative(cls, value: Range) -> Range:
        if not 0 <= value[0] <= value[1]:
            raise ValueError("the lower value first, then the higher one, from 0")
        return value

    @field_validator("shape_px")
    @classmethod
    def _whole(cls, value: tuple[int, int]) -> tuple[int, int]:
        if any(side < 16 or side % 8 for side in value):
            raise ValueError("rows and columns must be multiples of 8 from 16")
        return value


@dataclass(frozen=True)
class Batch:
    """Frames and what is in them.

    Attributes
    ----------
    photons
        The camera's counts as photons, `(scenes, frames, rows, columns)`.
    truth
        Emitters; frames are numbered through all scenes.
    """

    photons: Tensor
    truth: Truth


@dataclass(frozen=True, eq=False)
class Stage:
    """Everything that does not change from batch to batch, on the device.

    Attributes
    ----------
    settings
        What frames look like.
    psf
        The PSF on the device.
    sensor
        The camera's pixels.
    z_scale_nm
        Unit of depth of the network.
    samplers
        Samplers with their shares.
    """

    settings: SceneSettings
    psf: TorchKernel
    sensor: TorchSensor
    z_scale_nm: float
    samplers: tuple[tuple[Sampler, float], ...]

    @property
    def pixel_nm(self) -> tuple[float, float]:
        """Pixel (x, y)."""
        return self.psf.kernel.pixel_size_nm

    def batch(self, step: int, generator: torch.Generator) -> Batch:  # noqa: ARG002
        """Draw a batch; everything random comes from the generator, which is on the device."""
        settings, device = self.settings, self.psf.device
        rng = np.random.default_rng(generator.initial_seed())
        rows, columns = settings.shape_px
        drawn = _draw_scenes(settings, self.samplers, rng, self._area_um2())
        scene = torch.from_numpy(np.repeat(np.arange(settings.scenes), drawn.emitters)).to(device)
        values = torch.from_numpy(drawn.values).to(device)
        brightness, spread, background, unevenness, on_frames, stray = values
        position = self._positions(scene, drawn, stray, generator)
        light = self._blink(scene, brightness, spread, on_frames, generator)
        shining = (light > 1.0).nonzero()
        emitter, at = shining.unbind(dim=1)
        frame = scene[emitter] * settings.frames + at
        x, y, z = position[emitter].unbind(dim=1)
        photons = light[emitter, at]
        knots = torch.randn((settings.scenes, 1, _BACKGROUND_KNOTS, _BACKGROUND_KNOTS), generator=generator,
                            device=device)  # fmt: skip
        shape = F.interpolate(knots, (rows, columns), mode="bicubic", align_corners=True)
        uneven = (1 + unevenness[:, None, None, None] * shape).clamp(min=0.1) * background[:, None, None, None]
        ground = uneven.expand(-1, settings.frames, -1, -1).flatten(0, 1)
        expected = render(
            self.psf, frame, x, y, z, photons,
            frames=settings.scenes * settings.frames, shape=(rows, columns), background=ground, check=False,
        )  # fmt: skip
        seen = self._photons(expose(expected, self.sensor, generator=generator))
        u, v = x / self.pixel_nm[0], y / self.pixel_nm[1]
        wanted = (u > 0) & (u < columns) & (v > 0) & (v < rows) & (photons >= settings.faintest_photons)
        kept = wanted.nonzero()[:, 0]
        truth = Truth(frame[kept], u[kept], v[kept], z[kept] / self.z_scale_nm, photons[kept].log(), ground)
        return Batch(seen.unflatten(0, (settings.scenes, settings.frames)), truth)

    def _photons(self, counts: Tensor) -> Tensor:
        """Counts as photons, pixel by pixel."""
        camera = self.sensor.pixels.camera
        electrons = (counts - self.sensor.baseline) * self.sensor.electrons_per_count
        return electrons / (camera.em_gain * camera.quantum_efficiency)

    def _field_nm(self) -> tuple[float, float]:
        rows, columns = self.settings.shape_px
        return (columns + 2 * _MARGIN_PX) * self.pixel_nm[0], (rows + 2 * _MARGIN_PX) * self.pixel_nm[1]

    def _area_um2(self) -> float:
        width, height = self._field_nm()
        return width * height / 1e6

    def _positions(self, scene: Tensor, drawn: _Scenes, stray: Tensor, generator: torch.Generator) -> Tensor:
        """Positions `(emitters, 3)` in nm from the corner of the frame."""
        field = Field(self._field_nm(), self.psf.kernel.z_range_nm)
        parts = []
        ends = np.concatenate([[0], np.cumsum(drawn.emitters)])
        first = 0
        for (sampler, _), scenes in zip(self.samplers, drawn.scenes, strict=True):
            own = scene[ends[first] : ends[first + scenes]] - first
            if scenes:
                parts.append(sampler(own, scenes, field, generator))
            first += scenes
        position = torch.cat(parts)
        anywhere = SAMPLERS["csr"](scene, len(stray), field, generator)
        lost = torch.rand(len(scene), generator=generator, device=scene.device) < stray[scene]
        position = torch.where(lost[:, None], anywhere, position)
        margin = torch.tensor([_MARGIN_PX * self.pixel_nm[0], _MARGIN_PX * self.pixel_nm[1], 0.0], device=scene.device)
        return position - margin

    def _blink(
        self, scene: Tensor, brightness: Tensor, spread: Tensor, on_frames: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Photons `(emitters, frames)` of emitters that switch on at any time and stay on for exponential times.

        Those with a mean ON time of zero are on in the whole frame in which they switch on.
        """
        device, frames = scene.device, self.settings.frames
        u, lasting = torch.rand((2, len(scene)), generator=generator, device=device)
        mean = on_frames[scene]
        # those that are on when the first frame begins have the same times left, for exponential times have no memory
        start = (u * (frames + mean) - mean).clamp(min=0)
        end = start - mean * torch.log(1 - lasting)
        t = torch.arange(frames, device=device)
        overlap = (torch.minimum(end[:, None], t + 1) - torch.maximum(start[:, None], t)).clamp(min=0)
        overlap = torch.where(mean[:, None] > 0, overlap, (start.floor()[:, None] == t).to(overlap))
        normal = torch.randn(len(scene), generator=generator, device=device)
        return overlap * (brightness[scene] * (spread[scene] * normal).exp())[:, None]


def prepare(
    settings: SceneSettings,
    kernel: Kernel,
    camera: Camera,
    *,
    device: torch.device | str = "cpu",
    table: Sampler | None = None,
) -> Stage:
    """Put PSF and samplers on the device.

    Examples
    --------
    >>> from lucule.simulate import load_camera
    >>> from lucule.simulate.optics import compile_psf
    >>> settings = SceneSettings(scenes=2, frames=3)
    >>> stage = prepare(settings, compile_psf("astigmatic", 100), load_camera("smlm_challenge"))
    >>> stage.batch(0, torch.Generator().manual_seed(1)).photons.shape
    torch.Size([2, 3, 48, 48])
    """
    shares = mixture(settings.samplers)
    known = SAMPLERS | ({"table": table} if table is not None else {})
    samplers = tuple((known[name], share) for name, share in shares.items())
    low, high = kernel.z_range_nm
    pixels = sensor_to_torch(camera, settings.shape_px, device)
    return Stage(settings, to_torch(kernel, device), pixels, max(abs(low), abs(high)), samplers)


@dataclass(frozen=True)
class _Scenes:
    """Scenes of each sampler, emitters of each scene, and brightness, spread, background, ... `(6, scenes)`."""

    scenes: NDArray[np.int64]
    emitters: NDArray[np.int64]
    values: NDArray[np.float32]


def _draw_scenes(
    settings: SceneSettings, samplers: tuple[tuple[Sampler, float], ...], rng: np.random.Generator, area_um2: float
) -> _Scenes:
    n = settings.scenes

    def log_even(limits: Range) -> NDArray[np.float64]:
        return np.exp(rng.uniform(*np.log(limits), n))

    density, photons = log_even(settings.density_per_um2), log_even(settings.photons)
    on_frames = np.zeros(n) if settings.on_frames is None else log_even(settings.on_frames)
    background = np.clip(photons / log_even(settings.photons_per_background), *settings.background_photons)
    spread, unevenness, stray = (
        rng.uniform(*r, n) for r in (settings.photons_spread, settings.background_unevenness, settings.stray)
    )
    # an ON time of mean t touches t + 1 frames
    switched_on = density * area_um2 / (on_frames + 1)
    emitters = rng.poisson(switched_on * (on_frames + settings.frames))
    values: Any = np.stack([photons, spread, background, unevenness, on_frames, stray]).astype(np.float32)
    shares = np.array([share for _, share in samplers])
    return _Scenes(rng.multinomial(n, shares / shares.sum()), emitters.astype(np.int64), values)
