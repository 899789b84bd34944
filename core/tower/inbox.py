"""The inbox of a user: the questions that wait for an answer, across sessions, as they change.

Followed by state, not by events: each hint that something of the user's has happened makes the
open questions be read again. So nothing can be missed or told twice, and nothing is resumed:
whoever comes back begins with what waits then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import inf
from time import monotonic

from ..events.hub import Hub
from ..identity import Caller
from .process import Interrupt, InterruptStatus
from .views import Views

LONGEST = 200
"""Questions that are shown at once; of more, those asked first."""

PAUSE_SECONDS = 0.1  # between two reads: a reply that is streamed hints twenty times a second
REREAD_SECONDS = 30.0  # the last net, should a hint be lost


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxState:
    """What waits now, oldest first, and how it differs from the state before.

    `gone` were answered, expired or ended with their process, as their `status` says.
    """

    waiting: tuple[Interrupt, ...]
    added: tuple[Interrupt, ...]
    gone: tuple[Interrupt, ...]
    has_more: bool


@dataclass(eq=False, slots=True)
class _Questions:
    """What the followers of one user share: the open questions as they were read last."""

    followers: set[asyncio.Event] = field(default_factory=set)
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    found: list[Interrupt] = field(default_factory=list)
    stale: bool = True
    read_at: float = -inf

    def change(self) -> None:
        """They may be others by now."""
        self.stale = True
        for changed in self.followers:
            changed.set()


class Inbox:
    """Follows the questions of one node's users. Nothing is read while nobody follows, and once for
    all followers of a user."""

    def __init__(self, views: Views, hub: Hub) -> None:
        self._views = views
        self._hub = hub
        self._closing = asyncio.Event()
        self._shared: dict[Caller, _Questions] = {}

    def close(self) -> None:
        """End every follower."""
        self._closing.set()
        for shared in self._shared.values():
            shared.change()

    async def follow(self, caller: Caller) -> AsyncGenerator[InboxState, None]:
        """The state now, and each that differs from the one before, until closed."""
        changed = asyncio.Event()
        with self._sharing(caller, changed) as shared:
            known: dict[str, Interrupt] | None = None
            while not self._closing.is_set():
                changed.clear()
                state = await self._state(caller, shared, known or {})
                if known is None or state.added or state.gone:
                    yield state
                known = {each.id: each for each in state.waiting}
                try:
                    async with asyncio.timeout(REREAD_SECONDS):
                        await changed.wait()
                except TimeoutError:
                    shared.stale |= monotonic() - shared.read_at >= REREAD_SECONDS

    @contextmanager
    def _sharing(self, caller: Caller, changed: asyncio.Event) -> Iterator[_Questions]:
        shared = self._shared.get(caller)
        if shared is None:
            shared = self._shared[caller] = _Questions()
            self._hub.listen_user(caller.user_id, shared.change)
        shared.followers.add(changed)
        shared.stale = True  # who comes now begins with what waits now
        try:
            yield shared
        finally:
            shared.followers.discard(changed)
            if not shared.followers:
                self._hub.unlisten_user(caller.user_id, shared.change)
                del self._shared[caller]

    async def _read(self, caller: Caller, shared: _Questions) -> list[Interrupt]:
        async with shared.reading:
            if shared.stale:
                await self._pause(shared.read_at + PAUSE_SECONDS - monotonic())
                shared.stale = False  # what changes from here on may be missed by this read
                try:
                    shared.found = await self._views.pending_interrupts(caller, first=LONGEST + 1)
                except BaseException:
                    shared.stale = True
                    raise
                shared.read_at = monotonic()
            return shared.found

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return

    async def _state(
        self, caller: Caller, shared: _Questions, known: dict[str, Interrupt]
    ) -> InboxState:
        found = await self._read(caller, shared)
        waiting = found[:LONGEST]
        now = {each.id for each in waiting}
        left = [id for id in known if id not in now]
        told = await self._views.get_interrupts(caller, left) if left else {}
        return InboxState(
            waiting=tuple(waiting),
            added=tuple(each for each in waiting if each.id not in known),
            gone=tuple(told.get(id) or _removed(known[id]) for id in left),
            has_more=len(found) > LONGEST,
        )


def _removed(interrupt: Interrupt) -> Interrupt:
    """A question whose session was removed for good."""
    return replace(interrupt, status=InterruptStatus.CANCELLED)
