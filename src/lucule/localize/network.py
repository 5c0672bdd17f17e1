"""The localization network: every pixel says whether an emitter lies in it, and where exactly.

Each frame passes an encoder once; what is known about a frame is fused with its neighbours in time, so that a movie
costs one encoder pass per frame however long the context is. Most work is done at half and quarter resolution, where it
is cheap on CPUs. Frames that do not exist (before the first, after the last) count as empty features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lucule.core import InputError

STRIDE: Final = 8
"""Rows and columns of the input must be multiples of this."""
MARGIN_PX: Final = 56
"""No pixel has an influence farther away than this; a multiple of the stride."""
CHANNELS: Final = ("logit", "x", "y", "z", "photons", "sigma_x", "sigma_y", "sigma_z", "sigma_photons", "background")
# offsets reach a little into the neighbouring pixels, so that two emitters of one pixel can share it and its neighbour
_REACH_PX: Final = 1.5
# natural logarithms of 2000 photons and of a background of 20, from which the network counts
_PHOTONS: Final = 7.6
BACKGROUND: Final = 3.0
_SIGMA_LEAST: Final = 0.005


@dataclass(frozen=True)
class Fields:
    """What the network says, one value for each pixel, tensors `(..., rows, columns)`.

    Attributes
    ----------
    logit
        Log odds that the pixel holds an emitter of its own.
    x, y
        Offset of the emitter from the middle of the pixel, in pixels.
    z
        Depth in units of the network's `z_scale_nm`.
    photons
        Natural logarithm of the photons.
    sigma_x, sigma_y, sigma_z, sigma_photons
        Standard deviations in the same units.
    background
        Natural logarithm of the background photons.
    """

    logit: Tensor
    x: Tensor
    y: Tensor
    z: Tensor
    photons: Tensor
    sigma_x: Tensor
    sigma_y: Tensor
    sigma_z: Tensor
    sigma_photons: Tensor
    background: Tensor


def fields(raw: Tensor, dim: int = -3) -> Fields:
    """Give the network's output its meaning; `dim` is the axis of the channels."""
    logit, x, y, z, photons, *sigmas, background = raw.float().unbind(dim)
    return Fields(
        logit,
        _REACH_PX * torch.tanh(x),
        _REACH_PX * torch.tanh(y),
        z,
        photons + _PHOTONS,
        *(F.softplus(sigma) + _SIGMA_LEAST for sigma in sigmas),
        background + BACKGROUND,
    )


class Block(nn.Module):
    """A 3 x 3 convolution and SiLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
        nn.init.kaiming_normal_(self.convolution.weight, nonlinearity="relu")
        nn.init.zeros_(self.convolution.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Apply to `(n, channels, rows, columns)`."""
        return _active(self.convolution(x))


def _active(x: Tensor) -> Tensor:
    """SiLU; in place where no gradient asks for what was there, as new memory costs more than the arithmetic."""
    return F.silu(x, inplace=not x.requires_grad)


