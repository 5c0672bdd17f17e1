"""Frames from emitter lists in torch, on CPU or GPU, differentiable: for training on the fly.

The PSF is the same compiled `Kernel`, and the camera the same description, as for movies; this module only evaluates
them with tensors (splines on the CPU with the compiled kernels). Gradients flow to positions, photons and background;
the camera's noise has none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lucule.core import Camera, InputError
from lucule.simulate.camera import Sensor
from lucule.simulate.camera import expose as compiled_expose
from lucule.simulate.camera import sensor as sensor_of
from lucule.simulate.optics import kernels
from lucule.simulate.optics.compiled import Kernel


@dataclass(frozen=True, eq=False)
class TorchKernel:
    """A compiled PSF on a device.

    Attributes
    ----------
    kernel
        The PSF.
    coefficients
        Spline: `(nodes, z, y, x)`; Gaussian: empty.
    device, dtype
        Where frames are made, and of which type.
    """

    kernel: Kernel
    device: torch.device
    dtype: torch.dtype
    coefficients: Tensor = field(repr=False)


def to_torch(kernel: Kernel, device: torch.device | str = "cpu", *, dtype: torch.dtype = torch.float32) -> TorchKernel:
    """Put a compiled PSF on a device.

    Examples
    --------
    >>> from lucule.simulate.optics import compile_psf
    >>> to_torch(compile_psf("gaussian", 100)).device
    device(type='cpu')
    """
    coefficients = torch.from_numpy(kernel.model.coefficients).flatten(0, 1)
    return TorchKernel(kernel, torch.device(device), dtype, coefficients.to(device, dtype))


def render(
    psf: TorchKernel,
    frame_index: Tensor,
    x: Tensor,
    y: Tensor,
    z: Tensor,
    photons: Tensor,
    *,
    frames: int,
    shape: tuple[int, int],
    background: Tensor | float = 0.0,
    check: bool = True,
) -> Tensor:
    """Expected photons of a batch of frames.

    Parameters
    ----------
    psf
        The PSF on its device.
    frame_index
        Frame of each emitter, `(emitters,)`, int64, in any order.
    x, y, z, photons
        Positions in nm from the outer corner of pixel (0, 0), z upwards; photons. Each `(emitters,)`.
    frames, shape
        Number of frames and (rows, columns).
    background
        Photons per pixel: a number, or whatever broadcasts to `(frames, rows, columns)`.
    check
        Refuse frames and depths outside their range; on a GPU this waits for the device.

    Returns
    -------
    `(frames, rows, columns)`.

    Raises
    ------
    InputError
        Emitters lie outside the depth range of the PSF or name frames that do not exist.

    Examples
    --------
    >>> from lucule.simulate.optics import compile_psf
    >>> psf = to_torch(compile_psf("astigmatic", 100))
    >>> x = torch.tensor([800.0, 1000.0], requires_grad=True)
    >>> other = torch.full((2,), 800.0)
    >>> image = render(psf, torch.tensor([0, 1]), x, other, other * 0, other, frames=2, shape=(16, 16))
    >>> image.sum(dim=(1, 2)).round().tolist()
    [800.0, 800.0]
    """
    emitters = _stack(psf, x, y, z, photons)
    frame_index = frame_index.to(psf.device, torch.int64)
    if check:
        _check(psf.kernel, frame_index, emitters[:, 2], frames)
    if psf.kernel.is_gaussian:
        light = _gaussians(psf, _pad(frame_index, emitters, frames), shape)
    elif psf.device.type == "cpu" and psf.dtype == torch.float32:
        light = _CompiledSplines.apply(psf.kernel, frame_index, emitters, frames, shape)  # type: ignore[no-untyped-call]
    else:
        light = _splines(psf, frame_index, emitters, frames, shape)
    return light + _moved(psf, background)


def render_padded(
    psf: TorchKernel,
    x: Tensor,
    y: Tensor,
    z: Tensor,
    photons: Tensor,
    *,
    shape: tuple[int, int],
    background: Tensor | float = 0.0,
    check: bool = True,
) -> Tensor:
    """Expected photons of frames from padded lists `(frames, places)`; places with 0 photons hold no emitter.

    With a Gaussian PSF and `check=False` a GPU is never waited for.

    Examples
    --------
    >>> from lucule.simulate.optics import compile_psf
    >>> place = torch.tensor([[800.0, 900.0], [700.0, torch.nan]])
    >>> photons = torch.tensor([[500.0, 200.0], [300.0, 0.0]])
    >>> psf = to_torch(compile_psf("gaussian_2d", 100))
    >>> render_padded(psf, place, place, 0 * place, photons, shape=(16, 16)).sum(dim=(1, 2)).round().tolist()
    [700.0, 300.0]
    """
    used = photons > 0
    if psf.kernel.is_gaussian and not check:
        emitters = _stack(psf, x, y, z, photons)
        light = _gaussians(psf, torch.where(used.to(psf.device)[..., None], emitters, 0.0), shape)
        return light + _moved(psf, background)
    frame_index = torch.arange(len(x), device=x.device)[:, None].expand_as(x)[used]
    columns = (x[used], y[used], z[used], photons[used])
    return render(psf, frame_index, *columns, frames=len(x), shape=shape, background=background, check=check)


def _moved(psf: TorchKernel, value: Tensor | float) -> Tensor | float:
    return value.to(psf.device, psf.dtype) if isinstance(value, Tensor) else value


def _stack(psf: TorchKernel, *columns: Tensor) -> Tensor:
    """x, y, z and photons in one tensor `(..., 4)` on the device."""
    return torch.stack([column.to(psf.device, psf.dtype) for column in columns], dim=-1)


def _check(kernel: Kernel, frame_index: Tensor, z: Tensor, frames: int) -> None:
    low, high = kernel.z_range_nm
    if not bool(((z >= low) & (z <= high)).all()):
        kernel.check_depth(z.detach().cpu().numpy())
    if bool(((frame_index < 0) | (frame_index >= frames)).any()):
        raise InputError(
            "Emitters name frames that do not exist",
            received=f"{int(frame_index.min())} to {int(frame_index.max())}",
            allowed=f"0 to {frames - 1}",
        )


def _pad(frame_index: Tensor, emitters: Tensor, frames: int) -> Tensor:
    """Emitters of each frame side by side, `(frames, places, 4)`; empty places hold zeros."""
    if not len(frame_index):
        return emitters.new_zeros((frames, 0, 4))
    order = torch.argsort(frame_index, stable=True)
    frame_index = frame_index[order]
    # torch.bincount would wait for a GPU once more
    counts = torch.zeros(frames, dtype=torch.int64, device=emitters.device)
    counts = counts.index_add(0, frame_index, torch.ones_like(frame_index))
    place = torch.arange(len(order), device=emitters.device) - (torch.cumsum(counts, 0) - counts)[frame_index]
    padded = emitters.new_zeros((frames, int(counts.max()), 4))
    return padded.index_put((frame_index, place), emitters[order])


def _gaussians(psf: TorchKernel, emitters: Tensor, shape: tuple[int, int]) -> Tensor:
    """Sum separable profiles of a frame's emitters `(frames, places, 4)`: one matrix product for each frame."""
    position, z, photons = emitters[..., :2], emitters[..., 2], emitters[..., 3]
    profiles = []
    for axis, size in enumerate((shape[1], shape[0])):
        sigma, focus, depth, a, b = psf.kernel.model.curves[axis].tolist()
        u = (z - focus) / depth
        width = sqrt(2) * sigma * torch.sqrt(1 + u * u * (1 + u * (a + u * b)))
        edges = torch.arange(size + 1, device=psf.device, dtype=psf.dtype) * psf.kernel.pixel_size_nm[axis]
        cumulated = torch.erf((edges - position[..., axis, None]) / width[..., None])
        profiles.append(0.5 * torch.diff(cumulated, dim=-1))
    return torch.bmm((profiles[1] * photons[..., None]).transpose(1, 2), profiles[0])


