"""What plugins add to the schema: fields of its types, and through them types of their own.

Each contribution is tried on the schema of the server and the earlier plugins. One that does not
fit fails alone: the schema stays what it was before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLUnionType,
)
from strawberry import Schema
from strawberry.exceptions import DuplicatedTypeName
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.field import StrawberryField

from ..plugins.faults import LONGEST_TEXT, PluginFault
from ..plugins.host import Plugin, PluginHost

S = TypeVar("S", bound=Schema)

AddedFields = Mapping[str, tuple[StrawberryField, ...]]
"""By name of a type, the fields that plugins add to it."""

HOOK = "register_graphql()"
KEPT = "What else the plugin registered stays served."
DESCRIBED = (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLUnionType,
)


class NameTaken(Exception):
    """Two types of a schema have one name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"two types are called {name}")
        self.name = name


def extend(make: Callable[[AddedFields], S], plugins: PluginHost) -> S:
    """The schema with all that fits of what the plugins add; the others are marked as failed."""
    schema = make({})
    own = schema._schema.type_map
    added: dict[str, tuple[StrawberryField, ...]] = {}
    owners: dict[str, Plugin] = {}  # of types, and of fields as `Session.citations`
    for plugin in plugins.loaded:
        try:
            wanted = _wanted(plugin, schema, own, owners)
            if not wanted:
                continue
            fields = {
                name: added.get(name, ()) + tuple(wanted.get(name, {}).values())
                for name in {**added, **wanted}
            }
            made = _made(make, fields, plugin, owners)
            _check_added(made, wanted)
            schema = made
        except PluginFault as fault:
            plugins.fail(plugin, fault)
            continue
        added = fields
        for name in schema._schema.type_map:
            if name not in own:
                owners.setdefault(name, plugin)
        owners |= {f"{kind}.{name}": plugin for kind, names in wanted.items() for name in names}
    for name, owner in owners.items():
        _describe(schema, name, f"Of the plugin '{owner.report.name}'.")
    return schema


def _wanted(
    plugin: Plugin, schema: Schema, own: Mapping[str, object], owners: Mapping[str, Plugin]
) -> dict[str, dict[str, StrawberryField]]:
    """The fields that a plugin adds, by type and name, each of them new and of the right kind."""
    wanted: dict[str, dict[str, StrawberryField]] = {}
    for kind, extension in plugin.contributions.graphql.items():
        type_ = own.get(kind)
        if not isinstance(type_, GraphQLObjectType) or kind.startswith("__"):
            near = get_close_matches(kind, own, n=1)
            meant = f" Did you mean '{near[0]}'?" if near else ""
            raise PluginFault(
                f"{HOOK} extends '{kind}', which is no object type of this server.",
                f"Name one that the server's schema has, such as Query or Session.{meant} {KEPT}",
            )
        fields = wanted[kind] = {}
        definition: StrawberryObjectDefinition = getattr(extension, "__strawberry_definition__")  # noqa: B009
        for field in definition.fields:
            name = schema.config.name_converter.from_field(field)
            place = f"{kind}.{name}"
            _check_kind(place, field, streams=kind == "Subscription")
            if name in fields:
                raise PluginFault(f"{HOOK} offers '{place}' twice.", f"Rename one. {KEPT}")
            if name in type_.fields or place in owners:
                raise _clash("field", place, plugin, owners)
            fields[name] = field
    return wanted


def _check_kind(place: str, field: StrawberryField, *, streams: bool) -> None:
    if field.base_resolver is None:
        raise PluginFault(
            f"{HOOK} offers '{place}' without a resolver.",
            "Write it as a method decorated with @strawberry.field, or give `resolver=`: the"
            f" server's own objects do not hold its value. {KEPT}",
        )
    if field.is_subscription != streams:
        meant = "subscription" if streams else "field"
        raise PluginFault(
            f"{HOOK} offers '{place}', which is {'no' if streams else 'a'} subscription.",
            f"Decorate it with @strawberry.{meant}. {KEPT}",
        )


def _made(
    make: Callable[[AddedFields], S],
    fields: AddedFields,
    plugin: Plugin,
    owners: Mapping[str, Plugin],
) -> S:
    try:
        return make(fields)
    except Exception as error:  # whatever annotations of a plugin lead Strawberry to
        if taken := _taken(error):
            raise _clash("type", taken, plugin, owners) from error
        text = " ".join(str(error).split())[:LONGEST_TEXT].rstrip(".")
        raise PluginFault(
            f"{HOOK} does not fit the schema: {type(error).__name__}: {text}.",
            f"Correct the types that the plugin adds. {KEPT}",
        ) from error


def _taken(error: BaseException | None) -> str | None:
    """The name that two types have, where that is what went wrong."""
    while error is not None:
        if isinstance(error, NameTaken):
            return error.name
        if isinstance(error, DuplicatedTypeName):
            found = re.match(r"Type (\w+) is defined", str(error))
            return found[1] if found else None
        error = error.__cause__ or error.__context__
    return None


def _check_added(schema: Schema, wanted: Mapping[str, Mapping[str, object]]) -> None:
    """A type may be known by its name and made in a way that takes no fields."""
    for kind, fields in wanted.items():
        type_ = schema._schema.type_map[kind]
        for name in fields:
            if not isinstance(type_, GraphQLObjectType) or name not in type_.fields:
                raise PluginFault(
                    f"{HOOK} extends '{kind}', which takes no field '{name}'.",
                    f"Add it to another type. {KEPT}",
                )


def _clash(what: str, name: str, plugin: Plugin, owners: Mapping[str, Plugin]) -> PluginFault:
    owner = owners.get(name)
    other = f"plugin {owner.report.title}, which loaded first" if owner else "the server itself"
    return PluginFault(
        f"GraphQL {what} '{name}' of plugin {plugin.report.title} is already defined by {other}.",
        f"Rename it in {'one of them' if owner else 'the plugin'}. {KEPT}",
    )


def _describe(schema: Schema, name: str, text: str) -> None:
    """Give whatever has no description this one: clients read of every part what it is."""
    kind, _, field = name.partition(".")
    type_ = schema._schema.type_map[kind]
    parts: list[Any] = []
    if field and isinstance(type_, GraphQLObjectType):
        parts = [type_.fields[field], *type_.fields[field].args.values()]
    elif isinstance(type_, DESCRIBED):
        parts = [type_]
        if isinstance(type_, GraphQLEnumType):
            parts += type_.values.values()
        elif not isinstance(type_, GraphQLUnionType):
            parts += type_.fields.values()
            for own in type_.fields.values():
                parts += getattr(own, "args", {}).values()
    for part in parts:
        part.description = part.description or text
