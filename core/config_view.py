"""What may be shown of a config: its fields, and those values that cannot be a secret.

A config is any object that a capability's author made, and nothing says which of its texts are
passwords or addresses with a password in them. So a value is shown only where it is a number, a
truth value, one of a fixed set of choices, or nothing at all, and its name is not that of a secret.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel

DEEPEST = 4  # levels of configs within configs
MOST_FIELDS = 200
_SECRET = re.compile(
    r"(?:^|_)(?:key|secret|token|passw(?:or)?d|passphrase|pin|salt|credentials?|auth)(?:_|$)"
)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class ConfigField:
    """One field. `name` is a path with dots; `value` is None also where it is `hidden`."""

    name: str
    type: str
    description: str | None
    value: float | int | str | bool | None
    hidden: bool


def type_name(config: object) -> str:
    """The class, with its module."""
    kind = type(config)
    inside = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return inside + kind.__qualname__


def config_fields(config: object) -> list[ConfigField]:
    """The fields of a pydantic model, a dataclass or a mapping, in order; of anything else none."""
    found: list[ConfigField] = []
    for field in _fields(config, "", DEEPEST):
        found.append(field)
        if len(found) == MOST_FIELDS:
            break
    return found


def _fields(config: object, above: str, deeper: int) -> Iterator[ConfigField]:
    for name, annotation, description, value in _members(config):
        path = above + name
        if deeper and (isinstance(value, BaseModel) or _is_record(value)):
            yield from _fields(value, f"{path}.", deeper - 1)
            continue
        shown, value = _shown(name, annotation, value)
        yield ConfigField(path, _spelled(annotation), description, value, not shown)


def _members(config: object) -> Iterator[tuple[str, Any, str | None, Any]]:
    if isinstance(config, BaseModel):
        for name, info in type(config).model_fields.items():
            yield name, info.annotation, info.description, getattr(config, name, None)
    elif _is_record(config):
        hints = _hints(type(config))
        for field in fields(config):  # type: ignore[arg-type]
            yield (
                field.name,
                hints.get(field.name, field.type),
                None,
                getattr(config, field.name, None),
            )
    elif isinstance(config, Mapping):
        for name, value in config.items():
            if isinstance(name, str):
                yield name, type(value), None, value


def _is_record(value: object) -> bool:
    return is_dataclass(value) and not isinstance(value, type)


def _hints(kind: type) -> dict[str, Any]:
    try:
        return get_type_hints(kind)
    except Exception:  # names that only a type checker can resolve
        return {}


def _shown(name: str, annotation: Any, value: object) -> tuple[bool, Any]:
    if _SECRET.search(_HUMP.sub("_", name).lower().replace("-", "_")):
        return False, None
    if value is None or (isinstance(value, bool | int | float) and not isinstance(value, Enum)):
        return True, value
    if isinstance(value, Enum):
        return True, value.name
    if isinstance(value, str) and value in _choices(annotation):
        return True, value
    return False, None


def _choices(annotation: Any) -> set[Any]:
    """What a Literal allows, also as one part of a union."""
    if get_origin(annotation) is Literal:
        return set(get_args(annotation))
    return {choice for part in get_args(annotation) for choice in _choices(part)}


def _spelled(annotation: Any) -> str:
    return inspect.formatannotation(annotation)[:200]
