"""Structures: alignment and averaging of particles."""

from lucule.structures.averaging import (
    Average,
    AverageSettings,
    aligned,
    average,
)

__all__ = [
    "Average",
    "AverageSettings",
    "aligned",
    "average",
]
