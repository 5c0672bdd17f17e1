"""Optics: point spread functions on pixels, background, illumination, drift and vibration."""

from lucule.simulate.optics.compiled import Kernel, compile_psf, compile_stack
from lucule.simulate.optics.fields import Background, Illumination, sample_map
from lucule.simulate.optics.motion import Motion
from lucule.simulate.optics.presets import available_psfs, load_psf, parse_psf
from lucule.simulate.optics.psf import (
    PSF,
    Astigmatic,
    DefocusCurve,
    DoubleHelix,
    FieldDependent,
    Gaussian,
    Pupil,
    Spline,
    Tetrapod,
)
from lucule.simulate.optics.render import add_emitters
from lucule.simulate.optics.stacks import Stack, read_stack, save_stack

__all__ = [
    "PSF",
    "Astigmatic",
    "Background",
    "DefocusCurve",
    "DoubleHelix",
    "FieldDependent",
    "Gaussian",
    "Illumination",
    "Kernel",
    "Motion",
    "Pupil",
    "Spline",
    "Stack",
    "Tetrapod",
    "add_emitters",
    "available_psfs",
    "compile_psf",
    "compile_stack",
    "load_psf",
    "parse_psf",
    "read_stack",
    "sample_map",
    "save_stack",
]
