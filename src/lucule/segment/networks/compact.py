"""The default network: a U-Net whose work is done at half resolution and below, which CPUs like."""

from __future__ import annotations

import math
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDE: Final = 16
"""Rows and columns of the input must be multiples of this."""
EXPOSURES: Final = (8.0, 64.0)
"""Besides the image the network sees its light as asinh(c x) / asinh(c): what is dim beside something bright shows."""


class Block(nn.Sequential):
    """A 3 x 3 convolution, batch normalisation and ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class CompactNet(nn.Module):
    """An encoder down to a sixteenth of the resolution, a decoder back up, a thin head at full resolution.

    Parameters
    ----------
    outputs
        Maps that come out.
    widths
        Channels at half, quarter, eighth and sixteenth resolution.
    head
        Channels before the last layer, at full resolution.

    Examples
    --------
    >>> net = CompactNet(3, widths=(8, 8, 8, 8), head=8).eval()
    >>> net(torch.zeros(1, 3, 32, 48)).shape
    torch.Size([1, 3, 32, 48])
    """

    def __init__(self, outputs: int, *, widths: tuple[int, int, int, int] = (32, 64, 128, 160), head: int = 16) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth = widths
        self.outputs = outputs
        seen = 3 + len(EXPOSURES)
        self.detail = Block(seen, 8)
        self.at_half = nn.Sequential(Block(4 * seen, half), Block(half, half))
        self.at_quarter = nn.Sequential(Block(half, quarter, 2), Block(quarter, quarter), Block(quarter, quarter))
        self.at_eighth = nn.Sequential(Block(quarter, eighth, 2), Block(eighth, eighth), Block(eighth, eighth))
        self.at_sixteenth = nn.Sequential(Block(eighth, sixteenth, 2), Block(sixteenth, sixteenth))
        self.to_eighth = nn.Conv2d(sixteenth, eighth, 1)
        self.to_quarter = nn.Conv2d(eighth, quarter, 1)
        self.to_half = nn.Conv2d(quarter, half, 1)
        self.to_full = nn.Conv2d(half, 4 * head, 1)
        self.merge_eighth = Block(2 * eighth, eighth)
        self.merge_quarter = Block(2 * quarter, quarter)
        self.merge_half = Block(2 * half, half)
        self.head = Block(head + 8, head)
        self.out = nn.Conv2d(head, outputs, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits `(n, outputs, rows, columns)` of images `(n, 3, rows, columns)`."""
        grey = image.mean(dim=1, keepdim=True)
        exposures = [torch.asinh(strength * grey) / math.asinh(strength) for strength in EXPOSURES]
        image = torch.cat([image, *exposures], dim=1).contiguous(memory_format=torch.channels_last)
        half = self.at_half(F.pixel_unshuffle(image, 2))
        quarter = self.at_quarter(half)
        eighth = self.at_eighth(quarter)
        up = self.to_eighth(self.at_sixteenth(eighth))
        eighth = self.merge_eighth(torch.cat([eighth, _doubled(up)], dim=1))
        quarter = self.merge_quarter(torch.cat([quarter, _doubled(self.to_quarter(eighth))], dim=1))
        half = self.merge_half(torch.cat([half, _doubled(self.to_half(quarter))], dim=1))
        full = F.pixel_shuffle(self.to_full(half), 2)
        logits: Tensor = self.out(self.head(torch.cat([self.detail(image), full], dim=1)))
        return logits


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
