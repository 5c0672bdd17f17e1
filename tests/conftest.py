"""Shared by all tests: where the real files lie."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

DATA = Path(os.environ.get("LUCULE_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def data_path() -> Callable[[str], Path]:
    """Give the path of a real test file; the test is skipped where the data are not at hand."""
    return _data_path


def _data_path(relative: str) -> Path:
    path = DATA / relative
    if not path.exists():
        pytest.skip(f"real test file {relative} is not at hand (set LUCULE_DATA)")
    return path
