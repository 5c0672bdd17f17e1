"""What a Gaussian sees of the PSF: widths against z and their defocus curves, focus, lateral wobble."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, least_squares
from scipy.special import erf

from lucule.core import InputError
from lucule.simulate.optics import Astigmatic, DefocusCurve

Floats: TypeAlias = NDArray[np.float64]

# part of the PSF that is fitted, as fits of single molecules do
_REACH_NM: Final = 900.0
_ITERATIONS: Final = 40
_PARAMETERS: Final = 6
# planes where the PSF is wider than this many times its best are not fitted: no Gaussian holds it there
_WIDEST: Final = 4.0
_FEWEST: Final = 8
_LEAST_ASTIGMATISM_NM: Final = 100.0
# light that a Gaussian leaves over (root mean square): a fifth for a usual PSF, half and more for one with lobes
_NO_GAUSSIAN: Final = 0.45
_MOSTLY_NONE: Final = 0.4
_WORST_CURVE: Final = 0.08
_FINE: Final = 2001


@dataclass(frozen=True, eq=False)
class Widths:
    """Elliptic Gaussian at each height, all `(n,)` in nm; NaN where the PSF is none; everywhere if it mostly is none.

    Attributes
    ----------
    z_nm
        Heights.
    sigma_x_nm, sigma_y_nm
        Widths.
    x_nm, y_nm
        Centre of the Gaussian.
    """

    z_nm: Floats
    sigma_x_nm: Floats
    sigma_y_nm: Floats
    x_nm: Floats
    y_nm: Floats


def gaussian_widths(planes: Floats, z_nm: Floats, pixel_nm: float, *, photons: float, background: float) -> Widths:
    """Fit an elliptic Gaussian, integrated over pixels, to every plane by maximum likelihood.

    The planes are expected values, and the fit is the one that single molecules with these photons on this background
    would have on average; so the widths are those that a Gaussian fit of molecules will meet.

    Parameters
    ----------
    planes
        PSF of one photon, `(n, side, side)`, the emitter in the middle.
    z_nm
        Heights `(n,)`.
    pixel_nm
        Pixel size.
    photons, background
        Of such molecules.

    Examples
    --------
    >>> from lucule.simulate.optics import compile_psf
    >>> planes = np.stack([compile_psf("gaussian", 100).image(1050, 1050, z, 1, (21, 21)) for z in (0.0, 400.0)])
    >>> gaussian_widths(planes, np.array([0.0, 400.0]), 100, photons=5000, background=10).sigma_x_nm.round().tolist()
    [130.0, 184.0]
    """
    half = min(int(_REACH_NM / pixel_nm), planes.shape[1] // 2)
    middle = planes.shape[1] // 2
    near = slice(middle - half, middle + half + 1)
    data = photons * np.clip(planes[:, near, near], 0, None) + max(background, 0.1)
    n = len(data)
    edges = np.arange(-half, half + 2) - 0.5
    rows, columns = np.indices(data.shape[1:]) - half
    light = np.clip(data - max(background, 0.1), 0, None)
    total = light.sum(axis=(1, 2))
    at = np.empty((n, _PARAMETERS))
    at[:, 0], at[:, 1] = (light * columns).sum(axis=(1, 2)) / total, (light * rows).sum(axis=(1, 2)) / total
    at[:, 2], at[:, 3] = total, max(background, 0.1)
    # second moments of the brightest part, which the tails hardly touch
    core = np.where(light > 0.2 * light.max(axis=(1, 2), keepdims=True), light, 0)
    for k, position in ((4, columns), (5, rows)):
        centre = at[:, k - 4, None, None]
        at[:, k] = np.sqrt((core * (position - centre) ** 2).sum(axis=(1, 2)) / core.sum(axis=(1, 2))) + 0.3
    for _ in range(_ITERATIONS):
        across, down = _profile(edges, at[:, 0], at[:, 4]), _profile(edges, at[:, 1], at[:, 5])
        shape = down[0][:, :, None] * across[0][:, None, :]
        mean = np.maximum(at[:, 2, None, None] * shape + at[:, 3, None, None], 1e-3)
        amount = at[:, 2, None, None]
        slopes = np.stack([
            amount * down[0][:, :, None] * across[1][:, None, :],
            amount * down[1][:, :, None] * across[0][:, None, :],
            shape,
            np.ones_like(shape),
            amount * down[0][:, :, None] * across[2][:, None, :],
            amount * down[2][:, :, None] * across[0][:, None, :],
        ]).reshape(_PARAMETERS, n, -1)  # fmt: skip
        weight = (1 / mean).reshape(n, -1)
        right = np.einsum("anp,np->na", slopes, (data - mean).reshape(n, -1) * weight)
        fisher = np.einsum("anp,bnp,np->nab", slopes, slopes, weight, optimize=True)
        # scaled to a diagonal of 1, so that a trace of it keeps what no pixel tells from running away
        scale = 1 / np.sqrt(np.maximum(fisher[:, range(_PARAMETERS), range(_PARAMETERS)], 1e-12))
        fisher = fisher * scale[:, :, None] * scale[:, None, :] + 1e-6 * np.eye(_PARAMETERS)
        change = scale * np.linalg.solve(fisher, (scale * right)[:, :, None])[:, :, 0]
        limit = np.stack([0.5 * at[:, 4], 0.5 * at[:, 5], 0.5 * at[:, 2], 0.5 * at[:, 3] + 1, 0.3 * at[:, 4],
                          0.3 * at[:, 5]], axis=1)  # fmt: skip
        at += np.clip(change, -limit, limit)
        at[:, :2] = np.clip(at[:, :2], -half, half)
        at[:, 2:4] = np.maximum(at[:, 2:4], 1e-3)
        at[:, 4:] = np.clip(at[:, 4:], 0.3, 2 * half)
        if np.abs(change[:, [0, 1, 4, 5]]).max() < 1e-4:
            break
    columns_fit, rows_fit = (_profile(edges, at[:, k], at[:, k + 4])[0] for k in (0, 1))
    fitted = at[:, 2, None, None] * rows_fit[:, :, None] * columns_fit[:, None, :] + at[:, 3, None, None]
    left_over = np.sqrt(((data - fitted) ** 2).sum(axis=(1, 2)) / (light**2).sum(axis=(1, 2)))
    none = (left_over > _NO_GAUSSIAN) | (np.abs(at[:, :2]) >= half).any(axis=1)
    if none.mean() > _MOSTLY_NONE:
        none[:] = True
    nm = np.where(none[:, None], np.nan, pixel_nm * at)
    return Widths(np.asarray(z_nm, np.float64), nm[:, 4], nm[:, 5], nm[:, 0], nm[:, 1])


def _profile(edges: Floats, position: Floats, sigma: Floats) -> tuple[Floats, Floats, Floats]:
    """Light on pixels between edges `(n, pixels)`, and its derivatives by position and sigma."""
    u = (edges[None, :] - position[:, None]) / sigma[:, None]
    bell = np.exp(-0.5 * u**2) / np.sqrt(2 * np.pi)
    whole = 0.5 * erf(u / np.sqrt(2))
    return np.diff(whole), -np.diff(bell) / sigma[:, None], -np.diff(u * bell) / sigma[:, None]


def defocus_curve(z_nm: Floats, sigma_nm: Floats) -> tuple[DefocusCurve, float]:
    """Fit sigma(z) = sigma0 sqrt(1 + u^2 + a u^3 + b u^4), u = (z - focus) / depth (Huang et al. 2008).

    Returns
    -------
    The curve, and the root mean square of its relative residuals.

    Examples
    --------
    >>> z = np.linspace(-600, 600, 41)
    >>> curve, miss = defocus_curve(z, 120 * np.sqrt(1 + ((z - 200) / 400) ** 2))
    >>> round(curve.focus_nm), round(curve.depth_nm), round(miss, 4)
    (200, 400, 0.0)
    """
    smallest = int(np.argmin(sigma_nm))
    best = sigma_nm[smallest]
    good = sigma_nm < _WIDEST * best
    z, sigma = z_nm[good], sigma_nm[good]
    spread = max(float(np.ptp(z)) / 3, 50.0)

    def curve(p: Floats) -> Floats:
        u = (z - p[1]) / p[2]
        width: Floats = p[0] * np.sqrt(np.maximum(1 + u**2 * (1 + p[3] * u + p[4] * u**2), 1e-4))
        return width

    def miss(p: Floats) -> Floats:
        relative: Floats = curve(p) / sigma - 1
        return relative

    low = [0.3 * best, z_nm.min() - 500, 50.0, -2.0, 0.0]
    high = [2.0 * best, z_nm.max() + 500, 3000.0, 2.0, 3.0]
    start = [best, z_nm[smallest], spread, 0.0, 0.01]
    fitted = least_squares(miss, start, bounds=(low, high), x_scale=[best, 100, 100, 0.3, 0.3], loss="soft_l1",
                           f_scale=0.1)  # fmt: skip
    sigma_nm_, focus, depth, a, b = map(float, fitted.x)
    found = DefocusCurve(sigma_nm=sigma_nm_, focus_nm=focus, depth_nm=depth, a=a, b=b)
    return found, float(np.sqrt(np.mean(miss(fitted.x) ** 2)))


def sigma_at(curve: DefocusCurve, z_nm: Floats) -> Floats:
    """Width of a defocus curve, nm."""
    u = (z_nm - curve.focus_nm) / curve.depth_nm
    width: Floats = curve.sigma_nm * np.sqrt(np.maximum(1 + u**2 * (1 + curve.a * u + curve.b * u**2), 0))
    return width


@dataclass(frozen=True, eq=False)
class GaussianModel:
    """Astigmatic Gaussian of a PSF, or why there is none.

    Attributes
    ----------
    psf
        The model; None where the PSF is none.
    focus_nm
        Height where both widths are equal.
    misfit
        Root mean square of the relative residuals of both curves.
    reason
        Why there is no model.
    """

    psf: Astigmatic | None
    focus_nm: float | None
    misfit: float
    reason: str = ""


def astigmatic_model(widths: Widths) -> GaussianModel:
    """Fit defocus curves to the widths, where the PSF is an astigmatic Gaussian."""
    known = np.isfinite(widths.sigma_x_nm)
    z = widths.z_nm[known]
    if not len(z):
        return GaussianModel(None, None, np.nan, "the PSF is not like a Gaussian; z = 0 is the middle of the stack")
    if len(z) < _FEWEST:
        return GaussianModel(None, None, np.nan, f"there are {len(z)} heights, {_FEWEST} are needed")
    x, miss_x = defocus_curve(z, widths.sigma_x_nm[known])
    y, miss_y = defocus_curve(z, widths.sigma_y_nm[known])
    miss = float(np.hypot(miss_x, miss_y) / np.sqrt(2))
    apart = abs(x.focus_nm - y.focus_nm)
    low, high = float(z.min()), float(z.max())
    if miss > _WORST_CURVE:
        return GaussianModel(None, None, miss, f"its widths differ from defocus curves by {100 * miss:.0f} %")
    if apart < _LEAST_ASTIGMATISM_NM:
        return GaussianModel(None, None, miss, f"the foci of x and y are only {apart:.0f} nm apart")
    first, last = sorted((x.focus_nm, y.focus_nm))
    first, last = max(first, low), min(last, high)

    def difference(z: float) -> float:
        at = np.array([z])
        return float((sigma_at(x, at) - sigma_at(y, at))[0])

    if first >= last or difference(first) * difference(last) > 0:
        return GaussianModel(None, None, miss, "the widths of x and y are nowhere equal between their foci")
    focus = float(brentq(difference, first, last))
    try:
        psf = Astigmatic.parse({"x": x, "y": y, "z_range_nm": (low, high)}, source="astigmatic model")
    except InputError as error:
        return GaussianModel(None, None, miss, str(error))
    return GaussianModel(psf, focus, miss)


def sharpest(planes: Floats, z_nm: Floats) -> float:
    """Height at which the light is most concentrated: the focus of a PSF without astigmatism."""
    sharp = (planes**2).sum(axis=(1, 2))
    fine = np.linspace(z_nm[0], z_nm[-1], _FINE)
    near = np.abs(z_nm - z_nm[int(np.argmax(sharp))]) <= max(3 * abs(z_nm[1] - z_nm[0]), 150)
    bend = np.polynomial.Polynomial.fit(z_nm[near], sharp[near], 2)
    inside = fine[(fine >= z_nm[near][0]) & (fine <= z_nm[near][-1])]
    return float(inside[int(np.argmax(bend(inside)))])


def shifted(psf: Astigmatic, by_nm: float) -> Astigmatic:
    """The same model with z counted from another height."""
    low, high = psf.z_range_nm
    return psf.replace(
        x=psf.x.replace(focus_nm=psf.x.focus_nm - by_nm),
        y=psf.y.replace(focus_nm=psf.y.focus_nm - by_nm),
        z_range_nm=(low - by_nm, high - by_nm),
    )
