"""The feed gives what happens in any session, each event once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from mission_system.core.capabilities import CapabilityRegistry
from mission_system.core.events import feed
from mission_system.core.events.event import Event
from mission_system.core.identity import Caller
from mission_system.core.node import Node
from mission_system.core.runtime import create_mission_runtime
from mission_system.core.settings import Settings
from mission_system.core.tools.catalog import ToolCatalog

ANN, BOB = Caller("ann"), Caller("bob")


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    runtime = create_mission_runtime(ToolCatalog(), settings=Settings(data=tmp_path), use_mock=True)
    async with Node(runtime, CapabilityRegistry()) as node:
        yield node


async def listening(node: Node, events: AsyncGenerator[Event, None]) -> asyncio.Task[Event]:
    """The next event, once it comes; the feed listens by now."""
    coming = asyncio.ensure_future(anext(events))
    while not node._hub._listeners:
        await asyncio.sleep(0)
    return coming


async def following(events: AsyncGenerator[Event, None], count: int) -> list[Event]:
    async with asyncio.timeout(20):
        return [await anext(events) for _ in range(count)]


async def test_events_of_every_stream_come_from_now_on(node: Node) -> None:
    old = (await node.chat.create_session(ANN)).session_id
    await asyncio.sleep(0)
    async with aclosing(node.feed.follow()) as events:
        first = await listening(node, events)
        await node.chat.update_session(ANN, old, title="T")
        new = (await node.chat.create_session(BOB)).session_id
        await node.chat.update_session(BOB, new, title="T")
        seen = [await first, *await following(events, 2)]
    told = [(event.session_id, event.type, event.user_id) for event in seen]
    assert told == [
        (old, "chat.session.updated", "ann"),
        (new, "chat.session.created", "bob"),
        (new, "chat.session.updated", "bob"),
    ]


async def test_a_reader_that_is_busy_misses_nothing(node: Node) -> None:
    async with aclosing(node.feed.follow()) as events:
        first = await listening(node, events)
        made = [(await node.chat.create_session(ANN)).session_id for _ in range(5)]
        for session in made * 3:
            await node.chat.update_session(ANN, session)
        seen = [await first, *await following(events, 19)]
    for session in made:
        assert [event.seq for event in seen if event.session_id == session] == [1, 2, 3, 4]


async def test_a_stream_that_is_remembered_no_more_is_told_on_from_where_it_was(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "REMEMBERED", 1)
    async with aclosing(node.feed.follow()) as events:
        coming = await listening(node, events)
        one, two = [(await node.chat.create_session(ANN)).session_id for _ in range(2)]
        seen = [await coming, *await following(events, 1)]
        for session in (one, two, one):
            await node.chat.update_session(ANN, session)
            seen += await following(events, 1)
    for session, count in ((one, 3), (two, 2)):
        told = [event.seq for event in seen if event.session_id == session]
        assert told == list(range(1, count + 1))


async def test_a_feed_that_is_closed_listens_no_more(node: Node) -> None:
    events = node.feed.follow()
    coming = await listening(node, events)
    coming.cancel()
    await asyncio.gather(coming, return_exceptions=True)
    await events.aclose()
    assert node._hub._listeners == {}


async def test_a_stream_that_never_rests_keeps_no_other_from_its_reader(node: Node) -> None:
    busy, calm = [(await node.chat.create_session(ANN)).session_id for _ in range(2)]
    async with aclosing(node.feed.follow()) as events:
        coming = await listening(node, events)
        await node.chat.update_session(ANN, busy)
        seen = [await coming]
        await node.chat.update_session(ANN, calm)
        while seen[-1].session_id == busy and len(seen) < 10:
            await node.chat.update_session(ANN, busy)
            await node._hub.echo()  # what happened is known to the feed
            seen += await following(events, 1)
    assert seen[-1].session_id == calm


async def test_what_could_not_be_read_is_read_later(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, failures = node.feed._log.read, 3

    async def fragile(stream: int, after: int) -> list[Event]:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise OSError("the disk is away")
        return await read(stream, after)

    monkeypatch.setattr(feed, "RETRY_SECONDS", 0)
    monkeypatch.setattr(node.feed._log, "read", fragile)
    async with aclosing(node.feed.follow()) as events:
        coming = await listening(node, events)
        made = [(await node.chat.create_session(ANN)).session_id for _ in range(2)]
        for session in made:
            await node.chat.update_session(ANN, session)
        seen = [await coming, *await following(events, 3)]
    for session in made:
        assert [event.seq for event in seen if event.session_id == session] == [1, 2]
