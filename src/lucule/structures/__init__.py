"""From localizations to structures: what biologists publish of them.

Names are loaded when they are first used, so that one kind of structure does not wait for the others.
"""

from typing import TYPE_CHECKING

from lucule.lazy import at_first_use

if TYPE_CHECKING:
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

_ROOMS = ("axons", "sarcomeres")
_HOME = {name: "lucule.structures.averaging" for name in __all__ if name not in _ROOMS}

__getattr__, __dir__ = at_first_use(__name__, rooms=_ROOMS, homes=_HOME)
