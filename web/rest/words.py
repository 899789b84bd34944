"""JSON schemas told to people: HTML that names each model, with a link to its fields."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import orjson

Schema = dict[str, Any]
_BOUNDS = (
    ("minLength", "maxLength", " characters"),
    ("minItems", "maxItems", " items"),
    ("minimum", "maximum", ""),
)


def in_words(schema: Schema) -> str:
    """What a value may be: `array of <a>Session</a>`, `integer, 1 to 200, default 50`."""
    more = [text for bounds in _BOUNDS if (text := _bounds(schema, *bounds))]
    more += [escape(f"as {schema[key]}") for key in ("pattern", "format") if key in schema]
    if "default" in schema and schema["default"] is not None:
        more.append(f"default {_json(schema['default'])}")
    return ", ".join([_kind(schema), *more])


def fields(schema: Schema) -> str:
    """A model as a table of its fields; anything else as what it may be."""
    if "properties" not in schema:
        return f"<p>{in_words(schema)}</p>"
    required = schema.get("required", ())
    return table(
        (f"<code>{escape(name)}</code>", "required" if name in required else "", in_words(each))
        for name, each in schema["properties"].items()
    )


def table(rows: Iterable[Sequence[str]]) -> str:
    """Of rows of HTML."""
    cells = ("".join(f"<td>{cell}</td>" for cell in row) for row in rows)
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"


def _bounds(schema: Schema, low: str, high: str, unit: str) -> str:
    least, most = schema.get(low), schema.get(high)
    if least is not None and most is not None:
        return f"{least} to {most}{unit}"
    if most is not None:
        return f"at most {most}{unit}"
    return "" if least is None else f"{least}{unit} or more"


def _kind(schema: Schema) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(in_words(each) for each in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " or ".join(f"<code>{_json(value)}</code>" for value in values)
    if schema.get("type") == "array":
        return f"array of {in_words(schema['items'])}" if schema.get("items") else "array"
    if schema.get("properties"):
        inside = (
            f"<code>{escape(n)}</code> {in_words(s)}" for n, s in schema["properties"].items()
        )
        return f"object ({'; '.join(inside)})"
    if isinstance(values := schema.get("additionalProperties"), dict):
        return f"object of {in_words(values)}"
    type = schema.get("type", "anything")
    return escape(" or ".join(type) if isinstance(type, list) else type)


def _json(value: object) -> str:
    return escape(orjson.dumps(value).decode())
