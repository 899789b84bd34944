"""The event log: gapless, unique where asked, followed without gap or double."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest

from mission_system.core import runtime
from mission_system.core.clock import now
from mission_system.core.errors import CursorExpired, InvalidInput
from mission_system.core.events import follow
from mission_system.core.events.event import Event, NewEvent
from mission_system.core.events.follow import RING, Followers
from mission_system.core.events.hub import Hub
from mission_system.core.events.log import EventLog
from mission_system.core.settings import Settings
from mission_system.core.storage.database import Database
from mission_system.core.storage.persistence import Transaction


class Bench:
    """A database with a log, a hub and followers over it."""

    def __init__(self, database: Database, hub: Hub) -> None:
        self.database = database
        self.hub = hub
        self.log = EventLog(database, hub.hint)
        self.followers = Followers(self.log, hub)

    async def stream(self) -> int:
        return await self.database.write(self.log.open_stream)

    async def append(self, stream: int, *events: NewEvent, fail: bool = False) -> None:
        async def unit(tx: Transaction) -> None:
            await self.log.append(tx, stream, "ann", events, now())
            if fail:
                raise ValueError("rolled back")

        await self.database.write(unit)

    async def take(self, stream: int, count: int, after: int | None = 0) -> list[Event]:
        events = []
        async with asyncio.timeout(10), aclosing(self.followers.follow(stream, after)) as stream_:
            async for event in stream_:
                events.append(event)
                if len(events) == count:
                    break
        return events


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    database = runtime.make_database(Settings(data=tmp_path))
    await database.open()
    hub = Hub()
    await hub.start()
    yield Bench(database, hub)
    await hub.stop()
    await database.close()


def tick(number: int, key: str | None = None) -> NewEvent:
    return NewEvent("test.tick", {"n": number}, "pid-1", key)


async def test_sequences_have_no_gap_when_units_fail_between(bench: Bench) -> None:
    streams = [await bench.stream() for _ in range(3)]
    await asyncio.gather(
        *(bench.append(streams[n % 3], tick(n), tick(n), fail=n % 4 == 0) for n in range(120)),
        return_exceptions=True,
    )
    for stream in streams:
        events = await bench.log.read(stream, 0)
        assert [event.seq for event in events] == list(range(1, 61))


async def test_keyed_event_is_told_once_and_costs_no_number(bench: Bench) -> None:
    stream = await bench.stream()
    await bench.append(stream, tick(1, "a"), tick(2, "b"))
    await bench.append(stream, tick(3, "a"), tick(4, "c"))
    events = await bench.log.read(stream, 0)
    assert [(event.seq, event.payload["n"]) for event in events] == [(1, 1), (2, 2), (3, 4)]


async def test_keyed_event_that_comes_twice_in_one_unit_is_told_once(bench: Bench) -> None:
    stream = await bench.stream()
    other = NewEvent("test.tock", {"n": 4}, "pid-1", "a")
    await bench.append(stream, tick(1, "a"), tick(2), tick(3, "a"), other, tick(5), tick(6, "b"))
    events = await bench.log.read(stream, 0)
    assert [event.seq for event in events] == [1, 2, 3, 4, 5]
    assert [event.payload["n"] for event in events] == [1, 2, 4, 5, 6]


async def test_follower_gets_old_and_new_events_once_and_in_order(bench: Bench) -> None:
    stream = await bench.stream()
    await bench.append(stream, *(tick(n) for n in range(5)))
    following = asyncio.create_task(bench.take(stream, 50, after=2))
    for n in range(5, 60):
        await bench.append(stream, tick(n))
    assert [event.seq for event in await following] == list(range(3, 53))


async def test_follower_from_now_on_skips_what_was_before(bench: Bench) -> None:
    stream = await bench.stream()
    await bench.append(stream, tick(0))
    following = asyncio.create_task(bench.take(stream, 1, after=None))
    await asyncio.sleep(0.05)
    await bench.append(stream, tick(1))
    assert [event.payload["n"] for event in await following] == [1]


async def test_slow_follower_beyond_the_ring_misses_nothing(bench: Bench) -> None:
    stream = await bench.stream()
    total = RING * 2
    seen: list[int] = []
    async with aclosing(bench.followers.follow(stream, 0)) as slow:
        fast = asyncio.create_task(bench.take(stream, total))
        for start in range(0, total, 64):
            await bench.append(stream, *(tick(n) for n in range(start, start + 64)))
            seen.append((await anext(slow)).seq)
        await fast
        while len(seen) < total:
            seen.append((await anext(slow)).seq)
    assert seen == list(range(1, total + 1))


async def test_many_followers_of_a_stream_cost_one_read(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = await bench.stream()
    reads = 0
    read = bench.log.read

    async def counted(*args: int) -> list[Event]:
        nonlocal reads
        reads += 1
        return await read(*args)

    monkeypatch.setattr(bench.log, "read", counted)
    followers = [asyncio.create_task(bench.take(stream, 10, after=0)) for _ in range(100)]
    await asyncio.sleep(0.1)
    reads = 0
    await bench.append(stream, *(tick(n) for n in range(10)))
    results = await asyncio.gather(*followers)
    assert all([event.seq for event in events] == list(range(1, 11)) for events in results)
    assert reads <= 2


async def test_idle_followers_of_a_stream_cost_one_read_a_round(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They joined one after another, so that their rounds would differ if they were their own."""
    monkeypatch.setattr(follow, "REREAD_SECONDS", 0.1)
    count, reads = 200, [0]
    read = bench.log.read

    async def counted(*args: int) -> list[Event]:
        reads[0] += 1
        return await read(*args)

    stream = await bench.stream()
    async with AsyncExitStack() as stack:
        waiting = []
        for _ in range(count):
            follower = await stack.enter_async_context(aclosing(bench.followers.follow(stream, 0)))
            waiting.append(asyncio.ensure_future(anext(follower)))
            await asyncio.sleep(0.001)
        async with asyncio.timeout(10):
            while bench.followers._tails[stream].followers < count:
                await asyncio.sleep(0.001)
        monkeypatch.setattr(bench.log, "read", counted)
        rounds_began = asyncio.get_running_loop().time()
        async with asyncio.timeout(30):
            while reads[0] < 5:
                await asyncio.sleep(0.01)
        rounds = (asyncio.get_running_loop().time() - rounds_began) / 0.1
        assert reads[0] <= rounds + 2
        await bench.append(stream, tick(0))
        async with asyncio.timeout(10):
            assert [event.seq for event in await asyncio.gather(*waiting)] == [1] * count


