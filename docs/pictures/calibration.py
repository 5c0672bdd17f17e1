"""Make the pictures of docs/calibrate.md from simulated beads and frames.

python docs/pictures/calibration.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lucule.localize.calibration import PsfSettings, calibrate_camera, calibrate_psf
from lucule.simulate import bead_stack, load_camera, load_psf
from lucule.simulate.camera import expose, sensor
from lucule.simulate.optics import compile_psf
from lucule.view import calibration
from lucule.view.curves import save_figure

FOLDER = Path(__file__).parents[1] / "images"


def wobble(z: np.ndarray) -> np.ndarray:
    """Lateral shift of a badly adjusted microscope."""
    return np.stack([20 * z / 600, -30 * (z / 600) ** 2], axis=-1)


rng = np.random.default_rng(4)
camera = load_camera("emccd_ixon897")
kernel = compile_psf(load_psf("vectorial_astigmatic", z_range_nm=(-1000, 1000)), camera.pixel_size_nm)
x, y = rng.uniform(0, 25_600, (2, 30))
photons = 30_000 * np.exp(0.4 * rng.standard_normal(30))
beads = bead_stack(kernel, camera, x, y, photons, shape=(256, 256), step_nm=20, planes=75, tilt_nm_per_um=(8, -5),
                   wobble=wobble, bleached=0.2, background=50, seed=4)  # fmt: skip
found = calibrate_psf(beads.counts, camera, settings=PsfSettings(step_nm=20))
save_figure(calibration.psf_page(found), FOLDER / "calibrate_psf.png")

pixels = sensor(load_camera("orca_flash4"), (128, 128))
rows, columns = np.indices((128, 128))
shading = np.exp(-((columns - 60) ** 2 + (rows - 70) ** 2) / (2 * 120**2))
dark, *flats = [
    expose(np.broadcast_to(level * shading, (200, 128, 128)).astype(np.float32), pixels, seed=seed)
    for seed, level in enumerate((0, 20, 80, 200, 500))
]
save_figure(calibration.camera_page(calibrate_camera(dark, flats, pixels.camera)), FOLDER / "calibrate_camera.png")
