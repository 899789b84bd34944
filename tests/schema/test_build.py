"""The schema as a whole: it is what the snapshot says, and explains itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    get_named_type,
    is_introspection_type,
    is_specified_scalar_type,
)

from mission_system.core.errors import MissionError
from mission_system.core.tower import process as core
from mission_system.schema import errors
from mission_system.schema.build import MissionSchema, build_schema, sdl
from mission_system.schema.process import ProcessState

SNAPSHOT = Path(__file__).parents[2] / "schema.graphql"


def test_the_snapshot_is_the_schema() -> None:
    assert SNAPSHOT.read_text("utf-8") == sdl(), (
        "The schema has changed. If that is meant, write the snapshot anew and commit it: "
        "python -m mission_system.schema > schema.graphql"
    )


def undescribed(schema: MissionSchema) -> Iterator[str]:
    for name, type_ in schema._schema.type_map.items():
        if is_introspection_type(type_) or is_specified_scalar_type(type_):
            continue
        if not type_.description:
            yield name
        if isinstance(type_, GraphQLEnumType):
            yield from (f"{name}.{key}" for key, v in type_.values.items() if not v.description)
        if isinstance(type_, GraphQLInputObjectType):
            yield from (f"{name}.{key}" for key, f in type_.fields.items() if not f.description)
        if not isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
            continue
        for field_name, field in type_.fields.items():
            if not field.description:
                yield f"{name}.{field_name}"
            for argument_name, argument in field.args.items():
                if not argument.description:
                    yield f"{name}.{field_name}({argument_name})"


def test_every_type_field_argument_and_value_has_a_description(schema: MissionSchema) -> None:
    assert list(undescribed(schema)) == []


def described(schema: MissionSchema) -> Iterator[tuple[str, str, GraphQLNamedType, str]]:
    """Owner, name, type and description of every field, argument and input field."""
    for owner, type_ in schema._schema.type_map.items():
        if is_introspection_type(type_):
            continue
        if isinstance(type_, GraphQLInputObjectType):
            for name, given in type_.fields.items():
                yield owner, name, get_named_type(given.type), given.description or ""
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
            for name, field in type_.fields.items():
                yield owner, name, get_named_type(field.type), field.description or ""
                for argument, taken in field.args.items():
                    where = f"{owner}.{name}"
                    yield where, argument, get_named_type(taken.type), taken.description or ""


UNITS = {
    "Seconds": ("second",),
    "Ms": ("millisecond",),
    "duration": ("second",),
    "size": ("character", "byte"),
}


def test_every_duration_and_size_names_its_unit(schema: MissionSchema) -> None:
    unnamed = [
        f"{owner}.{name}"
        for owner, name, _, description in described(schema)
        for ending, units in UNITS.items()
        if (name == ending or name.endswith(ending[:1].upper() + ending[1:]))
        and not any(unit in description.lower() for unit in units)
    ]
    assert unnamed == []


def test_moments_are_date_times_and_what_outgrows_32_bits_is_a_long(schema: MissionSchema) -> None:
    moments = re.compile(r"(At|timestamp|lastCheck|lastActivity|lastUsed|lastWrite)$")
    long = re.compile(r"^(seq|messageId|tokens(In|Out|Used)|total\w+|\w*[cC]ount)$")
    wrong = [
        f"{owner}.{name}: {type_.name}"
        for owner, name, type_, _ in described(schema)
        if (moments.search(name) and type_.name != "DateTime")
        or (long.search(name) and type_.name not in ("Long", "ID"))
        or (name in ("payload", "data", "parameters", "context") and type_.name != "JSON")
    ]
    assert wrong == []


def test_every_argument_that_takes_a_number_has_a_default_within_its_bounds(
    schema: MissionSchema,
) -> None:
    for name, type_ in schema._schema.type_map.items():
        if isinstance(type_, GraphQLObjectType):
            for field_name, field in type_.fields.items():
                if "last" in field.args:  # a connection: the size is chosen where it is resolved
                    assert {"first", "after", "before"} < set(field.args)
                    assert field.args["first"].default_value is None
                elif "first" in field.args:
                    assert 1 <= field.args["first"].default_value <= 200, (name, field_name)


def test_states_are_those_of_the_core_less_the_mark_of_clean_up() -> None:
    told = {state.value: ProcessState(state.value).name for state in core.ProcessState}
    assert told.pop("zombie") == "TERMINATED"
    assert told == {state.value: state.name for state in ProcessState}


def test_every_mutation_may_answer_with_every_kind_of_error(schema: MissionSchema) -> None:
    mutation = schema._schema.mutation_type
    assert mutation is not None
    kinds = {member.__name__ for member in errors.Error.__subclasses__()}
    assert kinds == {"NotFound", "Forbidden", "InvalidInput", "Conflict", "QuotaExceeded", "Busy"}
    for name, field in mutation.fields.items():
        union = schema._schema.type_map[f"{field.type}".rstrip("!")]
        assert kinds < {member.name for member in union.types}, name  # type: ignore[attr-defined]


def test_each_error_member_has_the_code_of_the_core(schema: MissionSchema) -> None:
    handled = {handler.exception_type for handler in errors.error_members()}
    assert {kind.__name__ for kind in handled} == {
        member.__name__ for member in errors.Error.__subclasses__()
    }
    assert all(issubclass(kind, MissionError) for kind in handled)


def test_two_schemas_live_in_one_process() -> None:
    first, second = build_schema(), build_schema()
    assert first is not second
    assert first.as_str() == second.as_str()
