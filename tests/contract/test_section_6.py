"""Section 6: the WebSocket."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import httpx
import pytest
from databases import ChosenDatabases
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import InvalidStatus

from .conftest import Api, B, Json, at_once, client_of
from .listener import OUTCOMES, Listener, listening
from .served import SECONDS, Served, served

SESSION = {
    *("session_id", "user_id", "title", "message_count", "created_at", "last_activity"),
    *("deleted_at", "archived_at"),
}


@pytest.fixture
def listener(server: Served) -> Iterator[Listener]:
    with listening(server) as listener:
        yield listener


# The connection


@pytest.mark.parametrize("query", ["", "?token=", "?token=anything", "?token=a&token=b", "?x=y"])
def test_6_a_token_is_optional_and_any_is_accepted(server: Served, query: str) -> None:
    with listening(server, query) as listener:
        listener.ping()


def test_6_where_it_is_required_a_wrong_token_is_refused(asking: Served) -> None:
    token = asking.token("ann")
    for query in ("", "?token=", "?token=wrong", f"?token={token}x", f"?token={token}%00"):
        with pytest.raises(InvalidStatus) as refused, listening(asking, query):
            pass
        assert refused.value.response.status_code == 403
        assert "a valid token is needed" in refused.value.response.body.decode()
    with listening(asking, f"?token={token}") as listener:
        listener.ping()
    with listening(asking, additional_headers={"Authorization": f"Bearer {token}"}) as listener:
        listener.ping()


def test_6_pings_are_answered_in_their_own_form(listener: Listener) -> None:
    listener.connection.send("ping")
    assert listener.frame() == "pong"
    listener.connection.send('{"type": "ping"}')
    pong = listener.event()
    assert (pong["event"], pong["payload"]) == ("pong", {})
    listener.connection.send(' {"type":"ping","more":[1]}\n')
    assert listener.event()["event"] == "pong"


def test_6_a_bare_pong_is_silent(listener: Listener) -> None:
    for _ in range(3):
        listener.connection.send("pong")
    listener.connection.send("ping")
    assert listener.frame() == "pong"


ODD = [
    *("hello", "", " ", "{", '{"type": 5}', '{"type": "subscribe"}', "[]", "null", "5", "\0"),
    *(b"", b"\xff\x00", b"ping", "x" * 100_000, "[" * 100_000, '{"type": "\\ud800"}', "PING"),
]


@pytest.mark.parametrize("frame", ODD, ids=range(len(ODD)))
def test_6_anything_else_is_ignored_or_told_and_harms_nobody(
    server: Served, listener: Listener, frame: str | bytes
) -> None:
    with listening(server) as odd:
        odd.connection.send(frame)
        odd.connection.send('{"type": "ping"}')
        assert odd.until(lambda e: e["event"] != "error")["event"] == "pong"
    listener.ping()


def test_6_a_frame_above_the_limit_ends_only_its_own_connection(
    server: Served, listener: Listener
) -> None:
    with listening(server) as odd:
        odd.connection.send("x" * (1 << 21))
        assert odd.closed() == 1009
    listener.ping()


@pytest.fixture(scope="module")
def brisk(tmp_path_factory: pytest.TempPathFactory, databases: ChosenDatabases) -> Iterator[Served]:
    """A server that soon loses patience."""
    settings = {"websocket_ping_seconds": 0.4, "websocket_idle_seconds": 2}
    with served(tmp_path_factory.mktemp("brisk"), **settings) as server:
        yield server


def test_6_by_default_the_times_are_those_of_the_contract(server: Served) -> None:
    settings = server.plugin.runtime.settings
    assert (settings.websocket_ping_seconds, settings.websocket_idle_seconds) == (30, 120)


def test_6_a_silent_client_is_pinged_and_then_dropped(brisk: Served) -> None:
    with listening(brisk) as silent:
        assert [silent.frame() for _ in range(3)] == ["ping"] * 3
        assert silent.closed() == 1001


def test_6_whoever_says_anything_stays(brisk: Served) -> None:
    lives = ("pong", "ping", '{"type": "ping"}', "anything")
    with ExitStack() as stack:
        clients = {life: stack.enter_context(listening(brisk)) for life in lives}
        begun = time.monotonic()
        while time.monotonic() < begun + 4.5:  # more than twice what silence may last
            for life, lively in clients.items():
                while lively.frame() != "ping":
                    pass
                lively.connection.send(life)
        for lively in clients.values():
            lively.ping()


def test_6_a_client_that_does_not_read_is_dropped_and_holds_up_nobody(
    tmp_path: Path, databases: ChosenDatabases
) -> None:
    with (
        served(tmp_path, websocket_backlog=10) as server,
        client_of(server) as http,
        socket.socket() as slow,
        listening(server) as quick,
    ):
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(SECONDS)
        slow.connect(server.address)
        key = base64.b64encode(os.urandom(16)).decode()
        slow.sendall(
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        assert b" 101 " in slow.recv(64)
        api = Api(server, http, "ann")
        session = api.send("hi")["session_id"]
        message = api.messages(session)[0]["message_id"]
        edits = 250
        for n in range(edits):
            api.call("PATCH", f"{B}/messages/{message}", {"content": "🙂" * 9_990 + str(n)})
            quick.chat(session, "chat.message.edited")
        received = sum(len(part) for part in iter(lambda: slow.recv(1 << 20), b""))
        # Far less than it was sent: it was dropped, and its end is told by the closed connection.
        assert received < edits * 40_000
        quick.ping()


# The events


@pytest.mark.parametrize("surface", ["messages", "requests"])
def test_6_a_turn_is_told_from_its_start_to_its_end(
    api: Api, listener: Listener, surface: str
) -> None:
    sent = api.send("hello") if surface == "messages" else api.submit("hello")
    end = listener.outcome(sent["request_id"])
    assert end["event"] == "orchestrator.completed"
    assert end["payload"] == {"request_id": sent["request_id"], "status": "completed"}
    first, *_, last = listener.of_request(sent["request_id"])
    assert first["event"] == "orchestrator.started"
    assert set(first["payload"]) == {"request_id", "pid"}
    assert api.status(first["payload"]["pid"])["pid"] == first["payload"]["pid"]
    assert last == end
    names = [each["event"] for each in listener.of_request(sent["request_id"])]
    assert sum(name.startswith("orchestrator.") for name in names) == 2
    session = sent.get("session_id", f"session_{api.user}")
    [created] = [
        each
        for each in listener.heard
        if each["event"] == "chat.session.created" and each["payload"]["session_id"] == session
    ]
    assert set(created["payload"]) == {"session_id", "user_id", "session", "timestamp"}
    assert created["payload"]["user_id"] == api.user
    assert set(created["payload"]["session"]) == SESSION


def test_6_no_event_shows_the_answer(api: Api, listener: Listener) -> None:
    sent = api.send("a very special message")
    listener.outcome(sent["request_id"])
    assert "special" not in json.dumps(listener.of_request(sent["request_id"]))


@pytest.mark.parametrize(
    ("message", "name", "fields"),
    [
        ("/fail", "failed", {"error"}),
        ("/confirm", "confirmation", {"confirmation_message", "confirmation_id"}),
        ("/clarify", "clarification", {"clarification_question", "thread_id"}),
    ],
)
def test_6_each_outcome_has_its_event_that_says_what_http_says(
    api: Api, listener: Listener, message: str, name: str, fields: set[str]
) -> None:
    sent = api.send(message)
    end = listener.outcome(sent["request_id"])
    assert end["event"] == f"orchestrator.{name}"
    assert set(end["payload"]) == fields | {"request_id"}
    for each in fields - {"error"}:
        assert end["payload"][each] == sent[each]
    if message == "/fail":
        assert isinstance(end["payload"]["error"], str)
        assert end["payload"]["error"]


def test_6_an_answered_question_has_one_more_outcome(api: Api, listener: Listener) -> None:
    asked = api.send("/clarify")
    event = listener.outcome(asked["request_id"])["payload"]
    body = {"thread_id": event["thread_id"], "clarification": "this"}
    assert api.post("chat/clarifications", **body).json()["status"] == "completed"
    assert listener.outcome(asked["request_id"])["event"] == "orchestrator.completed"
    asked = api.send("/confirm")
    event = listener.outcome(asked["request_id"])["payload"]
    body = {"confirmation_id": event["confirmation_id"], "user_response": "no"}
    assert api.post("confirmations", **body).json()["status"] == "completed"
    assert listener.outcome(asked["request_id"])["event"] == "orchestrator.completed"
    listener.ping()
    names = [each["event"] for each in listener.of_request(asked["request_id"])]
    told = [name for name in names if name.startswith("orchestrator.")]
    assert told == [f"orchestrator.{n}" for n in ("started", "confirmation", "completed")]


def shown(told: Json) -> object:
    """What a client shows of an outcome."""
    payload = told["payload"]
    name = told["event"].removeprefix("orchestrator.")
    return payload.get("clarification_question") or payload.get("confirmation_message") or name


def said(made: Json) -> object:
    """The same of what HTTP says."""
    return made["clarification_question"] or made["confirmation_message"] or made["status"]


def answered_in_turn(api: Api, listener: Listener, made: Json) -> tuple[list[object], list[object]]:
    """What `/ws` and what HTTP shows of a request, each question being answered when it is shown;
    to a client that connects before the answer too."""
    id, over_http = made["request_id"], [said(made)]
    told = [shown(listener.outcome(id))]
    while made["status"] != "completed":
        with listening(api.server) as late:
            if made["confirmation_needed"]:
                body = {"confirmation_id": made["confirmation_id"], "user_response": "yes"}
                made = api.post("confirmations", **body).json()
            else:
                body = {"thread_id": made["thread_id"], "clarification": "so"}
                made = api.post("chat/clarifications", **body).json()
            told.append(shown(listener.outcome(id)))
            assert shown(late.outcome(id)) == told[-1]
        over_http.append(said(made))
    listener.ping()
    assert len([e for e in listener.of_request(id) if e["event"] in OUTCOMES]) == len(told)
    return told, over_http


@pytest.mark.parametrize("message", ["one two three", "one? two?", "one two? three"])
def test_6_of_several_questions_one_is_told_at_a_time(
    api: Api, listener: Listener, message: str
) -> None:
    made = api.submit(message, context={"capability": "several"})
    told, over_http = answered_in_turn(api, listener, made)
    assert told == over_http == [*message.split(), "completed"]


def test_6_of_the_questions_of_several_children_one_is_told_at_a_time(
    api: Api, listener: Listener
) -> None:
    """Which one is the oldest may change while they ask at once; how many are told may not."""
    made = api.submit("x", context={"capability": "parents"})
    told, over_http = answered_in_turn(api, listener, made)
    assert told[-1] == over_http[-1] == "completed"
    assert len(told) == len(over_http) == 5


def test_6_a_question_that_is_answered_before_its_turn_is_not_told(
    api: Api, listener: Listener
) -> None:
    made = api.submit("one? two", context={"capability": "several"})
    id = made["request_id"]
    thread = api.status(id)["pid"]
    body = {"thread_id": thread, "clarification": "early"}
    assert said(api.post("chat/clarifications", **body).json()) == "one?"
    body = {"confirmation_id": made["confirmation_id"], "user_response": "yes"}
    assert api.post("confirmations", **body).json()["response_text"] == "True early"
    assert [shown(listener.outcome(id)) for _ in range(3)] == ["one?", "one?", "completed"]


def test_6_a_limit_that_was_reached_is_told(api: Api, listener: Listener) -> None:
    made = api.submit("x", context={"capability": "greedy"})
    end = listener.outcome(made["request_id"])
    assert end["event"] == "orchestrator.resource_exhausted"
    assert set(end["payload"]) == {"request_id", "reason"}
    assert end["payload"]["reason"] == "max_tool_calls_exceeded"


def test_6_a_limit_at_which_somebody_is_asked_is_told_in_numbers(
    api: Api, listener: Listener
) -> None:
    made = api.submit("x", context={"capability": "asking"})
    end = listener.outcome(made["request_id"])
    assert end["event"] == "orchestrator.resource_exhausted"
    request_id = made["request_id"]
    assert end["payload"] == {
        "request_id": request_id,
        "resource": "tool_calls",
        "usage": 2,
        "quota": 2,
    }


def test_6_what_is_cancelled_is_told(
    api: Api, server: Served, listener: Listener, gate: str
) -> None:
    def ask(n: int) -> httpx.Response:
        if n == 1:
            assert server.gates.reached[gate].wait(60)
            query = """mutation($pid: ID!) {
                cancelProcess(input: {processId: $pid, reason: "enough"}) { __typename }
            }"""
            body = {"query": query, "variables": {"pid": api.status(gate)["pid"]}}
            return api.http.post("/graphql", json=body, headers={"X-Mission-User": api.user})
        context = {"capability": "held", "request_id": gate}
        return api.post("requests", user_message=gate, context=context)

    asked, cancelled = at_once(2, ask)
    assert "errors" not in cancelled.json(), cancelled.text
    assert asked.json()["status"] == "failed"
    end = listener.outcome(gate)
    assert end["event"] == "orchestrator.cancelled"
    assert end["payload"] == {"request_id": gate, "reason": "enough"}


def test_6_what_ends_with_its_session_is_cancelled(
    api: Api, server: Served, listener: Listener, gate: str
) -> None:
    def ask(n: int) -> httpx.Response:
        if n == 1:
            started = listener.until(lambda e: e["event"] == "orchestrator.started")
            assert started["payload"]["request_id"] == gate
            assert server.gates.reached[gate].wait(60)
            return api.call("DELETE", f"{B}/sessions/session_{api.user}", soft="false")
        context = {"capability": "held", "request_id": gate}
        return api.post("requests", user_message=gate, context=context)

    asked, deleted = at_once(2, ask)
    assert deleted.status_code == 204
    assert asked.status_code in (200, 404)
    listener.chat(f"session_{api.user}", "chat.session.deleted")
    listener.ping()
    told = [e["event"] for e in listener.of_request(gate) if e["event"] in OUTCOMES]
    assert told == ["orchestrator.cancelled"]


@pytest.mark.parametrize("capability", ["held", "foreman"])
def test_6_what_ends_with_its_session_is_told_to_a_client_that_came_later(
    api: Api, server: Served, gate: str, capability: str
) -> None:
    def ask(n: int) -> httpx.Response:
        if n == 1:
            assert server.gates.reached[gate].wait(60)
            with listening(server) as late:
                deleted = api.call("DELETE", f"{B}/sessions/session_{api.user}", soft="false")
                late.chat(f"session_{api.user}", "chat.session.deleted")
                late.ping()
            heard.extend(e["event"] for e in late.of_request(gate))
            return deleted
        context = {"capability": capability, "request_id": gate}
        return api.post("requests", user_message=gate, context=context)

    heard: list[str] = []
    _, deleted = at_once(2, ask)
    assert deleted.status_code == 204
    assert heard == ["orchestrator.started", "orchestrator.cancelled"]


def test_6_what_is_gone_as_soon_as_it_was_sent_is_told_all_the_same(
    api: Api, listener: Listener, gate: str
) -> None:
    """Many, for the session must be gone before its events are read."""
    ids = [f"{n} of {api.user}" for n in range(20)]

    def ask(n: int) -> httpx.Response:
        session, id = f"gone {n // 2}", ids[n // 2]
        if n % 2 == 0:
            context = {"capability": "held", "request_id": id}
            return api.post("requests", user_message=gate, session_id=session, context=context)
        while True:
            gone = api.call("DELETE", f"{B}/sessions/{session}", soft="false")
            if gone.status_code == 204:
                return gone

    at_once(2 * len(ids), ask)
    left = {f"gone {n}" for n in range(len(ids))}
    while left:
        gone = listener.until(lambda e: e["event"] == "chat.session.deleted")
        left.discard(gone["payload"]["session_id"])
    for id in ids:
        told = [each["event"] for each in listener.of_request(id)]
        assert told == ["orchestrator.started", "orchestrator.cancelled"]


def test_6_stages_and_tools_are_told(api: Api, listener: Listener) -> None:
    made = api.submit("word", context={"capability": "scholar"})
    listener.outcome(made["request_id"])
    names = [each["event"] for each in listener.of_request(made["request_id"])]
    assert names == [
        "orchestrator.started",
        "reader.started",
        "tool.called",
        "tool.completed",
        "reader.completed",
        "orchestrator.completed",
    ]


def test_6_every_change_of_chat_is_told(api: Api, listener: Listener) -> None:
    made = api.post("chat/sessions", title="new").json()
    session, path = made["session_id"], f"{B}/sessions/{made['session_id']}"
    created = listener.chat(session, "chat.session.created")["payload"]
    assert created["session"] == made

    patched = api.call("PATCH", path, {"title": "other"}).json()
    updated = listener.chat(session, "chat.session.updated")["payload"]
    assert updated["session"] == patched

    api.send("hello", session)
    message = api.messages(session)[0]["message_id"]
    changed = api.call("PATCH", f"{B}/messages/{message}", {"content": "edited"}).json()
    edited = listener.chat(session, "chat.message.edited")["payload"]
    assert (edited["message_id"], edited["message"]) == (message, changed)

    told = [created, updated, edited]
    for soft in (True, False):
        api.call("DELETE", f"{B}/messages/{message}", soft=str(soft).lower())
        deleted = listener.chat(session, "chat.message.deleted")["payload"]
        assert (deleted["message_id"], deleted["soft"]) == (message, soft)
        told.append(deleted)
    for soft in (True, False):
        api.call("DELETE", path, soft=str(soft).lower())
        deleted = listener.chat(session, "chat.session.deleted")["payload"]
        assert deleted["soft"] is soft
        told.append(deleted)
    common = {"session_id", "user_id", "timestamp"}
    own = [{"session"}, {"session"}, {"message_id", "message"}]
    own += [*[{"message_id", "soft"}] * 2, *[{"soft"}] * 2]
    for payload, fields in zip(told, own, strict=True):
        assert set(payload) == common | fields
        assert (payload["session_id"], payload["user_id"]) == (session, api.user)


def test_6_what_changes_nothing_is_not_told(api: Api, listener: Listener) -> None:
    session = api.session()
    path = f"{B}/sessions/{session}"
    for _ in range(2):
        api.call("DELETE", path)
    api.call("POST", f"{B}/messages", {"message": "", "session_id": session})
    api.call("POST", f"{B}/messages", {"message": "hi", "session_id": session})
    listener.ping()
    told = [e["event"] for e in listener.heard if e["payload"].get("session_id") == session]
    assert told == ["chat.session.created", "chat.session.deleted"]


def test_6_without_authentication_everybody_is_told(server: Served, api: Api, bob: Api) -> None:
    with listening(server) as one, listening(server, "?token=x") as two:
        for who in (api, bob):
            sent = who.send("hello")
            for each in (one, two):
                assert each.outcome(sent["request_id"])["event"] == "orchestrator.completed"


def test_6_with_authentication_only_the_owner_is_told(asking: Served) -> None:
    tokens = {name: asking.token(name) for name in ("carol", "dave")}
    with (
        listening(asking, f"?token={tokens['carol']}") as hers,
        listening(asking, f"?token={tokens['carol']}") as also_hers,
        listening(asking, f"?token={tokens['dave']}") as his,
        client_of(asking, headers={"Authorization": f"Bearer {tokens['carol']}"}) as http,
    ):
        api = Api(asking, http, "carol")
        session = api.session("secret")
        sent = api.send("hello", session)
        asked = api.send("/clarify", session)
        message = api.messages(session)[0]["message_id"]
        api.call("PATCH", f"{B}/messages/{message}", {"content": "edited"})
        api.call("DELETE", f"{B}/sessions/{session}", soft="false")
        for each in (hers, also_hers):
            each.outcome(sent["request_id"])
            each.outcome(asked["request_id"])
            each.chat(session, "chat.session.deleted")
        his.ping()
        assert [each["event"] for each in his.heard] == ["pong"]


def test_6_an_outcome_comes_within_a_second_of_its_answer(api: Api, listener: Listener) -> None:
    """The middle one of several, so that one pause of a busy machine does not count."""
    late = []
    for _ in range(9):
        sent = api.send("hello")
        answered = time.monotonic()
        listener.outcome(sent["request_id"])
        late.append(time.monotonic() - answered)
    assert median(late) < 1


def test_6_requests_at_once_are_each_told_in_order(api: Api, listener: Listener) -> None:
    session = api.session()
    texts = ["hello", "/fail", "/clarify", "/confirm"] * 5

    def send(n: int) -> httpx.Response:
        where = session if n % 2 else None
        return api.call("POST", f"{B}/messages", {"message": texts[n], "session_id": where})

    ids = [each.json()["request_id"] for each in at_once(len(texts), send)]
    open_ids = set(ids)
    while open_ids:
        event = listener.event()
        if event["event"] in OUTCOMES:
            open_ids.discard(event["payload"]["request_id"])
    listener.ping()
    for text, id in zip(texts, ids, strict=True):
        names = [each["event"] for each in listener.of_request(id)]
        told = [name for name in names if name.startswith("orchestrator.")]
        outcome = {"hello": "completed", "/fail": "failed"}.get(text, text[1:])
        outcome = {"clarify": "clarification", "confirm": "confirmation"}.get(outcome, outcome)
        assert told == ["orchestrator.started", f"orchestrator.{outcome}"]
        assert names[0] == told[0]


def test_6_who_comes_late_is_told_what_happens_from_then_on(server: Served, api: Api) -> None:
    before = api.send("before")
    with listening(server) as listener:
        after = api.send("after")
        listener.outcome(after["request_id"])
        assert listener.of_request(before["request_id"]) == []


async def test_6_a_hundred_sockets_are_all_told(server: Served, user: str) -> None:
    """While they come and go."""
    async with asyncio.timeout(100), httpx.AsyncClient(base_url=server.url, timeout=60) as http:

        async def listen(n: int) -> list[str]:
            async with connect_async(server.websocket, proxy=None, open_timeout=60) as connection:
                await connection.send("ping")
                while await connection.recv() != "pong":
                    pass
                ready.release()
                heard: list[str] = []
                while len(heard) < len(texts):
                    event = await connection.recv()
                    if event != "ping" and (found := finished(json.loads(event))):
                        heard.append(found)
                return heard

        def finished(event: Json) -> str | None:
            id = event["payload"].get("request_id")
            return id if event["event"] == "orchestrator.completed" and id in texts else None

        async def pass_by() -> None:
            async with connect_async(server.websocket, proxy=None, open_timeout=60):
                pass

        ready = asyncio.Semaphore(0)
        texts = [f"{user} {n}" for n in range(5)]
        sockets = [asyncio.create_task(listen(n)) for n in range(100)]
        for _ in sockets:
            await ready.acquire()
        passing = [asyncio.create_task(pass_by()) for _ in range(20)]
        for text in texts:
            body = {"user_message": text, "user_id": user, "context": {"request_id": text}}
            assert (await http.post("/api/v1/requests", json=body)).status_code == 200
        heard = await asyncio.gather(*sockets)
        await asyncio.gather(*passing)
    assert heard == [texts] * 100


def test_6_events_go_on_after_a_client_vanishes(
    server: Served, api: Api, listener: Listener
) -> None:
    """One that says no goodbye."""
    with listening(server) as gone:
        gone.connection.socket.close()
    sent = api.send("hello")
    assert listener.outcome(sent["request_id"])["event"] == "orchestrator.completed"


def test_6_nothing_but_a_websocket_is_served_there(server: Served) -> None:
    answer = server.raw("GET", "/ws")
    assert answer.status in (400, 404, 426)
    assert isinstance(json.loads(answer.body)["detail"], str)
