"""End-to-end jobs, one file each; they compose the rooms below and hold no algorithms."""

from __future__ import annotations

import importlib
from typing import Any

from lucule.core import InputError

WORKFLOWS = (
    "clusters",
    "compare",
    "axons",
    "experiment",
    "sarcomeres",
)


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
