"""Configurations: frozen, unknown keys refused, YAML in and out."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from lucule.core.errors import InputError
from lucule.core.files import write_text

_TRIED: Final = re.compile(r"[\[\]]|^constrained-|^(float|int|str|bool)$")

SAFE_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Builds plain data only; the C parser is 10 times faster, but not every PyYAML has it."""


class Config(BaseModel):
    """Base of every configuration. Field names carry the unit (`pixel_size_nm`); a mistyped key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def parse(cls, values: dict[str, Any], *, source: str = "settings") -> Self:
        """Validate `values`; an error names each wrong key, its value and what is allowed."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            details = error.errors()
            where = _settings_at(cls, details[0]["loc"])
            raise InputError(
                f"{source} cannot be used",
                received="; ".join(dict.fromkeys(_explain(detail, cls) for detail in details)),
                allowed=f"{where.__name__} has the keys {', '.join(where.model_fields)}",
            ) from None

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str]) -> Self:
        """Read a configuration from a YAML file."""
        return cls.parse(read_yaml(path), source=str(path))

    def to_yaml(self, path: str | os.PathLike[str]) -> Path:
        """Write the configuration, all keys included, to a YAML file."""
        return write_text(path, dump_yaml(self.model_dump(mode="json")))

    def replace(self, **changes: Any) -> Self:
        """A copy with some values changed; the copy is validated again."""
        return self.parse(self.model_dump() | changes, source="changed settings")

    def __repr_args__(self) -> Any:
        """Show only what differs from the default."""
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if field.is_required() or value != field.get_default(call_default_factory=True):
                yield name, value


def _settings_at(settings: type[BaseModel], place: Sequence[Any]) -> type[BaseModel]:
    """The innermost settings on the way to a wrong value: theirs are the keys that a reader wants to know."""
    for part in place:
        field = settings.model_fields.get(str(part))
        inner = [] if field is None else [kind for kind in _types_in(field.annotation) if issubclass(kind, BaseModel)]
        settings = inner[0] if len(inner) == 1 else settings
    return settings


def _types_in(annotation: Any) -> Iterator[type]:
    """Types of which an annotation is made."""
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    for part in get_args(annotation):
        yield from _types_in(part)


def _explain(detail: Any, settings: type[BaseModel]) -> str:
    # of alternatives, pydantic names the types by which it tried
    parts = [str(part) for part in detail["loc"] if not (isinstance(part, str) and _TRIED.search(part))]
    key = ".".join(parts)
    if detail["type"] == "extra_forbidden":
        written = str(detail["loc"][-1])
        return f"{key or written} is not a known key{_meant(written, _settings_at(settings, parts[:-1]))}"
    if detail["type"] == "missing":
        return f"{key} is missing"
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "value_error" and isinstance(detail["input"], Mapping):
        # a rule about several settings says itself which
        return f"{key}: {message}" if key else message
    return f"{key or '(the whole)'}={detail['input']!r}: {message[:1].lower()}{message[1:]}"


def _meant(written: str, settings: type[BaseModel]) -> str:
    """A hint at the known key that an unknown one resembles, or nothing."""
    known = list(settings.model_fields)
    close = [name for name in known if name.startswith(written)] or difflib.get_close_matches(written, known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a YAML file that holds one mapping."""
    try:
        values = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=SAFE_LOADER)  # noqa: S506
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"{path} must hold keys and values", received=type(values).__name__)
    return values


def dump_yaml(values: Any) -> str:
    """Values as YAML text, in the order given."""
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=110)


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """Turn `["epsilon_nm=50", "camera.kind=scmos"]` into nested settings; values are read as YAML.

    Examples
    --------
    >>> parse_assignments(["epsilon_nm=50", "camera.kind=scmos"])
    {'epsilon_nm': 50, 'camera': {'kind': 'scmos'}}
    """
    settings: dict[str, Any] = {}
    for assignment in assignments:
        key, separator, value = assignment.partition("=")
        if not separator or not key:
            raise InputError("--set needs key=value", received=assignment, allowed="for example --set k=100")
        *parents, last = key.split(".")
        target = settings
        for parent in parents:
            target = target.setdefault(parent, {})
        try:
            target[last] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError(f"--set {key}: the value is not valid YAML", received=value) from None
    return settings
