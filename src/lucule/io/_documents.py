"""Metadata documents of other programs: YAML with Python objects inside, JSON; plain data out of both."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import yaml

from lucule.core.config import SAFE_LOADER


class _PlainLoader(SAFE_LOADER):  # type: ignore[misc]
    """Reads any YAML into plain data. Python objects are never built, only what they were made of."""


def _python_object(loader: Any, suffix: str, node: yaml.Node) -> Any:
    content = _plain_node(loader, node)
    # numpy numbers stand in Picasso files as [dtype, bytes]
    if suffix.startswith("object/apply:numpy") and suffix.endswith(".scalar"):
        try:
            dtype, raw = content
            return np.frombuffer(raw, dtype=np.dtype(str(dtype["args"][0])))[0].item()
        except (TypeError, ValueError, KeyError, IndexError):
            return None
    return content


def _plain_node(loader: Any, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)


_PlainLoader.add_multi_constructor("tag:yaml.org,2002:python/", _python_object)
_PlainLoader.add_multi_constructor("!", lambda loader, _, node: _plain_node(loader, node))
_PlainLoader.add_multi_constructor("tag:", lambda loader, _, node: _plain_node(loader, node))


def parse_yaml(text: str) -> list[Any]:
    r"""All documents of a YAML text as plain data; unknown tags are dropped.

    Raises
    ------
    yaml.YAMLError
        The text is not YAML.

    Examples
    --------
    >>> parse_yaml("Width: 32\n---\nPick: !!python/tuple [1, 2]")
    [{'Width': 32}, {'Pick': [1, 2]}]
    """
    return [plain(document) for document in yaml.load_all(text, Loader=_PlainLoader)]


def plain(value: Any) -> Any:
    """`value` in the types that JSON knows; keys become text, dates ISO text, bytes hexadecimal text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, dt.date | dt.datetime | dt.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return str(value)
