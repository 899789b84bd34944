"""Every argument of the whole schema, and every field of its inputs, has a bound that is enforced.

The tests walk the schema rather than a list of what is known, so that an argument added later is
tried as well: with values that no argument may take, beside others that are in order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    get_named_type,
    is_leaf_type,
    is_required_argument,
    is_required_input_field,
)

from mission_system import ToolSpec, hookimpl, tool
from mission_system.core.chat.paging import Window
from mission_system.core.identity import Caller
from mission_system.core.settings import Settings
from mission_system.plugins.builtin import assistant
from mission_system.plugins.host import PluginHost
from mission_system.plugins.loader import load_plugins
from mission_system.schema import session
from mission_system.schema.build import MissionSchema

from .conftest import Client

LONG = "x" * 20_001
EXCESSIVE: dict[str, list[Any]] = {
    "String": [LONG, "nul\0"],
    "ID": [LONG, "nul\0"],
    "Int": [2**31 - 1, -(2**31)],
    "Float": [1e308, -1e308],
    "Long": [2**63 - 1, -(2**63), 2**64],
    "DateTime": [LONG, "9" * 30],
    "JSON": ["x" * 70_000, [[1] * 900] * 20],
}
"""By scalar, what is more than any argument means. A scalar that is not here fails the walk."""

REACHED = {
    "Query": "{field}",
    "Mutation": "{field}",
    "Subscription": "{field}",
    "Session": 'session(id: "{session}") {{ {field} }}',
    "Process": 'process(id: "{process}") {{ {field} }}',
    "Message": 'node(id: "{message}") {{ ... on Message {{ {field} }} }}',
    "Interrupt": 'node(id: "{interrupt}") {{ ... on Interrupt {{ {field} }} }}',
    "Governance": "governance {{ {field} }}",
    "Tool": 'tool(id: "look") {{ {field} }}',
}
"""By type, how a query gets to one. A type with arguments that is not here fails the walk."""

CODES = {"INVALID_INPUT", "INVALID_REQUEST", "NOT_FOUND", "TOO_LARGE"}


@dataclass(frozen=True)
class Place:
    """An argument of a field, or a field of an input that is one; `list` where it takes several."""

    parent: str
    field: str
    path: tuple[str, ...]
    scalar: str
    list: bool

    def __str__(self) -> str:
        return f"{self.parent}.{self.field}({'.'.join(self.path)})"


def places(schema: MissionSchema) -> Iterator[Place]:
    for kind in schema._schema.type_map.values():
        if isinstance(kind, GraphQLObjectType) and not kind.name.startswith("__"):
            for name, field in kind.fields.items():
                for argument, given in field.args.items():
                    yield from _inside(kind.name, name, (argument,), given.type, False)


def _inside(
    parent: str, field: str, path: tuple[str, ...], kind: GraphQLInputType, several: bool
) -> Iterator[Place]:
    if isinstance(kind, GraphQLNonNull):
        yield from _inside(parent, field, path, kind.of_type, several)
    elif isinstance(kind, GraphQLList):
        yield from _inside(parent, field, path, kind.of_type, True)
    elif isinstance(kind, GraphQLInputObjectType):
        for name, inner in kind.fields.items():
            yield from _inside(parent, field, (*path, name), inner.type, several)
    elif not isinstance(kind, GraphQLEnumType) and kind.name != "Boolean":
        yield Place(parent, field, path, kind.name, several)


@dataclass(frozen=True)
class Walk:
    """Tries values at places, on things that exist."""

    client: Client
    ids: dict[str, str]

    async def accepts(self, place: Place, value: Any) -> str | None:
        """What is wrong: the server did not refuse `value` there. None when it did."""
        result = await self._result(place, value)
        for error in result.errors or ():
            code = (error.extensions or {}).get("code")
            if code not in CODES:
                return f"{place}: {code} for {str(value)[:30]!r}"
        if result.errors:
            return None
        told = str(result.data)
        refused = "'InvalidInput'" in told or "'NotFound'" in told
        if place.scalar == "ID" and result.data in ({place.field: None}, {place.field: [None]}):
            return None  # there is nothing of this name, as of any other that is unknown
        return None if refused else f"{place}: took {str(value)[:30]!r}: {told[:200]}"

    async def _result(self, place: Place, value: Any) -> Any:
        parent = self.client.schema._schema.type_map[place.parent]
        assert isinstance(parent, GraphQLObjectType)
        field = parent.fields[place.field]
        variables: dict[str, Any] = {}
        for name, argument in field.args.items():
            if name == place.path[0]:
                variables[name] = self._value(name, argument.type, place.path[1:], value)
            elif is_required_argument(argument):
                variables[name] = self._value(name, argument.type, None, None)
        declared = ", ".join(f"${name}: {field.args[name].type}" for name in variables)
        given = ", ".join(f"{name}: ${name}" for name in variables)
        body = "" if is_leaf_type(get_named_type(field.type)) else "{ __typename }"
        query = REACHED[place.parent].format(field=f"{place.field}({given}) {body}", **self.ids)
        kind = place.parent.lower() if place.parent in ("Mutation", "Subscription") else "query"
        asked = {"variable_values": variables, "context_value": self.client.context}
        text = f"{kind} Walk({declared}) {{ {query} }}"
        if kind != "subscription":
            return await self.client.schema.execute(text, **asked)
        results = await self.client.schema.subscribe(text, **asked)
        async for result in results:
            await results.aclose()
            return result
        raise AssertionError(f"{place}: nothing came")

    def _value(
        self, name: str, kind: GraphQLInputType, path: Sequence[str] | None, value: Any
    ) -> Any:
        """`value` at the path within something in order; without a path, all of it is."""
        if isinstance(kind, GraphQLNonNull):
            return self._value(name, kind.of_type, path, value)
        if isinstance(kind, GraphQLList):
            return [self._value(name, kind.of_type, path, value)]
        if isinstance(kind, GraphQLInputObjectType):
            at, *rest = path or (None,)
            return {
                each: self._value(each, inner.type, rest if each == at else None, value)
                for each, inner in kind.fields.items()
                if each == at or is_required_input_field(inner)
            }
        if path is not None and not path:
            return value
        if isinstance(kind, GraphQLEnumType):
            return next(iter(kind.values))
        known = next((id for each, id in self.ids.items() if each in name.lower()), "x")
        return {"Boolean": True, "Int": 1, "Float": 1.0, "Long": 1, "ID": known}.get(kind.name, "x")


@tool
def look(at: str) -> str:
    """Look at something."""
    return at


@pytest.fixture
def plugins(settings: Settings) -> PluginHost:
    module = ModuleType("looks_plugin")

    @hookimpl
    def register_tools() -> list[ToolSpec]:
        return [look]

    module.__dict__["register_tools"] = register_tools
    return load_plugins(settings, [assistant, module], entry_points=False)


@pytest.fixture
async def walk(client: Client) -> Walk:
    client.caller = Caller("ann", "admin")  # who may call everything
    sent = await client.send("/clarify")
    query = "query($id: ID!) { session(id: $id) { id messages { nodes { id } } } }"
    session = (await client.data(query, id=sent["process"]["sessionId"]))["session"]
    return Walk(
        client,
        {
            "session": session["id"],
            "process": sent["process"]["id"],
            "interrupt": sent["process"]["interrupts"][0]["id"],
            "message": session["messages"]["nodes"][0]["id"],
        },
    )


async def test_no_argument_takes_a_value_beyond_its_bound(walk: Walk) -> None:
    found = list(places(walk.client.schema))
    assert len(found) > 60
    assert {place.scalar for place in found} <= EXCESSIVE.keys()
    assert {place.parent for place in found} <= REACHED.keys()
    accepted = [
        wrong
        for place in found
        for value in EXCESSIVE[place.scalar]
        if (wrong := await walk.accepts(place, value))
    ]
    assert accepted == []


async def test_no_list_takes_more_than_it_means(walk: Walk) -> None:
    for place in places(walk.client.schema):
        if place.list:
            error = await walk.accepts(place, ["x"] * 1_001)
            assert error is None


async def test_the_walk_finds_an_argument_whose_bound_is_gone(
    walk: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = Window(1, after=None, before=None, backward=False)
    monkeypatch.setattr(session, "window", lambda *_: taken)
    found = {str(place): place for place in places(walk.client.schema)}
    for name in ("Query.sessions(first)", "Query.sessions(before)", "Session.messages(last)"):
        wrong = await walk.accepts(found[name], EXCESSIVE[found[name].scalar][0])
        assert wrong is not None
        assert wrong.startswith(f"{name}: took")
