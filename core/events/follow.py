"""Following a stream: read from the cursor, then go on as it grows.

Each followed stream has one tail, which reads new events once and keeps the newest in a small
ring for all its followers. A follower takes from the ring at its own pace; one that has fallen
behind the ring reads the log. So a slow follower costs nobody anything and no queue can grow.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator

from ..clock import SECOND, from_datetime, now
from ..errors import CursorExpired
from ..timings import Histogram
from .event import Event
from .hub import Hub
from .log import EventLog

RING = 512
REREAD_SECONDS = 5.0  # the last net, should a hint be lost


class Tail:
    """The newest events of one stream, for as long as somebody follows it.

    The log is read when it may hold more than was read: after a hint, and every `REREAD_SECONDS`
    without one, once for all followers.
    """

    def __init__(self, log: EventLog, stream: int, seq: int, lag: Histogram) -> None:
        self._log = log
        self._lag = lag
        self._stream = stream
        self._ring: deque[Event] = deque(maxlen=RING)
        self._read_to = seq
        self._hinted = seq + 1  # it may have grown since its end was looked up
        self._hints = 0
        self._read_at = 0.0
        self._reading = asyncio.Lock()
        self._grown = asyncio.Event()
        self.followers = 0

    def hinted(self, _stream: int, seq: int) -> None:
        if seq > self._read_to:
            self._hinted = max(self._hinted, seq)
            self._hints += 1
            self._grown.set()

    async def take(self, after: int) -> list[Event]:
        """The events that follow `after`; empty when there is nothing newer yet."""
        if after < self._read_to and (not self._ring or self._ring[0].seq > after + 1):
            return await self._log.read(self._stream, after)
        if after >= self._read_to:
            await self._advance(after)
        if not self._ring:
            return []
        # Numbers have no gaps, so those that are new are as many as the last number says.
        new = min(self._ring[-1].seq - after, len(self._ring))
        return [self._ring[place] for place in range(-new, 0)]

    async def grown(self) -> None:
        """Wait until the stream may hold more than has been read."""
        if self._hinted > self._read_to:
            return
        self._grown.clear()
        clock = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout_at(self._read_at + REREAD_SECONDS):
                await self._grown.wait()
        except TimeoutError:
            if clock() >= self._read_at + REREAD_SECONDS:  # and no other follower has looked
                self._hinted = max(self._hinted, self._read_to + 1)

    async def _advance(self, after: int) -> None:
        async with self._reading:
            if after < self._read_to or self._hinted <= self._read_to:
                return  # another follower has just read it
            hints = self._hints
            events = await self._log.read(self._stream, self._read_to)
            self._read_at = asyncio.get_running_loop().time()
            self._ring.extend(events)
            if events:
                self._read_to = events[-1].seq
                self._lag.observe(max(0, now() - from_datetime(events[-1].created_at)) / SECOND)
                self._grown.set()
            elif self._hints == hints:
                self._hinted = self._read_to  # no hint came meanwhile: there is nothing newer


class Followers:
    """The tails of one node."""

    def __init__(self, log: EventLog, hub: Hub) -> None:
        self._log = log
        self._hub = hub
        self._tails: dict[int, Tail] = {}
        self.lag = Histogram()
        """Seconds from the newest event of a reading to that reading."""
        self._closing = asyncio.Event()

    def close(self) -> None:
        """End every follower after what it has already been given."""
        self._closing.set()
        for tail in self._tails.values():
            tail.hinted(0, 1 << 62)

    @property
    def count(self) -> int:
        """How many follow now."""
        return sum(tail.followers for tail in self._tails.values())

    async def follow(self, stream: int, after: int | None) -> AsyncGenerator[Event, None]:
        """Events with `seq > after`, in order, for ever; None means from now on.

        Raises:
            CursorExpired: retention has removed events that follow `after`.
        """
        oldest, newest = await self._log.bounds(stream)
        if after is None:
            after = newest
        if after + 1 < oldest:
            raise CursorExpired(stream, oldest)
        tail = self._join(stream, newest)
        try:
            while not self._closing.is_set():
                events = await tail.take(after)
                if events and events[0].seq > after + 1:  # cut while it was followed slowly
                    raise CursorExpired(stream, events[0].seq)
                for event in events:
                    after = event.seq
                    yield event
                if not events:
                    await tail.grown()
        finally:
            self._leave(stream, tail)

    def _join(self, stream: int, newest: int) -> Tail:
        tail = self._tails.get(stream)
        if tail is None:
            tail = self._tails[stream] = Tail(self._log, stream, newest, self.lag)
            self._hub.listen(stream, tail.hinted)
        tail.followers += 1
        return tail

    def _leave(self, stream: int, tail: Tail) -> None:
        tail.followers -= 1
        if tail.followers == 0:
            self._hub.unlisten(stream, tail.hinted)
            self._tails.pop(stream, None)
