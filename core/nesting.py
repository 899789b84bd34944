"""How deep the JSON that clients send may be nested."""

from __future__ import annotations

MAX_NESTING = 200
"""Levels of lists and objects. orjson writes 254 at most, though it reads four times as many; the
difference is room for what such a value is put into on its way to a column or an answer."""


def nested_too_deep(value: object) -> bool:
    """Whether lists and objects stand more than `MAX_NESTING` deep in each other."""
    level = [value]
    for _ in range(MAX_NESTING + 1):
        containers = [each for each in level if isinstance(each, dict | list | tuple)]
        if not containers:
            return False
        level = [
            inner
            for each in containers
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return True
