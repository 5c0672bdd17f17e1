"""Shared: small simulated microscopes, and a place on their slide where a cell lies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("pymmcore_plus")

from lucule.acquire.microscope import Microscope


@pytest.fixture
def small() -> Iterator[Callable[..., Microscope]]:
    """Open microscopes of 64 x 64 pixels; all are closed after the test."""
    opened: list[Microscope] = []

    def make(base: str = "simulated", **properties: Any) -> Microscope:
        size = {} if base == "demo_camera" else {"Camera-Rows": 64, "Camera-Columns": 64}
        changed = {key.replace("__", "-"): value for key, value in properties.items()}
        opened.append(Microscope({"based_on": base, "properties": size | changed, "timeout_s": 3.0}))
        return opened[-1]

    yield make
    for microscope in opened:
        microscope.close()


@pytest.fixture
def cell_um() -> Callable[..., tuple[float, float]]:
    """Tell where the middle of a cell lies."""

    def middle(microscope: Microscope, number: int = 0) -> tuple[float, float]:
        specimen = microscope.specimen
        assert specimen is not None
        x, y = specimen.slide.overview(seed=specimen.seed).select("x_um", "y_um").row(number)
        return float(x), float(y)

    return middle
