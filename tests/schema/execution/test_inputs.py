"""Input objects are what Strawberry makes of the same values."""

from __future__ import annotations

from random import Random
from typing import Any

from graphql import GraphQLInputObjectType, coerce_input_value
from hypothesis import given
from hypothesis import strategies as st
from strawberry.types.arguments import convert_argument

from mission_system.schema.build import build_schema
from mission_system.schema.execution.inputs import Builder

from .worlds import BACKREF, Author

SCHEMA = build_schema()
INPUTS = [
    type_ for type_ in SCHEMA._schema.type_map.values() if isinstance(type_, GraphQLInputObjectType)
]


def made(type_: GraphQLInputObjectType, value: Any) -> Any:
    origin = type_.extensions[BACKREF].origin
    registry = SCHEMA.schema_converter.scalar_registry
    return convert_argument(value, origin, registry, SCHEMA.config)


def test_every_input_of_the_server_has_a_builder() -> None:
    assert len(INPUTS) > 10
    for type_ in INPUTS:
        assert isinstance(type_.extensions[BACKREF].from_input, Builder), type_.name


@given(type_=st.sampled_from(INPUTS), seed=st.integers(0, 10**6))
def test_builders_make_what_strawberry_makes(type_: GraphQLInputObjectType, seed: int) -> None:
    definition = type_.extensions[BACKREF]
    author = Author(SCHEMA._schema, Random(seed))
    raw = None
    while raw is None:
        raw = author._input(type_, 0)
    value = coerce_input_value(raw, type_)
    builder, definition.from_input = definition.from_input, None
    try:
        expected = made(type_, value)
    finally:
        definition.from_input = builder
    assert made(type_, value) == expected
