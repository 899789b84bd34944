"""Fan-out of hints between whoever appends events and whoever follows them.

A hint says that a stream has grown; the events themselves are read from the log. So a hint that
is lost costs latency and never an event, and nothing here needs to be durable.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from secrets import randbits

import orjson
import structlog
from broadcaster import Broadcast

CHANNEL = "mission.hints"
log = structlog.get_logger(__name__)

Listener = Callable[[int, int], None]
"""Called with (stream, newest seq)."""

ALL = 0
"""No stream has this number: who listens to it hears of every stream."""
ECHO = -1
"""Nor this one: hints of it are heard by who has sent them."""


class Hub:
    """Carries hints over broadcaster. Hints of one stream are merged while they wait."""

    def __init__(self, url: str = "memory://") -> None:
        self._broadcast = Broadcast(url)
        self._alone = url.startswith("memory:")
        self._waiting: dict[int, tuple[int, str]] = {}
        self._wake = asyncio.Event()
        self._listeners: dict[int, set[Listener]] = {}
        self._users: dict[str, set[Callable[[], None]]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self._broadcast.connect()
        subscribed = asyncio.Event()
        self._tasks = [
            asyncio.create_task(self._receive(subscribed), name="hub-receive"),
            asyncio.create_task(self._send(), name="hub-send"),
        ]
        await subscribed.wait()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        with contextlib.suppress(asyncio.CancelledError):
            await self._broadcast.disconnect()

    def hint(self, stream: int, seq: int, user_id: str) -> None:
        """Tell every node that `stream` has grown to `seq`. Never blocks."""
        heard = stream in self._listeners or ALL in self._listeners or user_id in self._users
        if self._alone and not heard:
            return  # most turns: nobody follows them, and whoever comes later reads the log
        self._waiting[stream] = (seq, user_id)
        self._wake.set()

    async def echo(self) -> None:
        """Returns once a hint that this sends has come back."""
        token = randbits(62)
        heard = asyncio.Event()

        def listener(_stream: int, seq: int) -> None:
            if seq == token:
                heard.set()

        self.listen(ECHO, listener)
        try:
            self.hint(ECHO, token, "")
            await heard.wait()
        finally:
            self.unlisten(ECHO, listener)

    def listen(self, stream: int, listener: Listener) -> None:
        self._listeners.setdefault(stream, set()).add(listener)

    def unlisten(self, stream: int, listener: Listener) -> None:
        listeners = self._listeners.get(stream, set())
        listeners.discard(listener)
        if not listeners:
            self._listeners.pop(stream, None)

    def listen_user(self, user_id: str, listener: Callable[[], None]) -> None:
        """Call this whenever a stream of the user's has grown."""
        self._users.setdefault(user_id, set()).add(listener)

    def unlisten_user(self, user_id: str, listener: Callable[[], None]) -> None:
        listeners = self._users.get(user_id, set())
        listeners.discard(listener)
        if not listeners:
            self._users.pop(user_id, None)

    async def _send(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            hints, self._waiting = self._waiting, {}
            message = [[stream, seq, user] for stream, (seq, user) in hints.items()]
            await self._broadcast.publish(CHANNEL, orjson.dumps(message).decode())

    async def _receive(self, subscribed: asyncio.Event) -> None:
        async with self._broadcast.subscribe(CHANNEL) as subscriber:
            subscribed.set()
            while True:
                message = await subscriber.get()
                for stream, seq, user in orjson.loads(message.message):
                    for heard in (stream, ALL) if stream != ECHO else (ECHO,):
                        for listener in tuple(self._listeners.get(heard, ())):
                            listener(stream, seq)
                    for tell in tuple(self._users.get(user, ())):
                        tell()
