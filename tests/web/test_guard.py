"""The guard, over real sockets: what a client library would not send must be refused as well."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest
import pytest_asyncio
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from mission_system.core.settings import Settings
from mission_system.web.body import BodyLimit
from mission_system.web.failures import Incidents, http_error
from mission_system.web.guard import Guard

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 2048


async def size(request: Request) -> JSONResponse:
    return JSONResponse({"size": len(await request.body())})


async def probe(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("fine")


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def detail(self) -> str:
        return str(json.loads(self.body)["detail"])


@dataclass
class Target:
    port: int

    async def send(self, *headers: str, path: str = "/size", body: Iterable[bytes] = ()) -> Answer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        method = "POST" if path == "/size" else "GET"
        head = [f"{method} {path} HTTP/1.1", "Connection: close", *headers]
        writer.write("\r\n".join([*head, "", ""]).encode("latin-1"))
        for piece in body:
            writer.write(piece)
        await writer.drain()
        received = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        top, _, content = received.partition(b"\r\n\r\n")
        status, *lines = top.decode("latin-1").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        return Answer(int(status.split()[1]), {k.lower(): v for k, v in pairs}, content)

    @property
    def host(self) -> str:
        return f"Host: 127.0.0.1:{self.port}"


@asynccontextmanager
async def guarded(settings: Settings) -> AsyncIterator[Target]:
    app = Starlette(
        routes=[
            Route("/size", size, methods=["POST"]),
            Route("/health", probe),
            Route("/ready", probe),
            WebSocketRoute("/echo", echo),
        ],
        middleware=[
            Middleware(Incidents, lambda: False),
            Middleware(Guard, settings),
            Middleware(BodyLimit, settings.max_body_bytes),
        ],
        exception_handlers={HTTPException: http_error},
    )
    server = uvicorn.Server(
        uvicorn.Config(app, lifespan="off", log_config=None, ws="websockets-sansio")
    )
    listener = socket.create_server(("127.0.0.1", 0))  # callers queue until it serves
    task = asyncio.create_task(server.serve([listener]))
    try:
        yield Target(listener.getsockname()[1])
    finally:
        server.should_exit = True
        await task


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target() -> AsyncIterator[Target]:
    async with guarded(
        Settings(
            max_body_bytes=LIMIT,
            allowed_hosts=("mission.example",),
            allowed_origins=("https://app.example",),
        )
    ) as target:
        yield target


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8000",
        "127.9.9.9",
        "localhost",
        "LOCALHOST:1",
        "localhost.:80",
        "app.localhost:3000",
        "[::1]:8000",
        "[::1]",
        "localhost:",
        "mission.example",
        "Mission.Example:443",
    ],
)
async def test_names_of_this_machine_and_allowed_ones_come_in(target: Target, host: str) -> None:
    assert (await target.send(f"Host: {host}", "Content-Length: 0")).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "127.0.0.1@evil.example",
        "evil.example:127",
        "mission.example.evil.example",
        "192.168.1.5:8000",
        "[::2]:8000",
        "[::1].evil.example",
        "[::1]evil.example:80",
        "localhost:evil.example",
        "127.0.0.1:80.evil.example",
        "localhost:80:80",
        "localhost:123456",
        "",
        "[",
    ],
)
async def test_a_foreign_host_is_refused(target: Target, host: str) -> None:
    answer = await target.send(f"Host: {host}", "Content-Length: 0")
    assert answer.status == 403
    assert "MISSION_ALLOWED_HOSTS" in answer.detail


@pytest.mark.parametrize("path", ["/health", "/ready"])
async def test_probes_may_come_by_any_host(target: Target, path: str) -> None:
    assert (await target.send("Host: 10.0.0.7:8000", path=path)).status == 200


async def test_a_page_of_this_server_and_allowed_origins_may_call(target: Target) -> None:
    for origin in (
        f"http://127.0.0.1:{target.port}",
        f"https://127.0.0.1:{target.port}",
        "https://app.example",
    ):
        answer = await target.send(target.host, f"Origin: {origin}", "Content-Length: 0")
        assert answer.status == 200, origin


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://127.0.0.1:1",
        "http://localhost",
        "https://app.example.evil.example",
        "http://app.example",
        "null",
        "",
        "http://[",
    ],
)
async def test_a_page_of_another_site_is_refused(target: Target, origin: str) -> None:
    answer = await target.send(target.host, f"Origin: {origin}", "Content-Length: 0")
    assert answer.status == 403
    assert "MISSION_ALLOWED_ORIGINS" in answer.detail


async def test_a_page_on_a_rebound_name_is_refused(target: Target) -> None:
    headers = (f"Host: evil.example:{target.port}", f"Origin: http://evil.example:{target.port}")
    assert (await target.send(*headers, "Content-Length: 0")).status == 403


@pytest.mark.parametrize("origin", [None, "https://app.example"])
async def test_a_websocket_of_our_own_opens(target: Target, origin: str | None) -> None:
    async with connect(
        f"ws://127.0.0.1:{target.port}/echo",
        origin=Origin(origin) if origin else None,
        proxy=None,
    ) as socket:
        await socket.send("hello")
        assert await socket.recv() == "hello"


@pytest.mark.parametrize(
    ("name", "origin"),
    [("127.0.0.1", "https://evil.example"), ("127.0.0.1", "null"), ("evil.example", None)],
)
async def test_a_foreign_websocket_never_opens(
    target: Target, name: str, origin: str | None
) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        async with connect(
            f"ws://{name}:{target.port}/echo",
            host="127.0.0.1",
            origin=Origin(origin) if origin else None,
            proxy=None,
        ):
            pass
    assert refusal.value.response.status_code == 403
    assert "detail" in json.loads(refusal.value.response.body or b"")


async def test_a_body_up_to_the_limit_is_read(target: Target) -> None:
    answer = await target.send(target.host, f"Content-Length: {LIMIT}", body=[b"x" * LIMIT])
    assert (answer.status, answer.body) == (200, b'{"size":2048}')


@pytest.fixture
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """With clients that go on waiting for the end of what they have said they would send."""
    monkeypatch.setattr("mission_system.web.body.DRAIN_SECONDS", 0.1)


@pytest.mark.usefixtures("little_patience")
async def test_a_declared_body_above_the_limit_is_refused_unread(target: Target) -> None:
    answer = await target.send(target.host, f"Content-Length: {10**15}")
    assert answer.status == 413
    assert "2048 bytes" in answer.detail


@pytest.mark.usefixtures("little_patience")
async def test_a_chunked_body_above_the_limit_is_refused(target: Target) -> None:
    chunk = b"400\r\n" + b"x" * 0x400 + b"\r\n"
    answer = await target.send(target.host, "Transfer-Encoding: chunked", body=[chunk] * 3)
    assert answer.status == 413
    assert "2048 bytes" in answer.detail


async def test_answers_are_neither_sniffed_nor_framed(target: Target) -> None:
    headers = (await target.send(target.host, "Content-Length: 0")).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"


async def test_addresses_come_in_where_the_server_is_meant_for_others() -> None:
    async with guarded(Settings(insecure=True)) as target:
        assert (await target.send("Host: 192.168.1.5:8000", "Content-Length: 0")).status == 200
        assert (await target.send("Host: evil.example", "Content-Length: 0")).status == 403
        assert (await target.send("Host: ]", "Content-Length: 0")).status == 403


@pytest.mark.parametrize(
    ("site", "mode", "status"),
    [
        ("cross-site", "no-cors", 403),
        ("cross-site", "navigate", 200),
        ("same-origin", "cors", 200),
        ("none", "navigate", 200),
    ],
)
async def test_foreign_pages_may_link_here_but_not_embed(
    target: Target, site: str, mode: str, status: int
) -> None:
    headers = (f"Sec-Fetch-Site: {site}", f"Sec-Fetch-Mode: {mode}", "Content-Length: 0")
    assert (await target.send(target.host, *headers)).status == status


async def test_an_allowed_page_may_call_across_sites(target: Target) -> None:
    headers = ("Origin: https://app.example", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors")
    assert (await target.send(target.host, *headers, "Content-Length: 0")).status == 200


async def called_from(caller: str, settings: Settings, path: str = "/size") -> httpx.Response:
    async def inside(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("in")(scope, receive, send)

    transport = httpx.ASGITransport(Guard(inside, settings), client=(caller, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.get(path)


@pytest.mark.parametrize("caller", ["192.168.1.5", "10.0.0.1", "2001:db8::1", "::ffff:10.0.0.1"])
async def test_other_machines_are_refused_however_the_server_came_to_listen(caller: str) -> None:
    refused = await called_from(caller, Settings())
    assert refused.status_code == 403
    assert "MISSION_INSECURE" in refused.json()["detail"]
    assert (await called_from(caller, Settings(), "/ready")).status_code == 200
    assert (await called_from(caller, Settings(insecure=True))).status_code == 200


@pytest.mark.parametrize("caller", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
async def test_the_machine_itself_comes_in(caller: str) -> None:
    assert (await called_from(caller, Settings())).status_code == 200
