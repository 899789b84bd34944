"""Scalars beyond the five of the specification."""

from __future__ import annotations

import re
from typing import NewType

import strawberry
from graphql import GraphQLError
from strawberry.scalars import JSON
from strawberry.types.scalar import ScalarDefinition

__all__ = ["JSON", "SCALARS", "Long"]

Long = NewType("Long", int)
"""An integer of 64 bits: counters, message ids and sequence numbers outgrow GraphQL's Int."""

_DIGITS = re.compile(r"-?[0-9]{1,19}")


def _parse(value: object) -> Long:
    text = str(value)[:40] if isinstance(value, int | str) else ""
    if not _DIGITS.fullmatch(text) or not -(2**63) <= int(text) < 2**63:
        raise GraphQLError(f"Long cannot represent {value!r:.40}: send a 64-bit integer.")
    return Long(int(text))


SCALARS: dict[object, ScalarDefinition] = {
    Long: strawberry.scalar(
        name="Long",
        description="A signed 64-bit integer, sent as a JSON number; accepted as a string as well.",
        serialize=int,
        parse_value=_parse,
    ),
}
"""What the schema's configuration maps from Python types to scalars."""
