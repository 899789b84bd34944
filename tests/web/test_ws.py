"""Section 6 of the contract: the WebSocket, over a real one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from mission_system import Caller
from mission_system.core.events.event import Event
from mission_system.core.node import Node
from mission_system.core.settings import Settings
from mission_system.core.tower.process import ProcessControlBlock
from mission_system.web import event_manager
from mission_system.web.app import create_app

Json = dict[str, Any]
B = "/api/v1/chat"
ENDINGS = {
    f"orchestrator.{name}" for name in ("completed", "failed", "clarification", "confirmation")
}


@dataclass(frozen=True)
class Server:
    app: Starlette
    host: str

    @property
    def node(self) -> Node:
        return cast(Node, self.app.state.node)

    async def post(self, path: str, body: Json, **headers: str) -> Json:
        async with httpx.AsyncClient(timeout=30) as http:
            answer = await http.post(f"http://{self.host}{path}", json=body, headers=headers)
        assert answer.status_code < 300, answer.text
        return cast(Json, answer.json())

    async def send(self, message: str, session: str | None = None, user: str = "ann") -> Json:
        body = {"message": message, "session_id": session}
        return await self.post(f"{B}/messages?user_id={user}", body)

    async def call(self, method: str, path: str, body: object = None) -> None:
        async with httpx.AsyncClient(timeout=30) as http:
            url = f"http://{self.host}{B}{path}"
            answer = await http.request(method, url, json=body)
        assert answer.status_code < 300, answer.text

    async def until_alone(self) -> None:
        async with asyncio.timeout(20):
            while self.app.state.event_manager._clients:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def started(folder: Path, **changed: Any) -> AsyncIterator[Server]:
    app = create_app(Settings(**{"data": folder, "shutdown_seconds": 0} | changed))
    config = uvicorn.Config(
        app, port=0, log_level="warning", ws="websockets-sansio", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:
        if running.done():
            running.result()
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Server(app, f"127.0.0.1:{port}")
    finally:
        server.should_exit = True
        await running


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with started(tmp_path) as server:
        yield server


@dataclass(frozen=True)
class Socket:
    connection: ClientConnection

    async def text(self) -> str:
        async with asyncio.timeout(20):
            text = await self.connection.recv()
        assert isinstance(text, str)
        return text

    async def event(self) -> Json:
        event: Json = json.loads(await self.text())
        assert set(event) == {"event", "event_type", "payload", "timestamp"}
        assert event["event"] == event["event_type"]
        assert datetime.fromisoformat(event["timestamp"]).utcoffset() is not None
        return event

    async def until(self, *names: str) -> list[Json]:
        """Events up to the first of these."""
        found = [await self.event()]
        while found[-1]["event"] not in names:
            found.append(await self.event())
        return found

    async def ping(self) -> None:
        """Everything sent before has been seen by the server, which is fine."""
        await self.connection.send("ping")
        assert await self.text() == "pong"

    async def closed(self) -> int | None:
        async with asyncio.timeout(20):
            await self.connection.wait_closed()
        return self.connection.close_code


Connect = Callable[..., AbstractAsyncContextManager[Socket]]


@asynccontextmanager
async def listening(server: Server, query: str = "") -> AsyncIterator[Socket]:
    async with connect(f"ws://{server.host}/ws{query}", proxy=None) as connection:
        socket = Socket(connection)
        await socket.ping()
        yield socket


async def test_6_pings_are_answered_in_either_form(server: Server) -> None:
    async with listening(server, "?token=anything") as socket:
        await socket.connection.send('{"type": "ping"}')
        pong = await socket.event()
        assert (pong["event"], pong["payload"]) == ("pong", {})
        await socket.connection.send("pong")
        await socket.ping()


@pytest.mark.parametrize(
    "frame", ["hello", "{", '{"type": 5}', "[]", "null", "\0", b"\xff\x00", "x" * 100_000]
)
async def test_6_anything_else_harms_nobody(server: Server, frame: str | bytes) -> None:
    async with listening(server) as other, listening(server) as socket:
        await socket.connection.send(frame)
        await socket.ping()
        await other.ping()


async def test_6_a_turn_is_told_from_its_start_to_one_ending(server: Server) -> None:
    async with listening(server) as socket:
        sent = await server.send("hello")
        seen = await socket.until(*ENDINGS)
        names = [each["event"] for each in seen]
        assert names[0] == "chat.session.created"
        assert seen[0]["payload"]["session"]["session_id"] == sent["session_id"]
        assert names[1] == "orchestrator.started"
        assert names[-1] == "orchestrator.completed"
        assert seen[-1]["payload"] == {"request_id": sent["request_id"], "status": "completed"}
        assert sum(name.startswith("orchestrator.") for name in names) == 2
        assert "hello" not in json.dumps(seen[-1])


@pytest.mark.parametrize(
    ("message", "name", "keys"),
    [
        ("/fail", "failed", {"error"}),
        ("/confirm", "confirmation", {"confirmation_message", "confirmation_id"}),
        ("/clarify", "clarification", {"clarification_question", "thread_id"}),
    ],
)
async def test_6_each_outcome_has_its_event(
    server: Server, message: str, name: str, keys: set[str]
) -> None:
    async with listening(server) as socket:
        sent = await server.send(message)
        ending = (await socket.until(*ENDINGS))[-1]
        assert ending["event"] == f"orchestrator.{name}"
        assert set(ending["payload"]) == keys | {"request_id"}
        assert ending["payload"]["request_id"] == sent["request_id"]


async def test_6_what_is_asked_over_the_socket_can_be_answered(server: Server) -> None:
    async with listening(server) as socket:
        await server.send("/clarify")
        asked = (await socket.until(*ENDINGS))[-1]["payload"]
        answer = {"thread_id": asked["thread_id"], "clarification": "this", "user_id": "ann"}
        answered = await server.post(f"{B}/clarifications", answer)
        assert answered["status"] == "completed"
        assert (await socket.until(*ENDINGS))[-1]["event"] == "orchestrator.completed"


async def test_6_changes_of_chat_are_told(server: Server) -> None:
    sent = await server.send("hello")
    id, user = sent["session_id"], "?user_id=ann"
    messages = (await server.node.chat.list_messages(Caller("ann"), id)).items
    number = messages[0].message_id
    async with listening(server) as socket:
        await server.call("PATCH", f"/sessions/{id}{user}", {"title": "T"})
        await server.call("PATCH", f"/messages/{number}{user}", {"content": "edited"})
        await server.call("DELETE", f"/messages/{number}{user}&soft=false")
        await server.call("DELETE", f"/sessions/{id}{user}")
        await server.call("DELETE", f"/sessions/{id}{user}&soft=false")
        seen = [await socket.event() for _ in range(5)]
    assert [each["event"] for each in seen] == [
        "chat.session.updated",
        "chat.message.edited",
        "chat.message.deleted",
        "chat.session.deleted",
        "chat.session.deleted",
    ]
    payloads = [each["payload"] for each in seen]
    for payload in payloads:
        assert payload["session_id"] == id
        assert payload["user_id"] == "ann"
        assert payload["timestamp"]
    assert payloads[0]["session"]["title"] == "T"
    assert payloads[1]["message"]["content"] == "edited"
    assert (payloads[2]["message_id"], payloads[2]["soft"]) == (number, False)
    assert [payload["soft"] for payload in payloads[3:]] == [True, False]


async def test_6_every_client_is_told(server: Server) -> None:
    async with listening(server) as one, listening(server) as two:
        await server.send("hello", user="bob")
        for socket in (one, two):
            assert (await socket.until(*ENDINGS))[-1]["event"] == "orchestrator.completed"


async def test_6_with_tokens_only_the_owner_is_told(tmp_path: Path) -> None:
    async with started(tmp_path, auth="tokens") as server:
        _, ann = await server.node.tokens.create("ann")
        _, bob = await server.node.tokens.create("bob")
        for query in ("", "?token=wrong"):
            with pytest.raises(InvalidStatus) as refused:
                async with listening(server, query):
                    pass
            assert refused.value.response.status_code == 403
        async with (
            listening(server, f"?token={ann}") as hers,
            listening(server, f"?token={bob}") as his,
        ):
            bearer = f"Bearer {ann}"
            path, body = f"{B}/messages?user_id=ann", {"message": "hello"}
            await server.post(path, body, Authorization=bearer)
            await hers.until("orchestrator.completed")
            await his.ping()  # whose answer would come after an event


async def test_6_an_event_is_told_once_the_storage_answers_again(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    get, failures = server.node.tower.get_anyones, 3

    async def fragile(pid: str) -> ProcessControlBlock:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise OSError("the disk is away")
        return await get(pid)

    monkeypatch.setattr(event_manager, "RETRY_SECONDS", 0)
    async with listening(server) as socket:
        monkeypatch.setattr(server.node.tower, "get_anyones", fragile)
        await server.send("hello")
        names = [event["event"] for event in await socket.until(*ENDINGS)]
    assert failures < 0
    assert names[:2] == ["chat.session.created", "orchestrator.started"]
    assert names[-1] == "orchestrator.completed"


async def test_6_an_event_that_cannot_be_told_takes_no_other_with_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge = server.app.state.event_manager._bridge
    translate = bridge.translate

    def broken(event: Event, request: object) -> object:
        if event.type == "chat.session.created":
            raise ValueError("no such event")
        return translate(event, request)

    monkeypatch.setattr(bridge, "translate", broken)
    async with listening(server) as socket:
        await server.send("hello")
        names = [event["event"] for event in await socket.until(*ENDINGS)]
    assert (names[0], names[-1]) == ("orchestrator.started", "orchestrator.completed")


async def test_6_nobody_is_left_behind(server: Server) -> None:
    async with listening(server):
        assert server.app.state.event_manager._telling is not None
    await server.until_alone()
    async with asyncio.timeout(20):
        while server.app.state.event_manager._telling is not None:
            await asyncio.sleep(0.01)


async def test_6_a_hundred_sockets_are_all_told(server: Server) -> None:
    async with asyncio.timeout(90):
        sockets = [
            await connect(f"ws://{server.host}/ws", proxy=None, open_timeout=60) for _ in range(100)
        ]
        await server.send("hello")
        for connection in sockets:
            assert (await Socket(connection).until(*ENDINGS))[-1]["event"] in ENDINGS
        await asyncio.gather(*(connection.close() for connection in sockets))
    await server.until_alone()
