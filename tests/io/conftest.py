"""Other readers of the same files, used as oracles; tests that need one are skipped where it is not installed."""

from __future__ import annotations

import warnings
from types import ModuleType

import pytest


def _oracle(name: str) -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module: ModuleType = pytest.importorskip(name, exc_type=ImportError)
    return module


@pytest.fixture(scope="session")
def picasso_io() -> ModuleType:
    """`picasso.io` of the package picassosr."""
    return _oracle("picasso.io")


@pytest.fixture(scope="session")
def locan() -> ModuleType:
    """Locan."""
    return _oracle("locan")
