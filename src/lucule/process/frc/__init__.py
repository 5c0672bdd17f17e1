"""Fourier ring and shell correlation: curve, thresholds, correction for repeats, maps, course over the movie."""

from lucule.process.frc.between import BetweenSets, between
from lucule.process.frc.correlation import Frc, FrcSettings, frc, fsc
from lucule.process.frc.course import Course, frc_course, frc_map

__all__ = ["BetweenSets", "Course", "Frc", "FrcSettings", "between", "frc", "frc_course", "frc_map", "fsc"]
