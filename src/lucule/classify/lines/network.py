"""The network that tells double lines from everything else: it reads a density map and answers for localizations.

Localizations are spread onto a fine grid; a U-Net looks at it from 16 nm to more than a micrometre, which is what a
whole double line needs, line ends and the space between the lines included. What it has found is read out again at
every localization. Counts enter as logarithms, as they are and relative to those around, so that neither the number of
localizations of an object nor their density has to be known.
"""

from __future__ import annotations

import copy
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

CHANNELS: Final = 2
OUTPUTS: Final = 3
"""Logit of being on a double line, and the vector to its centre, um."""
AROUND_PX: Final = 63


def count_map(xy_px: Tensor, height: int, width: int) -> Tensor:
    """Localizations at pixel positions `(n, 2)` (x, y; pixel centres at whole numbers) spread bilinearly onto a grid.

    Examples
    --------
    >>> count_map(torch.tensor([[1.0, 0.5]]), 2, 3)
    tensor([[0.0000, 0.5000, 0.0000],
            [0.0000, 0.5000, 0.0000]])
    """
    index, weight = corners(xy_px, height, width)
    flat = torch.zeros(height * width, dtype=xy_px.dtype, device=xy_px.device)
    return flat.index_add_(0, index.reshape(-1), weight.reshape(-1)).reshape(height, width)


def corners(xy_px: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Flat indices and bilinear weights `(n, 4)` of the pixels around each position."""
    low = xy_px.floor()
    part = xy_px - low
    x, y = low[:, 0].long(), low[:, 1].long()
    index, weight = [], []
    for dy in (0, 1):
        for dx in (0, 1):
            column, row = (x + dx).clamp(0, width - 1), (y + dy).clamp(0, height - 1)
            index.append(row * width + column)
            weight.append((part[:, 0] if dx else 1 - part[:, 0]) * (part[:, 1] if dy else 1 - part[:, 1]))
    return torch.stack(index, 1), torch.stack(weight, 1)


def seen(counts: Tensor) -> Tensor:
    """What the network sees of count maps `(b, h, w)`: `(b, 2, h, w)`."""
    around = _running_mean(_running_mean(counts, 1), 2).to(counts.dtype)
    return torch.stack([torch.log1p(counts), torch.log1p(counts / (around + 0.003))], 1)


def _running_mean(counts: Tensor, axis: int) -> Tensor:
    """Mean over `AROUND_PX` along an axis, with nothing beyond the border; double, as sums are subtracted."""
    size, before = counts.shape[axis], AROUND_PX // 2 + 1
    ends = (before, AROUND_PX - before)
    total = nn.functional.pad(counts.double(), (0, 0, *ends) if axis == 1 else ends).cumsum(axis)
    return (total.narrow(axis, AROUND_PX, size) - total.narrow(axis, 0, size)) / AROUND_PX


class LineNetwork(nn.Module):
    """U-Net over the density map, with an answer at every localization.

    Parameters
    ----------
    widths
        Channels of each level; every level halves the resolution.
    hidden
        Units between what is read out at a localization and the answer.
    """

    def __init__(self, widths: tuple[int, ...] = (8, 16, 32, 32, 32), hidden: int = 32) -> None:
        super().__init__()
        self.levels = len(widths)
        self.down = nn.ModuleList(
            _two_layers(CHANNELS if level == 0 else widths[level - 1], width) for level, width in enumerate(widths)
        )
        self.up = nn.ModuleList(
            _two_layers(widths[level] + widths[level + 1], widths[level], first_kernel=1)
            for level in range(len(widths) - 1)
        )
        self.head = nn.Sequential(nn.Linear(widths[0], hidden), nn.ReLU(), nn.Linear(hidden, OUTPUTS))

    @property
    def multiple(self) -> int:
        """Sides of a map must be multiples of this, px."""
        return 1 << (self.levels - 1)

    def forward(self, counts: Tensor, batch: Tensor, xy_px: Tensor) -> Tensor:
        """Answers `(n, 3)` for localizations: counts `(b, h, w)`, map `(n,)` and pixel position `(n, 2)` of each."""
        features = self.maps(seen(counts))
        _, channels, height, width = features.shape
        index, weight = corners(xy_px, height, width)
        flat = features.permute(0, 2, 3, 1).reshape(-1, channels)
        read = (flat[index + (batch * height * width)[:, None]] * weight[..., None]).sum(1)
        answer: Tensor = self.head(read)
        return answer

    def maps(self, x: Tensor) -> Tensor:
        """Features `(b, widths[0], h, w)` of what is seen."""
        kept = []
        for level, layers in enumerate(self.down):
            x = layers(x if level == 0 else nn.functional.max_pool2d(x, 2))
            kept.append(x)
        for level in range(self.levels - 2, -1, -1):
            x = joined(self.up[level], kept[level], x)
        return x


def joined(layers: nn.Sequential, kept: Tensor, below: Tensor) -> Tensor:
    """Layers over what was `kept` of a level together with what comes from the level below, at half the resolution.

    The first layer looks at single pixels, so that its share of what comes from below is taken before that is enlarged:
    the same sum, with a quarter of the work and nothing copied together.
    """
    first, channels = layers[0], kept.shape[1]
    x = nn.functional.conv2d(kept, first.weight[:, :channels], first.bias)
    from_below = nn.functional.conv2d(below, first.weight[:, channels:])
    for row in (0, 1):
        for column in (0, 1):
            x[..., row::2, column::2] += from_below
    answer: Tensor = layers[1:](x)
    return answer


def folded(network: LineNetwork) -> LineNetwork:
    """A copy for predictions, of the same answers in half the time: normalisation is part of the convolutions."""
    quick = copy.deepcopy(network).eval()
    for blocks in (quick.down, quick.up):
        for number, layers in enumerate(blocks):
            first, second = (fuse_conv_bn_eval(layers[i], layers[i + 1]) for i in (0, 3))
            blocks[number] = nn.Sequential(first, nn.ReLU(inplace=True), second, nn.ReLU(inplace=True))
    return quick.to(memory_format=torch.channels_last)


def _two_layers(channels: int, width: int, *, first_kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, first_kernel, padding=first_kernel // 2, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    )
