"""The loss: how probable the true emitters are under what the network says.

Per frame, after Speiser et al. 2021 (DECODE, Nat Methods 18:1082): a likelihood of the number of emitters, Gaussian
approximation of the sum of Bernoulli variables, and one of their places, a mixture of the pixels' Gaussians weighted by
their probabilities. The mixture of an emitter is summed over the pixels within two of it: others cannot reach it. Two
small terms are added, the cross entropy of the pixels' probabilities (FD-DeepLoc) and the background.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from lucule.core import Config
from lucule.localize.network import BACKGROUND, fields

_NEAR_PX: Final = 2


@dataclass(frozen=True)
class Truth:
    """The emitters of a batch of frames.

    Attributes
    ----------
    frame
        Frame of each emitter, `(n,)` int64.
    x, y
        Position in pixels from the outer corner of pixel (0, 0), inside the frame.
    z
        Depth in units of the network's scale.
    photons
        Natural logarithm of the photons.
    background
        Background photons, `(frames, rows, columns)`.
    """

    frame: Tensor
    x: Tensor
    y: Tensor
    z: Tensor
    photons: Tensor
    background: Tensor


class LossWeights(Config):
    """Weights of the terms of the loss."""

    count: float = 1.0
    place: float = 1.0
    pixel: float = 0.3
    background: float = 1.0


def loss(raw: Tensor, truth: Truth, weights: LossWeights) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of raw output `(frames, channels, rows, columns)`, a mean over frames, and its parts for the log."""
    frames, _, rows, columns = raw.shape
    background = raw[:, -1].float() + BACKGROUND
    logit = raw[:, 0].float()
    probability = logit.sigmoid()
    expected = probability.sum(dim=(1, 2))
    variance = (probability * (1 - probability)).sum(dim=(1, 2)) + 1e-3
    number = torch.zeros(frames, device=raw.device).index_add(0, truth.frame, torch.ones_like(truth.x))
    count = (0.5 * (number - expected) ** 2 / variance + 0.5 * variance.log()).mean()
    place = -_place(raw, truth, expected).sum() / frames
    row, column = truth.y.long().clamp(0, rows - 1), truth.x.long().clamp(0, columns - 1)
    held = torch.zeros_like(logit).index_put((truth.frame, row, column), torch.ones_like(truth.x))
    pixel = F.binary_cross_entropy_with_logits(logit, held, reduction="sum") / frames
    light = F.smooth_l1_loss(background, truth.background.clamp(min=0.5).log())
    total = weights.count * count + weights.place * place + weights.pixel * pixel + weights.background * light
    return total, {"count": count, "place": place, "pixel": pixel, "background": light}


def _place(raw: Tensor, truth: Truth, expected: Tensor) -> Tensor:
    """Log likelihood of each emitter's place and photons, `(n,)`."""
    frames, channels, rows, columns = raw.shape
    device = raw.device
    steps = torch.arange(-_NEAR_PX, _NEAR_PX + 1, device=device)
    row = (truth.y.long().clamp(0, rows - 1)[:, None] + steps).repeat_interleave(len(steps), dim=1)
    column = (truth.x.long().clamp(0, columns - 1)[:, None] + steps).repeat(1, len(steps))
    inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    pixel = (truth.frame[:, None] * rows + row.clamp(0, rows - 1)) * columns + column.clamp(0, columns - 1)
    by_pixel = raw.float().permute(0, 2, 3, 1).reshape(frames * rows * columns, channels)
    near = fields(by_pixel.index_select(0, pixel.flatten()).unflatten(0, pixel.shape), dim=-1)
    deviations = (
        (column + 0.5 + near.x - truth.x[:, None]) / near.sigma_x,
        (row + 0.5 + near.y - truth.y[:, None]) / near.sigma_y,
        (near.z - truth.z[:, None]) / near.sigma_z,
        (near.photons - truth.photons[:, None]) / near.sigma_photons,
    )
    widths = (near.sigma_x, near.sigma_y, near.sigma_z, near.sigma_photons)
    log = F.logsigmoid(near.logit) - 2 * math.log(2 * math.pi)
    for deviation, width in zip(deviations, widths, strict=True):
        log = log - 0.5 * deviation * deviation - width.log()
    log = log.masked_fill(~inside, -1e4)
    return torch.logsumexp(log, dim=1) - expected[truth.frame].clamp(min=1e-6).log()
