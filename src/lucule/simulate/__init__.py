"""Simulated localizations with their truth, for training and for scoring.

A `Scenario` says what a field of view looks like, `simulate` draws one field of it, `scenarios` is the versioned list
on which the packaged classifiers were trained.
"""

from lucule.simulate.grid import Viability, build_scenarios, scenarios, viability
from lucule.simulate.outlines import Cell, Square
from lucule.simulate.scenario import Scenario, available, load
from lucule.simulate.table import field_outline, simulate

__all__ = [
    "Cell",
    "Scenario",
    "Square",
    "Viability",
    "available",
    "build_scenarios",
    "field_outline",
    "load",
    "scenarios",
    "simulate",
    "viability",
]
