"""DeepLabV3 with a ResNet-101 backbone (Chen et al. 2017, arXiv:1706.05587), as the paper of automated dSTORM used it.

Parameters have the names and shapes that torchvision gives them, so that weights made with either load in both.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCKS: Final = (3, 4, 23, 3)
_RATES: Final = (12, 24, 36)
_EXPANSION: Final = 4


class Bottleneck(nn.Module):
    """Residual block: 1 x 1, 3 x 3 (with the stride), 1 x 1."""

    def __init__(self, inputs: int, width: int, *, stride: int, dilation: int) -> None:
        super().__init__()
        outputs = width * _EXPANSION
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))
            if stride != 1 or inputs != outputs
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply to `(n, channels, rows, columns)`."""
        straight = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.relu(self.bn3(self.conv3(x)) + straight)


class DeepLabV3(nn.Module):
    """The network.

    Parameters
    ----------
    outputs
        Maps that come out.
    aux
        Also build the auxiliary head, which only weights trained with it need; it is not used here.

    Examples
    --------
    >>> sum(p.numel() for p in DeepLabV3(21, aux=True).parameters())  # as torchvision says of its own
    60996202
    """

    def __init__(self, outputs: int, *, aux: bool = False) -> None:
        super().__init__()
        self.outputs = outputs
        self.backbone = _backbone()
        self.classifier = nn.Sequential(
            _Pyramid(2048, 256),
            nn.Conv2d(256, 256, 3, padding=1, bias=False),
            nn.BatchNorm2d(256),
            nn.ReLU(),
            nn.Conv2d(256, outputs, 1),
        )
        if aux:
            self.aux_classifier = nn.Sequential(
                nn.Conv2d(1024, 256, 3, padding=1, bias=False),
                nn.BatchNorm2d(256),
                nn.ReLU(),
                nn.Dropout(0.1),
                nn.Conv2d(256, outputs, 1),
            )

    def forward(self, image: Tensor) -> Tensor:
        """Logits `(n, outputs, rows, columns)` of images `(n, 3, rows, columns)`."""
        coarse = self.classifier(self.backbone(image))
        return F.interpolate(coarse, size=image.shape[-2:], mode="bilinear", align_corners=False)


def _backbone() -> nn.Sequential:
    layers: list[tuple[str, nn.Module]] = [
        ("conv1", nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)),
        ("bn1", nn.BatchNorm2d(64)),
        ("relu", nn.ReLU()),
        ("maxpool", nn.MaxPool2d(3, stride=2, padding=1)),
    ]
    inputs, dilation = 64, 1
    for number, blocks in enumerate(BLOCKS):
        width = 64 * 2**number
        # the last two layers keep an eighth of the resolution: from their second block on, dilation replaces stride
        stride = 2 if number == 1 else 1
        first_dilation = dilation
        if number >= 2:
            dilation *= 2
        parts = [Bottleneck(inputs, width, stride=stride, dilation=first_dilation)]
        inputs = width * _EXPANSION
        parts += [Bottleneck(inputs, width, stride=1, dilation=dilation) for _ in range(blocks - 1)]
        layers.append((f"layer{number + 1}", nn.Sequential(*parts)))
    backbone = nn.Sequential(OrderedDict(layers))
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return backbone


class _Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: the same features seen at several dilations, and their mean over the image."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            [
                _unit(nn.Conv2d(inputs, outputs, 1, bias=False), outputs),
                *(
                    _unit(nn.Conv2d(inputs, outputs, 3, padding=rate, dilation=rate, bias=False), outputs)
                    for rate in _RATES
                ),
                nn.Sequential(nn.AdaptiveAvgPool2d(1), *_unit(nn.Conv2d(inputs, outputs, 1, bias=False), outputs)),
            ]
        )
        self.project = nn.Sequential(
            *_unit(nn.Conv2d(len(self.convs) * outputs, outputs, 1, bias=False), outputs), nn.Dropout(0.5)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply to `(n, channels, rows, columns)`."""
        *local, pooled = self.convs
        mean = pooled(x).expand(-1, -1, *x.shape[-2:])
        projected: Tensor = self.project(torch.cat([*(conv(x) for conv in local), mean], dim=1))
        return projected


def _unit(convolution: nn.Conv2d, outputs: int) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())
