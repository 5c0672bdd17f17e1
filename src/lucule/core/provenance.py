"""The one way in which history is written: `@step` on every public function that returns a table."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np
from pydantic import BaseModel

from lucule.core.meta import Step

if TYPE_CHECKING:
    from lucule.core.localizations import Localizations

P = ParamSpec("P")

# how something is shown or where it runs is not part of what was done
_NOT_RECORDED = frozenset({"progress", "device", "workers", "keep", "self", "cls"})


def package_version() -> str:
    """Version of lucule; `source` when it runs from a source tree without installation."""
    try:
        return version("lucule")
    except PackageNotFoundError:
        return "source"


def step(function: Callable[P, Localizations]) -> Callable[P, Localizations]:
    """Append exactly one `Step` to the history of the table that `function` returns.

    Tables among the arguments become `inputs`; the history of the first one is continued. All other arguments,
    defaults included, become `parameters`. Steps of functions called inside are not recorded separately, so that the
    history reads as the user's own calls.
    """
    signature = inspect.signature(function)
    name = f"{function.__module__}.{function.__qualname__}"

    @functools.wraps(function)
    def recorded(*args: P.args, **kwargs: P.kwargs) -> Localizations:
        from lucule.core.localizations import Localizations

        result = function(*args, **kwargs)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        tables: list[Localizations] = []
        parameters: dict[str, Any] = {}
        for key, value in bound.arguments.items():
            if isinstance(value, Localizations):
                tables.append(value)
            elif isinstance(value, list | tuple) and value and all(isinstance(v, Localizations) for v in value):
                tables.extend(value)
            elif key not in _NOT_RECORDED:
                parameters[key] = _recordable(value)
        seed = parameters.pop("seed", None)
        done = Step(
            function=name,
            parameters=parameters,
            version=package_version(),
            seed=seed,
            inputs=tuple(table.meta.id for table in tables),
        )
        earlier = tables[0].meta.history if tables else ()
        return Localizations(result.data, result.meta.model_copy(update={"history": (*earlier, done)}))

    return recorded


def _recordable(value: Any) -> Any:
    """A JSON value that stands for an argument; large arrays are named by their hash."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Path):
        return value.name
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:16]
        return {"array": list(value.shape), "sha256": digest}
    if isinstance(value, dict):
        return {str(key): _recordable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_recordable(item) for item in value]
    if hasattr(value, "to_geojson"):
        return _recordable(value.to_geojson())
    return str(value)
