"""From the wavefront in the pupil to the light on the pixels: scalar and vectorial diffraction.

The field of the pupil is carried to the image by a matrix Fourier transform, so that the sampling of the image is free.
Vectorial: the six fields (x, y polarisation for dipoles along x, y, z) pass the interface between sample and coverslip
(Fresnel) and the aplanatic objective, and their intensities add up as for a dipole that rotates freely (Stallinga and
Rieger 2010, Optics Express 18, 24461).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from lucule.core import WorkError
from lucule.simulate.optics.psf import DoubleHelix, Objective, Tetrapod
from lucule.simulate.optics.zernike import noll, osa, zernike

# (n, m) = (2, 2), (4, 2), ...: primary, secondary, ... astigmatism
_ASTIGMATISM_FIRST_ORDER: Final = 2
_FADE_PX: Final = 2


class PupilGrid(NamedTuple):
    """Samples inside the pupil, all arrays `(samples, samples)`."""

    rho: NDArray[np.float64]
    phi: NDArray[np.float64]
    inside: NDArray[np.bool_]
    wavenumber: NDArray[np.float64]  # (samples,), rad/nm


def _samples(psf: Objective) -> int:
    # Twice the window, so that the periodic images of the PSF stay outside; and the defocus at the rim of the pupil
    # must not turn by more than half a cycle between samples.
    cutoff = psf.numerical_aperture / psf.wavelength_nm
    slope = psf.numerical_aperture / np.sqrt(max(psf.immersion_index**2 - psf.numerical_aperture**2, 0.05))
    reach = psf.window_nm + 2 * slope * max(map(abs, psf.z_range_nm))
    return 2 * int(np.ceil(max(reach * cutoff, 24)))


def _grid(psf: Objective) -> PupilGrid:
    n = _samples(psf)
    axis = (2 * np.arange(n) + 1 - n) / n
    kx, ky = np.meshgrid(axis, axis)
    rho = np.hypot(kx, ky)
    wavenumber = 2 * np.pi * psf.numerical_aperture / psf.wavelength_nm * axis
    return PupilGrid(rho, np.arctan2(ky, kx), rho <= 1, wavenumber)


def wavefront(psf: Objective, rho: NDArray[np.float64], phi: NDArray[np.float64]) -> NDArray[np.float64]:
    """Phase in the pupil in radians: aberrations and, for engineered PSFs, the phase mask.

    Parameters
    ----------
    psf
        The PSF.
    rho, phi
        Polar coordinates in the pupil, the rim is 1.
    """
    order = noll if psf.zernike_order == "noll" else osa
    path = np.zeros_like(rho)
    for index, value in psf.zernike_nm.items():
        path += value * zernike(*order(index), rho, phi)
    mask = np.zeros_like(rho)
    if isinstance(psf, Tetrapod):
        turned = phi - np.deg2rad(psf.rotation_deg)
        for k, value in enumerate(psf.astigmatism_nm):
            path += value * zernike(_ASTIGMATISM_FIRST_ORDER + 2 * k, 2, rho, turned)
    if isinstance(psf, DoubleHelix):
        ring = np.clip(np.ceil(psf.rings * rho ** (1 / psf.exponent)), 1, psf.rings)
        mask = (2 * ring - 1) * (phi - np.deg2rad(psf.rotation_deg))
    return 2 * np.pi / psf.wavelength_nm * path + mask


def _fields(psf: Objective, grid: PupilGrid) -> NDArray[np.complex128]:
    """Field in the pupil without phases: `(1 or 6, samples, samples)`."""
    n_medium, n_immersion = psf.sample_index, psf.immersion_index
    sine = psf.numerical_aperture * np.minimum(grid.rho, 1)
    cos_immersion = np.sqrt(np.clip(1 - (sine / n_immersion) ** 2, 1e-6, None))
    cos_medium = np.sqrt(1 - (sine / n_medium) ** 2 + 0j)
    apodisation = np.where(grid.inside, np.sqrt(cos_immersion) / cos_medium, 0)
    if psf.model == "scalar":
        scalar: NDArray[np.complex128] = apodisation[None] * np.sqrt(cos_medium / cos_immersion)
        return scalar
    along_p = 2 * n_medium * cos_medium / (n_medium * cos_immersion + n_immersion * cos_medium)
    along_s = 2 * n_medium * cos_medium / (n_medium * cos_medium + n_immersion * cos_immersion)
    cos, sin = np.cos(grid.phi), np.sin(grid.phi)
    # columns: dipole along x, y, z; the p polarisation is tilted in the sample and radial behind the objective
    p = along_p * np.stack([cos * cos_medium, sin * cos_medium, -sine / n_medium + 0j])
    s = along_s * np.stack([-sin, cos, np.zeros_like(sin)])
    fields: NDArray[np.complex128] = apodisation * np.concatenate([p * cos - s * sin, p * sin + s * cos])
    return fields


def _defocus(psf: Objective, grid: PupilGrid) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
    """Axial wave number in the sample, and the phase of the best focus at the nominal depth."""
    vacuum = 2 * np.pi / psf.wavelength_nm
    transverse = (psf.numerical_aperture * grid.rho) ** 2
    in_medium = vacuum * np.sqrt(psf.sample_index**2 - transverse + 0j)
    in_immersion = vacuum * np.sqrt(np.clip(psf.immersion_index**2 - transverse, 0, None))
    if psf.depth_nm == 0 or psf.sample_index == psf.immersion_index:
        return in_medium, -psf.depth_nm * in_medium.real
    # The stage is where the wavefront of an emitter at the nominal depth is flattest: least squares over the
    # propagating part of the pupil, with a free constant phase.
    rays = grid.inside & (in_medium.imag == 0)
    design = np.stack([in_immersion[rays], np.ones(rays.sum())], axis=1)
    stage, _ = np.linalg.lstsq(design, psf.depth_nm * in_medium.real[rays], rcond=None)[0]
    return in_medium, -stage * in_immersion


def _integrate(n_knots: int, oversampling: int) -> NDArray[np.float64]:
    """Matrix `(n_knots, points)` that integrates samples half a knot apart over a pixel (composite Simpson)."""
    points = 2 * (n_knots - 1) + 2 * oversampling + 1
    weights = np.ones(2 * oversampling + 1)
    weights[1::2] = 4
    weights[2:-1:2] = 2
    weights /= 6 * oversampling
    matrix = np.zeros((n_knots, points))
    for knot in range(n_knots):
        matrix[knot, 2 * knot : 2 * knot + weights.size] = weights
    return matrix


def knots_across(window_nm: float, pixel_nm: float, oversampling: int) -> int:
    """Number of knots over the window, which is a whole number of pixels: every emitter lights the same number."""
    return oversampling * int(np.ceil(window_nm / pixel_nm)) + 1


def _taper(n_knots: int, oversampling: int) -> NDArray[np.float64]:
    """Fade the last two pixels of the window: no edge in the image, and all places in a pixel light it equally."""
    from_edge = np.minimum(np.arange(n_knots), np.arange(n_knots)[::-1]) / (_FADE_PX * oversampling)
    return np.sin(0.5 * np.pi * np.minimum(from_edge, 1)) ** 2


def photons_in(stack: NDArray[np.float64], oversampling: int) -> NDArray[np.float64]:
    """Photons that each plane puts on the pixels, the mean over all places of the emitter in a pixel, `(z, 1, 1)`."""
    planes = np.asarray(np.trapezoid(np.trapezoid(stack, axis=2), axis=1), np.float64)
    return planes[:, None, None] / oversampling**2


def pupil_stack(
    psf: Objective, pixel_size_nm: tuple[float, float], z_nm: NDArray[np.float64], oversampling: int
) -> NDArray[np.float64]:
    """Mean light on pixels at knots around the emitter, `(z, y, x)`, each plane holding one photon per emitter.

    Parameters
    ----------
    psf
        A pupil, double helix or Tetrapod.
    pixel_size_nm
        Camera pixels (x, y). Knots are `1 / oversampling` pixels apart and symmetric around the emitter; each holds the
        integral over one whole pixel around it.
    z_nm
        Heights of the emitter over the focus.
    oversampling
        Knots for one pixel.

    Raises
    ------
    WorkError
        The PSF has no energy in the window.
    """
    grid = _grid(psf)
    phases = np.exp(1j * wavefront(psf, grid.rho, grid.phi))
    fields = _fields(psf, grid) * phases
    in_medium, focus = _defocus(psf, grid)
    carry, spread = [], []
    for pixel_nm in pixel_size_nm:
        n_knots = knots_across(psf.window_nm, pixel_nm, oversampling)
        spread.append(_integrate(n_knots, oversampling))
        points = spread[-1].shape[1]
        position = (np.arange(points) - (points - 1) / 2) * pixel_nm / (2 * oversampling)
        carry.append(np.exp(1j * np.outer(position, grid.wavenumber)))
    stack = np.empty((len(z_nm), spread[1].shape[0], spread[0].shape[0]))
    for plane, z in zip(stack, z_nm, strict=True):
        turn = np.where(grid.inside, np.exp(1j * ((psf.depth_nm + z) * in_medium + focus)), 0)
        image = np.zeros((carry[1].shape[0], carry[0].shape[0]))
        for field in fields:
            amplitude = carry[1] @ (field * turn) @ carry[0].T
            image += amplitude.real**2 + amplitude.imag**2
        if psf.blur_nm:
            for axis, pixel_nm in ((1, pixel_size_nm[0]), (0, pixel_size_nm[1])):
                step_nm = pixel_nm / (2 * oversampling)
                image = gaussian_filter1d(image, psf.blur_nm / step_nm, axis=axis, mode="nearest")
        plane[:] = spread[1] @ image @ spread[0].T
    stack *= np.outer(*(_taper(n, oversampling) for n in stack.shape[1:]))
    energy = photons_in(stack, oversampling)
    if not np.all(np.isfinite(energy)) or energy.min() <= 0:
        raise WorkError("The PSF has no energy", received=f"sum {energy.min():g} in a window of {psf.window_nm:g} nm")
    return stack / energy
