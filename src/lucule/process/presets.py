"""Packaged filters: what papers kept before they analysed, as YAML files."""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Final

import yaml

from lucule.core import Config, InputError

_FOLDER: Final = files("lucule.process") / "filters"


class Filter(Config):
    """A sequence of conditions.

    Attributes
    ----------
    title, source
        What it is, and the paper and section it is from.
    steps
        Conditions, in the order in which they are applied.
    """

    title: str
    source: str
    steps: tuple[str, ...]


def available() -> list[str]:
    """Names of the packaged filters.

    Examples
    --------
    >>> available()
    ['caml', 'sarcomere']
    """
    return sorted(file.name.removesuffix(".yaml") for file in _FOLDER.iterdir() if file.name.endswith(".yaml"))


def load_filter(name: str) -> Filter:
    """A packaged filter by its name.

    Raises
    ------
    InputError
        There is none of this name.
    """
    if name not in available():
        raise InputError("There is no such filter", received=name, allowed=", ".join(available()))
    values: dict[str, Any] = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return Filter.parse(values, source=f"the filter {name}")
