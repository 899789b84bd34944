"""Input objects, made as Strawberry makes them, what it asks of each field asked once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING
from typing import Any

from strawberry.relay import GlobalID
from strawberry.schema.compat import is_scalar
from strawberry.types.arguments import InputContext
from strawberry.types.base import StrawberryMaybe, StrawberryObjectDefinition, StrawberryOptional
from strawberry.types.enum import StrawberryEnumDefinition, has_enum_definition


class Builder:
    """Makes the values of one input type."""

    def __init__(self, definition: StrawberryObjectDefinition) -> None:
        self._definition = definition
        self._absent = {
            field.python_name: None
            for field in definition.fields
            if field.default_value is MISSING and field.default_factory is MISSING
        }
        self._fields: list[tuple[str, str, Any, bool]] | None = None

    def __call__(self, kind: type, value: Mapping[str, Any], context: InputContext) -> Any:
        if self._fields is None:
            self._fields = self._asked(context)
        given: dict[str, Any] = dict(self._absent)
        for name, python_name, type_, plain in self._fields:
            if name in value:
                each = value[name]
                given[python_name] = each if plain else context.convert(each, type_, name)
        return kind(**given)

    def _asked(self, context: InputContext) -> list[tuple[str, str, Any, bool]]:
        """Of each field: its names, its type, and whether values are taken as they are."""
        found = []
        for field in self._definition.fields:
            type_: Any = field.resolve_type(type_definition=self._definition)
            bare = type_.of_type if isinstance(type_, StrawberryOptional) else type_
            leaf = (
                is_scalar(bare, context.scalar_registry)
                or isinstance(bare, StrawberryEnumDefinition)
                or has_enum_definition(bare)
            )
            name = context.config.name_converter.from_field(field)
            found.append((name, field.python_name, type_, leaf and bare is not GlobalID))
        return found


def build_quickly(definitions: Iterable[object]) -> None:
    """Have the values of input types among these made by builders. Those that make their own, or
    that tell null from what was not sent, stay as they are."""
    for definition in definitions:
        if (
            isinstance(definition, StrawberryObjectDefinition)
            and definition.is_input
            and definition.from_input is None
            and not any(isinstance(field.type, StrawberryMaybe) for field in definition.fields)
        ):
            definition.from_input = Builder(definition)
