"""Clients that stop reading are given up, and only they."""

from __future__ import annotations

import asyncio
import socket as sockets
from collections.abc import Awaitable, Callable

import pytest
import structlog
from starlette.types import Message, Receive, Scope, Send

from mission_system.web.stall import DropStalled

from .conftest import Connect, Http, Server
from .test_socket import EVENTS, answers

IN_FULL = EVENTS.replace("type }", "type payload }")
SCOPE: Scope = {"type": "http", "path": "/graphql"}


async def receive() -> Message:
    raise AssertionError("nothing is received here")


def sending(send: Callable[[], Awaitable[None]]) -> Send:
    async def sent(_: Message) -> None:
        await send()

    return sent


async def test_an_application_is_cancelled_when_what_it_sends_is_stuck() -> None:
    """Also when another of its tasks is the one that sends."""
    cancelled: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        sender = asyncio.ensure_future(send({"type": "http.response.body"}))
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append("app")
            with pytest.raises(TimeoutError):
                await sender

    with structlog.testing.capture_logs() as logs:
        stuck = sending(lambda: asyncio.Event().wait())  # type: ignore[arg-type, return-value]
        await asyncio.wait_for(DropStalled(app, 0.01)(SCOPE, receive, stuck), 10)
    assert cancelled == ["app"]
    assert [entry["event"] for entry in logs] == ["request.client_stalled"]


async def test_a_client_that_reads_may_take_as_long_as_it_likes() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(5):
            await send({"type": "http.response.body"})

    slow = sending(lambda: asyncio.sleep(0.05))
    await DropStalled(app, 0.1)(SCOPE, receive, slow)  # 0.25 s in all, 0.05 s each


async def test_a_timeout_of_the_application_is_its_own() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise TimeoutError("of something else")

    with pytest.raises(TimeoutError, match="of something else"):
        await DropStalled(app, 10)(SCOPE, receive, sending(lambda: asyncio.sleep(0)))


async def test_a_socket_that_is_not_read_is_dropped_and_others_go_on(
    connected: Connect,
    http: Http,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(server.view, "_serve", DropStalled(server.view._connection, 0.5))
    process = await http.send("🙂" * 10_000)
    with structlog.testing.capture_logs() as logs:
        async with connected(compression=None) as stalled, connected() as other:
            transport = stalled.connection.transport
            buffered = transport.get_extra_info("socket")
            buffered.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
            transport.pause_reading()  # type: ignore[attr-defined]
            await other.subscribe("s", EVENTS, id=process["sessionId"], after="")
            await other.receive()
            [tail] = server.node.followers._tails.values()
            for number in range(100):
                await stalled.subscribe(f"{number}", IN_FULL, id=process["sessionId"], after="")
            async with asyncio.timeout(20):
                while tail.followers < 2:
                    await asyncio.sleep(0.01)
                while tail.followers > 1:
                    await asyncio.sleep(0.01)
            await other.send({"type": "complete", "id": "s"})
            transport.abort()
        async with connected() as another:
            await answers(another)
    assert [entry for entry in logs if entry["event"] == "request.client_stalled"]
    # It is the client's doing, and no defect of the server.
    assert not [record for record in caplog.records if record.exc_info]
