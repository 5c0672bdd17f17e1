"""Template-free averaging of particles: registration, symmetry, outliers, classes."""

from lucule.structures.averaging.average import Average, AverageSettings, aligned, average, predicted, superposed
from lucule.structures.averaging.particles import FEWEST_PARTICLES, Particles, collect
from lucule.structures.averaging.sites import sites

__all__ = [
    "FEWEST_PARTICLES",
    "Average",
    "AverageSettings",
    "Particles",
    "aligned",
    "average",
    "collect",
    "predicted",
    "sites",
    "superposed",
]
