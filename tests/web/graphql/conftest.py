"""A real server on a free port, and clients of each transport."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from mission_system.core.capabilities import OrchestratorSpec, Reply
from mission_system.core.node import Node
from mission_system.core.settings import Settings
from mission_system.core.tower.mission import Mission
from mission_system.plugins.hookspecs import hookimpl
from mission_system.web.app import create_app
from mission_system.web.graphql.view import GraphQLView

Json = dict[str, Any]
JSON = "application/json"
RESPONSE = "application/graphql-response+json"


@dataclass
class Gate:
    """A capability that stays running until a test lets it go on."""

    opened: asyncio.Event = field(default_factory=asyncio.Event)
    entered: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, _: Mission) -> Reply:
        self.entered.set()
        await self.opened.wait()
        return Reply("through the gate")

    def plugin(self) -> ModuleType:
        """Brings this, and a capability that asks."""
        module = ModuleType("gate_plugin")

        @hookimpl
        def register_orchestrators() -> Sequence[OrchestratorSpec]:
            return [OrchestratorSpec("gate", self.answer), OrchestratorSpec("asks", asks)]

        module.__dict__["register_orchestrators"] = register_orchestrators
        return module


async def asks(mission: Mission) -> str:
    return f"chose {await mission.clarify('which?', options=['one', 'two'])}"


@dataclass(frozen=True)
class Server:
    app: Starlette
    url: str

    @property
    def node(self) -> Node:
        return cast(Node, self.app.state.node)

    @property
    def view(self) -> GraphQLView:
        """What serves the address."""
        [route] = [
            r for r in self.app.routes if isinstance(r, WebSocketRoute) and r.path in self.url
        ]
        return cast(GraphQLView, route.endpoint)

    @property
    def socket_url(self) -> str:
        return self.url.replace("http", "ws", 1)

    async def until_nobody_follows(self) -> None:
        """Returns once no subscription is left; fails after ten seconds."""
        async with asyncio.timeout(10):
            while self.node.followers._tails:
                await asyncio.sleep(0.01)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@asynccontextmanager
async def started(app: Starlette) -> AsyncIterator[Server]:
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
        yield Server(app, f"http://127.0.0.1:{port}/graphql")
    finally:
        server.should_exit = True
        await running


@pytest.fixture
async def server(tmp_path: Path, gate: Gate) -> AsyncIterator[Server]:
    settings = Settings(data=tmp_path, shutdown_seconds=0)
    async with started(create_app(settings, [gate.plugin()])) as server:
        yield server
        gate.opened.set()


@dataclass(frozen=True)
class Http:
    """Sends GraphQL over HTTP."""

    client: httpx.AsyncClient
    url: str

    async def post(self, body: object, accept: str = JSON) -> httpx.Response:
        return await self.client.post(self.url, json=body, headers={"Accept": accept})

    async def get(self, accept: str = JSON, **params: str) -> httpx.Response:
        headers = {"Accept": accept, "GraphQL-Require-Preflight": "1"}
        return await self.client.get(self.url, params=params, headers=headers)

    async def raw(self, body: bytes, media: str = JSON) -> httpx.Response:
        return await self.client.post(self.url, content=body, headers={"Content-Type": media})

    async def send(self, text: str, **given: object) -> Json:
        """The process that `sendMessage` gives."""
        query = (
            "mutation Send($input: SendMessageInput!) { sendMessage(input: $input) {"
            " ... on SendMessagePayload { process { pid sessionId state reply } } } }"
        )
        response = await self.post(
            {"query": query, "variables": {"input": {"text": text, **given}}}
        )
        process: Json = response.json()["data"]["sendMessage"]["process"]
        return process


@pytest.fixture
async def http(server: Server) -> AsyncIterator[Http]:
    async with httpx.AsyncClient(timeout=20) as client:
        yield Http(client, server.url)


@dataclass(frozen=True)
class Socket:
    """One graphql-transport-ws connection."""

    connection: ClientConnection

    async def send(self, message: Mapping[str, object]) -> None:
        await self.connection.send(json.dumps(message))

    async def receive(self) -> Json:
        async with asyncio.timeout(10):
            text = await self.connection.recv()
        assert isinstance(text, str)  # the protocol is one of text frames
        message: Json = json.loads(text)
        return message

    async def subscribe(self, id: str, query: str, /, **variables: object) -> None:
        payload = {"query": query, "variables": variables}
        await self.send({"type": "subscribe", "id": id, "payload": payload})

    async def closed(self) -> int:
        """The code with which the server closes the connection."""
        async with asyncio.timeout(20):
            await self.connection.wait_closed()
        assert self.connection.close_code is not None
        return self.connection.close_code


Connect = Callable[..., AbstractAsyncContextManager[Socket]]


@pytest.fixture
def connected(server: Server) -> Connect:
    """Opens a connection; `init` says whether the handshake of the protocol is done too."""

    @asynccontextmanager
    async def open(*, init: bool = True, **options: Any) -> AsyncIterator[Socket]:
        protocols = [Subprotocol("graphql-transport-ws")]
        options = {"subprotocols": protocols, "proxy": None, **options}
        async with connect(server.socket_url, **options) as connection:
            socket = Socket(connection)
            if init:
                await socket.send({"type": "connection_init"})
                assert await socket.receive() == {"type": "connection_ack"}
            yield socket

    return open
