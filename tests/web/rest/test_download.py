"""A download ends with its client: what it is made from is closed at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
import structlog
from generators import is_closed
from starlette.types import Message, Scope

from mission_system.web.rest.download import PIECE, Download

SCOPE: Scope = {"type": "http", "method": "GET", "path": "/file", "asgi": {"spec_version": "2.3"}}


async def endless() -> AsyncGenerator[str, None]:
    while True:
        yield "x" * PIECE


async def never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError("nothing comes")


async def test_what_a_file_is_made_from_is_closed_when_the_client_leaves() -> None:
    parts = endless()
    reached = asyncio.Event()

    async def receive() -> Message:
        await reached.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            reached.set()
            await asyncio.Event().wait()

    async with asyncio.timeout(60):
        await Download("a.txt", "text/plain", parts)(SCOPE, receive, send)
    assert reached.is_set()
    assert is_closed(parts)


async def test_what_a_file_is_made_from_is_closed_when_the_client_stops_reading() -> None:
    parts = endless()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    with structlog.testing.capture_logs() as logs:
        async with asyncio.timeout(60):
            await Download("a.txt", "text/plain", parts, 0.01)(SCOPE, never, send)
    assert is_closed(parts)
    assert [entry["event"] for entry in logs] == ["request.client_stalled"]


async def test_what_a_file_is_made_from_is_closed_when_it_cannot_be_sent() -> None:
    parts = endless()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        await Download("a.txt", "text/plain", parts)(SCOPE, never, send)
    assert is_closed(parts)


async def test_a_file_is_sent_in_pieces_of_a_good_size() -> None:
    async def parts() -> AsyncGenerator[str, None]:
        for _ in range(3 * PIECE // 100):
            yield "é" * 100

    sent: list[bytes] = []

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))

    await Download("a.txt", "text/plain", parts())(SCOPE, never, send)
    assert b"".join(sent).decode() == "é" * (3 * PIECE // 100 * 100)
    assert len([piece for piece in sent if piece]) == 3
