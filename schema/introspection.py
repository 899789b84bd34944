"""How much of the schema a document asks for: what is listed below `__schema` is counted."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from graphql import (
    GraphQLField,
    GraphQLSchema,
    get_introspection_query,
    is_enum_type,
    is_input_object_type,
    is_interface_type,
    is_object_type,
    is_union_type,
)


class Listed:
    """How much the fields of one schema's introspection hold, by name: on the average where they
    are those of all types, at most where they may be those of any."""

    def __init__(self, schema: GraphQLSchema) -> None:
        fields: list[GraphQLField] = []
        lengths: dict[str, list[int]] = {
            name: []
            for name in ("fields", "inputFields", "enumValues", "interfaces", "possibleTypes")
        }
        for type_ in schema.type_map.values():
            if is_object_type(type_) or is_interface_type(type_):
                fields += type_.fields.values()
                lengths["fields"].append(len(type_.fields))
                lengths["interfaces"].append(len(type_.interfaces))
            if is_input_object_type(type_):
                lengths["inputFields"].append(len(type_.fields))
            if is_enum_type(type_):
                lengths["enumValues"].append(len(type_.values))
            if is_union_type(type_) or is_interface_type(type_):
                lengths["possibleTypes"].append(len(schema.get_possible_types(type_)))
        # Each level of `ofType` leads on for some types only: lists, and what is never null.
        written = [str(field.type) for field in fields]
        written += [str(each.type) for field in fields for each in field.args.values()]
        wrapped = sum(text.count("!") + text.count("[") for text in written)
        types, directives = len(schema.type_map), schema.directives
        self._average = {name: _share(found, types) for name, found in lengths.items()}
        self._average["args"] = _share([len(field.args) for field in fields], len(fields))
        self._most: dict[str, float] = {
            name: max(found, default=0) for name, found in lengths.items()
        }
        arguments = [len(field.args) for field in fields]
        arguments += [len(directive.args) for directive in directives]
        self._most["args"] = max(arguments, default=0)
        self._most["ofType"] = wrapped / (len(written) + wrapped)
        self._most["types"] = types
        self._most["directives"] = len(directives)

    def length(self, field: str, of_all: bool) -> float:
        """How often what is below `field` is there. `of_all`: below that of each type in turn."""
        most = self._most.get(field, 1)
        return self._average.get(field, most) if of_all else most


def _share(lengths: Iterable[int], among: int) -> float:
    return sum(lengths) / max(among, 1)


@lru_cache(maxsize=4)
def listed(schema: GraphQLSchema) -> Listed:
    return Listed(schema)


def whole_schema() -> str:
    """What tools ask for to learn a schema, in its longest form."""
    return get_introspection_query(
        specified_by_url=True,
        directive_is_repeatable=True,
        schema_description=True,
        input_value_deprecation=True,
        one_of=True,
    )
