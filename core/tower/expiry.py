"""Ends what is over at a time: questions that nobody has answered, sleeps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

import structlog

from ..clock import SECOND, Micros, now
from ..trouble import Trouble

POLL_SECONDS = 30.0  # the last net: a failed round, or what another node has stored
BATCH = 500
AT_ONCE = 64
log = structlog.get_logger(__name__)


class Due(Protocol):
    """What is over at a time."""

    @property
    def id(self) -> str: ...


D_co = TypeVar("D_co", bound=Due, covariant=True)
D = TypeVar("D", bound=Due)


class Dues(Protocol[D_co]):
    """Where it is stored."""

    async def overdue(self, at: Micros, after: str, limit: int) -> Sequence[D_co]:
        """What is over at `at`, by id, that follows the id `after`."""
        ...

    async def next_expiry(self, at: Micros) -> Micros | None:
        """When the first is over that is so after `at`."""
        ...


class Expiry(Generic[D]):
    """Rounds, each as soon as the next is due. `end` ends one."""

    def __init__(self, store: Dues[D], end: Callable[[D], Awaitable[None]]) -> None:
        self._store = store
        self._end = end
        self._sooner = asyncio.Event()
        self._next: Micros | None = None

    def notice(self, expires_at: Micros) -> None:
        """One was stored: do not sleep beyond its time."""
        if self._next is None or expires_at < self._next:
            self._sooner.set()

    async def run(self) -> None:
        """For as long as the tower is open."""
        trouble = Trouble(log, "expiry failed; trying again", "expiry works again")
        while True:
            self._sooner.clear()
            self._next = None
            pause = POLL_SECONDS
            try:
                due = await self._round(at := now())
                if due is not None:
                    pause = min(pause, max(0.0, (due - at) / SECOND))
            except Exception as error:
                trouble.met(error)
            else:
                trouble.passed()
            self._next = now() + round(pause * SECOND)
            try:
                async with asyncio.timeout(pause):
                    await self._sooner.wait()
            except TimeoutError:
                continue

    async def _round(self, at: Micros) -> Micros | None:
        """End what is due at `at`; when the next is. One that cannot be ended stays for a later
        round and stops none of the others."""
        after = ""
        while batch := await self._store.overdue(at, after, BATCH):
            after = batch[-1].id
            for first in range(0, len(batch), AT_ONCE):
                chunk = batch[first : first + AT_ONCE]
                await asyncio.gather(*(self._try(due) for due in chunk))
        return await self._store.next_expiry(at)

    async def _try(self, due: D) -> None:
        try:
            await self._end(due)
        except Exception:
            log.exception("could not be ended when it was due", id=due.id)
