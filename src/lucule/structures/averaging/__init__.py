"""Template-free averaging of particles: registration, symmetry, outliers, classes."""

from lucule.structures.averaging.average import Average, AverageSettings, aligned, average
from lucule.structures.averaging.particles import Particles, collect

__all__ = ["Average", "AverageSettings", "Particles", "aligned", "average", "collect"]
