"""Event observers: plugins that hear of every event, each at its own pace.

The log knows nothing of them. Each follows it like a client does: while one is busy the events
wait where they are stored, so nothing grows, and nobody waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import structlog

from ..core.events.event import Event
from ..core.events.feed import Feed, Observer
from .host import PluginHost

OBSERVE_SECONDS = 10.0
RETRY_SECONDS = 1.0  # the storage may need a moment

log = structlog.get_logger(__name__)


@asynccontextmanager
async def observing(host: PluginHost, feed: Feed) -> AsyncIterator[None]:
    """Tells the observers of every plugin of what happens, for as long as the body runs."""
    tasks = [
        asyncio.create_task(_observe(plugin.context.name, observer, feed), name="event-observer")
        for plugin in host.loaded
        for observer in plugin.contributions.event_observers
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _observe(plugin: str, observer: Observer, feed: Feed) -> None:
    failures = 0
    while True:
        try:
            async with aclosing(feed.follow()) as events:
                async for event in events:
                    if not await _told(observer, event, plugin, failures + 1):
                        failures += 1
        except Exception:
            log.exception("plugin.observer_lost_events", plugin=plugin)
            await asyncio.sleep(RETRY_SECONDS)


async def _told(observer: Observer, event: Event, plugin: str, failure: int) -> bool:
    """Whether an observer took an event in time. What it raises is logged, ever less often."""
    task = asyncio.current_task()
    assert task is not None
    try:
        async with asyncio.timeout(OBSERVE_SECONDS):
            await observer(event)
    except (Exception, SystemExit, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError) and task.cancelling():
            raise
        if failure & (failure - 1) == 0:  # the 1st, 2nd, 4th, 8th ...
            log.warning(
                "plugin.observer_failed",
                plugin=plugin,
                observer=getattr(observer, "__name__", repr(observer)),
                event_type=event.type,
                failures=failure,
                exc_info=error,
            )
        return False
    return True
