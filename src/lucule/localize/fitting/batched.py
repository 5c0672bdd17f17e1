"""The same climb for many regions at once in torch, for a GPU: one emitter in each region, any compiled PSF.

Regions are independent, so that every step is a few batched products. Light comes from `simulate.torch_render`, its
derivatives from differences, whose error of 1e-4 changes no fit. On the CPU the compiled fits are faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from lucule.simulate.torch_render import TorchKernel, render

_STEPS: Final = 40
_ENOUGH: Final = 1e-4
_LEAST_LIGHT: Final = 1e-3
_DIFFERENCE_NM: Final = 2.0
_FIRST_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-3, 1e-9, 1e7


@dataclass(frozen=True, eq=False)
class Batch:
    """Fits of regions.

    Attributes
    ----------
    values, errors
        x, y, z in nm from the corner of each region, photons, background, and their lower bounds, `(n, 5)`.
    reached
        Which reached their top, `(n,)`.
    """

    values: Tensor
    errors: Tensor
    reached: Tensor


def climb_batch(seen: Tensor, floor: Tensor, starts: Tensor, psf: TorchKernel, scale: float) -> Batch:
    """Move one emitter in each region to the maximum of the likelihood.

    Parameters
    ----------
    seen, floor
        Photons plus the camera's variance, and that variance, `(n, side, side)`, on the device and of the
        type of `psf`.
    starts
        x, y, z, photons, background, `(n, 5)`.
    psf
        The PSF on its device, with depth.
    scale
        Variance over mean of the light.

    Examples
    --------
    >>> from lucule.simulate.optics import compile_psf
    >>> from lucule.simulate.torch_render import to_torch
    >>> psf = to_torch(compile_psf("astigmatic", 100), dtype=torch.float64)
    >>> true = torch.tensor([[760.0, 730.0, 150.0, 5000.0, 20.0]], dtype=torch.float64)
    >>> light = _light(psf, true, 15)[0] + 20
    >>> start = true + torch.tensor([[40.0, -40.0, -90.0, 900.0, 3.0]])
    >>> climb_batch(light, torch.zeros_like(light), start, psf, 1.0).values.round().tolist()
    [[760.0, 730.0, 150.0, 5000.0, 20.0]]
    """
    side = seen.shape[-1]
    values = starts.to(psf.device, psf.dtype).clone()
    damping = torch.full_like(values[:, 0], _FIRST_DAMPING)
    light, slopes = _light(psf, values, side)
    loss = _misfit(seen, _expected(light, values, floor))
    reached = torch.zeros_like(damping, dtype=torch.bool)
    for _ in range(_STEPS):
        fisher, score = _normal_equations(seen, _expected(light, values, floor), light, slopes)
        diagonal = torch.diagonal(fisher, dim1=-2, dim2=-1)
        step = torch.linalg.solve(fisher + torch.diag_embed(damping[:, None] * diagonal), score)
        gain = (step * score).sum(dim=-1)
        trial = _moved(values, torch.where(reached[:, None], 0.0, step), psf)
        trial_light, trial_slopes = _light(psf, trial, side)
        then = _misfit(seen, _expected(trial_light, trial, floor))
        better = then <= loss + 1e-9 * loss.abs()
        values = torch.where(better[:, None], trial, values)
        light = torch.where(better[:, None, None], trial_light, light)
        slopes = torch.where(better[:, None, None, None], trial_slopes, slopes)
        loss = torch.where(better, then, loss)
        reached |= (gain < _ENOUGH * scale) & (damping < 1)
        damping = torch.where(better, 0.1 * damping, 10 * damping).clamp(_LEAST_DAMPING, _MOST_DAMPING)
        if bool(reached.all()):
            break
    fisher, _ = _normal_equations(seen, _expected(light, values, floor), light, slopes)
    errors = (scale * torch.diagonal(torch.linalg.inv(fisher), dim1=-2, dim2=-1)).clamp(min=0).sqrt()
    errors[:, 3] *= values[:, 3]
    return Batch(values, errors, reached)


def _light(psf: TorchKernel, values: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Light of each emitter on its region `(n, side, side)`, and its slopes by x, y and z, `(n, 3, side, side)`."""
    index = torch.arange(len(values), device=values.device)
    place = values[:, :3]

    def image(xyz: Tensor) -> Tensor:
        x, y, z = xyz.unbind(dim=1)
        return render(psf, index, x, y, z, values[:, 3], frames=len(values), shape=(side, side), check=False)

    moves = _DIFFERENCE_NM * torch.eye(3, device=values.device, dtype=values.dtype)
    slopes = [(image(place + move) - image(place - move)) / (2 * _DIFFERENCE_NM) for move in moves]
    return image(place), torch.stack(slopes, dim=1)


def _expected(light: Tensor, values: Tensor, floor: Tensor) -> Tensor:
    return (light + values[:, 4, None, None] + floor).clamp(min=_LEAST_LIGHT)


def _misfit(seen: Tensor, expected: Tensor) -> Tensor:
    return (expected - seen * expected.log()).sum(dim=(-2, -1))


def _normal_equations(seen: Tensor, expected: Tensor, light: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Fisher matrix `(n, 5, 5)` and score `(n, 5)`; photons are counted in units of what they are now."""
    by = torch.cat([slopes, light[:, None], torch.ones_like(light)[:, None]], dim=1).flatten(2)
    weight = 1 / expected.flatten(1)
    excess = seen.flatten(1) * weight - 1
    return (by * weight[:, None]) @ by.transpose(1, 2), (by @ excess[..., None])[..., 0]


def _moved(values: Tensor, step: Tensor, psf: TorchKernel) -> Tensor:
    low, high = psf.kernel.z_range_nm
    width, height = psf.kernel.pixel_size_nm
    z_most = 0.15 * (high - low)
    columns = (
        values[:, 0] + step[:, 0].clamp(-width, width),
        values[:, 1] + step[:, 1].clamp(-height, height),
        (values[:, 2] + step[:, 2].clamp(-z_most, z_most)).clamp(low, high),
        values[:, 3] * (1 + step[:, 3]).clamp(0.3, 3.0),
        (values[:, 4] + step[:, 4]).clamp(min=0.0),
    )
    return torch.stack(columns, dim=1)
