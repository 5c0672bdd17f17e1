"""Picasso's spline fit as a baseline: calibrated on simulated beads, its coordinates brought to lucule's."""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lucule.core import Camera, WorkError
from lucule.simulate.camera import expose
from lucule.simulate.optics import Kernel

Floats = NDArray[np.float64]

GRADIENTS: Final = (3000.0, 4500.0, 6000.0, 8000.0, 12_000.0)
BOX_PX: Final = 15
_STEP_NM, _BEADS, _BEAD_PHOTONS = 20.0, 9, 40_000.0


@dataclass(frozen=True, eq=False)
class Fit:
    """A calibrated fit.

    Attributes
    ----------
    calibration
        Picasso's own.
    camera
        The camera, as Picasso wants it.
    z
        Slope and offset in nm that bring its z to ours; its sign follows the stage.
    xy_nm
        Shift of (x, y) that brings its positions to ours.
    """

    calibration: dict[str, Any]
    camera: dict[str, Any]
    z: tuple[float, float]
    xy_nm: tuple[float, float]

    def localize(self, movie: NDArray[np.uint16], gradient: float) -> dict[str, Floats]:
        """Columns frame, x, y, z in nm."""
        found = _localize(movie, gradient, self.calibration, self.camera)
        return {
            "frame": found["frame"],
            "x": found["x"] + self.xy_nm[0],
            "y": found["y"] + self.xy_nm[1],
            "z": self.z[0] * found["z"] + self.z[1],
        }


def calibrated(kernel: Kernel, camera: Camera, seed: int) -> Fit:
    """Calibrate on beads that are moved through the depth in steps of 20 nm.

    Raises
    ------
    WorkError
        Picasso finds none of its own beads again.
    """
    rng = np.random.default_rng(seed)
    low, high = kernel.z_range_nm
    depths = np.arange(low, high + 1, _STEP_NM)
    centres = np.array([[i, j] for i in range(3) for j in range(3)]) * 3200.0 + 2000 + rng.uniform(-50, 50, (_BEADS, 2))
    light = np.stack([
        kernel.image(centres[:, 0], centres[:, 1], np.full(_BEADS, z), np.full(_BEADS, _BEAD_PHOTONS), (104, 104)) + 20
        for z in depths
    ])  # fmt: skip
    beads = expose(light.astype(np.float32), camera, seed=seed)
    settings = _settings(camera)
    with quiet():
        from picasso import spline

        info = [{"Frames": len(beads), "Height": 104, "Width": 104}]
        calibration = spline.calibrate_spline(
            beads, info, settings, BOX_PX, 20_000.0, _STEP_NM, magnification_factor=1.0
        )
    found = _localize(beads, 20_000.0, calibration, settings)
    if not len(found["x"]):
        raise WorkError("Picasso found none of the simulated beads", next_step="run the benchmark without it")
    nearest = np.hypot(found["x"][:, None] - centres[:, 0], found["y"][:, None] - centres[:, 1]).argmin(axis=1)
    true = depths[found["frame"].astype(np.int64)]
    # half of the depth range is enough to see sign and offset, and free of wrong minima at the ends
    inner = np.abs(true) < 0.5 * high
    sign = float(np.sign(np.corrcoef(found["z"][inner], true[inner])[0, 1]))
    offset = float(np.median(true[inner] - sign * found["z"][inner]))
    shift = [float(np.median((centres[nearest, k] - found[axis])[inner])) for k, axis in enumerate("xy")]
    return Fit(calibration, settings, (sign, offset), (shift[0], shift[1]))


def _settings(camera: Camera) -> dict[str, Any]:
    """Give the camera as Picasso wants it."""
    return {
        "Baseline": float(camera.baseline),  # type: ignore[arg-type]
        "Sensitivity": float(camera.electrons_per_count) / camera.quantum_efficiency,  # type: ignore[arg-type]
        "Gain": camera.em_gain,
        "Pixelsize": camera.pixel_size_nm[0],
    }


@dataclass(frozen=True)
class Timed:
    """Processor seconds of Picasso on one thread.

    Attributes
    ----------
    spots
        How many it fits.
    fits, whole
        Seconds for the fits alone, and with the detection.
    """

    spots: int
    fits: float
    whole: float


def timed(
    movie: NDArray[np.uint16],
    camera: Camera,
    method: str,
    box: int,
    gradient: float,
    calibration: dict[str, Any] | None = None,
) -> Timed:
    """Time one of Picasso's fits on a movie, after a short part of it that compiles."""
    with quiet(), tempfile.TemporaryDirectory() as folder:
        from picasso import localize

        on_disk = np.memmap(f"{folder}/movie.raw", np.uint16, "w+", shape=movie.shape)
        on_disk[:] = movie
        for frames in (on_disk[:50], on_disk):
            start = time.process_time()
            places, _ = localize.identify(frames, gradient, box, threaded=False)
            found = time.process_time()
            localize.fit(
                frames, camera_info=_settings(camera), identifications=places, box=box, fitting_method=method,
                spline_calibration=calibration, multiprocess=False,
            )  # fmt: skip
            done = time.process_time()
    return Timed(len(places), done - found, done - start)


def _localize(
    movie: NDArray[np.uint16], gradient: float, calibration: dict[str, Any], camera: dict[str, Any]
) -> dict[str, Floats]:
    with quiet(), tempfile.TemporaryDirectory() as folder:
        from picasso import localize

        # it takes movies from files only
        on_disk = np.memmap(f"{folder}/movie.raw", np.uint16, "w+", shape=movie.shape)
        on_disk[:] = movie
        table, _ = localize.localize(
            on_disk,
            camera_info=camera,
            identification_parameters={"Min. Net Gradient": gradient, "Box Size": BOX_PX},
            movie_info=[{"Frames": len(movie), "Height": movie.shape[1], "Width": movie.shape[2]}],
            fitting_method="spline-mle",
            spline_calibration=calibration,
        )
    pixel = camera["Pixelsize"]
    columns = {name: np.asarray(table[name], dtype=np.float64) for name in ("frame", "x", "y", "z")}
    columns["x"], columns["y"] = columns["x"] * pixel, columns["y"] * pixel
    finite = np.all([np.isfinite(values) for values in columns.values()], axis=0)
    return {name: values[finite] for name, values in columns.items()}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what Picasso prints and warns of from the user."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield
