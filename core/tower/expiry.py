"""Ends questions whose time is up, whoever raised them and whenever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from ..clock import SECOND, Micros, now
from .interrupt_store import InterruptStore
from .process import Interrupt

POLL_SECONDS = 30.0  # the last net: a failed round, or a question that another node raised
BATCH = 500
AT_ONCE = 64
log = structlog.get_logger(__name__)


class Expiry:
    """Rounds of expiry, each as soon as the next question is due. `end` ends one question."""

    def __init__(self, store: InterruptStore, end: Callable[[Interrupt], Awaitable[None]]) -> None:
        self._store = store
        self._end = end
        self._sooner = asyncio.Event()
        self._next: Micros | None = None

    def notice(self, expires_at: Micros) -> None:
        """A question was raised: do not sleep beyond its time."""
        if self._next is None or expires_at < self._next:
            self._sooner.set()

    async def run(self) -> None:
        """For as long as the tower is open."""
        while True:
            self._sooner.clear()
            self._next = None
            pause = POLL_SECONDS
            try:
                due = await self._round(at := now())
                if due is not None:
                    pause = min(pause, max(0.0, (due - at) / SECOND))
            except Exception:
                log.exception("expiry failed; trying again", seconds=pause)
            self._next = now() + round(pause * SECOND)
            try:
                async with asyncio.timeout(pause):
                    await self._sooner.wait()
            except TimeoutError:
                continue

    async def _round(self, at: Micros) -> Micros | None:
        """End what is due at `at`; when the next question is. One that cannot be ended stays for
        a later round and stops none of the others."""
        after = ""
        while batch := await self._store.overdue(at, after, BATCH):
            after = batch[-1].id
            for first in range(0, len(batch), AT_ONCE):
                chunk = batch[first : first + AT_ONCE]
                await asyncio.gather(*(self._try(interrupt) for interrupt in chunk))
        return await self._store.next_expiry(at)

    async def _try(self, interrupt: Interrupt) -> None:
        try:
            await self._end(interrupt)
        except Exception:
            log.exception("a question could not be ended", interrupt=interrupt.id)
