"""Documents: prepared once, run by name, and not for ever."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from graphql import get_introspection_query
from strawberry.types.execution import PreExecutionError

from mission_system.core.node import Node
from mission_system.core.settings import Settings
from mission_system.schema import documents
from mission_system.schema.build import MissionSchema, build_schema

from .conftest import Client

CURSORS = "subscription ($id: ID!) { processEvents(processId: $id) { cursor } }"
TWO = "query A { viewer { userId } } query B { viewer { role } }"


async def test_a_document_is_parsed_and_validated_once(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    parse, validate = documents.parse, documents.validate
    monkeypatch.setattr(documents, "parse", lambda *a, **k: (calls.append("p"), parse(*a, **k))[1])
    monkeypatch.setattr(
        documents, "validate", lambda *a, **k: (calls.append("v"), validate(*a, **k))[1]
    )
    client.schema = build_schema()
    for _ in range(3):
        await client.data("{ viewer { userId } }")
        assert (await client.error("{ viewer { name } }"))["extensions"]["code"]
    assert calls == ["p", "v"] * 2


async def test_an_error_of_a_cached_document_is_told_each_time_the_same(client: Client) -> None:
    first, second = [await client.error("{ viewer { name } }") for _ in range(2)]
    assert first == second
    assert "Cannot query field 'name'" in first["message"]
    assert first["extensions"] == {"code": "INVALID_REQUEST"}


async def test_of_two_fragments_of_one_name_nothing_else_is_looked_at(client: Client) -> None:
    """Only one of them is measured; validation would look into both, and find the unknown field."""
    error = await client.error(
        "{ ...A } fragment A on Query { nothing } fragment A on Query { __typename }"
    )
    assert error["message"] == "There can be only one fragment named 'A'."
    assert error["extensions"] == {"code": "INVALID_REQUEST"}
    assert [place["column"] for place in error["locations"]] == [19, 51]


async def test_a_syntax_error_says_where(client: Client) -> None:
    error = await client.error("{ viewer { userId }")
    assert error["message"].startswith("Syntax Error")
    assert error["locations"] == [{"line": 1, "column": 20}]
    assert error["extensions"] == {"code": "INVALID_REQUEST"}


async def test_of_several_operations_one_must_be_named(client: Client) -> None:
    assert "operationName" in (await client.error(TWO))["message"]
    result = await client.schema.execute(TWO, operation_name="B", context_value=client.context)
    assert result.data == {"viewer": {"role": "ADMIN"}}


async def test_a_variable_that_does_not_fit_is_the_clients_error(client: Client) -> None:
    error = await client.error("query S($n: Int!) { sessions(first: $n) { nodes { id } } }", n="x")
    assert error["extensions"] == {"code": "INVALID_REQUEST"}


@pytest.fixture
def hasty() -> MissionSchema:
    return build_schema(Settings(operation_timeout_seconds=0.05))


async def test_an_operation_that_takes_too_long_is_given_up(
    client: Client, hasty: MissionSchema, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled = asyncio.Event()

    async def endless(*_: object, **__: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    monkeypatch.setattr(node.chat, "list_sessions", endless)
    client.schema = hasty
    error = await client.error("{ sessions { nodes { id } } }")
    assert error["extensions"] == {"code": "TIMEOUT"}
    assert "0.05 seconds" in error["message"]
    assert cancelled.is_set()


async def test_introspection_can_be_switched_off_and_nothing_else_tells_the_schema(
    client: Client,
) -> None:
    client.schema = build_schema(Settings(introspection=False))
    for query in (
        "{ __schema { types { name } } }",
        '{ __type(name: "Session") { fields { name } } }',
        get_introspection_query(),
    ):
        _, errors = await client.execute(query)
        assert errors
        assert all("introspection" in error["message"] for error in errors)
    assert await client.data("{ __typename viewer { __typename } }") == {
        "__typename": "Query",
        "viewer": {"__typename": "Viewer"},
    }
    assert "Did you mean" not in (await client.error("{ viewer { userI } }"))["message"]


async def test_a_timeout_inside_an_operation_is_not_taken_for_its_own(
    client: Client, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(*_: object, **__: object) -> None:
        raise TimeoutError("of something else")

    monkeypatch.setattr(node.chat, "list_sessions", slow)
    error = await client.error("{ sessions { nodes { id } } }")
    assert error["extensions"]["code"] == "INTERNAL"


async def test_a_subscription_may_take_longer_than_an_operation(
    client: Client, hasty: MissionSchema
) -> None:
    session_id = (await client.send("hello"))["process"]["sessionId"]
    client.schema = hasty
    events = client.follow(
        'subscription E($id: ID!) { sessionEvents(sessionId: $id, after: "") { seq } }',
        id=session_id,
    )
    assert (await anext(events))["seq"] == 1
    await asyncio.sleep(0.1)
    assert (await anext(events))["seq"] == 2
    await events.aclose()


async def test_waiting_for_a_reply_ends_before_the_operation_does(client: Client) -> None:
    """The client gets the running process rather than an error."""
    settings = client.node.runtime.settings.model_copy(update={"operation_timeout_seconds": 2.0})
    object.__setattr__(client.node.runtime, "settings", settings)
    client.schema = build_schema(settings)
    sent = await client.send("hello", capability="gate", waitSeconds=300)
    assert sent["process"]["state"] == "RUNNING"


async def test_an_event_whose_result_takes_too_long_is_told_so_and_the_next_ones_follow(
    client: Client, hasty: MissionSchema, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = (await client.send("hi"))["process"]
    query = """subscription ($id: ID!) { replyStream(processId: $id) {
      __typename ... on ReplyFinished { process { replyMessage { id } } } } }"""

    async def endless(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("mission_system.schema.process.message_by_id", endless)
    results = await hasty.stream(query, {"id": process["id"]}, client.context)
    async with asyncio.timeout(20), aclosing(results):
        found = [result async for result in results]
    assert found[-1].data is None
    assert not isinstance(found[-1], PreExecutionError)  # which would end it over a WebSocket
    told = [error.extensions for error in found[-1].errors or ()]
    last = [event["cursor"] async for event in client.follow(CURSORS, id=process["id"])][-1]
    assert told == [{"code": "TIMEOUT", "cursor": last}]
