"""Made-up operations on a whole schema, and made-up values that answer them, faults included.

Everything is decided by numbers drawn from a seed, the values by the place where they are asked
for and the arguments with which, so that two executors that do the same see the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from datetime import UTC, datetime
from enum import Enum
from random import Random
from typing import Any

import strawberry
from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputType,
    GraphQLInt,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLResolveInfo,
    GraphQLSchema,
    is_abstract_type,
    is_composite_type,
    is_enum_type,
    is_input_object_type,
    is_leaf_type,
    is_object_type,
    is_required_argument,
)
from strawberry.types.base import StrawberryObjectDefinition, has_object_definition
from strawberry.types.field import StrawberryField

BACKREF = "strawberry-definition"
WORDS = ("", "a", "zwölf", "id:1", "x" * 40)
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Fault(Exception):
    pass


class Strange:
    """Nothing that a schema knows."""


class Later:
    """A value that is there only once the loop has turned. No coroutine: one that nobody awaits
    would be told of."""

    def __init__(self, make: Callable[[], Any], turns: int) -> None:
        self._make = make
        self._turns = turns

    def __await__(self) -> Generator[None, None, Any]:
        for _ in range(self._turns):
            yield
        return self._make()


class Several:
    """A list that comes piece by piece."""

    def __init__(self, values: list[Any]) -> None:
        self._values = values

    async def __aiter__(self) -> AsyncIterator[Any]:
        for value in self._values:
            yield value


class World:
    """Values for every field of a schema. `faults` is how likely each of them is to be odd."""

    def __init__(self, schema: GraphQLSchema, seed: int, faults: float) -> None:
        self._schema = schema
        self._seed = seed
        self._faults = faults

    def resolve(self, _source: object, info: GraphQLResolveInfo[Any], **given: object) -> Any:
        """What a field with a resolver of its own gives. What it was given, it may change."""
        place = ".".join(map(str, info.path.as_list()))
        random = Random(f"{self._seed} {place} {given!r}")
        for value in given.values():
            if isinstance(value, dict | list):
                value.clear()
        if random.random() < 0.4:
            return Later(lambda: self.value(info.return_type, random, 0), random.randrange(3))
        return self.value(info.return_type, random, 0)

    def event(self, field: GraphQLField) -> Any:
        return self.value(field.type, Random(self._seed), 0)

    def value(self, type_: GraphQLOutputType, random: Random, depth: int) -> Any:
        if random.random() < self._faults:
            return self._oddity(type_, random, depth)
        return self._good(type_, random, depth)

    def _good(self, type_: Any, random: Random, depth: int) -> Any:
        if isinstance(type_, GraphQLNonNull):
            type_ = type_.of_type
        elif random.random() < 0.2:
            return None
        if isinstance(type_, GraphQLList):
            size = 0 if depth > 5 else random.choice((0, 1, 2, 3))
            values = [self.value(type_.of_type, random, depth + 1) for _ in range(size)]
            return random.choice((values, values, tuple(values)))
        if is_leaf_type(type_):
            return _leaf(type_, random)
        if is_abstract_type(type_):
            type_ = random.choice(self._schema.get_possible_types(type_))
        return self._object(type_, random, depth)

    def _object(self, type_: GraphQLObjectType, random: Random, depth: int) -> Any:
        definition = type_.extensions[BACKREF]
        assert isinstance(definition, StrawberryObjectDefinition)
        origin = definition.concrete_of.origin if definition.concrete_of else definition.origin
        made = object.__new__(origin)
        for field in type_.fields.values():
            plain = field.extensions[BACKREF]
            assert isinstance(plain, StrawberryField)
            if plain.base_resolver is None and random.random() >= self._faults / 8:
                value = None if depth > 5 else self.value(field.type, random, depth + 1)
                made.__dict__[plain.python_name] = value
        return made

    def _oddity(self, type_: GraphQLOutputType, random: Random, depth: int) -> Any:
        good = self._good(type_, random, depth)

        def fail() -> Any:
            raise Fault(f"late {random.random():.3f}")

        oddities: list[Callable[[], Any]] = [
            lambda: None,
            lambda: Fault(f"as a value {random.random():.3f}"),
            lambda: Later(lambda: good, random.randrange(3)),
            lambda: Later(fail, random.randrange(3)),
            lambda: random.choice((7, -(2**40), 1.5, float("nan"), "text", True, {"a": 1}, [1])),
            Strange,
        ]
        if isinstance(good, list):
            oddities += [lambda: Several(good), lambda: iter(good), lambda: {"no": "list"}]
        elif has_object_definition(good):
            oddities += [
                lambda: _of_subclass(good),
                lambda: strawberry.cast(type(good), good),
                lambda: dict(good.__dict__),
            ]
        return random.choice(oddities)()


def _of_subclass(value: Any) -> Any:
    made = object.__new__(type("Undecorated", (type(value),), {}))
    made.__dict__.update(value.__dict__)
    return made


def _leaf(type_: GraphQLNamedType, random: Random) -> Any:
    if isinstance(type_, GraphQLEnumType):
        members: type[Enum] = type_.wrapped_cls  # type: ignore[attr-defined]
        return random.choice(list(members))
    return {
        "Int": lambda: random.choice((0, 1, -5, 2**31 - 1, True)),
        "Long": lambda: random.choice((0, 2**50)),
        "Float": lambda: random.choice((0.5, 3, -1e9)),
        "Boolean": lambda: random.random() < 0.5,
        "DateTime": lambda: MOMENT,
        "JSON": lambda: random.choice(({"a": [1, None]}, [], "text", 4)),
    }.get(type_.name, lambda: random.choice(WORDS))()


class Author:
    """Writes one operation, and values of the variables that it declares."""

    def __init__(self, schema: GraphQLSchema, random: Random) -> None:
        self._schema = schema
        self._random = random
        self._fragments: list[str] = []
        self._declared: list[str] = []
        self._conditional = random.random() < 0.4  # such a document is planned each time
        self._variables: dict[str, tuple[GraphQLInputType, bool]] = {}

    def operation(self, kind: str, root: GraphQLObjectType) -> str:
        selection = self._selection(root, 0, single=kind == "subscription")
        declared = f"({', '.join(self._declared)})" if self._declared else ""
        return "\n".join([f"{kind} Made{declared} {selection}", *self._fragments])

    def variables(self) -> dict[str, Any]:
        """Other values each time. Those that may be left out sometimes are."""
        return {
            name: self._input(type_, 0)
            for name, (type_, optional) in self._variables.items()
            if not optional or self._random.random() < 0.7
        }

    def _selection(self, parent: Any, depth: int, *, single: bool = False) -> str:
        random = self._random
        count = 1 if single else random.randint(1, 5)
        parts = [self._part(parent, depth, single=single) for _ in range(count)]
        return "{ " + " ".join(parts) + " }"

    def _part(self, parent: Any, depth: int, *, single: bool) -> str:
        random = self._random
        if not single and depth < 6 and random.random() < 0.25:
            return self._fragment(parent, depth)
        fields = dict(getattr(parent, "fields", {}))
        if depth >= 5:
            leaves = {name: f for name, f in fields.items() if not is_composite_type(_bare(f.type))}
            fields = leaves
        if not fields or (not single and random.random() < 0.1):
            return "__typename"
        name = random.choice(list(fields))
        field = fields[name]
        alias = f"{name}{random.randrange(10**6)}: " if random.random() < 0.4 else ""
        inner = _bare(field.type)
        below = self._selection(inner, depth + 1) if is_composite_type(inner) else ""
        condition = "" if single else self._condition()
        return f"{alias}{name}{self._arguments(field)}{condition} {below}"

    def _fragment(self, parent: Any, depth: int) -> str:
        random = self._random
        on = parent
        if is_abstract_type(parent) and random.random() < 0.8:
            on = random.choice(self._schema.get_possible_types(parent))
        elif is_object_type(parent) and parent.interfaces and random.random() < 0.3:
            on = random.choice(parent.interfaces)
        body = self._selection(on, depth + 1)
        if random.random() < 0.5:
            return f"... on {on.name}{self._condition()} {body}"
        name = f"F{len(self._fragments)}"
        self._fragments.append(f"fragment {name} on {on.name} {body}")
        again = f" ...{name}" if random.random() < 0.2 else ""
        return f"...{name}{self._condition()}{again}"

    def _condition(self) -> str:
        random = self._random
        if random.random() > 0.15:
            return ""
        value = random.choice(("true", "false"))
        if self._conditional:
            value = self._variable(GraphQLNonNull(GraphQLBoolean))
        return f" @{random.choice(('skip', 'include'))}(if: {value})"

    def _variable(self, type_: GraphQLInputType) -> str:
        """A new variable for a place of this type."""
        name, optional, default = f"v{len(self._declared)}", True, ""
        if self._random.random() < 0.4:
            default = f" = {self._literal(self._input(type_, 0), type_, constant=True)}"
            if isinstance(type_, GraphQLNonNull) and self._random.random() < 0.5:
                type_ = type_.of_type  # so that it may be null, which the place refuses
        else:
            optional = not isinstance(type_, GraphQLNonNull)
        self._declared.append(f"${name}: {type_}{default}")
        self._variables[name] = type_, optional
        return f"${name}"

    def _arguments(self, field: GraphQLField) -> str:
        random = self._random
        given = []
        for name, argument in field.args.items():
            if not is_required_argument(argument) and random.random() < 0.5:
                continue
            if random.random() < 0.4:
                given.append(f"{name}: {self._variable(argument.type)}")
            else:
                given.append(
                    f"{name}: {self._literal(self._input(argument.type, 0), argument.type)}"
                )
        return f"({', '.join(given)})" if given else ""

    def _input(self, type_: GraphQLInputType, depth: int) -> Any:
        random = self._random
        inner: Any = type_
        if isinstance(inner, GraphQLNonNull):
            inner = inner.of_type
        elif random.random() < 0.2 or depth > 3:
            return None
        if isinstance(inner, GraphQLList):
            return [self._input(inner.of_type, depth + 1) for _ in range(random.randrange(3))]
        if is_input_object_type(inner):
            return {
                name: self._input(field.type, depth + 1)
                for name, field in inner.fields.items()
                if isinstance(field.type, GraphQLNonNull) or random.random() < 0.4
            }
        if is_enum_type(inner):
            return random.choice(list(inner.values))
        return {
            "Int": lambda: random.choice((0, 1, 3)),
            "Long": lambda: 5,
            "Float": lambda: random.choice((0.5, 3)),
            "Boolean": lambda: random.random() < 0.5,
            "DateTime": MOMENT.isoformat,
            "JSON": lambda: {"a": 1},
        }.get(inner.name, lambda: random.choice(WORDS))()

    def _literal(self, value: Any, type_: Any, *, constant: bool = False) -> str:
        """A value as it is written in a document, with variables in it unless it is constant."""

        def inside(value: Any, type_: Any) -> str:
            if not constant and self._random.random() < 0.2:
                return self._variable(type_)
            return self._literal(value, type_, constant=constant)

        if isinstance(type_, GraphQLNonNull):
            type_ = type_.of_type
        if value is None:
            return "null"
        if isinstance(type_, GraphQLList):
            return "[" + ", ".join(inside(item, type_.of_type) for item in value) + "]"
        if is_input_object_type(type_):
            pairs = (f"{name}: {inside(v, type_.fields[name].type)}" for name, v in value.items())
            return "{" + ", ".join(pairs) + "}"
        if is_enum_type(type_):
            return str(value)
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, dict):
            return (
                "{"
                + ", ".join(f"{name}: {inside(v, GraphQLInt)}" for name, v in value.items())
                + "}"
            )
        if isinstance(value, str):
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return str(value)


def _bare(type_: Any) -> Any:
    while isinstance(type_, GraphQLNonNull | GraphQLList):
        type_ = type_.of_type
    return type_


def answered_by(schema: GraphQLSchema, world: Callable[[], World]) -> Iterator[None]:
    """While this goes on, the resolvers of all fields are those of whatever `world` gives."""
    replaced: list[tuple[GraphQLField, Any]] = []

    def resolve(source: object, info: GraphQLResolveInfo[Any], **given: object) -> Any:
        return world().resolve(source, info, **given)

    for type_ in schema.type_map.values():
        for field in getattr(type_, "fields", {}).values():
            known = field.extensions.get(BACKREF) if isinstance(field, GraphQLField) else None
            if isinstance(known, StrawberryField) and known.base_resolver and not field.subscribe:
                replaced.append((field, field.resolve))
                field.resolve = resolve
    yield
    for field, before in replaced:
        field.resolve = before
