"""Axons: found and followed in a field, and the period of their rings."""

from lucule.structures.axons.analysis import Axons, Settings, measure
from lucule.structures.axons.course import Course
from lucule.structures.axons.estimate import Period, PeriodSettings, period
from lucule.structures.axons.molecules import molecules
from lucule.structures.axons.tracing import Axon, TraceSettings, trace

__all__ = [
    "Axon",
    "Axons",
    "Course",
    "Period",
    "PeriodSettings",
    "Settings",
    "TraceSettings",
    "measure",
    "molecules",
    "period",
    "trace",
]
