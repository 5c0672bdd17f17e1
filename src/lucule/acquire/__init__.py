"""A microscope that finds and images the right objects by itself: facade, simulated devices, plan, ledger, policies.

Modules are loaded when they are first used, so that a plan can be looked at without the microscope's own software.
"""

import importlib
from typing import Any

_ROOMS = (
    "calibration",
    "control",
    "experiment",
    "feedback",
    "focus",
    "ledger",
    "live",
    "microscope",
    "plan",
    "results",
    "rig",
    "shifts",
    "stitching",
)


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"lucule.acquire.{name}")
    raise AttributeError(f"module 'lucule.acquire' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_ROOMS)
