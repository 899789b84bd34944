"""The reply of a process while it is being written."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import strawberry

from ..core.events.event import Event as EventRecord
from ..core.events.service import ENDINGS
from .context import Info
from .event import event_cursor
from .message import Message, message_by_id
from .process import Process

_CURSOR = "Opaque position; pass it as `after` to go on from here."


@strawberry.type(description="More text.")
class ReplyDelta:
    cursor: str = strawberry.field(description=_CURSOR)
    step: str = strawberry.field(
        description="`Step.key` of the LLM call that writes it; a process may make several."
    )
    attempt: int = strawberry.field(description="Number of the attempt at this step, from 1.")
    offset: int = strawberry.field(
        description="Where the text belongs within the attempt, in characters from 0."
    )
    text: str = strawberry.field(description="The text.")


@strawberry.type(description="An LLM call starts over: drop the text of its earlier attempts.")
class ReplyRestarted:
    cursor: str = strawberry.field(description=_CURSOR)
    step: str = strawberry.field(description="`Step.key` of the LLM call.")
    attempt: int = strawberry.field(description="Number of the attempt that starts now.")


@strawberry.type(description="The process has ended: nothing follows.")
class ReplyFinished:
    cursor: str = strawberry.field(description=_CURSOR)
    message: Message | None = strawberry.field(
        description="The reply as it is stored, which replaces all text so far; null when the"
        " process ended without one."
    )
    process: Process = strawberry.field(description="The process, ended.")


ReplyPart = Annotated[
    ReplyDelta | ReplyRestarted | ReplyFinished,
    strawberry.union("ReplyPart", description="One part of a reply that is being written."),
]


async def reply_parts(info: Info, pid: str, after: int) -> AsyncGenerator[ReplyPart, None]:
    """What the process's events after `after` tell of its reply, to its end."""
    context = info.context
    events = context.node.events.follow_process(context.caller, pid, after=after)
    async with aclosing(events):
        async for event in events:
            if event.type == "llm.delta":
                yield _delta(event)
            elif event.type == "llm.restarted":
                yield ReplyRestarted(
                    cursor=event_cursor(event.stream, event.seq),
                    step=event.payload["step"],
                    attempt=event.payload["attempt"],
                )
            elif event.type in ENDINGS:
                process = await Process.load(info, pid)
                yield ReplyFinished(
                    cursor=event_cursor(event.stream, event.seq),
                    message=await message_by_id(info, process.record.reply_message_id),
                    process=process,
                )


def _delta(event: EventRecord) -> ReplyDelta:
    payload = event.payload
    return ReplyDelta(
        cursor=event_cursor(event.stream, event.seq),
        step=payload["step"],
        attempt=payload["attempt"],
        offset=payload["offset"],
        text=payload["text"],
    )
