"""What values of a type usually are, so that the usual ones need no questions asked.

A shape knows exact Python classes whose values can be nothing but good ones: neither awaitable nor
exceptions, and of the right kind. Any other value goes the long way, that of the reference
executor, which finds out what is wrong with it, or that nothing is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from enum import Enum
from math import isfinite
from types import NoneType
from typing import Any

from graphql import (
    Executor,
    GraphQLAbstractType,
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLFloat,
    GraphQLID,
    GraphQLInt,
    GraphQLLeafType,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    GraphQLString,
    is_abstract_type,
    is_leaf_type,
    is_list_type,
    is_object_type,
)
from strawberry.types.base import StrawberryObjectDefinition

BACKREF = "strawberry-definition"
"""Where Strawberry keeps its own definition of a type or field in graphql-core's."""

Coerce = Callable[[Any], Any]

_AS_THEY_ARE = {
    (GraphQLString.name, str),
    (GraphQLID.name, str),
    (GraphQLBoolean.name, bool),
}
_INT = 2**31
_COERCED = (str, int, float, bool, dict, list, datetime, date, time)


class Shape:
    """What is known of an output type.

    `quick` says of exact classes how values of a leaf are coerced; None: they are sent as they are.
    `objects` says of exact classes which object type their values are of. `item` is the shape of a
    list's items. `usual` has all the classes that the shape knows, and that of null.
    """

    __slots__ = ("as_they_are", "item", "non_null", "objects", "quick", "type", "usual")

    def __init__(self, schema: GraphQLSchema, type_: GraphQLOutputType) -> None:
        self.type = type_
        self.non_null = isinstance(type_, GraphQLNonNull)
        named: Any = type_.of_type if isinstance(type_, GraphQLNonNull) else type_
        self.quick: dict[type, Coerce | None] = {}
        self.objects: dict[type, GraphQLObjectType] = {}
        self.item: Shape | None = None
        if is_leaf_type(named):
            self.quick.update(_quick(named))
            if not self.non_null:
                self.quick[NoneType] = None
        elif is_list_type(named):
            self.item = Shape(schema, named.of_type)
        elif is_object_type(named):
            self.objects.update(dict.fromkeys(_classes(named), named))
        elif is_abstract_type(named):
            self.objects.update(_members(schema, named))
        self.as_they_are = {kind for kind, coerce in self.quick.items() if coerce is None}
        self.usual = {NoneType, *self.quick, *self.objects, *((list, tuple) if self.item else ())}


def definition_of(named: GraphQLNamedType) -> StrawberryObjectDefinition | None:
    found = named.extensions.get(BACKREF)
    return found if isinstance(found, StrawberryObjectDefinition) else None


def _classes(named: GraphQLObjectType) -> list[type]:
    """The classes whose values pass for this object type, whatever else they are asked."""
    definition = definition_of(named)
    if definition is None or definition.is_type_of is not None:
        return []
    generic = definition.concrete_of
    return [definition.origin, *([generic.origin] if generic else [])]


def _members(schema: GraphQLSchema, named: GraphQLAbstractType) -> dict[type, GraphQLObjectType]:
    """The classes of which Strawberry makes out the object type by their definition alone."""
    own = named.extensions.get(BACKREF)
    if isinstance(own, StrawberryObjectDefinition) and own.resolve_type is not None:
        return {}
    found: dict[type, GraphQLObjectType] = {}
    for member in schema.get_possible_types(named):
        definition = definition_of(member)
        if (
            definition is not None
            and definition.name == member.name
            and definition.is_type_of is None
            and definition.concrete_of is None
            and not definition.is_graphql_generic
        ):
            found[definition.origin] = member
    return found


def _quick(leaf: GraphQLLeafType) -> Mapping[type, Coerce | None]:
    wrapped = getattr(leaf, "wrapped_cls", None)
    if isinstance(leaf, GraphQLEnumType):
        return {wrapped: _member(leaf, wrapped)} if wrapped else {}

    def coerced(value: Any) -> Any:
        return Executor.complete_leaf_value(leaf, value)

    found: dict[type, Coerce | None] = {}
    for kind in _COERCED:
        as_it_is = (leaf.name, kind) in _AS_THEY_ARE or leaf.coerce_output_value is kind
        found[kind] = None if as_it_is else coerced
    if leaf.name == GraphQLFloat.name:
        found[float] = lambda value: value if isfinite(value) else coerced(value)
    elif leaf.name == GraphQLInt.name:
        found[int] = lambda value: value if -_INT <= value < _INT else coerced(value)
    return found


def _member(leaf: GraphQLEnumType, wrapped: type[Enum]) -> Coerce:
    names = {name: leaf.coerce_output_value(member) for name, member in wrapped.__members__.items()}

    def name_of(member: Enum) -> Any:
        name = names.get(member._name_)
        return name if name is not None else Executor.complete_leaf_value(leaf, member)

    return name_of
