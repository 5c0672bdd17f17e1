"""End-to-end jobs, one file each; they compose the rooms below and hold no algorithms.

Like the rooms of the package, they are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import Any

from lucule.core import InputError
from lucule.lazy import at_first_use

WORKFLOWS = (
    "clusters",
    "compare",
    "axons",
    "experiment",
    "sarcomeres",
)
"""What `lucule run` knows by name."""
_OTHERS = ("averaging", "training")

__getattr__, __dir__ = at_first_use(__name__, rooms=(*WORKFLOWS, *_OTHERS), loaded=("load",))


def load(name: str) -> Any:
    """The module of a workflow: its `Settings` and its `run`.

    Raises
    ------
    InputError
        There is no such workflow.
    """
    if name not in WORKFLOWS:
        raise InputError("There is no such workflow", received=name, allowed=", ".join(WORKFLOWS))
    return importlib.import_module(f"lucule.workflows.{name}")
