"""How good a calibration is: precision against depth, usable range, tilt of the coverslip, error of the spline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lucule.core import Camera
from lucule.localize.calibration.alignment import Placed
from lucule.localize.calibration.spline import Beads, Grid
from lucule.simulate.camera import Sensor
from lucule.simulate.crlb import crlb
from lucule.simulate.optics import Astigmatic, Kernel

Floats: TypeAlias = NDArray[np.float64]

_PLACES: Final = (0.125, 0.375, 0.625, 0.875)
# molecules are localized where the error in the volume is at most this many times its best
_WORSE: Final = 2.0
_FEWEST_FOR_TILT: Final = 4
_FEW_BEADS: Final = 5
_LARGE_ERROR: Final = 0.10
_PLAUSIBLE_DEPTH_NM: Final = (120.0, 1500.0)


class Bounds(NamedTuple):
    """Cramer-Rao bounds `(n,)`, nm."""

    x: Floats
    y: Floats
    z: Floats


def bounds(kernel: Kernel, camera: Camera | Sensor, z_nm: Floats, photons: float, background: float) -> Bounds:
    """Bound of x, y and z at each height, root mean square over places within a pixel."""
    across = [kernel.roi_px + p for p in _PLACES]
    z, row, column = (a.ravel() for a in np.meshgrid(z_nm, across, across, indexing="ij"))
    low, high = kernel.z_range_nm
    size = kernel.pixel_size_nm
    found = crlb(kernel, camera, column * size[0], row * size[1], np.clip(z, low, high), photons, background)
    means = [np.sqrt(np.mean(e.reshape(len(z_nm), -1) ** 2, axis=1)) for e in (found.x_err, found.y_err, found.z_err)]
    return Bounds(*means)


def usable_range(z_nm: Floats, found: Bounds, astigmatic: Astigmatic | None) -> tuple[float, float]:
    """Depth range around the focus in which the error in the volume, sqrt(x^2 + y^2 + z^2), is at most twice its best.

    Where there is an astigmatic model it ends with the range of that model at the latest.
    """
    volume = np.sqrt(found.x**2 + found.y**2 + found.z**2)
    finite = np.isfinite(volume)
    if not finite.any():
        return float(z_nm[0]), float(z_nm[-1])
    good = finite & (volume <= _WORSE * volume[finite].min())
    if astigmatic is not None:
        good &= (z_nm >= astigmatic.z_range_nm[0] - 1e-6) & (z_nm <= astigmatic.z_range_nm[1] + 1e-6)
    # without z information at the focus itself the nearest good height counts
    start = int(np.flatnonzero(good)[np.argmin(np.abs(z_nm[good]))])
    first = last = start
    while first > 0 and good[first - 1]:
        first -= 1
    while last < len(good) - 1 and good[last + 1]:
        last += 1
    return float(z_nm[first]), float(z_nm[last])


def tilt(placed: Sequence[Placed], pixel_nm: float) -> dict[str, float]:
    """Slope of the coverslip from the foci of the beads, and how far beads lie from that plane.

    Beads of several stacks share the slope; each stack has its own height.
    """
    movies = sorted({p.bead.movie for p in placed})
    if len(placed) < _FEWEST_FOR_TILT + len(movies):
        return {}
    place = np.array([(p.bead.column + p.offset_px[0], p.bead.row + p.offset_px[1]) for p in placed]) * pixel_nm / 1000
    heights = np.array([p.focus_nm for p in placed])
    own = np.array([[p.bead.movie == movie for movie in movies] for p in placed], dtype=np.float64)
    design = np.column_stack([place, own])
    solution, *_ = np.linalg.lstsq(design, heights, rcond=None)
    left = heights - design @ solution
    # a bead in a higher place is in focus when the stage is lower
    return {
        "tilt_x_nm_per_um": -float(solution[0]),
        "tilt_y_nm_per_um": -float(solution[1]),
        "bead_height_spread_nm": float(np.sqrt(np.sum(left**2) / max(len(left) - design.shape[1], 1))),
    }


def spline_error(beads: Beads, smoothing: float, grid: Grid) -> float | None:
    """Relative error of the PSF from noise and differences of the beads: half the difference of two halves.

    None with one bead.
    """
    first, second = beads.halves()
    if not second:
        return None
    middle = np.flatnonzero(beads.covered.sum(axis=0) >= len(beads.covered) - 1)
    if not len(middle):
        return None
    planes = middle[:: max(len(middle) // 8, 1)]
    a, b = (beads.stack(beads.fit(half, smoothing, planes)) for half in (first, second))
    inner = slice(grid.per_pixel, -grid.per_pixel)
    a, b = a[:, inner, inner], b[:, inner, inner]
    return float(0.5 * np.linalg.norm(a - b) / np.linalg.norm(a + b) * 2)


def remarks(quality: dict[str, Any], astigmatic: Astigmatic | None, reason: str) -> list[str]:
    """What the user should know."""
    said = []
    if quality["beads_used"] < _FEW_BEADS:
        said.append(
            f"Only {quality['beads_used']} beads could be used; five or more make the PSF between the pixels sure."
        )
    error = quality["spline_error"]
    if error is not None and error > _LARGE_ERROR:
        said.append(f"The two halves of the beads give PSFs that differ: error {100 * error:.0f} %.")
    if astigmatic is None:
        said.append(f"There is no astigmatic Gaussian model: {reason}. The spline PSF does not need it.")
    else:
        depth = float(np.sqrt(astigmatic.x.depth_nm * astigmatic.y.depth_nm))
        low, high = _PLAUSIBLE_DEPTH_NM
        if not low <= depth <= high:
            said.append(
                f"The PSF doubles its area within {depth:,.0f} nm of the focus, objectives do so within {low:g} to "
                f"{high:g} nm. Check the distance of the planes (--step-nm)."
            )
    return said
