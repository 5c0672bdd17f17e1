"""From localizations to structures: what biologists publish of them.

Names are loaded when they are first used, so that one kind of structure does not wait for the others.
"""

import importlib
from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"lucule.structures.{name}")
    if name not in __all__:
        raise AttributeError(f"module 'lucule.structures' has no attribute {name!r}")
    return getattr(importlib.import_module("lucule.structures.averaging"), name)


def __dir__() -> list[str]:
    return __all__
