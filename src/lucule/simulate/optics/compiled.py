"""A PSF on the pixels of a camera: `compile_psf` makes it, a `Kernel` renders it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import ceil
from typing import Annotated, Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, TypeAdapter

from lucule.core import InputError
from lucule.simulate.optics import kernels
from lucule.simulate.optics.bspline import spline_coefficients
from lucule.simulate.optics.kernels import Model
from lucule.simulate.optics.presets import load_psf
from lucule.simulate.optics.psf import (
    PSF,
    Astigmatic,
    DefocusCurve,
    DoubleHelix,
    FieldDependent,
    Gaussian,
    Objective,
    Pupil,
    Spline,
    Tetrapod,
)
from lucule.simulate.optics.pupil import knots_across, photons_in, pupil_stack
from lucule.simulate.optics.stacks import Stack, centre_of, read_stack

Floats: TypeAlias = NDArray[np.float64]
Image: TypeAlias = NDArray[np.float32]
Computed: TypeAlias = Annotated[Pupil | DoubleHelix | Tetrapod | FieldDependent, Field(discriminator="kind")]

# Planes beyond each end of the depth range, so that the ends of the spline do not reach into it.
_SPARE_PLANES: Final = 3
_COMPUTED: Final[TypeAdapter[Computed]] = TypeAdapter(Computed)
# A Gaussian fills this many standard deviations to each side of the region used for precision.
_ROI_SIGMA: Final = 3.5
# Distance of knots at which the cubic spline of a diffraction pattern is true to 5e-4 of its peak.
_KNOTS_NM: Final = 60.0


@dataclass(frozen=True, eq=False)
class Kernel:
    """A PSF for one pixel size.

    Positions are nm from the outer corner of pixel (0, 0), x along columns, y along rows, z upwards. Values are
    photons, integrated over each pixel; the sum over a large window is the number of photons.

    Attributes
    ----------
    psf
        What it was made from.
    pixel_size_nm
        Camera pixel (x, y).
    z_range_nm
        Lowest and highest z.
    roi_px
        Side of a square region that holds the PSF, in pixels, odd; used for precision and fitting.
    model
        The numbers, for compiled code and for torch.
    """

    psf: PSF
    pixel_size_nm: tuple[float, float]
    z_range_nm: tuple[float, float]
    roi_px: int
    model: Model = field(repr=False)

    @property
    def is_gaussian(self) -> bool:
        """Whether the PSF is a (possibly astigmatic) Gaussian; else it is a spline."""
        return bool(self.model.curves.shape[0] > 0)

    def check_depth(self, z: ArrayLike) -> None:
        """Refuse emitters outside the depth range.

        Raises
        ------
        InputError
            A z is outside `z_range_nm` or not a number.
        """
        values = np.asarray(z, dtype=np.float64)
        low, high = self.z_range_nm
        outside = values[~((values >= low) & (values <= high))]
        if outside.size:
            worst = outside.flat[np.argmax(np.abs(np.nan_to_num(outside, nan=np.inf)))]
            raise InputError(
                f"{outside.size} of {values.size} emitters lie outside the depth range of the PSF",
                received=f"z = {worst:g} nm",
                allowed=f"{low:g} to {high:g} nm",
                next_step="choose a PSF with a longer range, move the focus, or leave them out (outside='drop')",
            )

    def image(self, x: ArrayLike, y: ArrayLike, z: ArrayLike, photons: ArrayLike, shape: tuple[int, int]) -> Image:
        """Expected photons of some emitters on one frame `(rows, columns)`, float32.

        Examples
        --------
        >>> kernel = compile_psf("gaussian", 100)
        >>> kernel.image(1050, 1050, 0, 1000, (21, 21)).sum().round(1)
        np.float32(1000.0)
        """
        columns = np.broadcast_arrays(*(np.atleast_1d(np.asarray(c, dtype=np.float64)) for c in (x, y, z, photons)))
        self.check_depth(columns[2])
        frame: Image = np.zeros(shape, dtype=np.float32)
        kernels.add_to_frame(frame, self.model, *map(np.ascontiguousarray, columns))
        return frame

    def patch(self, x: float, y: float, z: float, corner: tuple[int, int], shape: tuple[int, int]) -> Floats:
        """PSF of one photon and its derivatives by x, y, z in 1/nm, `(4, rows, columns)`.

        Parameters
        ----------
        x, y, z
            Position, nm.
        corner, shape
            First (row, column) and size (rows, columns) of the patch.
        """
        self.check_depth(z)
        out = np.empty((4, *shape))
        kernels.patch(self.model, float(x), float(y), float(z), *corner, out)
        return out


def compile_psf(psf: PSF | str, pixel_size_nm: float | Sequence[float]) -> Kernel:
    """Make a PSF ready for rendering on pixels of a given size; pupils take a second or so, once.

    Parameters
    ----------
    psf
        A description, the name of a packaged one, or the path of a YAML file.
    pixel_size_nm
        Size of a camera pixel in the sample: a number or (x, y).

    Raises
    ------
    InputError
        Unknown name, a stack that does not fit the pixels, or a PSF without energy.

    Examples
    --------
    >>> compile_psf("astigmatic", 100).z_range_nm
    (-1100.0, 1100.0)
    """
    description = load_psf(psf) if isinstance(psf, str) else psf
    pixel = np.atleast_1d(np.asarray(pixel_size_nm, dtype=np.float64))
    if pixel.size not in (1, 2) or not np.all((pixel > 0) & np.isfinite(pixel)):
        raise InputError(
            "The pixel size cannot be used", received=pixel_size_nm, allowed="above 0 nm, a number or (x, y)"
        )
    pair = (float(pixel[0]), float(pixel[-1]))
    if isinstance(description, Gaussian | Astigmatic):
        return _gaussian(description, pair)
    if isinstance(description, Spline):  # a file may change, so it is read again
        return _measured(description, pair)
    return _computed(_COMPUTED.dump_json(description), pair)


def _gaussian(psf: Gaussian | Astigmatic, pixel: tuple[float, float]) -> Kernel:
    z_range = psf.z_range_nm
    if isinstance(psf, Astigmatic):
        both = (psf.x, psf.y)
    else:
        both = (DefocusCurve(sigma_nm=psf.sigma_nm, focus_nm=0, depth_nm=psf.depth_nm or 1.0),) * 2
    curves: Floats = np.array([[c.sigma_nm, c.focus_nm, c.depth_nm, c.a, c.b] for c in both])
    if isinstance(psf, Gaussian) and psf.depth_nm is None:
        curves[:, 2] = np.inf
    model = Model(np.array(pixel), curves, np.empty((0, 0, 0, 0, 0), np.float32), np.empty(0), np.empty(0))
    widest = max(kernels.curve_sigma(curve, 0.5 * z) for curve in curves for z in z_range)
    return Kernel(psf, pixel, z_range, 2 * ceil(_ROI_SIGMA * widest / min(pixel)) + 1, model)


@lru_cache(maxsize=16)
def _computed(text: bytes, pixel: tuple[float, float]) -> Kernel:
    psf = _COMPUTED.validate_json(text)
    base = psf.base if isinstance(psf, FieldDependent) else psf
    if isinstance(psf, FieldDependent):
        across, down = psf.nodes
        places = [[psf.at(u, v) for u in np.linspace(-1, 1, across)] for v in np.linspace(-1, 1, down)]
        nodes = np.array([psf.field_size_nm[0] / (across - 1), psf.field_size_nm[1] / (down - 1)])
    else:
        places, nodes = [[psf]], np.ones(2)
    per_pixel = base.oversampling or ceil(max(pixel) / _KNOTS_NM)
    low, high = base.z_range_nm
    cells = max(ceil((high - low) / base.z_step_nm), 1)
    step = (high - low) / cells
    z = low + step * np.arange(-_spare_below(base, step), cells + _SPARE_PLANES + 1, dtype=np.float64)
    stacks = [[spline_coefficients(pupil_stack(place, pixel, z, per_pixel)) for place in row] for row in places]
    coefficients = np.ascontiguousarray(stacks, dtype=np.float32)
    centre = [(knots_across(base.window_nm, side, per_pixel) - 1) / 2 for side in pixel]
    return _spline(psf, pixel, base.z_range_nm, coefficients, (z[0], step, per_pixel, *centre), nodes)


def _spare_below(psf: Objective, step: float) -> int:
    """Spare planes under the range; none that would lie under the coverslip where that would let light grow."""
    if psf.numerical_aperture < psf.sample_index:
        return _SPARE_PLANES
    return min(_SPARE_PLANES, int((psf.depth_nm + psf.z_range_nm[0]) / step))


def _measured(psf: Spline, pixel: tuple[float, float]) -> Kernel:
    stack = read_stack(psf.path)
    given = {name: getattr(psf, name) for name in ("pixel_size_nm", "z_step_nm", "oversampling", "centre")}
    return compile_stack(stack._replace(**{name: value for name, value in given.items() if value is not None}), pixel,
                         psf=psf)  # fmt: skip


def compile_stack(stack: Stack, pixel_size_nm: tuple[float, float], *, psf: Spline) -> Kernel:
    """Make a measured PSF that is in memory ready for rendering.

    Parameters
    ----------
    stack
        The samples, with their distances.
    pixel_size_nm
        Camera pixels (x, y).
    psf
        How the stack is to be used; its path says in messages where the stack comes from.

    Raises
    ------
    InputError
        The sampling is not known or does not fit the pixels, or a plane has no energy.
    """
    sample_nm, step, per_pixel = stack.pixel_size_nm, stack.z_step_nm, stack.oversampling
    if sample_nm is None or step is None:
        raise InputError(
            f"The sampling of {psf.path} is not known",
            received=f"pixel_size_nm={sample_nm}, z_step_nm={step}",
            next_step="name both beside the path",
        )
    if not np.allclose(sample_nm * per_pixel, pixel_size_nm, rtol=1e-3):
        raise InputError(
            "The PSF stack does not fit the camera's pixels",
            received=f"samples of {sample_nm:g} nm, {per_pixel} for a pixel of "
            f"{pixel_size_nm[0]:g} x {pixel_size_nm[1]:g} nm",
            allowed=f"pixels of {sample_nm * per_pixel:g} nm",
        )
    # a whole number of pixels, as in computed PSFs
    rows, columns = (per_pixel * ((n - 1) // per_pixel) + 1 for n in stack.values.shape[1:])
    values = _normalised(stack.values[:, :rows, :columns], psf, per_pixel)
    middle = (values.shape[0] - 1) / 2
    centre_z, centre_y, centre_x = stack.centre or (middle, *centre_of(stack.values, round(middle)))
    first = -centre_z * step
    knots = (first, step, per_pixel, centre_x, centre_y)
    coefficients = np.ascontiguousarray(spline_coefficients(values)[None, None], dtype=np.float32)
    z_range = (first, first + (values.shape[0] - 1) * step)
    return _spline(psf, pixel_size_nm, z_range, coefficients, knots, np.ones(2))


def _normalised(values: Floats, psf: Spline, per_pixel: int) -> Floats:
    if psf.subtract_border:
        border = np.concatenate([values[:, 0], values[:, -1], values[:, :, 0], values[:, :, -1]], axis=1)
        values = values - np.median(border, axis=1)[:, None, None]
    energy = photons_in(values, per_pixel)
    if not np.all(np.isfinite(energy)) or energy.min() <= 0:
        raise InputError(
            "The PSF has no energy",
            received=f"a plane of {psf.path} sums to {energy.min():g}",
            allowed="planes with more light in the middle than at the border",
        )
    return values / (energy if psf.normalise == "plane" else energy.max())


def _spline(
    psf: PSF,
    pixel: tuple[float, float],
    z_range: tuple[float, float],
    coefficients: NDArray[np.float32],
    knots: tuple[float, ...],
    nodes: Floats,
) -> Kernel:
    model = Model(np.array(pixel), np.empty((0, 5)), coefficients, np.array(knots, dtype=np.float64), nodes)
    width = (min(coefficients.shape[3:]) - 3) / knots[2]
    return Kernel(psf, pixel, z_range, 2 * int((width - 1) / 2) + 1, model)
