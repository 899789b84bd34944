"""How many statements an operation takes: for a hundred items those of one, at every level."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from graphql import (
    FieldNode,
    GraphQLObjectType,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    get_named_type,
    parse,
    visit,
)

from mission_system.core.capabilities import CapabilityRegistry, OrchestratorSpec
from mission_system.core.node import Node
from mission_system.core.runtime import create_mission_runtime
from mission_system.core.settings import Settings
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Envelope
from mission_system.plugins.host import PluginHost
from mission_system.schema.build import MissionSchema

from .conftest import Client, Json

SIZES = (1, 10, 100)
PROCESS = (
    "pid usage { steps } quota { maxSteps } interrupts { id process { pid } }"
    " steps(first: 2) { key } parent { pid } children(first: 2) { pid steps(first: 2) { key }"
    " children(first: 2) { pid } interrupts { id } } userMessage { content }"
    " replyMessage { content } session { sessionId } events(last: 2) { nodes { seq } }"
)
SESSION = (
    "sessionId usage { llmCalls } workingState { key }"
    " messages(first: 1) { nodes { id } } events(last: 1) { nodes { seq } }"
    " processes(first: 1) { nodes { pid } }"
)
LISTS = {
    "sessions": f"sessions(first: $first) {{ nodes {{ {SESSION} }} }}",
    "sessions, each its newest": (
        "sessions(first: $first) { nodes { messages(last: 1) { nodes { id process { pid } } }"
        " processes(last: 1) { nodes { pid session { title } } } } }"
    ),
    "processes of sessions": (
        "sessions(first: $first) { nodes { processes(first: 2) { nodes { pid"
        " steps(first: 2) { key } interrupts { id } children(first: 2) { pid } } } } }"
    ),
    "messages of sessions": (
        "sessions(first: $first) { nodes { messages(first: 2) { nodes { process { pid"
        " steps(first: 2) { key } interrupts { id } children(first: 2) { pid }"
        " session { title } } session { title } } } } }"
    ),
    "processes": f"processes(last: $first) {{ nodes {{ {PROCESS} }} }}",
    "processes, each from a step": (
        'processes(last: $first) { nodes { pid steps(first: 2, after: "0") { key } } }'
    ),
    "processes of one session": (
        "session(id: $id) { processes(last: $first) { nodes { pid steps(first: 2) { key }"
        " interrupts { id } children(first: 2) { pid } userMessage { id } } } }"
    ),
    "messages of one session": (
        "session(id: $id) { messages(first: $first) { nodes { session { title } process { pid"
        " steps(first: 2) { key } interrupts { id } children(first: 2) { pid } } } } }"
    ),
    "events of one session": "session(id: $id) { events(first: $first) { nodes { seq payload } } }",
    "interrupts": (
        "interrupts(first: $first) { nodes { session { title }"
        " process { pid parent { pid } session { title } } } }"
    ),
    "search": (
        'search(query: "ask", first: $first) { nodes { message { session { title } process { pid'
        " steps(first: 2) { key } interrupts { id } } } excerpt { text } } }"
    ),
}


COUNTED: ContextVar[bool] = ContextVar("counted", default=False)
"""True in a test and in what it starts: the server reads for itself as well."""


async def ask(mission: Mission) -> str:
    await mission.step("first", lambda: 1)
    if mission.message.startswith("ask"):
        (reply,) = await mission.gather(mission.spawn("quick", "go"))
        return await mission.clarify(f"what of {reply.text}?")
    return "done"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, shutdown_seconds=0, max_backlog=1000, max_ready=1000)


@pytest.fixture
async def node(settings: Settings, plugins: PluginHost) -> AsyncIterator[Node]:
    runtime = create_mission_runtime(plugins.tools, settings=settings, use_mock=True)
    specs = (OrchestratorSpec("ask", ask), OrchestratorSpec("quick", ask))
    async with Node(runtime, CapabilityRegistry(specs, "ask")) as node:
        yield node


@pytest.fixture
async def session(client: Client, node: Node) -> str:
    """A hundred sessions with a process that has spawned and asks, and one with as many of them."""
    for number in range(max(SIZES)):
        await _ask(client, node, f"s{number}")
    for _ in range(max(SIZES)):
        await _ask(client, node, "s0")
    return "s0"


async def _ask(client: Client, node: Node, session: str) -> None:
    envelope = Envelope(
        caller=client.caller, message="ask", session_id=session, create_session=True
    )
    mine = COUNTED.set(False)  # what runs on after this is not the test's
    done = await node.tower.submit_request(envelope, wait=30)
    COUNTED.reset(mine)
    assert done.process is not None
    assert done.process.interrupts, done.process


@pytest.fixture
def statements(node: Node, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The SQL that the test reads with from now on; what the server does by itself is not of it."""
    asked: list[str] = []
    COUNTED.set(True)

    def counting(read: Any) -> Any:
        async def counted(sql: str, *args: Any) -> Any:
            if COUNTED.get():
                asked.append(sql)
            return await read(sql, *args)

        return counted

    for name in ("fetch_one", "fetch_all"):
        monkeypatch.setattr(node.database, name, counting(getattr(node.database, name)))
    return asked


