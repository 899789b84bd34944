"""Subscriptions: the event log, followed. Each resumes from a cursor without gap or repeat.

The thing to follow is looked up before the stream opens, so that an unknown id refuses the
operation rather than ending a stream that had begun.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import strawberry

from ..core.events.event import Event as EventRecord
from .context import Info
from .event import Event, seq_of
from .fields import subscription
from .inbox import InboxSubscriptions
from .metrics import MetricsSubscriptions
from .node import key_of
from .process import Process, ProcessId
from .reply import ReplyPart, reply_parts
from .session import SessionId

FROM_NOW = (
    "Null: only what happens from now on. Empty text: everything from the first event;"
    " `CURSOR_EXPIRED` once clean-up has removed that, with the `oldest` cursor to go on from."
)
FromNow = Annotated[
    str | None,
    strawberry.argument(
        description=f"Cursor of the last event already seen, or `Session.lastCursor`. {FROM_NOW}"
    ),
]
SystemFromNow = Annotated[
    str | None,
    strawberry.argument(description=f"Cursor of the last event already seen. {FROM_NOW}"),
]
FromStart = Annotated[
    str | None,
    strawberry.argument(
        description="Cursor of the last part already seen; null for everything from the start."
    ),
]


@strawberry.type(description="What happens, as it happens.")
class Subscription(InboxSubscriptions, MetricsSubscriptions):
    @subscription("Events of a session, in order, until unsubscribed.")
    async def session_events(
        self, info: Info, session_id: SessionId, after: FromNow = None
    ) -> AsyncGenerator[Event, None]:
        context, key = info.context, key_of(session_id, "Session")
        seq = await _position(info, key, after)
        return _events(context.node.events.follow_session(context.caller, key, after=seq))

    @subscription("Events of a process, in order, to the one that ends it.")
    async def process_events(
        self, info: Info, process_id: ProcessId, after: FromStart = None
    ) -> AsyncGenerator[Event, None]:
        context = info.context
        process = await Process.load(info, key_of(process_id, "Process"))
        seq = await _position(info, process.session_id, after) or 0
        return _events(context.node.events.follow_process(context.caller, process.pid, after=seq))

    @subscription(
        "The reply of a process while it is written: text as it comes, then, once the"
        " process has ended, the final message. A stream that ends without `ReplyFinished` was"
        " cut short by the server; resume it. While the process waits for an answer nothing"
        " comes: its questions are events, and in `Process.interrupts`."
    )
    async def reply_stream(
        self, info: Info, process_id: ProcessId, after: FromStart = None
    ) -> AsyncGenerator[ReplyPart, None]:
        process = await Process.load(info, key_of(process_id, "Process"))
        seq = await _position(info, process.session_id, after) or 0
        return reply_parts(info, process.pid, seq)

    @subscription(
        "What concerns the server itself, such as changes of circuit breakers, in order, until"
        " unsubscribed. For administrators."
    )
    async def system_events(
        self, info: Info, after: SystemFromNow = None
    ) -> AsyncGenerator[Event, None]:
        context, system = info.context, info.context.node.system
        seq = seq_of(after, system.number, await system.last_seq(context.caller))
        return _events(system.follow(context.caller, after=seq))


async def _position(info: Info, session_id: str, after: str | None) -> int | None:
    """The `seq` to go on from in a session of the caller's."""
    context = info.context
    session = await context.node.chat.get_session(context.caller, session_id)
    return seq_of(after, session.id, session.last_seq)


async def _events(records: AsyncGenerator[EventRecord, None]) -> AsyncGenerator[Event, None]:
    async with aclosing(records):
        async for record in records:
            yield Event.of(record)
