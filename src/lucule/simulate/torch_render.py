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
    x, y, z, photons = (value.to(psf.device, psf.dtype) for value in (x, y, z, photons))
    frame_index = frame_index.to(psf.device, torch.int64)
    if check:
        _check(psf.kernel, frame_index, z, frames)
    background = torch.as_tensor(background, device=psf.device, dtype=psf.dtype)
    if psf.kernel.is_gaussian:
        light = _gaussians(psf, frame_index, x, y, z, photons, frames, shape)
    elif psf.device.type == "cpu" and psf.dtype == torch.float32:
        light = _CompiledSplines.apply(psf.kernel, frame_index, x, y, z, photons, frames, shape)
    else:
        light = _splines(psf, frame_index, x, y, z, photons, frames, shape)
    return light + background


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
    """Expected photons of frames from padded lists `(frames, places)`; places with 0 photons hold no emitter."""
    used = photons > 0
    frame_index = torch.arange(len(x), device=x.device)[:, None].expand_as(x)[used]
    columns = (x[used], y[used], z[used], photons[used])
    return render(psf, frame_index, *columns, frames=len(x), shape=shape, background=background, check=check)


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


def _gaussians(
    psf: TorchKernel,
    frame_index: Tensor,
    x: Tensor,
    y: Tensor,
    z: Tensor,
    photons: Tensor,
    frames: int,
    shape: tuple[int, int],
) -> Tensor:
    """Sum separable profiles of a frame's emitters: one matrix product for each frame."""
    order = torch.argsort(frame_index, stable=True)
    frame_index = frame_index[order]
    counts = torch.bincount(frame_index, minlength=frames)
    most = int(counts.max()) if counts.numel() else 0
    starts = torch.cumsum(counts, 0) - counts
    place = torch.arange(len(order), device=psf.device) - starts[frame_index]
    profiles = []
    for axis, (position, size) in enumerate(((x, shape[1]), (y, shape[0]))):
        sigma, focus, depth, a, b = psf.kernel.model.curves[axis].tolist()
        u = (z[order] - focus) / depth
        width = sqrt(2) * sigma * torch.sqrt(1 + u * u * (1 + u * (a + u * b)))
        edges = torch.arange(size + 1, device=psf.device, dtype=psf.dtype) * psf.kernel.pixel_size_nm[axis]
        cumulated = torch.erf((edges - position[order, None]) / width[:, None])
        profile = 0.5 * torch.diff(cumulated, dim=1)
        if axis == 0:
            profile = profile * photons[order, None]
        padded = torch.zeros((frames, most, size), device=psf.device, dtype=psf.dtype)
        profiles.append(padded.index_put((frame_index, place), profile))
    return torch.bmm(profiles[1].transpose(1, 2), profiles[0])


def _weights(t: Tensor) -> Tensor:
    """Weights of the four B-spline coefficients of a cell, `(n, 4)`."""
    s = 1 - t
    middle = (3 * t - 6) * t * t / 6 + 4 / 6, (3 * s - 6) * s * s / 6 + 4 / 6
    return torch.stack([s * s * s / 6, *middle, t * t * t / 6], dim=-1)


def _along(position: Tensor, pixel_nm: float, centre: float, per_pixel: int) -> tuple[Tensor, Tensor]:
    """First pixel `(n,)` of each emitter, and the weights `(n, per_pixel + 3)` of the knots from its first one."""
    at = position / pixel_nm
    first = torch.ceil(at.detach() - 0.5 - centre / per_pixel)
    u = ((first + 0.5 - at) * per_pixel + centre).clamp(min=0)
    cell = u.detach().floor().clamp(max=per_pixel - 1)
    padded = torch.zeros((len(at), per_pixel + 3), device=at.device, dtype=at.dtype)
    places = cell.long()[:, None] + torch.arange(4, device=at.device)
    return first.long(), padded.scatter(1, places, _weights(u - cell))


