"""Connections that ask for nothing are given up, those that do are left alone, and a refused
WebSocket is no error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from mission_system.core.settings import Settings
from mission_system.web import patience, serve
from mission_system.web.patience import PatientHttp

GUARD = 30  # seconds, against hanging


@pytest.fixture
async def address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[str, int]]:
    monkeypatch.setattr(patience, "HEAD_SECONDS", 0.3)
    settings = Settings(data=tmp_path, port=0, shutdown_seconds=0)
    async with serve.serving(settings) as running:
        host, port = running.url.removeprefix("http://").split(":")
        yield host, int(port)


@asynccontextmanager
async def connection(
    address: tuple[str, int],
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*address)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def until_closed(reader: asyncio.StreamReader) -> bytes:
    """What still came before the server ended the connection."""
    async with asyncio.timeout(GUARD):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def test_a_connection_on_which_nothing_comes_is_closed(address: tuple[str, int]) -> None:
    async with connection(address) as (reader, _):
        assert await until_closed(reader) == b""


async def test_a_head_that_comes_byte_by_byte_is_not_waited_for(address: tuple[str, int]) -> None:
    async with connection(address) as (reader, writer):

        async def trickle() -> None:
            for byte in b"GET /health HTTP/1.1\r\nX-Long: " + b"x" * 1000:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.05)

        trickling = asyncio.create_task(trickle())
        assert await until_closed(reader) == b""
        trickling.cancel()


async def test_a_second_request_is_not_waited_for_any_longer(address: tuple[str, int]) -> None:
    async with connection(address) as (reader, writer):
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
        writer.write(b"GET /health HT")
        await until_closed(reader)


async def test_a_client_that_asks_between_two_looks_keeps_its_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[PatientHttp] = []
    look_again = PatientHttp._look_again
    monkeypatch.setattr(
        PatientHttp, "_look_again", lambda http: (made.append(http), look_again(http))[1]
    )
    async with (
        serve.serving(Settings(data=tmp_path, port=0, shutdown_seconds=0)) as running,
        httpx.AsyncClient(timeout=GUARD) as client,
    ):
        for _ in range(4):
            assert (await client.get(f"{running.url}/health")).status_code == 200
            made[0]._look()
        assert len(set(made)) == 1
        assert not made[0].transport.is_closing()
        made[0]._look()
        assert made[0].transport.is_closing()


async def test_answers_and_sockets_may_take_as_long_as_they_like(
    address: tuple[str, int],
) -> None:
    url = "{}:{}/graphql".format(*address)
    query = 'subscription { sessionEvents(sessionId: "%s") { seq } }'
    create = (
        "mutation { createSession(input: {}) { ... on CreateSessionPayload { session { id } } } }"
    )
    async with httpx.AsyncClient(timeout=GUARD) as client:
        made = (await client.post(f"http://{url}", json={"query": create})).json()
        id = made["data"]["createSession"]["session"]["id"]
        body = {"query": query % id}
        headers = {"Accept": "text/event-stream"}
        async with (
            client.stream("POST", f"http://{url}", json=body, headers=headers) as stream,
            connect(f"ws://{url}", subprotocols=["graphql-transport-ws"], proxy=None) as socket,  # type: ignore[list-item]
        ):
            await socket.send('{"type": "connection_init"}')
            assert "ack" in str(await socket.recv())
            await asyncio.sleep(1.5)
            await socket.send('{"type": "ping"}')
            assert "pong" in str(await socket.recv())
            rename = 'mutation { updateSession(input: {sessionId: "%s"}) { __typename } }'
            await client.post(f"http://{url}", json={"query": rename % id})
            lines = stream.aiter_lines()
            line = ""
            while not line.startswith("data: "):
                line = await anext(lines)
            assert "sessionEvents" in line


async def test_a_refused_handshake_is_answered_and_no_error(
    address: tuple[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    for path in ("ws", "graphql"):
        with pytest.raises(InvalidStatus) as refused:
            async with connect(
                "ws://{}:{}/{}".format(*address, path),
                proxy=None,
                origin=Origin("https://elsewhere.example"),
            ):
                pass
        assert refused.value.response.status_code == 403
        assert b"elsewhere.example" in (refused.value.response.body or b"")
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
