"""A microscope that finds and images the right objects by itself: facade, simulated devices, plan, ledger, policies.

Modules are loaded when they are first used, so that a plan can be looked at without the microscope's own software.
"""

from lucule.lazy import at_first_use

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

__getattr__, __dir__ = at_first_use(__name__, rooms=_ROOMS)
