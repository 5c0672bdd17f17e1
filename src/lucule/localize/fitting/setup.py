"""What to fit, and everything that a block of frames needs for it, made once for a movie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.signal import fftconvolve

from lucule.core import Camera, Config, InputError
from lucule.localize.fitting.bank import Bank, make_bank
from lucule.localize.fitting.detect import Pixels
from lucule.simulate.camera import Sensor
from lucule.simulate.crlb import crlb, floor_of, noise_of
from lucule.simulate.optics import Astigmatic, Gaussian, Kernel, compile_psf
from lucule.simulate.optics.psf import PSF, Spline

if TYPE_CHECKING:
    from lucule.localize.calibration.file import Calibration

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Model = Literal["gaussian", "elliptical", "astigmatic", "spline"]

# start of the width of a Gaussian, nm: in focus at NA 1.3 to 1.5 and 550 to 700 nm
_WIDTH_NM: Final = 130.0
# the region that a movie is searched with loses this much precision at most, for light of a common brightness
_PRECISION_LOST: Final = 0.07
# the region of a fit that no other disturbs loses this much; it is chosen by the depth where the spot was found
_PRECISION_LOST_ALONE: Final = 0.02
# a smaller region is better where neighbours stand in it
_PRECISION_LOST_CROWDED: Final = 0.25
# most emitters lie in this part of the depth range, or within this distance of the focus
_USED, _USUAL_NM, _MOST_USED = 0.6, 500.0, 0.8
_COMMON_LIGHT: Final = (2000.0, 30.0)
_LEAST_ROI_PX, _MOST_ROI_PX = 7, 41


class FitSettings(Config):
    """How emitters are found and fitted.

    Attributes
    ----------
    model
        `gaussian`: one free width. `elliptical`: a free width along x and along y. `astigmatic`: depth from the defocus
        curves of the PSF. `spline`: depth from any other PSF. None: what the PSF is.
    false_alarms
        Emitters that noise alone makes in one frame, on average, at most.
    roi_px
        Side of the region of a fit in pixels, odd; None: as large as precision needs.
    multi
        Whether overlapping emitters are fitted together and hidden ones looked for. Gaussians then have the width of
        the PSF.
    """

    model: Model | None = None
    false_alarms: Annotated[float, Field(gt=0)] = 0.01
    roi_px: Annotated[int, Field(ge=5, le=99)] | None = None
    multi: bool = False


@dataclass(frozen=True, eq=False)
class Fitter:
    """Everything that a block of frames needs, made once for a movie.

    Attributes
    ----------
    settings, model
        As asked for, and the model that was chosen.
    kernel
        The PSF; for Gaussians of free width the one that finds them and starts the fit.
    bank, threshold
        Filters, and the height of a candidate.
    side
        Side of the filters, and of the region of fits together, pixels.
    sides
        Side of the region of a fit alone by the filter that found the spot, `(k,)` pixels.
    sensor, pixels
        The camera's pixels, and their noise as compiled code needs it.
    """

    settings: FitSettings
    model: Model
    kernel: Kernel
    bank: Bank
    threshold: float
    side: int
    sides: Ints
    sensor: Sensor
    pixels: Pixels

    @property
    def has_depth(self) -> bool:
        """Whether z is fitted."""
        return self.model in ("astigmatic", "spline")


def prepare(pixels: Sensor, psf: PSF | str | None = None, settings: FitSettings | None = None) -> Fitter:
    """Make everything ready for the frames of a camera.

    Parameters
    ----------
    pixels
        The camera's pixels.
    psf
        PSF, or the name or path of one; None: a Gaussian of free width.
    settings
        How to find and fit.

    Raises
    ------
    InputError
        The PSF does not fit the pixels or the model, or the region of the fit is larger than the frame.

    Examples
    --------
    >>> from lucule.simulate import load_camera
    >>> from lucule.simulate.camera import sensor
    >>> prepare(sensor(load_camera("ideal"), (64, 64)), "astigmatic").model
    'astigmatic'
    """
    settings = settings or FitSettings()
    psf, _ = gaussian_of(psf, settings)
    camera, shape = pixels.camera, pixels.baseline.shape
    if camera.kind != "ideal" and "electrons_per_count" not in camera.model_fields_set:
        raise InputError(
            "The camera has no gain, without which there are no photons and no errors",
            received=f"kind: {camera.kind}",
            allowed="electrons_per_count, a number or a map",
            next_step="write it into the camera file, or measure it with lucule calibrate camera",
        )
    kernel = compile_psf(Gaussian(sigma_nm=_WIDTH_NM, depth_nm=None) if psf is None else psf, camera.pixel_size_nm)
    model = settings.model or _natural(kernel)
    _check(model, kernel)
    if model in ("gaussian", "elliptical"):
        kernel = _in_focus(kernel)
    lost = _PRECISION_LOST_CROWDED if settings.multi else _PRECISION_LOST
    side = settings.roi_px or _region(kernel, model, lost)
    if side % 2 == 0 or side > min(shape):
        raise InputError(
            "The region of the fit cannot be used",
            received=f"{side} x {side} pixels, frames of {shape[0]} x {shape[1]}",
            allowed=f"an odd number of pixels, up to {min(shape) - 1 + min(shape) % 2}",
            next_step="use larger frames, or a smaller region (roi_px)",
        )
    bank = make_bank(kernel, side)
    sides = np.full(len(bank.z_nm), side)
    if model in ("astigmatic", "spline") and settings.roi_px is None and not settings.multi:
        sides = _regions_by_depth(kernel, bank.z_nm, min(shape))
    noise = noise_of(pixels)
    floor = floor_of(pixels).astype(np.float32)
    weight = (bank.filters**2).mean(axis=0)
    smooth = fftconvolve(np.pad(floor, side // 2, mode="edge"), weight, mode="valid")
    multiplied = noise.excess > 1
    # cumulants of single electrons, and of those that a register multiplies by an exponential factor
    third, fourth = (6.0, 24.0) if multiplied else (1.0, 1.0)
    numbers = Pixels(
        floor,
        np.maximum(smooth, 0).astype(np.float32),
        noise.excess / noise.efficiency,
        third / noise.efficiency**2,
        fourth / noise.efficiency**3,
    )
    threshold = bank.threshold(settings.false_alarms, shape[0] * shape[1])
    return Fitter(settings, model, kernel, bank, threshold, side, sides, pixels, numbers)


def gaussian_of(psf: PSF | str | None, settings: FitSettings) -> tuple[PSF | str | None, Calibration | None]:
    """Where the model `astigmatic` is asked for, the astigmatic Gaussian of a calibration, with that calibration.

    Whatever else is given comes back as it is.

    Raises
    ------
    InputError
        The PSF of the calibration is none.
    """
    path = psf.path if isinstance(psf, Spline) else psf
    measured = isinstance(path, str | Path) and Path(path).suffix.lower() in (".h5", ".hdf5")
    if settings.model != "astigmatic" or not measured:
        return psf, None
    from lucule.localize.calibration.file import load_psf_file

    found = load_psf_file(str(path))
    if found.astigmatic is None:
        raise InputError("This calibration holds no astigmatic Gaussian", received=path,
                         next_step="fit its spline: --model spline")  # fmt: skip
    return found.astigmatic, found


def _natural(kernel: Kernel) -> Model:
    if not kernel.is_gaussian:
        return "spline"
    return "astigmatic" if isinstance(kernel.psf, Astigmatic) else "gaussian"


def _check(model: Model, kernel: Kernel) -> None:
    if model == "astigmatic" and not isinstance(kernel.psf, Astigmatic):
        raise InputError("The model `astigmatic` needs an astigmatic PSF", received=f"a PSF of kind {kernel.psf.kind}",
                         next_step="name one, for example --psf astigmatic")  # fmt: skip
    if model == "spline" and kernel.is_gaussian:
        raise InputError("The model `spline` needs a measured or computed PSF", received="a Gaussian",
                         next_step="name one, for example --psf psf.h5")  # fmt: skip


def _in_focus(kernel: Kernel) -> Kernel:
    """Symmetric Gaussian of the smallest width of a PSF."""
    if isinstance(kernel.psf, Gaussian):
        width = kernel.psf.sigma_nm
    elif isinstance(kernel.psf, Astigmatic):
        # the circle of least confusion
        width = float(np.sqrt(kernel.psf.x.sigma_nm * kernel.psf.y.sigma_nm) * 2**0.25)
    else:
        width = _WIDTH_NM
    return compile_psf(Gaussian(sigma_nm=width, depth_nm=None), kernel.pixel_size_nm)


def _region(kernel: Kernel, model: Model, lost: float) -> int:
    """Smallest side that loses no more than this part of the precision at the depths where most emitters lie."""
    if model in ("gaussian", "elliptical"):
        return max(_largest(kernel), _LEAST_ROI_PX)
    low, high = kernel.z_range_nm
    below, above = (min(_MOST_USED * end, max(_USUAL_NM, _USED * end)) for end in (-low, high))
    return int(_enough(kernel, np.linspace(-below, above, 9), lost).max())


def _regions_by_depth(kernel: Kernel, z_of_filter: Floats, frame: int) -> Ints:
    """Side for each filter that is enough half way to its neighbours, and fits into a frame of that many pixels."""
    low, high = kernel.z_range_nm
    between = 0.5 * (z_of_filter[1:] + z_of_filter[:-1])
    depths = np.stack([np.append(low, between), z_of_filter, np.append(between, high)])
    sides = _enough(kernel, depths.ravel(), _PRECISION_LOST_ALONE).reshape(depths.shape).max(axis=0)
    return np.minimum(sides, frame - 1 + frame % 2)


def _largest(kernel: Kernel) -> int:
    return min(kernel.roi_px, _MOST_ROI_PX)


def _enough(kernel: Kernel, z_nm: Floats, lost: float) -> Ints:
    """Smallest side at each depth that loses no more than this part of the precision."""
    photons, background = _COMMON_LIGHT
    middle = 0.5 * np.array(kernel.pixel_size_nm)
    plain = Camera(kind="ideal", pixel_size_nm=kernel.pixel_size_nm)

    def bound(side: int) -> Floats:
        found = crlb(kernel, plain, middle[0], middle[1], z_nm, photons, background, roi_px=side)
        return np.stack([found.x_err, found.y_err, found.z_err])

    most = _largest(kernel)
    whole = bound(most)
    sides = np.full(len(z_nm), most)
    for side in range(most - 2, _LEAST_ROI_PX - 1, -2):
        good = (bound(side) < (1 + lost) * whole).all(axis=0)
        sides[good & (sides == side + 2)] = side
    return sides
