"""Hints reach whoever listens, and are not even sent where nobody does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest

from mission_system.core.events.hub import ALL, Hub

GUARD = 20  # seconds, against hanging
STREAM, OTHER = 7, 8


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    hub = Hub()
    await hub.start()
    yield hub
    await hub.stop()


@pytest.fixture
def sent(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, str]]:
    """What goes over the broadcaster: (stream, seq, user)."""
    sent: list[tuple[int, int, str]] = []
    publish = hub._broadcast.publish

    async def noted(channel: str, message: str) -> None:
        sent.extend((stream, seq, user) for stream, seq, user in orjson.loads(message))
        await publish(channel, message)

    monkeypatch.setattr(hub._broadcast, "publish", noted)
    return sent


async def hints_of(hub: Hub, stream: int) -> asyncio.Queue[tuple[int, int]]:
    heard: asyncio.Queue[tuple[int, int]] = asyncio.Queue()
    hub.listen(stream, lambda stream, seq: heard.put_nowait((stream, seq)))
    return heard


async def next_of(heard: asyncio.Queue[tuple[int, int]]) -> tuple[int, int]:
    async with asyncio.timeout(GUARD):
        return await heard.get()


async def test_a_hint_that_nobody_hears_is_not_sent(
    hub: Hub, sent: list[tuple[int, int, str]]
) -> None:
    heard = await hints_of(hub, STREAM)
    hub.hint(OTHER, 1, "bob")
    hub.hint(STREAM, 2, "ann")
    assert await next_of(heard) == (STREAM, 2)
    await hub.echo()  # whatever was sent before it has been by now
    assert [(stream, user) for stream, _, user in sent if user] == [(STREAM, "ann")]
    assert heard.empty()


async def test_a_hint_for_other_nodes_is_sent_though_nobody_here_hears_it(
    hub: Hub, sent: list[tuple[int, int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_alone", False)  # as with a broker that other nodes share
    hub.hint(OTHER, 1, "bob")
    async with asyncio.timeout(GUARD):
        await hub.echo()
    assert (OTHER, 1, "bob") in sent


async def test_who_listens_to_all_streams_hears_of_each(hub: Hub) -> None:
    heard = await hints_of(hub, ALL)
    hub.hint(STREAM, 1, "ann")
    assert await next_of(heard) == (STREAM, 1)
    hub.hint(OTHER, 5, "bob")
    assert await next_of(heard) == (OTHER, 5)


async def test_who_listens_to_a_user_hears_of_that_users_streams_only(
    hub: Hub, sent: list[tuple[int, int, str]]
) -> None:
    told = asyncio.Event()
    hub.listen_user("ann", told.set)
    hub.hint(OTHER, 1, "bob")
    await hub.echo()
    assert not told.is_set()
    hub.hint(STREAM, 1, "ann")
    async with asyncio.timeout(GUARD):
        await told.wait()
    hub.unlisten_user("ann", told.set)
    hub.hint(STREAM, 2, "ann")
    await hub.echo()
    assert [(stream, seq) for stream, seq, user in sent if user] == [(STREAM, 1)]


async def test_nothing_is_heard_after_listening_no_more(
    hub: Hub, sent: list[tuple[int, int, str]]
) -> None:
    heard: list[int] = []

    def listener(_stream: int, seq: int) -> None:
        heard.append(seq)

    hub.listen(STREAM, listener)
    hub.unlisten(STREAM, listener)
    hub.unlisten(STREAM, listener)  # twice is no error
    hub.hint(STREAM, 1, "ann")
    await hub.echo()
    assert heard == []
    assert [user for *_, user in sent if user] == []


async def test_hints_that_wait_are_told_as_one(hub: Hub) -> None:
    heard = await hints_of(hub, STREAM)
    for seq in (1, 2, 3):
        hub.hint(STREAM, seq, "ann")
    assert await next_of(heard) == (STREAM, 3)
    await hub.echo()
    assert heard.empty()
