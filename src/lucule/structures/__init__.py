"""From localizations to structures: what biologists publish of them."""

from lucule.structures import axons, sarcomeres
from lucule.structures.averaging import Average, AverageSettings, aligned, average

__all__ = [
    "Average",
    "AverageSettings",
    "aligned",
    "average",
    "axons",
    "sarcomeres",
]