def items(data: Any) -> int:
    """How many items the list has that the operation is about."""
    while "nodes" not in data:
        [data] = data.values()
    return len(data["nodes"])


async def test_a_hundred_items_take_the_statements_of_one(
    client: Client, session: str, statements: list[str]
) -> None:
    spent: dict[str, list[int]] = {}
    for name, field in LISTS.items():
        for size in SIZES:
            variables: Json = {"first": size, **({"id": session} if "$id" in field else {})}
            declared = "$first: Int" + ", $id: ID!" * ("$id" in field)
            statements.clear()
            data = await client.data(f"query List({declared}) {{ {field} }}", **variables)
            assert items(data) == size, name
            spent.setdefault(name, []).append(len(statements))
    assert all(counts[0] > 0 for counts in spent.values())
    assert {name: counts for name, counts in spent.items() if len(set(counts)) > 1} == {}


async def test_a_hundred_nodes_take_the_statements_of_one_of_each_kind(
    client: Client, session: str, statements: list[str]
) -> None:
    listed = await client.data(
        "query L($id: ID!) { session(id: $id) { id"
        " messages(first: 25) { nodes { id } } processes(last: 25) { nodes { id } } }"
        " interrupts(first: 25) { nodes { id } } sessions(first: 25) { nodes { id } } }",
        id=session,
    )
    lists = [
        *(listed["session"][name]["nodes"] for name in ("messages", "processes")),
        *(listed[name]["nodes"] for name in ("interrupts", "sessions")),
    ]
    spent: list[int] = []
    for size in (1, 25):
        ids = [node["id"] for nodes in lists for node in nodes[:size]]
        statements.clear()
        found = await client.data(
            "query N($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }", ids=ids
        )
        assert [node["id"] for node in found["nodes"]] == ids
        spent.append(len(statements))
    assert spent[0] == spent[1] > 0


async def test_a_full_inbox_takes_the_statements_of_an_empty_one(
    client: Client, session: str, statements: list[str]
) -> None:
    query = (
        "subscription { inbox { waiting { process { pid parent { pid } session { title } }"
        " session { title } } } }"
    )
    spent: list[int] = []
    waiting: list[Any] = []
    for caller in (client.called("bob"), client):
        if caller is not client:
            await _ask(caller, caller.node, "one")
        counts: list[int] = []
        for _ in range(3):  # what was written just now may make the first one read once more
            statements.clear()
            async with aclosing(caller.follow(query)) as states:
                waiting = (await anext(states))["waiting"]
            counts.append(len(statements))
        spent.append(min(counts))
    assert len(waiting) == 2 * max(SIZES)
    assert spent[0] == spent[1] > 0


class Visited(Visitor):
    """The fields that a document selects, with the types that they are of."""

    def __init__(self, info: TypeInfo) -> None:
        super().__init__()
        self.info = info
        self.fields: set[tuple[str, str]] = set()

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        parent = self.info.get_parent_type()
        assert parent is not None
        self.fields.add((parent.name, node.name.value))


LISTED = ("Session", "Message", "Process", "Interrupt", "SearchResult")
"""What comes in long lists."""


def test_every_field_that_leads_on_is_counted_somewhere(schema: MissionSchema) -> None:
    info = TypeInfo(schema._schema)
    visited = Visited(info)
    for field in LISTS.values():
        document = parse(f"query L($first: Int, $id: ID!) {{ {field} }}")
        visit(document, TypeInfoVisitor(info, visited))
    leading = {
        (name, field_name)
        for name in LISTED
        for field_name, field in type_named(schema, name).fields.items()
        if isinstance(get_named_type(field.type), GraphQLObjectType)
    }
    assert leading - visited.fields == set()


def type_named(schema: MissionSchema, name: str) -> GraphQLObjectType:
    type_ = schema._schema.type_map[name]
    assert isinstance(type_, GraphQLObjectType)
    return type_
