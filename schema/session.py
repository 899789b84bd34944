"""Sessions: conversations of the caller."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Self, cast

import strawberry

from ..core.chat.records import Session as SessionRecord
from ..core.chat.service import Period
from ..core.tower.usage import NO_USAGE
from .arguments import After, Before, First, Last, window
from .context import Info
from .event import Event, event_cursor, event_page, event_window
from .fields import field
from .memory import WorkingState
from .message import Message, MessageConnection
from .node import Node, global_id, key_of
from .pagination import NOTHING, Connection
from .scalars import Long
from .usage import UsageTotal

if TYPE_CHECKING:
    from .process import Process


IncludeDeleted = Annotated[
    bool, strawberry.argument(description="Whether softly deleted ones are listed too.")
]


@strawberry.enum(description="When a session was last active.")
class Activity(Enum):
    TODAY = strawberry.enum_value("today", description="On the current UTC date.")
    WEEK = strawberry.enum_value("week", description="In the last 7 days.")
    MONTH = strawberry.enum_value("month", description="In the last 30 days.")


@strawberry.type(description="One conversation.")
class Session(Node):
    record: strawberry.Private[SessionRecord]
    session_id: str = strawberry.field(description="Id as other interfaces know it.")
    title: str | None = strawberry.field(description="Title as it was given.")
    listed_title: str = strawberry.field(
        description="What to show in a list: the title, else the beginning of the first message."
    )
    capability: str | None = strawberry.field(
        description="Capability that answers its messages, unless a message names another."
    )
    message_count: Long = strawberry.field(description="Number of messages that are not deleted.")
    created_at: datetime = strawberry.field(description="When it was created.")
    last_activity: datetime = strawberry.field(description="Time of the last message or update.")
    deleted_at: datetime | None = strawberry.field(description="When it was deleted.")
    archived_at: datetime | None = strawberry.field(description="When it was archived.")

    last_cursor: str = strawberry.field(
        description="Cursor of the newest event when the session was read. All that what is"
        " selected below this session may lack comes after it: subscribe with"
        " `sessionEvents(after:)`. What is above or beside it, such as the process of a payload,"
        " may have been read before."
    )

    @field("Its messages, oldest first.")
    async def messages(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        include_deleted: IncludeDeleted = False,
    ) -> MessageConnection:
        part = window(first, after, last, before)
        page = await info.context.session_messages.load((self.record.id, part, include_deleted))
        count = None if include_deleted else Long(self.record.message_count)
        return MessageConnection.of(page or NOTHING, Message.of, total_count=count)

    @field("Processes of this session, newest first.")
    async def processes(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Annotated[Process, strawberry.lazy(".process")]]:
        from .process import Process

        part = window(first, after, last, before)
        page = await info.context.session_processes.load((self.record.id, part))
        return Connection.of(page or NOTHING, Process.of)

    @field(
        "What has happened in it, oldest first. The cursors are those of `sessionEvents`: what is"
        " read here can be followed there."
    )
    async def events(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Event]:
        part = event_window(
            window(first, after, last, before), self.record.id, self.record.last_seq
        )
        page = await info.context.session_events.load((self.record.id, part))
        return event_page(page or NOTHING)

    @field("Working memory of its capabilities, by capability and key.")
    async def working_state(self, info: Info) -> list[WorkingState]:
        entries = await info.context.working_state.load(self.record.id)
        return [WorkingState.of(entry) for entry in entries or ()]

    @field("What its processes have used, ever.")
    async def usage(self, info: Info) -> UsageTotal:
        return UsageTotal.of(await info.context.session_usage.load(self.record.id) or NO_USAGE)

    @classmethod
    def of(cls, record: SessionRecord) -> Self:
        return cls(
            id=global_id("Session", record.session_id),
            record=record,
            session_id=record.session_id,
            title=record.title,
            listed_title=record.listed_title,
            capability=record.capability,
            message_count=Long(record.message_count),
            created_at=record.created_at,
            last_activity=record.last_activity,
            deleted_at=record.deleted_at,
            archived_at=record.archived_at,
            last_cursor=event_cursor(record.id, record.last_seq),
        )

    @classmethod
    async def find(cls, info: Info, key: str) -> Self | None:
        record = await info.context.sessions.load(key)
        return cls.of(record) if record else None

    @classmethod
    async def load(cls, info: Info, key: str) -> Self:
        context = info.context
        return cls.of(await context.node.chat.get_session(context.caller, key))


SessionId = Annotated[
    strawberry.ID, strawberry.argument(description="`Session.id`, or `Session.sessionId`.")
]


@strawberry.type
class SessionQueries:
    @field("The caller's sessions, the one last active first.")
    async def sessions(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        active: Annotated[
            Activity | None,
            strawberry.argument(description="Only those last active then; null for all."),
        ] = None,
        include_deleted: IncludeDeleted = False,
    ) -> Connection[Session]:
        context = info.context
        page = await context.node.chat.list_sessions(
            context.caller,
            window(first, after, last, before),
            active=None if active is None else cast(Period, active.value),
            include_deleted=include_deleted,
        )
        return Connection.of(page, Session.of)

    @field("One session; null with an error when there is none.")
    async def session(self, info: Info, id: SessionId) -> Session | None:
        return await Session.load(info, key_of(id, "Session"))