def _planes(psf: TorchKernel, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Coefficients collapsed along z, and over the field where the PSF changes there: `(n, y, x)`."""
    model = psf.kernel.model
    first, step = model.knots[:2].tolist()
    nodes_y, nodes_x, planes = model.coefficients.shape[:3]
    u = (z - first) / step
    plane = u.detach().floor().clamp(0, planes - 4)
    by_z = _weights(u - plane)
    corners: list[tuple[Tensor, Tensor]] = [(torch.zeros_like(plane), torch.ones_like(z))]
    if nodes_y * nodes_x > 1:
        fx = (x / float(model.nodes[0])).clamp(0, nodes_x - 1)
        fy = (y / float(model.nodes[1])).clamp(0, nodes_y - 1)
        i, j = fx.detach().floor().clamp(max=nodes_x - 2), fy.detach().floor().clamp(max=nodes_y - 2)
        tx, ty = fx - i, fy - j
        corners = [
            ((j + dj) * nodes_x + i + di, (ty if dj else 1 - ty) * (tx if di else 1 - tx))
            for dj in (0, 1)
            for di in (0, 1)
        ]
    flat = psf.coefficients.flatten(0, 1)
    collapsed = torch.zeros((), device=psf.device, dtype=psf.dtype)
    for node, share in corners:
        for k in range(4):
            row = (node * planes + plane + k).long()
            collapsed = collapsed + (share * by_z[:, k])[:, None, None] * flat[row]
    return collapsed


def _splines(
    psf: TorchKernel,
    frame_index: Tensor,
    x: Tensor,
    y: Tensor,
    z: Tensor,
    photons: Tensor,
    frames: int,
    shape: tuple[int, int],
) -> Tensor:
    """Evaluate the spline on the pixels around each emitter and add them up in frames with a margin."""
    model = psf.kernel.model
    per_pixel = int(model.knots[2])
    rows, columns = ((n - 3) // per_pixel for n in model.coefficients.shape[3:])
    left, by_x = _along(x, psf.kernel.pixel_size_nm[0], float(model.knots[3]), per_pixel)
    top, by_y = _along(y, psf.kernel.pixel_size_nm[1], float(model.knots[4]), per_pixel)
    # emitters so far outside that nothing of them is seen go to a margin of one PSF, which is cut away
    left, top = left.clamp(-columns, shape[1]), top.clamp(-rows, shape[0])
    planes = _planes(psf, x, y, z)
    lines = torch.zeros((), device=psf.device, dtype=psf.dtype)
    for k in range(per_pixel + 3):
        lines = lines + by_y[:, k, None, None] * planes[:, k : k + per_pixel * rows : per_pixel]
    light = torch.zeros((), device=psf.device, dtype=psf.dtype)
    for k in range(per_pixel + 3):
        part = lines[:, :, k : k + per_pixel * columns : per_pixel]
        light = light + (photons * by_x[:, k])[:, None, None] * part
    height, width = shape[0] + 2 * rows, shape[1] + 2 * columns
    down = (frame_index * height + top + rows)[:, None] + torch.arange(rows, device=psf.device)
    pixels = down[:, :, None] * width + (left + columns)[:, None, None] + torch.arange(columns, device=psf.device)
    canvas = torch.zeros(frames * height * width, device=psf.device, dtype=psf.dtype)
    canvas = canvas.index_add(0, pixels.flatten(), light.flatten())
    return canvas.view(frames, height, width)[:, rows : rows + shape[0], columns : columns + shape[1]]


class _CompiledSplines(torch.autograd.Function):
    """Splines on the CPU by the compiled kernels of `optics.kernels`, several times faster than tensors there."""

    @staticmethod
    def forward(
        ctx: Any,
        kernel: Kernel,
        frame_index: Tensor,
        x: Tensor,
        y: Tensor,
        z: Tensor,
        photons: Tensor,
        frames: int,
        shape: tuple[int, int],
    ) -> Tensor:
        ctx.kernel = kernel
        ctx.save_for_backward(frame_index, x, y, z, photons)
        order = np.argsort(frame_index.numpy(), kind="stable")
        index, *columns = (value.detach().numpy()[order] for value in (frame_index, x, y, z, photons))
        out = np.zeros((frames, *shape), np.float32)
        starts = np.searchsorted(index, np.arange(frames + 1)).astype(np.int64)
        kernels.add_to_frames(out, starts, kernel.model, *(column.astype(np.float64) for column in columns))
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        frame_index, *columns = (value.detach().numpy() for value in ctx.saved_tensors)
        out = np.empty((len(frame_index), 4))
        side = ctx.kernel.roi_px + 2
        parameters = [column.astype(np.float64) for column in columns]
        kernels.pull_back(slope.contiguous().numpy(), frame_index, ctx.kernel.model, side, *parameters, out)
        x, y, z, photons = torch.from_numpy(out.astype(np.float32)).unbind(dim=1)
        return None, None, x, y, z, photons, None, None


def expose(photons: Tensor, camera: Camera | Sensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Take pictures of a batch on its device: expected photons to counts, without a gradient.

    Same camera as `lucule.simulate.camera.expose`, other random numbers.

    Parameters
    ----------
    photons
        Expected photons `(frames, rows, columns)`; below zero counts as zero.
    camera
        The camera, or its sensor for repeated calls.
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
    pixels = camera if isinstance(camera, Sensor) else sensor_of(camera, (photons.shape[-2], photons.shape[-1]))
    if pixels.baseline.shape != tuple(photons.shape[-2:]):
        raise InputError("Sensor and frames differ", received=tuple(photons.shape), allowed=f"{pixels.baseline.shape}")
    kind = pixels.camera
    baseline, per_count, read_noise, dark = (
        torch.from_numpy(value).to(photons.device, photons.dtype)
        for value in (pixels.baseline, pixels.electrons_per_count, pixels.read_noise, pixels.dark_electrons)
    )
    with torch.no_grad():
        mean = photons.detach().clamp(min=0) * kind.quantum_efficiency + dark
        electrons = torch.poisson(mean, generator=generator)
        if kind.em_gain > 1:
            # the public torch.distributions.Gamma draws with this function too, but takes no generator
            multiplied = kind.em_gain * torch._standard_gamma(electrons.clamp(min=1), generator=generator)
            electrons = torch.where(electrons > 0, multiplied, 0.0)
        if pixels.read_noise.any():
            noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
            electrons = electrons + read_noise * noise
        return torch.floor(electrons / per_count + baseline + 0.5).clamp(0, kind.saturation)
