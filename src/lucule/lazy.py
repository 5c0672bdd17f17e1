"""Modules and names of a package that are loaded when they are first used, so that importing the package is quick."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


def at_first_use(
    package: str, *, rooms: Iterable[str] = (), homes: Mapping[str, str] = _NOTHING, loaded: Iterable[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make `__getattr__` and `__dir__` of a package.

    Parameters
    ----------
    package
        Its name.
    rooms
        Its modules that are at hand by their own names.
    homes
        Names that are at hand, and the modules that hold them.
    loaded
        Names that the package holds itself.

    Examples
    --------
    >>> get, names = at_first_use("json", rooms=["tool"], homes={"JSONDecoder": "json.decoder"})
    >>> get("JSONDecoder").__module__, names()
    ('json.decoder', ['JSONDecoder', 'tool'])
    """
    modules = frozenset(rooms)

    def get(name: str) -> Any:
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        if name in homes:
            return getattr(importlib.import_module(homes[name]), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, lambda: sorted({*modules, *homes, *loaded})
