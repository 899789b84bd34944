"""The inbox: what waits for the caller's answer, as it changes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Self

import strawberry

from ..core.tower.inbox import LONGEST, InboxState
from .context import Info
from .fields import subscription
from .interrupt import Interrupt


@strawberry.type(description="The questions that wait for an answer, and what has changed.")
class Inbox:
    waiting: list[Interrupt] = strawberry.field(
        description=f"All that wait now, oldest first; of more than {LONGEST} the oldest."
    )
    added: list[Interrupt] = strawberry.field(
        description="Those that were not in `waiting` before: at first, all."
    )
    gone: list[Interrupt] = strawberry.field(
        description="Those that were in `waiting` before and are not now: answered, expired or"
        " ended with their process, as their `status` says."
    )
    has_more: bool = strawberry.field(
        description="Whether more wait than are shown. They follow as others are answered."
    )

    @classmethod
    def of(cls, state: InboxState) -> Self:
        return cls(
            waiting=[Interrupt.of(each) for each in state.waiting],
            added=[Interrupt.of(each) for each in state.added],
            gone=[Interrupt.of(each) for each in state.gone],
            has_more=state.has_more,
        )


@strawberry.type
class InboxSubscriptions:
    @subscription(
        "The questions that wait for the caller, in all sessions, those of spawned processes"
        " included: what waits now, then each change. It does not resume: after a reconnect it"
        " begins with what waits then, so that nothing is missed."
    )
    async def inbox(self, info: Info) -> AsyncGenerator[Inbox, None]:
        context = info.context
        return _states(context.node.inbox.follow(context.caller))


async def _states(states: AsyncGenerator[InboxState, None]) -> AsyncGenerator[Inbox, None]:
    async with aclosing(states):
        async for state in states:
            yield Inbox.of(state)