class LocalizationNet(nn.Module):
    """Encoder for single frames, fusion over time, a small U-Net at half resolution, and a head at full resolution.

    Parameters
    ----------
    context
        Frames seen for each frame, odd.
    widths
        Channels at full, half (encoder), half (fused), quarter and eighth resolution.
    head
        Channels before the last layer.

    Examples
    --------
    >>> net = LocalizationNet(context=3, widths=(8, 8, 8, 8, 8), head=8)
    >>> net(torch.zeros(2, 5, 64, 64)).shape
    torch.Size([2, 5, 10, 64, 64])
    """

    def __init__(
        self, *, context: int = 5, widths: tuple[int, int, int, int, int] = (24, 64, 80, 128, 192), head: int = 40
    ) -> None:
        super().__init__()
        if context < 1 or context % 2 == 0:
            raise InputError("The context must be an odd number of frames", received=context, allowed="1, 3, 5, ...")
        full, half, fused, quarter, eighth = widths
        self.context = context
        self.stem = Block(2, full)
        self.encoder = nn.Sequential(Block(full, half, 2), Block(half, half), Block(half, half))
        self.fuse = nn.Conv2d(context * half, fused, 1)
        self.at_half = nn.Sequential(Block(fused, fused), Block(fused, fused))
        self.at_quarter = nn.Sequential(Block(fused, quarter, 2), Block(quarter, quarter), Block(quarter, quarter))
        self.at_eighth = nn.Sequential(Block(quarter, eighth, 2), Block(eighth, eighth), Block(eighth, eighth))
        self.to_quarter = nn.Conv2d(eighth, quarter, 1)
        self.to_half = nn.Conv2d(quarter, fused, 1)
        self.to_full = nn.Conv2d(fused, 4 * full, 1)
        self.merge_quarter = Block(2 * quarter, quarter)
        self.merge_half = Block(2 * fused, fused)
        self.head = Block(2 * full, head)
        self.out = nn.Conv2d(head, len(CHANNELS), 1)
        self._start()

    def _start(self) -> None:
        """Begin with few emitters, in the middle of their pixels, with wide uncertainties."""
        nn.init.normal_(self.out.weight, std=0.02)
        bias = torch.zeros(len(CHANNELS))
        bias[CHANNELS.index("logit")] = -5.5
        for name in ("sigma_x", "sigma_y", "sigma_z", "sigma_photons"):
            bias[CHANNELS.index(name)] = 0.3
        self.out.bias.data = bias

    def forward(self, photons: Tensor) -> Tensor:
        """Photons `(movies, frames, rows, columns)` to raw output `(movies, frames, channels, rows, columns)`."""
        movies, frames, rows, columns = photons.shape
        full, half = self.encode(photons.reshape(movies * frames, 1, rows, columns))
        half = half.unflatten(0, (movies, frames))
        reach = self.context // 2
        padded = F.pad(half, (0, 0, 0, 0, 0, 0, reach, reach))
        window = torch.cat([padded[:, i : i + frames] for i in range(self.context)], dim=2).flatten(0, 1)
        return self.decode(full, window).unflatten(0, (movies, frames))

    def encode(self, photons: Tensor) -> tuple[Tensor, Tensor]:
        """Features of single frames `(n, 1, rows, columns)` at full and half resolution."""
        light = photons.clamp(min=0.0)
        # the square root makes the noise as strong everywhere; the second channel keeps differences linear
        seen = torch.cat([(light + 1).sqrt() * 0.5 - 3, (light * 0.002).clamp(max=20.0)], dim=1)
        kind = self.stem.convolution.weight.dtype
        full = self.stem(seen.to(kind).contiguous(memory_format=torch.channels_last))
        return full, self.encoder(full)

    def decode(self, full: Tensor, window: Tensor) -> Tensor:
        """Output from the full-resolution features of frames and the half-resolution features of their windows."""
        half = self.at_half(_active(self.fuse(window.contiguous(memory_format=torch.channels_last))))
        quarter = self.at_quarter(half)
        eighth = self.at_eighth(quarter)
        up = F.interpolate(self.to_quarter(eighth), scale_factor=2.0, mode="nearest")
        quarter = self.merge_quarter(torch.cat([quarter, up], dim=1))
        up = F.interpolate(self.to_half(quarter), scale_factor=2.0, mode="nearest")
        half = self.merge_half(torch.cat([half, up], dim=1))
        up = F.pixel_shuffle(self.to_full(half), 2)
        head = self.head(torch.cat([full, up], dim=1))
        # rounding of bfloat16 would cost nanometres here
        with torch.autocast(head.device.type, enabled=False):
            return F.conv2d(head.float(), self.out.weight.float(), self.out.bias.float())  # type: ignore[union-attr]


def build(options: dict[str, Any]) -> LocalizationNet:
    """Build the network from the options of a recipe or card."""
    known = {"context", "widths", "head"}
    if unknown := set(options) - known:
        raise InputError(
            "The network has no such option", received=", ".join(sorted(unknown)), allowed=", ".join(sorted(known))
        )
    return LocalizationNet(**{key: tuple(value) if key == "widths" else value for key, value in options.items()})
