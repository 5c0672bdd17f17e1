"""lucule: from blinking molecules to biology without hand-set thresholds.

Names are loaded when they are first used, so that importing the package is quick.

Examples
--------
>>> import lucule
>>> locs = lucule.simulate.simulate(lucule.simulate.load("csr", density_per_um2=20), seed=1)
>>> labelled = lucule.classify.classify(locs)
"""

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lucule.core import Localizations, Region
    from lucule.io import read, write

__all__ = ["Localizations", "Region", "read", "write"]

_HOME = {"Localizations": "lucule.core", "Region": "lucule.core", "read": "lucule.io", "write": "lucule.io"}
_ROOMS = (
    "acquire",
    "bench",
    "classify",
    "cluster",
    "core",
    "io",
    "localize",
    "models",
    "process",
    "segment",
    "simulate",
    "space",
    "stats",
    "structures",
    "view",
    "workflows",
)

# a library stays silent unless the program that uses it asks
logging.getLogger("lucule").addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name in _ROOMS:
        return importlib.import_module(f"lucule.{name}")
    raise AttributeError(f"module 'lucule' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_ROOMS])
