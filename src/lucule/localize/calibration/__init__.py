"""Calibration: the PSF from stacks of beads, the camera from dark and flat frames or from an ordinary movie."""

from lucule.localize.calibration.camera import CameraCalibration, calibrate_camera
from lucule.localize.calibration.file import Calibration, load_psf_file
from lucule.localize.calibration.movie_gain import Optics, camera_from_movie
from lucule.localize.calibration.psf import calibrate_psf
from lucule.localize.calibration.pupil import FoundPupil, pupil_from_movie
from lucule.localize.calibration.settings import PsfSettings

__all__ = [
    "Calibration",
    "CameraCalibration",
    "FoundPupil",
    "Optics",
    "PsfSettings",
    "calibrate_camera",
    "calibrate_psf",
    "camera_from_movie",
    "load_psf_file",
    "pupil_from_movie",
]
