"""Calibration: the PSF from stacks of beads, the camera from dark and flat frames or from an ordinary movie."""

from lucule.localize.calibration.file import Calibration, load_psf_file
from lucule.localize.calibration.psf import calibrate_psf
from lucule.localize.calibration.settings import PsfSettings

__all__ = [
    "Calibration",
    "PsfSettings",
    "calibrate_psf",
    "load_psf_file",
]