async def test_hint_during_a_read_is_not_lost(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though what it hints at was not in that read, and the stream was to be looked at anyway."""
    monkeypatch.setattr(follow, "REREAD_SECONDS", 3600)
    stream = await bench.stream()
    read = bench.log.read

    async def slow(*args: int) -> list[Event]:
        events = await read(*args)
        if not events:
            monkeypatch.setattr(bench.log, "read", read)
            await bench.append(stream, tick(0))
            await asyncio.sleep(0.05)  # the hint's way through the hub
        return events

    monkeypatch.setattr(bench.log, "read", slow)
    assert len(await bench.take(stream, 1)) == 1


@pytest.mark.parametrize("limit", [-1, 0, 501, 1 << 70])
@pytest.mark.parametrize("after", [-1, 1 << 63])
async def test_page_of_events_is_bounded(bench: Bench, limit: int, after: int) -> None:
    stream = await bench.stream()
    with pytest.raises(InvalidInput, match="limit"):
        await bench.log.read(stream, 0, limit)
    with pytest.raises(InvalidInput, match="after"):
        await bench.log.read(stream, after, 10)


async def test_lost_hint_costs_time_and_no_event(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "REREAD_SECONDS", 0.05)
    stream = await bench.stream()
    following = asyncio.create_task(bench.take(stream, 1))
    await asyncio.sleep(0.02)
    monkeypatch.setattr(bench.hub, "_listeners", {})
    await bench.append(stream, tick(0))
    assert len(await following) == 1


async def test_cursor_before_what_retention_kept_is_refused(bench: Bench) -> None:
    stream = await bench.stream()
    await bench.append(stream, *(tick(n) for n in range(10)))

    async def cut(tx: Transaction) -> None:
        await tx.execute("DELETE FROM event WHERE stream_id = ? AND seq < 6", (stream,))
        await tx.execute("UPDATE stream SET first_seq = 6 WHERE id = ?", (stream,))

    await bench.database.write(cut)
    assert [event.seq for event in await bench.take(stream, 5, after=5)] == [6, 7, 8, 9, 10]
    with pytest.raises(CursorExpired) as error:
        await bench.take(stream, 1, after=3)
    assert error.value.oldest == 6


async def test_closing_ends_every_follower_and_leaves_no_listener(bench: Bench) -> None:
    stream = await bench.stream()

    async def drain() -> int:
        return len([event async for event in bench.followers.follow(stream, 0)])

    followers = [asyncio.create_task(drain()) for _ in range(5)]
    await bench.append(stream, tick(0))
    await asyncio.sleep(0.1)
    bench.followers.close()
    async with asyncio.timeout(5):
        assert await asyncio.gather(*followers) == [1] * 5
    assert bench.hub._listeners == {}
