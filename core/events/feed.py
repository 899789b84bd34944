"""What happens in all sessions, as it happens, for whoever shows it to many."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable

import structlog

from ..clock import Micros, from_datetime, now
from ..trouble import Trouble
from .event import Event
from .hub import ALL, Hub
from .log import MAX_READ, EventLog

Observer = Callable[[Event], Awaitable[None]]

REMEMBERED = 10_000  # streams whose position is known
RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


class Feed:
    """Reads a stream when a hint says that it has grown. It does not resume: what its reader is
    too late for is in the log."""

    def __init__(self, log: EventLog, hub: Hub) -> None:
        self._log = log
        self._hub = hub

    async def follow(self) -> AsyncGenerator[Event, None]:
        """Events of every stream from now on, those of one stream in order, until closed.

        While its reader is busy hints are merged, so nothing grows but by the number of streams,
        and the stream that has waited longest comes first. One that could not be read waits again.
        """
        hints: dict[int, int] = {}
        hinted = asyncio.Event()

        def listen(stream: int, seq: int) -> None:
            hints[stream] = max(seq, hints.get(stream, 0))
            hinted.set()

        seen: OrderedDict[int, tuple[int, Micros]] = OrderedDict()
        since = now()  # a stream that is not in `seen` has been silent since then
        trouble = Trouble(log, "events.unread", "events.read_again")
        self._hub.listen(ALL, listen)
        try:
            while True:
                await hinted.wait()
                hinted.clear()
                while hints:
                    stream = next(iter(hints))
                    newest = hints.pop(stream)
                    read_at = now()
                    known = seen.pop(stream, None)
                    after = known[0] if known else max(newest - MAX_READ, 0)
                    start = after
                    while after < newest:  # what comes meanwhile has a hint of its own
                        try:
                            events = await self._log.read(stream, after)
                        except Exception as error:
                            trouble.met(error, stream=stream)
                            listen(stream, newest)
                            await asyncio.sleep(RETRY_SECONDS)  # the storage may need a moment
                            break
                        trouble.passed()
                        if not events:
                            break
                        after = events[-1].seq
                        for event in events:
                            if known or from_datetime(event.created_at) >= since:
                                yield event
                    if known or after > start:
                        seen[stream] = (after, read_at)
                    if len(seen) > REMEMBERED:
                        _, (_, since) = seen.popitem(last=False)
        finally:
            self._hub.unlisten(ALL, listen)
