"""Simulated microscopy with its truth, for training and for scoring: from specimens to tables, movies and images.

A `Scene` names everything from specimen to camera; `localizations`, `movie`, `widefield` and `Microscope` are four ways
to look at the same one, and `imitate` makes one that resembles a given table
or movie. A `Scenario` is a field of clusters,
positions only; `simulate` draws it, and `scenarios` is the list on which the packaged classifiers were trained.
"""

from lucule.core.recipe import Kind
from lucule.lazy import at_first_use
from lucule.simulate.bead_stack import BeadMovie, bead_stack
from lucule.simulate.camera import available_cameras, load_camera
from lucule.simulate.chain import Truth
from lucule.simulate.detection import Detection
from lucule.simulate.dye import dyes, load_dye
from lucule.simulate.grid import Viability, build_scenarios, listed, scenarios, viability
from lucule.simulate.imitate import Imitation, imitate
from lucule.simulate.library import available, load
from lucule.simulate.localizations import localizations
from lucule.simulate.movie import Movie, movie
from lucule.simulate.on_demand import Microscope
from lucule.simulate.optics import available_psfs, load_psf
from lucule.simulate.outlines import Cell, Square
from lucule.simulate.scenario import Scenario
from lucule.simulate.scene import Scene, load_scene, scenes
from lucule.simulate.slide import Slide
from lucule.simulate.spots import find_spots
from lucule.simulate.table import field_outline, simulate
from lucule.simulate.widefield import Widefield, WidefieldImage, widefield

__all__ = [
    "BeadMovie",
    "Cell",
    "Detection",
    "Imitation",
    "Kind",
    "Microscope",
    "Movie",
    "Scenario",
    "Scene",
    "Slide",
    "Square",
    "Truth",
    "Viability",
    "Widefield",
    "WidefieldImage",
    "available",
    "available_cameras",
    "available_psfs",
    "bead_stack",
    "build_scenarios",
    "dyes",
    "field_outline",
    "find_spots",
    "imitate",
    "listed",
    "load",
    "load_camera",
    "load_dye",
    "load_psf",
    "load_scene",
    "localizations",
    "movie",
    "scenarios",
    "scenes",
    "simulate",
    "viability",
    "widefield",
]

_ROOMS = ("optics", "torch_render", "varied_fields")

__getattr__, __dir__ = at_first_use(__name__, rooms=_ROOMS, loaded=__all__)
