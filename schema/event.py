"""Events: what happens in a session, in order, each with a cursor to resume from."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace
from datetime import datetime
from typing import Self

import strawberry

from ..core.chat.paging import Window, encode_cursor
from ..core.chat.records import Page
from ..core.chat.text import MAX_ID
from ..core.errors import InvalidInput
from ..core.events.event import Event as EventRecord
from .execution.results import Results
from .pagination import Connection
from .scalars import JSON, Long

_PREFIX = "event:"


@strawberry.type(description="One entry of a session's append-only, gapless log.")
class Event:
    cursor: str = strawberry.field(
        description="Opaque position of this event; pass it as `after` to go on from here."
    )
    seq: Long = strawberry.field(description="Number within the session: from 1, without gaps.")
    type: str = strawberry.field(
        description="What happened, such as `process.created`, `llm.delta`, `tool.completed`,"
        " `interrupt.raised`, `chat.message.created`, or a capability's own `<capability>.<name>`."
    )
    session_id: str = strawberry.field(description="`Session.sessionId` of the session.")
    pid: str | None = strawberry.field(
        description="`Process.pid` of the process that it tells of, if it tells of one."
    )
    payload: JSON = strawberry.field(description="An object; its fields depend on `type`.")
    created_at: datetime = strawberry.field(description="When it was appended.")
    results: strawberry.Private[Results] = strawberry.field(default_factory=Results)

    @classmethod
    def of(cls, record: EventRecord) -> Self:
        """The same one for all who are shown this record."""
        event: Self | None = record.made.get(cls)
        if event is None:
            event = record.made[cls] = cls._of(record)
        return event

    @classmethod
    def _of(cls, record: EventRecord) -> Self:
        return cls(
            cursor=event_cursor(record.stream, record.seq),
            seq=Long(record.seq),
            type=record.type,
            session_id=record.session_id,
            pid=record.pid,
            payload=JSON(record.payload),
            created_at=record.created_at,
        )


def event_window(part: Window, stream: int, newest: int) -> Window:
    """The same part, its cursors as the log writes them.

    Raises:
        InvalidInput: they are no cursors of this stream.
    """
    after = seq_of(part.after or None, stream, newest)
    before = seq_of(part.before or None, stream, newest, field="before")
    return replace(
        part,
        after=None if after is None else encode_cursor((after,)),
        before=None if before is None else encode_cursor((before,)),
    )


def event_page(page: Page[EventRecord]) -> Connection[Event]:
    """Events that were read, under the cursors that events have everywhere."""
    cursors = tuple(event_cursor(event.stream, event.seq) for event in page.items)
    return Connection.of(replace(page, cursors=cursors), Event.of)


def event_cursor(stream: int, seq: int) -> str:
    """The position in `stream` after the event `seq`; 0 is before the first."""
    return urlsafe_b64encode(f"{_PREFIX}{stream}:{seq}".encode()).decode()


def seq_of(after: str | None, stream: int, newest: int, field: str = "after") -> int | None:
    """The `seq` in a cursor of `stream`; an empty cursor is the position before the first event.

    Raises:
        InvalidInput: it is no cursor of an event of this stream, or of one after `newest`.
    """
    if not after:
        return None if after is None else 0
    try:
        if len(after) > MAX_ID:
            raise ValueError
        text = urlsafe_b64decode(after.encode("ascii")).decode("ascii")
        seq = int(text.rpartition(":")[2])
    except ValueError:
        seq = -1
    # Numbers repeat from stream to stream: a cursor of another one would skip events unnoticed.
    if not 0 <= seq <= newest or event_cursor(stream, seq) != after:
        raise InvalidInput(
            field, "is not a cursor of an event of this session; pass one as it was received"
        )
    return seq
