"""Enums of the core, shown to clients with a description of each value."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar, cast

import strawberry
from strawberry.types.enum import StrawberryEnumDefinition

E = TypeVar("E", bound=Enum)


def describe(
    kind: type[E], description: str, values: Mapping[E, str], *, name: str | None = None
) -> None:
    """Make an enum known to the schema, under its own name or `name`.

    The values of the core's enums are what is stored, so that descriptions cannot be put in them.
    """
    strawberry.enum(kind, name=name, description=description)
    definition = cast(StrawberryEnumDefinition, vars(kind)["__strawberry_definition__"])
    for value in definition.values:
        value.description = values[kind[value.name]]
