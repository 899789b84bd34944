"""graphql-transport-ws, as a client sees it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
import structlog
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from mission_system.core.errors import Forbidden

from .conftest import Connect, Http, Json, Server, Socket

EVENTS = """
subscription Events($id: ID!, $after: String) {
  sessionEvents(sessionId: $id, after: $after) { cursor seq type }
}
"""
VIEWER = "{ viewer { userId } }"


async def operation(socket: Socket, id: str, query: str, /, **variables: object) -> list[Json]:
    """All messages of one operation, to its end."""
    await socket.subscribe(id, query, **variables)
    messages: list[Json] = []
    while not messages or messages[-1]["type"] == "next":
        messages.append(await socket.receive())
        assert messages[-1]["id"] == id
    return messages


async def answers(socket: Socket) -> None:
    """The socket still works."""
    result, end = await operation(socket, "alive", VIEWER)
    assert result["payload"] == {"data": {"viewer": {"userId": "local"}}}
    assert end == {"type": "complete", "id": "alive"}


async def test_queries_mutations_and_subscriptions_share_a_socket(
    connected: Connect, http: Http
) -> None:
    process = await http.send("hello")
    async with connected() as socket:
        await answers(socket)
        [created, _] = await operation(
            socket, "m", "mutation { createSession(input: {}) { __typename } }"
        )
        assert created["payload"]["data"]["createSession"]["__typename"] == "CreateSessionPayload"
        await socket.subscribe("s", EVENTS, id=process["sessionId"], after="")
        seqs = [(await socket.receive())["payload"]["data"]["sessionEvents"]["seq"] for _ in "abc"]
        assert seqs == [1, 2, 3]
        await socket.send({"type": "ping"})
        while (await socket.receive()) != {"type": "pong"}:
            pass


async def test_ending_a_subscription_frees_what_it_held(
    connected: Connect, http: Http, server: Server
) -> None:
    process = await http.send("hello")
    async with connected() as socket:
        await socket.subscribe("s", EVENTS, id=process["sessionId"], after="")
        await socket.receive()
        assert server.node.followers._tails
        await socket.send({"type": "complete", "id": "s"})
        await server.until_nobody_follows()


async def test_a_client_that_vanishes_leaves_nothing_behind(
    connected: Connect, http: Http, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    process = await http.send("hello " * 1000)
    async with connected() as socket:
        for number in range(50):
            await socket.subscribe(f"{number}", EVENTS, id=process["sessionId"], after="")
        await socket.receive()
        socket.connection.transport.abort()
    await server.until_nobody_follows()
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize(
    "query",
    [
        "{ viewer {",
        "{ viewer { name } }",
        "query A { viewer { userId } } query B { health { status } }",
        "{ sessions(first: %s) { nodes { id } } }" % ("9" * 5000),
    ],
    ids=["syntax", "unknown", "unnamed", "number"],
)
async def test_a_bad_document_ends_its_operation_and_not_the_socket(
    connected: Connect, query: str
) -> None:
    async with connected() as socket:
        for id in ("first", "again"):
            [error] = await operation(socket, id, query)
            assert error["type"] == "error"
            assert error["payload"][0]["extensions"] == {"code": "INVALID_REQUEST"}
        await answers(socket)


async def test_an_unknown_thing_to_follow_is_an_error_of_the_operation(connected: Connect) -> None:
    async with connected() as socket:
        [error] = await operation(socket, "s", EVENTS, id="none")
        assert error["type"] == "error"
        assert error["payload"][0]["extensions"] == {"code": "NOT_FOUND"}
        await answers(socket)


async def test_who_asks_is_told_the_cost_over_a_socket(connected: Connect) -> None:
    async with connected() as socket:
        payload = {"query": VIEWER, "extensions": {"cost": True}}
        await socket.send({"type": "subscribe", "id": "c", "payload": payload})
        result, _ = [await socket.receive() for _ in range(2)]
        assert result["payload"]["extensions"]["cost"]["cost"] == 2
        await answers(socket)


async def test_what_was_asked_beside_an_operation_is_told_to_no_other(connected: Connect) -> None:
    """Nor to a later one of the same id, whether the first has begun or not."""
    asking = {"query": VIEWER, "extensions": {"cost": True}}
    async with connected() as socket:
        for id in "ab":
            await socket.send({"type": "subscribe", "id": "a", "payload": asking})
            await socket.send({"type": "complete", "id": "a"})
            await socket.send({"type": "subscribe", "id": id, "payload": {"query": VIEWER}})
            told = [await socket.receive()]
            while told[-1]["type"] != "complete":
                told.append(await socket.receive())
            assert told[-1]["id"] == id
            [result] = [each["payload"] for each in told if each["type"] == "next"][-1:]
            assert result == {"data": {"viewer": {"userId": "local"}}}


async def test_a_defect_ends_its_operation_with_an_incident_and_not_the_socket(
    connected: Connect, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret")

    async with connected() as socket:
        with monkeypatch.context() as patch, structlog.testing.capture_logs() as logs:
            patch.setattr(server.view.schema, "stream", broken)
            [error] = await operation(socket, "b", VIEWER)
        assert error["type"] == "error"
        [told] = error["payload"]
        assert told["message"] == "Internal error"
        assert [entry["incident"] for entry in logs] == [told["extensions"]["incident"]]
        await answers(socket)


async def test_a_socket_has_so_many_operations_under_way_and_no_more(
    connected: Connect, http: Http, server: Server
) -> None:
    process = await http.send("hello")
    query = "subscription S($id: ID!) { sessionEvents(sessionId: $id) { seq } }"
    async with connected() as socket:
        for number in range(101):
            await socket.subscribe(f"{number}", query, id=process["sessionId"])
        error = await socket.receive()
        assert (error["type"], error["id"]) == ("error", "100")
        assert error["payload"][0]["extensions"] == {
            "code": "QUOTA_EXCEEDED",
            "reason": "max_socket_operations",
        }
        await socket.send({"type": "complete", "id": "0"})
        await answers(socket)
    await server.until_nobody_follows()


MALFORMED = (
    "nonsense",
    "5",
    "null",
    "[]",
    "{}",
    '{"type": 5}',
    '{"type": "unknown"}',
    '{"type": "subscribe"}',
    '{"type": "subscribe", "id": "1", "payload": 5}',
    '{"type": "subscribe", "id": "1", "payload": {}}',
    '{"type": "subscribe", "id": "1", "payload": {"query": 5}}',
    '{"type": "subscribe", "id": {}, "payload": {"query": "{ viewer { userId } }"}}',
    '{"type": "subscribe", "id": "1", "payload": {"query": "q", "variables": []}}',
    '{"type": "subscribe", "id": "1", "payload": {"query": "q", "operationName": 1}}',
    '{"type": "complete"}',
    '{"type": "complete", "id": []}',
    '{"type": "connection_init", "payload": 5}',
    '{"type": ' + "[" * 5_000 + "]" * 5_000 + "}",
    '{"type": ' + "9" * 5_000 + "}",
)


async def test_a_message_of_another_form_closes_the_socket_and_is_no_defect(
    connected: Connect, capfd: pytest.CaptureFixture[str]
) -> None:
    for text in MALFORMED:
        async with connected() as socket:
            await socket.connection.send(text)
            assert await socket.closed() == 4400, text
    assert "Traceback" not in "".join(capfd.readouterr())


async def test_a_handshake_may_say_that_it_has_no_payload(connected: Connect) -> None:
    async with connected(init=False) as socket:
        await socket.send({"type": "connection_init", "payload": None})
        assert (await socket.receive())["type"] == "connection_ack"
        await answers(socket)


async def test_a_binary_frame_closes_the_socket(connected: Connect) -> None:
    async with connected() as socket:
        await socket.connection.send(b'{"type": "ping"}')
        assert await socket.closed() == 4400


async def test_nothing_is_answered_before_the_handshake(connected: Connect) -> None:
    async with connected(init=False) as socket:
        await socket.subscribe("1", VIEWER)
        assert await socket.closed() == 4401


async def test_a_handshake_cannot_be_repeated_nor_an_id_taken_twice(
    connected: Connect, http: Http
) -> None:
    process = await http.send("hello")
    async with connected() as socket:
        await socket.send({"type": "connection_init"})
        assert await socket.closed() == 4429
    async with connected() as socket:
        for _ in range(2):
            await socket.subscribe("s", EVENTS, id=process["sessionId"])
        assert await socket.closed() == 4409


async def test_who_says_nothing_is_dropped(
    connected: Connect, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert server.view.connection_init_wait_timeout == timedelta(seconds=10)
    monkeypatch.setattr(server.view, "connection_init_wait_timeout", timedelta(seconds=0.05))
    async with connected(init=False) as socket:
        assert await socket.closed() == 4408


async def test_another_protocol_is_not_spoken(connected: Connect) -> None:
    async with connected(init=False, subprotocols=[Subprotocol("graphql-ws")]) as socket:
        assert await socket.closed() == 4406


async def test_a_page_elsewhere_or_a_caller_without_a_name_cannot_connect(
    connected: Connect,
) -> None:
    for options, reason in (
        ({"origin": "https://evil.example"}, "Origin 'https://evil.example' may not call"),
        ({"additional_headers": {"X-Mission-User": "x" * 300}}, "X-Mission-User: "),
    ):
        with pytest.raises(InvalidStatus) as refusal:
            async with connected(**options):
                pass
        assert refusal.value.response.status_code == 403
        assert reason in refusal.value.response.body.decode()


async def test_the_handshake_of_the_protocol_names_the_user_for_whom_no_header_can(
    connected: Connect, http: Http
) -> None:
    create = (
        "mutation { createSession(input: {}) { ... on CreateSessionPayload { session { id } } } }"
    )
    made = await http.client.post(
        http.url, json={"query": create}, headers=[(b"X-Mission-User", "Zoë".encode())]
    )
    session = made.json()["data"]["createSession"]["session"]["id"]
    for name in ("X-Mission-User", "x-mission-user"):
        async with connected(init=False) as socket:
            await socket.send({"type": "connection_init", "payload": {name: "Zoë"}})
            assert (await socket.receive())["type"] == "connection_ack"
            await socket.subscribe("s", EVENTS, id=session, after="")
            event = (await socket.receive())["payload"]["data"]["sessionEvents"]
            assert event["type"] == "chat.session.created"
    async with connected() as socket:
        [error] = await operation(socket, "s", EVENTS, id=session, after="")
        assert error["payload"][0]["extensions"] == {"code": "NOT_FOUND"}


@pytest.mark.parametrize("name", ["", "x" * 256, 5, ["ann"], "a\x00b"])
async def test_a_handshake_that_names_nobody_closes_the_socket(
    connected: Connect, name: object
) -> None:
    async with connected(init=False) as socket:
        await socket.send({"type": "connection_init", "payload": {"X-Mission-User": name}})
        assert await socket.closed() == 4403
        assert str(socket.connection.close_reason).startswith("X-Mission-User: must ")


async def test_a_reason_that_is_too_long_for_the_protocol_is_cut(
    connected: Connect, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise Forbidden("ä" * 100)

    monkeypatch.setattr(server.app.state.auth, "caller", refuse)
    async with connected(init=False) as socket:
        await socket.send({"type": "connection_init"})
        assert await socket.closed() == 4403
        assert socket.connection.close_reason == "ä" * 61


async def test_a_handshake_cannot_name_another_than_the_header_does(connected: Connect) -> None:
    headers = {"X-Mission-User": "ann"}
    for name, closed in (("ann", False), ("eve", True)):
        async with connected(init=False, additional_headers=headers) as socket:
            await socket.send({"type": "connection_init", "payload": {"X-Mission-User": name}})
            if closed:
                assert await socket.closed() == 4403
            else:
                assert (await socket.receive())["type"] == "connection_ack"


async def test_many_sockets_follow_one_session(connected: Connect, http: Http) -> None:
    process = await http.send("hello")

    async def follow() -> list[int]:
        async with connected() as socket:
            await socket.subscribe("s", EVENTS, id=process["sessionId"], after="")
            found: list[int] = []
            while True:
                event = (await socket.receive())["payload"]["data"]["sessionEvents"]
                found.append(event["seq"])
                if event["type"] == "process.completed":
                    return found

    stories = await asyncio.gather(*(follow() for _ in range(20)))
    assert all(story == list(range(1, len(stories[0]) + 1)) for story in stories)


async def test_followers_of_one_session_are_each_told_under_their_own_id(
    connected: Connect, http: Http
) -> None:
    process = await http.send("hello")
    async with connected() as one, connected() as other:
        for socket, id in ((one, "a"), (other, "b"), (other, "c")):
            await socket.subscribe(id, EVENTS, id=process["sessionId"], after="")
        [told] = [await one.receive()]
        both = [await other.receive() for _ in range(2)]
        while {message["id"] for message in both} != {"b", "c"}:
            both.append(await other.receive())
    assert told["id"] == "a"
    assert told["type"] == "next"
    for id in ("b", "c"):
        begun = next(message for message in both if message["id"] == id)
        assert begun == {**told, "id": id}
