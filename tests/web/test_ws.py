"""The WebSocket, where what goes wrong inside is looked at from inside."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from mission_system.core.errors import Unavailable
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


@asynccontextmanager
async def listening(server: Server, query: str = "") -> AsyncIterator[Socket]:
    async with connect(f"ws://{server.host}/ws{query}", proxy=None) as connection:
        socket = Socket(connection)
        await socket.ping()
        yield socket


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


async def test_6_while_nobody_can_look_a_token_up_the_server_is_not_ready(tmp_path: Path) -> None:
    async with started(tmp_path, auth="tokens") as server:

        async def away(*_: object) -> None:
            raise Unavailable("the database cannot be reached; try again")

        object.__setattr__(server.app.state.auth, "caller", away)
        async with connect(f"ws://{server.host}/ws?token=mine", proxy=None) as connection:
            with pytest.raises(ConnectionClosed):
                await connection.recv()
    assert connection.close_code == 1011


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
