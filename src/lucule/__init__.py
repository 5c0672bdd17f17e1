"""lucule: from blinking molecules to biology without hand-set thresholds.

Names are loaded when they are first used, so that importing the package is quick.

Examples
--------
>>> import lucule
>>> locs = lucule.simulate.simulate(lucule.simulate.load("csr", density_per_um2=20), seed=1)
>>> labelled = lucule.classify.classify(locs)
"""

import logging
from typing import TYPE_CHECKING

from lucule.lazy import at_first_use

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

__getattr__, __dir__ = at_first_use(__name__, rooms=_ROOMS, homes=_HOME)
