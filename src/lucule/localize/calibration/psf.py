"""From stacks of beads to a calibrated PSF."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.core import SILENT, Camera, InputError, Progress, Step, package_version
from lucule.core.files import file_sha256
from lucule.localize.calibration.alignment import Placed, all_samples, first_places, judge_shapes, refine
from lucule.localize.calibration.astigmatic import (
    GaussianModel,
    Widths,
    astigmatic_model,
    gaussian_widths,
    sharpest,
    shifted,
)
from lucule.localize.calibration.beads import Bead, find_beads, none_left, read_beads, rejections
from lucule.localize.calibration.crowded import separated
from lucule.localize.calibration.file import Calibration
from lucule.localize.calibration.quality import bounds, remarks, spline_error, tilt, usable_range
from lucule.localize.calibration.reading import Source
from lucule.localize.calibration.settings import PsfSettings
from lucule.localize.calibration.spline import Beads, Grid, Model
from lucule.simulate import load_camera
from lucule.simulate.camera import sensor
from lucule.simulate.optics import Stack
from lucule.simulate.optics.pupil import photons_in

Floats: TypeAlias = NDArray[np.float64]

_ROUNDS: Final = 4
# beads with neighbours join after this round, when the PSF is known well enough to take the neighbours' light off
_SINGLE_ROUNDS: Final = 2
_FEWEST_DEPTHS: Final = 4


def calibrate_psf(
    movies: Source | Sequence[Source],
    camera: Camera | str,
    *,
    settings: PsfSettings,
    progress: Progress = SILENT,
) -> Calibration:
    """Measure the PSF on stacks of beads.

    Beads are found and judged; each is placed in x, y and z against the common PSF, and the common PSF is the spline
    through all of them, in turns. z = 0 is where the astigmatic widths are equal, without astigmatism where the PSF is
    sharpest, and for a PSF with lobes the middle of the stack; there the centre of a Gaussian fit is the place of the
    emitter.

    Parameters
    ----------
    movies
        One stack `(planes, rows, columns)` in counts, or several of the same camera: paths or arrays.
    camera
        The camera, by name, path or description; the pixel size is taken from it.
    settings
        Distance and direction of the planes, window, limits.
    progress
        Where progress is shown.

    Raises
    ------
    InputError
        The stack is no calibration, no bead can be used (with the reasons), or the pixels are not square.

    Examples
    --------
    >>> from lucule.simulate.optics import compile_psf
    >>> from lucule.simulate.camera import expose, load_camera
    >>> camera, kernel = load_camera("ideal"), compile_psf("astigmatic", 100)
    >>> z = np.arange(-500.0, 501, 50)
    >>> at = np.array([2000.0, 6030.0]), np.array([2050.0, 5970.0])
    >>> photons = np.stack([kernel.image(*at, [h, h], 30_000, (80, 80)) + 20 for h in z])
    >>> found = calibrate_psf(expose(photons, camera, seed=1), camera, settings=PsfSettings(step_nm=50))
    >>> found.quality["beads_used"]
    2
    """
    kind = load_camera(camera) if isinstance(camera, str) else camera
    width, height = kind.pixel_size_nm
    if not np.isclose(width, height, rtol=1e-3):
        raise InputError("The pixels are not square", received=f"{width:g} x {height:g} nm")
    sources: list[Any] = list(movies) if isinstance(movies, list | tuple) else [movies]
    if not sources:
        raise InputError("No bead stack is given", allowed="one or more")
    with progress.task("PSF", len(sources) + _ROUNDS + 1, "steps") as task:
        side = Grid.of(width, settings.window_nm, 1.0, (-100.0, 100.0)).side_px
        found: list[Bead] = []
        for number, source in enumerate(sources):
            found += find_beads(read_beads(source, kind, settings), width, side, settings, number)
            task.advance()
        usable = [bead for bead in found if not bead.reason]
        if not usable:
            raise none_left(found, settings.window_nm)
        placed = first_places(usable)
        refused = [bead for bead in found if bead.reason]
        smoothing: float | None = None
        for turn in range(_ROUNDS):
            grid = _grid(placed, width, settings)
            # beads that are not yet in place ask for more smoothing than they need
            beads, smoothing, stack = _fitted(placed, grid, smoothing if turn > 1 else None)
            model = Model(stack, grid)
            placed = [refine(p, model) for p in placed]
            if turn > 0:
                placed, out = judge_shapes(placed, model, grid)
                refused += out
                if not placed:
                    raise none_left(refused, settings.window_nm)
            if turn == _SINGLE_ROUNDS:
                placed, refused = _with_crowded(placed, refused, model, settings)
            task.advance()
        grid = _grid(placed, width, settings)
        beads, smoothing, stack = _fitted(placed, grid)
        result = _result(placed, refused, grid, stack, kind, settings)
        error = spline_error(beads, smoothing, grid)
        quality = result.quality | {"spline_error": error, "smoothing": smoothing}
        gaussian_reason = quality.pop("gaussian_reason")
        task.advance()
    parameters: dict[str, Any] = {"camera": kind.model_dump(mode="json"), "settings": settings.model_dump(mode="json")}
    named = [Path(s) for s in sources if isinstance(s, str | os.PathLike)]
    parameters["movies"] = [{"name": path.name, "sha256": file_sha256(path)} for path in named]
    step = Step(function=f"{__name__}.calibrate_psf", parameters=parameters, version=package_version())
    return replace(
        result,
        quality=quality,
        history=(step,),
        warnings=tuple(remarks(quality, result.astigmatic, gaussian_reason)),
    )


def _with_crowded(
    placed: Sequence[Placed], refused: Sequence[Bead], model: Model, settings: PsfSettings
) -> tuple[list[Placed], list[Bead]]:
    """Add the beads that were refused for their neighbours and are bright enough without these."""
    least = settings.dim_fraction * float(np.median([p.bead.photons for p in placed]))
    freed = [p for p in separated(refused, placed, model) if p.bead.photons >= least]
    places = {(p.bead.movie, p.bead.row, p.bead.column) for p in freed}
    return [*placed, *freed], [bead for bead in refused if (bead.movie, bead.row, bead.column) not in places]


def _grid(placed: Sequence[Placed], pixel_nm: float, settings: PsfSettings) -> Grid:
    """Heights that at least half of the beads reach."""
    low = float(np.median([p.z_nm.min() for p in placed]))
    high = float(np.median([p.z_nm.max() for p in placed]))
    grid = Grid.of(pixel_nm, settings.window_nm, settings.step_nm * settings.z_factor, (low, high))
    if len(grid.z_nm) < _FEWEST_DEPTHS:
        raise InputError(
            "The beads have too few heights in common",
            received=f"{low:g} to {high:g} nm",
            next_step="record a longer stack, with the focus of all beads near its middle",
        )
    return grid


def _fitted(placed: Sequence[Placed], grid: Grid, smoothing: float | None = None) -> tuple[Beads, float, Floats]:
    """Spline through all beads; every plane holds one photon, its border is dark. None: the smoothing is chosen."""
    beads = Beads(all_samples(placed), grid)
    smoothing = beads.smoothing() if smoothing is None else smoothing
    stack = beads.stack(beads.fit(range(len(placed)), smoothing))
    edge = np.concatenate([stack[:, 0], stack[:, -1], stack[:, :, 0], stack[:, :, -1]], axis=1)
    stack = stack - np.median(edge, axis=1)[:, None, None]
    return beads, smoothing, stack / photons_in(stack, grid.per_pixel)


def _result(
    placed: Sequence[Placed],
    refused: Sequence[Bead],
    grid: Grid,
    stack: Floats,
    camera: Camera,
    settings: PsfSettings,
) -> Calibration:
    model = Model(stack, grid)
    planes = model.on(grid.z_nm, (0.0, 0.0))[0]
    light = {"photons": settings.photons, "background": settings.background}
    widths = gaussian_widths(planes, grid.z_nm, grid.pixel_nm, **light)
    gaussian = astigmatic_model(widths)
    focus = _focus(gaussian, widths, planes, grid)
    centre_nm = (_at(focus, grid.z_nm, widths.x_nm), _at(focus, grid.z_nm, widths.y_nm))
    middle = (grid.knots - 1) / 2
    x, y = (middle + nm / grid.pixel_nm * grid.per_pixel for nm in centre_nm)
    plane = (focus - grid.z_nm[0]) / grid.step_nm
    measured = Stack(stack, grid.pixel_nm / grid.per_pixel, grid.step_nm, grid.per_pixel, (float(plane), y, x))
    astigmatic = shifted(gaussian.psf, focus) if gaussian.psf is not None else None
    z = grid.z_nm - focus
    found = Calibration(measured, (float(z[0]), float(z[-1])), pl.DataFrame(), pl.DataFrame(), {}, astigmatic)
    kernel = found.kernel()
    noise = sensor(camera, (3 * kernel.roi_px, 3 * kernel.roi_px)) if camera.kind == "scmos" else camera
    precision = bounds(kernel, noise, z, **light)
    curves = pl.DataFrame({
        "z_nm": z,
        "sigma_x_nm": widths.sigma_x_nm,
        "sigma_y_nm": widths.sigma_y_nm,
        "wobble_x_nm": widths.x_nm - centre_nm[0],
        "wobble_y_nm": widths.y_nm - centre_nm[1],
        "x_err_nm": precision.x,
        "y_err_nm": precision.y,
        "z_err_nm": precision.z,
    })  # fmt: skip
    low, high = usable_range(z, precision, astigmatic)
    unexplained = float(np.median([p.misfit for p in placed]))
    if unexplained > 1:
        raise InputError(
            "The beads show no PSF by which a depth could be told",
            received=f"{len(placed)} beads, {unexplained:.3g} times the light of the PSF not explained by it",
            allowed="planes through the focus of beads that stay where they are",
            next_step="check that these are stacks of beads, and the camera's gain",
        )
    return replace(
        found,
        z_range_nm=(low, high),
        curves=curves,
        beads=_bead_table(placed, refused, grid.pixel_nm, (*centre_nm, focus)),
        quality=_quality(placed, refused, curves.filter(pl.col("z_nm").is_between(low, high)), gaussian, grid.pixel_nm),
    )


def _focus(gaussian: GaussianModel, widths: Widths, planes: Floats, grid: Grid) -> float:
    """Where the widths are equal; without astigmatism the sharpest plane; the middle for a PSF with lobes."""
    if gaussian.focus_nm is not None:
        return gaussian.focus_nm
    if np.isfinite(widths.sigma_x_nm).any():
        return sharpest(planes, grid.z_nm)
    return float(grid.z_nm[0] + grid.z_nm[-1]) / 2


def _at(z: float, z_nm: Floats, values: Floats) -> float:
    """Value at a height, from those that are known; 0 where none is."""
    known = np.isfinite(values)
    return float(np.interp(z, z_nm[known], values[known])) if known.any() else 0.0


def _quality(
    placed: Sequence[Placed],
    refused: Sequence[Bead],
    curves: pl.DataFrame,
    gaussian: GaussianModel,
    pixel_nm: float,
) -> dict[str, Any]:
    """Numbers that judge the calibration; `curves` are those of the usable range."""
    known = curves.filter(pl.col("wobble_x_nm").is_finite())
    wobble = np.hypot(known["wobble_x_nm"].to_numpy(), known["wobble_y_nm"].to_numpy())
    return {
        "beads_found": len(placed) + len(refused),
        "beads_used": len(placed),
        "rejected": rejections(refused),
        "photons_per_plane": float(np.median([p.bead.photons for p in placed])),
        "bleached": float(np.median([p.bead.bleached for p in placed])),
        "misfit": float(np.median([p.misfit for p in placed])),
        "largest_wobble_nm": float(wobble.max()) if len(wobble) else None,
        "smallest_sigma_x_nm": known["sigma_x_nm"].min(),
        "smallest_sigma_y_nm": known["sigma_y_nm"].min(),
        "astigmatic_misfit": gaussian.misfit if np.isfinite(gaussian.misfit) else None,
        "gaussian_reason": gaussian.reason,
    } | tilt(placed, pixel_nm)


def _bead_table(
    placed: Sequence[Placed], refused: Sequence[Bead], pixel_nm: float, centre_nm: tuple[float, float, float]
) -> pl.DataFrame:
    """Beads with their places; `centre_nm` is where the emitter lies in the PSF to which they were aligned."""
    x, y, z = centre_nm
    rows = [
        {
            "movie": p.bead.movie,
            "x_nm": (p.bead.column + 0.5 + p.offset_px[0]) * pixel_nm + x,
            "y_nm": (p.bead.row + 0.5 + p.offset_px[1]) * pixel_nm + y,
            "used": True,
            "reason": "",
            "z_nm": -(p.focus_nm + z),
            "photons": p.bead.photons,
            "bleached": p.bead.bleached,
            "misfit": p.misfit,
        }
        for p in placed
    ] + [
        {
            "movie": bead.movie,
            "x_nm": (bead.column + 0.5) * pixel_nm,
            "y_nm": (bead.row + 0.5) * pixel_nm,
            "used": False,
            "reason": bead.reason,
            "z_nm": np.nan,
            "photons": bead.photons,
            "bleached": bead.bleached,
            "misfit": np.nan,
        }
        for bead in refused
    ]
    return pl.DataFrame(rows)
