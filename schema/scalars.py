"""Scalars beyond the five of the specification."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NewType

import strawberry
from graphql import GraphQLError, GraphQLNamedType, GraphQLScalarType, ValueNode
from strawberry.scalars import JSON
from strawberry.schema.types.scalar import DEFAULT_SCALAR_REGISTRY
from strawberry.types.scalar import ScalarDefinition

from ..core.tower.codec import is_finite

__all__ = ["JSON", "SCALARS", "Long", "locate_errors"]

Long = NewType("Long", int)
"""An integer of 64 bits: counters, message ids and sequence numbers outgrow GraphQL's Int."""

_DIGITS = re.compile(r"-?[0-9]{1,19}")


def _parse(value: object) -> Long:
    text = str(value)[:40] if isinstance(value, int | str) else ""
    if not _DIGITS.fullmatch(text) or not -(2**63) <= int(text) < 2**63:
        raise GraphQLError(f"Long cannot represent {value!r:.40}: send a 64-bit integer.")
    return Long(int(text))


def _finite(value: Any) -> Any:
    """JSON as it came. A literal such as `1e400` is a number to GraphQL and none to JSON."""
    if not is_finite(value):
        raise GraphQLError("JSON cannot represent a number that is not finite, such as 1e400.")
    return value


SCALARS: dict[object, ScalarDefinition] = {
    JSON: replace(DEFAULT_SCALAR_REGISTRY[JSON], parse_value=_finite),
    Long: strawberry.scalar(
        name="Long",
        description="A signed 64-bit integer, sent as a JSON number; accepted as a string as well.",
        serialize=int,
        parse_value=_parse,
    ),
}
"""What the schema's configuration maps from Python types to scalars."""


def locate_errors(types: Iterable[GraphQLNamedType]) -> None:
    """Have the scalars among these say where in a document the value is that they refuse."""
    for type_ in types:
        # Those of the specification coerce literals by themselves, and say where.
        if isinstance(type_, GraphQLScalarType) and type_.coerce_input_literal is None:
            _locate_errors(type_)


def _locate_errors(scalar: GraphQLScalarType) -> None:
    parse = scalar.parse_literal

    def parse_literal(node: ValueNode, variables: dict[str, Any] | None = None) -> Any:
        try:
            return parse(node, variables)
        except GraphQLError as error:
            if error.nodes:
                raise
            raise GraphQLError(error.message, node, extensions=error.extensions) from error

    scalar.parse_literal = parse_literal  # type: ignore[method-assign]
