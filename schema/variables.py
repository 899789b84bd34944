"""How much the variables of one operation may hold, whatever the schema makes of them.

Arguments have bounds of their own, which are narrower; but a list of half a million items is to be
refused before anybody has looked at each of them, also where a plugin forgot to bound it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphql import GraphQLError

from .errors import TOO_LARGE

_Path = tuple[Any, str | int] | None
"""Where a value is: the path of what it is in, and its name or number there."""


@dataclass(frozen=True, slots=True)
class VariableLimits:
    """`text` is in characters, `items` those of one list or object, `values` counts all there are,
    `depth` is of lists and objects within each other."""

    text: int = 65_536
    items: int = 1_000
    values: int = 10_000
    depth: int = 32


def oversize(variables: Mapping[str, Any], limits: VariableLimits) -> GraphQLError | None:
    """What to say of the first thing in `variables` that is above a limit."""
    pending: list[tuple[_Path, Any, int]] = [(None, variables, 0)]
    values = 0
    while pending:
        path, value, depth = pending.pop()
        values += 1
        if isinstance(value, str):
            found, most, what = len(value), limits.text, "characters"
        elif isinstance(value, Mapping | list):
            found, most, what = len(value), limits.items, "items"
            if depth > limits.depth:
                return _error(path, depth, "levels of nesting", limits.depth)
        else:
            continue
        if found > most:
            return _error(path, found, what, most)
        if isinstance(value, Mapping):
            pending += [((path, key), inner, depth + 1) for key, inner in value.items()]
        elif isinstance(value, list):
            pending += [((path, n), inner, depth + 1) for n, inner in enumerate(value)]
        if values + len(pending) > limits.values:
            return _error(None, values + len(pending), "values", limits.values)
    return None


def _error(path: _Path, found: int, what: str, most: int) -> GraphQLError:
    parts: list[str] = []
    while path is not None:
        path, part = path
        parts.append(str(part))
    name = f"Variable '${'.'.join(reversed(parts))[:100]}' has" if parts else "The variables have"
    return GraphQLError(
        f"{name} {found} {what}; the most is {most}. Send less at once.",
        extensions={"code": TOO_LARGE},
    )