def _b_spline(distance: Tensor) -> Tensor:
    """Value of the cubic B-spline at a distance from its knot."""
    away = distance.abs()
    return ((2 - away).clamp(min=0) ** 3 - 4 * (1 - away).clamp(min=0) ** 3) / 6


def _across(psf: TorchKernel, position: Tensor, axis: int, pixels: int) -> tuple[Tensor, Tensor]:
    """First pixel `(n,)` of the patch of each emitter, and the weight `(n, pixels, knots)` of each knot there."""
    knots, centre = psf.kernel.model.knots, float(psf.kernel.model.knots[3 + axis])
    per_pixel = int(knots[2])
    at = position / psf.kernel.pixel_size_nm[axis]
    first = torch.ceil(at.detach() - 0.5 - centre / per_pixel)
    pixel = torch.arange(pixels, device=psf.device, dtype=psf.dtype)
    knot = torch.arange(pixels * per_pixel + 3, device=psf.device, dtype=psf.dtype) - 1
    u = (pixel + (first + 0.5 - at)[:, None]) * per_pixel + centre
    return first.long(), _b_spline(u[:, :, None] - knot)


def _planes(psf: TorchKernel, emitters: Tensor) -> Tensor:
    """Coefficients at the depth of each emitter, and at its place where the PSF changes there: `(n, y, x)`."""
    model = psf.kernel.model
    first, step = model.knots[:2].tolist()
    nodes_y, nodes_x, planes = model.coefficients.shape[:3]
    plane = torch.arange(planes, device=psf.device, dtype=psf.dtype) - 1
    weights = _b_spline((emitters[:, 2, None] - first) / step - plane)
    for axis, nodes in enumerate((nodes_x, nodes_y)):
        if nodes_x * nodes_y > 1:
            u = (emitters[:, axis] / float(model.nodes[axis])).clamp(0, nodes - 1)
            node = torch.arange(nodes, device=psf.device, dtype=psf.dtype)
            share = (1 - (u[:, None] - node).abs()).clamp(min=0)
            weights = (share[:, :, None] * weights[:, None, :]).flatten(1)
    flat = psf.coefficients.flatten(0, 1)
    return (weights @ flat.flatten(1)).view(-1, *flat.shape[1:])


