"""What is plain is known to be, and what only looks plain is not taken for it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Generic, TypeVar

import pytest
import strawberry
from graphql import GraphQLObjectType, execute, get_variable_values, parse
from strawberry.execution import optimized_is_awaitable
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.types.field import StrawberryField

from mission_system.schema.build import build_schema
from mission_system.schema.execution.executor import PlanExecutor
from mission_system.schema.execution.plan import Planner, attribute_of, operations
from mission_system.schema.execution.shape import BACKREF, Shape

T = TypeVar("T")


@strawberry.interface
class Named:
    name: str


@strawberry.type
class Cat(Named):
    lives: int = 9


@strawberry.type
class Dog(Named):
    @classmethod
    def is_type_of(cls, obj: object, _info: object) -> bool:
        return getattr(obj, "barks", False)


@strawberry.type
class Box(Generic[T]):
    inside: T
    all: list[T | None] = strawberry.field(default_factory=list)


class Shout(StrawberryField):
    def get_result(self, *given: Any, **named: Any) -> Any:
        return str(super().get_result(*given, **named)).upper()


@strawberry.type
class Louder:
    word: str = Shout(default="hush")  # type: ignore[assignment]  # pyright: ignore


def dog(*, barks: bool) -> Dog:
    made = Dog(name="Rex")
    made.barks = barks  # type: ignore[attr-defined]
    return made


class Row:
    """Not of the schema."""

    name = "row"
    lives = 1


Pet = Annotated[Cat | Dog, strawberry.union("Pet")]


@strawberry.type
class Query:
    @strawberry.field
    def pets(self) -> list[Pet]:
        return [Cat(name="Tom"), dog(barks=True), Cat(name="Kit")]

    @strawberry.field
    def impostor(self) -> Dog | None:
        return dog(barks=False)

    @strawberry.field
    def named(self) -> list[Named | None]:
        return [Cat(name="Tom"), None, dog(barks=True), dog(barks=False)]

    @strawberry.field
    def cast_row(self) -> Named | None:
        return strawberry.cast(Cat, Row())  # type: ignore[return-value]  # pyright: ignore

    @strawberry.field
    def cast_cat(self) -> Dog | None:
        return strawberry.cast(Dog, Cat(name="not a dog"))  # type: ignore[return-value]

    @strawberry.field
    def boxes(self) -> list[Box[int] | None]:
        return [Box(inside=1, all=[1, None]), Box(inside="one", all=["x"])]  # type: ignore[list-item]

    @strawberry.field
    def box_of_cat(self) -> Box[Cat]:
        return Box(inside=Cat(name="Tom"), all=[None, Cat(name="Kit", lives=2**40)])

    @strawberry.field
    def louder(self) -> Louder:
        return Louder()


SCHEMA = strawberry.Schema(Query, types=[Cat, Dog])._schema

QUERIES = [
    "{ pets { __typename ... on Cat { name lives } ... on Named { n: name } } }",
    "{ impostor { name } }",
    "{ named { __typename name ... on Cat { lives } } }",
    "{ castRow { __typename name ... on Cat { lives } } }",
    "{ castCat { __typename name } }",
    "{ boxes { inside all } boxOfCat { inside { name lives } all { lives } } }",
    "{ louder { word } }",
    "{ __schema { types { name kind fields { name type { name ofType { name } } } } } }",
    '{ __type(name: "Cat") { name interfaces { name } fields(includeDeprecated: true) { name } } }',
]


@pytest.mark.parametrize("query", QUERIES)
async def test_what_only_looks_plain_is_asked_as_graphql_core_asks(query: str) -> None:
    document = parse(query)
    [planned] = operations(document)
    is_awaitable: Any = optimized_is_awaitable
    expected: Any = execute(
        SCHEMA,
        document,
        executor_class=StrawberryGraphQLCoreExecutionContext,
        is_awaitable=is_awaitable,
    )
    values = get_variable_values(SCHEMA, (), {})
    assert not isinstance(values, list)
    found: Any = PlanExecutor(SCHEMA, Planner(SCHEMA), planned, values, None).execute_operation()
    results = [
        await result if asyncio.iscoroutine(result) else result for result in (expected, found)
    ]
    told = [(repr(r.data), [error.formatted for error in r.errors or ()]) for r in results]
    assert told[1] == told[0]
    assert results[1].data is not None


def test_every_plain_field_of_the_schema_is_read_as_an_attribute() -> None:
    schema = build_schema()._schema
    plain = 0
    for type_ in schema.type_map.values():
        if not isinstance(type_, GraphQLObjectType) or BACKREF not in type_.extensions:
            continue
        for name, definition in type_.fields.items():
            field = definition.extensions[BACKREF]
            if field.base_resolver is None:
                assert attribute_of(definition) == field.python_name, f"{type_.name}.{name}"
                assert Shape(schema, definition.type).usual - {type(None)}, f"{type_.name}.{name}"
                plain += 1
    assert plain > 100


def test_a_field_with_a_class_of_its_own_is_not_read_past_it() -> None:
    louder = SCHEMA.type_map["Louder"]
    assert isinstance(louder, GraphQLObjectType)
    assert attribute_of(louder.fields["word"]) is None
