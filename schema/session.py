"""Sessions: conversations of the caller."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Self, cast

import strawberry

from ..core.chat.records import Session as SessionRecord
from ..core.chat.service import Period
from .arguments import After, First, cursor, page_size
from .context import Info
from .event import event_cursor
from .fields import field
from .memory import WorkingState
from .message import Message
from .node import Node, global_id, key_of
from .pagination import Connection
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
        description="Cursor of the newest event when the session was read. Everything that the"
        " rest of the response may lack comes after it: subscribe with `sessionEvents(after:)`."
    )

    @field("Its messages, oldest first.")
    async def messages(
        self,
        info: Info,
        first: First = 50,
        after: After = None,
        include_deleted: IncludeDeleted = False,
    ) -> Connection[Message]:
        context = info.context
        page = await context.node.chat.list_messages(
            context.caller,
            self.session_id,
            first=page_size(first),
            after=cursor(after),
            include_deleted=include_deleted,
        )
        return Connection.of(page, Message.of)

    @field("Processes of this session, newest first.")
    async def processes(
        self, info: Info, first: First = 50, after: After = None
    ) -> Connection[Annotated[Process, strawberry.lazy(".process")]]:
        from .process import Process

        context = info.context
        page = await context.node.tower.list_processes(
            context.caller,
            session_id=self.session_id,
            first=page_size(first),
            after=cursor(after),
        )
        return Connection.of(page, Process.of)

    @field("Working memory of its capabilities, by capability and key.")
    async def working_state(self, info: Info) -> list[WorkingState]:
        context = info.context
        entries = await context.node.working_memory.entries(context.caller, self.session_id)
        return [WorkingState.of(entry) for entry in entries]

    @field("What its processes have used, ever.")
    async def usage(self, info: Info) -> UsageTotal:
        context = info.context
        return UsageTotal.of(await context.node.tower.usage(context.caller, self.session_id))

    @classmethod
    def of(cls, record: SessionRecord) -> Self:
        return cls(
            id=global_id("Session", record.session_id),
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
        first: First = 50,
        after: After = None,
        active: Annotated[
            Activity | None,
            strawberry.argument(description="Only those last active then; null for all."),
        ] = None,
        include_deleted: IncludeDeleted = False,
    ) -> Connection[Session]:
        context = info.context
        page = await context.node.chat.list_sessions(
            context.caller,
            first=page_size(first),
            after=cursor(after),
            active=None if active is None else cast(Period, active.value),
            include_deleted=include_deleted,
        )
        return Connection.of(page, Session.of)

    @field("One session; null with an error when there is none.")
    async def session(self, info: Info, id: SessionId) -> Session | None:
        return await Session.load(info, key_of(id, "Session"))