def _splines(psf: TorchKernel, frame_index: Tensor, emitters: Tensor, frames: int, shape: tuple[int, int]) -> Tensor:
    """Evaluate the spline on the pixels around each emitter and add them up in frames with a margin.

    A tensor product of B-splines is three matrix products, one for each axis; most weights are zero, but a GPU is
    faster with them than with picking out the others.
    """
    model = psf.kernel.model
    rows, columns = ((n - 3) // int(model.knots[2]) for n in model.coefficients.shape[3:])
    left, by_x = _across(psf, emitters[:, 0], 0, columns)
    top, by_y = _across(psf, emitters[:, 1], 1, rows)
    light = by_y @ _planes(psf, emitters) @ (by_x * emitters[:, 3, None, None]).transpose(1, 2)
    # emitters so far outside that nothing of them is seen go to a margin of one PSF, which is cut away
    left, top = left.clamp(-columns, shape[1]), top.clamp(-rows, shape[0])
    height, width = shape[0] + 2 * rows, shape[1] + 2 * columns
    down = (frame_index * height + top + rows)[:, None] + torch.arange(rows, device=psf.device)
    pixels = down[:, :, None] * width + (left + columns)[:, None, None] + torch.arange(columns, device=psf.device)
    canvas = light.new_zeros(frames * height * width).index_add(0, pixels.flatten(), light.flatten())
    return canvas.view(frames, height, width)[:, rows : rows + shape[0], columns : columns + shape[1]]


class _CompiledSplines(torch.autograd.Function):
    """Splines on the CPU by the compiled kernels of `optics.kernels`, several times faster than tensors there."""

    @staticmethod
    def forward(
        ctx: Any, kernel: Kernel, frame_index: Tensor, emitters: Tensor, frames: int, shape: tuple[int, int]
    ) -> Tensor:
        ctx.kernel = kernel
        ctx.save_for_backward(frame_index, emitters)
        order = np.argsort(frame_index.numpy(), kind="stable")
        columns = np.ascontiguousarray(emitters.detach().numpy()[order].T, dtype=np.float64)
        out = np.zeros((frames, *shape), np.float32)
        starts = np.searchsorted(frame_index.numpy()[order], np.arange(frames + 1)).astype(np.int64)
        kernels.add_to_frames(out, starts, kernel.model, *columns)
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        frame_index, emitters = (value.detach().numpy() for value in ctx.saved_tensors)
        x, y, z, photons = np.ascontiguousarray(emitters.T, dtype=np.float64)
        out = np.empty((len(frame_index), 4))
        side = ctx.kernel.roi_px + 2
        kernels.pull_back(slope.contiguous().numpy(), frame_index, ctx.kernel.model, side, x, y, z, photons, out)
        return None, None, torch.from_numpy(out.astype(np.float32)), None, None


@dataclass(frozen=True, eq=False)
class TorchSensor:
    """A camera's pixels on a device, every map `(rows, columns)`; made once, for many batches.

    Attributes
    ----------
    pixels
        What it was made from.
    baseline, electrons_per_count, dark_electrons
        As in `lucule.simulate.camera.Sensor`.
    read_noise
        Standard deviation in electrons, or None if no pixel has any.
    """

    pixels: Sensor = field(repr=False)
    baseline: Tensor = field(repr=False)
    electrons_per_count: Tensor = field(repr=False)
    dark_electrons: Tensor = field(repr=False)
    read_noise: Tensor | None = field(repr=False)


def sensor_to_torch(
    camera: Camera | Sensor,
    shape: tuple[int, int],
    device: torch.device | str = "cpu",
    *,
    dtype: torch.dtype = torch.float32,
) -> TorchSensor:
    """Put the pixels of a camera on a device.

    Raises
    ------
    InputError
        The sensor is of another size.

    Examples
    --------
    >>> from lucule.simulate.camera import load_camera
    >>> sensor_to_torch(load_camera("prime95b"), (4, 5)).read_noise.shape
    torch.Size([4, 5])
    """
    pixels = camera if isinstance(camera, Sensor) else sensor_of(camera, shape)
    if pixels.baseline.shape != shape:
        raise InputError("Sensor and frames differ", received=shape, allowed=f"{pixels.baseline.shape}")
    baseline, per_count, dark, read_noise = (
        torch.from_numpy(value).to(device, dtype)
        for value in (pixels.baseline, pixels.electrons_per_count, pixels.dark_electrons, pixels.read_noise)
    )
    return TorchSensor(pixels, baseline, per_count, dark, read_noise if pixels.read_noise.any() else None)


def expose(
    photons: Tensor, camera: Camera | Sensor | TorchSensor, *, generator: torch.Generator | None = None
) -> Tensor:
    """Take pictures of a batch on its device: expected photons to counts, without a gradient.

    Same camera as `lucule.simulate.camera.expose`, other random numbers. On the CPU, float32 frames are taken by that
    compiled code, which is twice as fast as tensors.

    Parameters
    ----------
    photons
        Expected photons `(..., rows, columns)`; below zero counts as zero.
    camera
        The camera, or its sensor for repeated calls (`sensor_to_torch`).
    generator
        Source of the random numbers, on the device of `photons`.

    Returns
    -------
    Counts, of the type of `photons`.

    Raises
    ------
    InputError
        The frames are not of the sensor's size.

    Examples
    --------
    >>> from lucule.simulate.camera import load_camera
    >>> generator = torch.Generator().manual_seed(2)
    >>> counts = expose(torch.full((10, 32, 32), 50.0), load_camera("smlm_challenge"), generator=generator)
    >>> round(float(counts.mean()))  # 6 counts for each photon, above a baseline of 100
    400
    """
    shape = (photons.shape[-2], photons.shape[-1])
    pixels = (
        camera
        if isinstance(camera, TorchSensor)
        else sensor_to_torch(camera, shape, photons.device, dtype=photons.dtype)
    )
    if pixels.baseline.shape != shape:
        raise InputError("Sensor and frames differ", received=shape, allowed=f"{tuple(pixels.baseline.shape)}")
    kind = pixels.pixels.camera
    if photons.device.type == "cpu" and photons.dtype == torch.float32:
        seed = int(torch.randint(2**62, (), generator=generator))
        counts = compiled_expose(photons.detach().reshape(-1, *shape).numpy(), pixels.pixels, seed=seed)
        return torch.from_numpy(counts.astype(np.float32)).view(photons.shape)
    with torch.no_grad():
        mean = photons.detach().clamp(min=0) * kind.quantum_efficiency + pixels.dark_electrons
        electrons = torch.poisson(mean, generator=generator)
        if kind.em_gain > 1:
            # The public torch.distributions.Gamma draws with this function too, but takes no generator. On a GPU each
            # element has a stream of random numbers, of which both draws take from overlapping stretches: without the
            # flip an element's gain depends on its electrons, and the variance came out 11 % too low.
            shapes = electrons.clamp(min=1).flatten().flip(0)
            multiplied = kind.em_gain * torch._standard_gamma(shapes, generator=generator).flip(0).view(mean.shape)
            electrons = torch.where(electrons > 0, multiplied, 0.0)
        if pixels.read_noise is not None:
            noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
            electrons = electrons + pixels.read_noise * noise
        return torch.floor(electrons / pixels.electrons_per_count + pixels.baseline + 0.5).clamp(0, kind.saturation)
