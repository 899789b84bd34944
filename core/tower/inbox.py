"""The inbox of a user: the questions that wait for an answer, across sessions, as they change.

Followed by state, not by events: each hint that something of the user's has happened makes the
open questions be read again. So nothing can be missed or told twice, and nothing is resumed:
whoever comes back begins with what waits then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

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


class Inbox:
    """Follows the questions of one node's users. Nothing is read while nobody follows."""

    def __init__(self, views: Views, hub: Hub) -> None:
        self._views = views
        self._hub = hub
        self._closing = asyncio.Event()
        self._followers: set[asyncio.Event] = set()

    def close(self) -> None:
        """End every follower."""
        self._closing.set()
        for changed in self._followers:
            changed.set()

    async def follow(self, caller: Caller) -> AsyncGenerator[InboxState, None]:
        """The state now, and each that differs from the one before, until closed."""
        changed = asyncio.Event()
        self._followers.add(changed)
        self._hub.listen_user(caller.user_id, changed.set)
        try:
            known: dict[str, Interrupt] | None = None
            while not self._closing.is_set():
                changed.clear()
                state = await self._state(caller, known or {})
                if known is None or state.added or state.gone:
                    yield state
                known = {each.id: each for each in state.waiting}
                await self._pause()
                try:
                    async with asyncio.timeout(REREAD_SECONDS):
                        await changed.wait()
                except TimeoutError:
                    continue
        finally:
            self._hub.unlisten_user(caller.user_id, changed.set)
            self._followers.discard(changed)

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(PAUSE_SECONDS):
                await self._closing.wait()
        except TimeoutError:
            return

    async def _state(self, caller: Caller, known: dict[str, Interrupt]) -> InboxState:
        found = await self._views.pending_interrupts(caller, first=LONGEST + 1)
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
