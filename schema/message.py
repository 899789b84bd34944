"""Messages: what was said in a session."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Self

import strawberry

from ..core.chat.records import Message as MessageRecord
from .context import Info
from .fields import field
from .node import Node, global_id, number_of
from .pagination import Connection
from .scalars import JSON, Long

if TYPE_CHECKING:
    from .process import Process
    from .session import Session


@strawberry.enum(description="Who speaks.")
class MessageRole(Enum):
    USER = strawberry.enum_value("user", description="The person.")
    ASSISTANT = strawberry.enum_value("assistant", description="The capability.")
    SYSTEM = strawberry.enum_value("system", description="The server.")


@strawberry.type(description="One message of a session.")
class Message(Node):
    message_id: Long = strawberry.field(description="Number of the message; later is higher.")
    session_id: str = strawberry.field(description="`Session.sessionId` of its session.")
    role: MessageRole = strawberry.field(description="Who speaks.")
    content: str = strawberry.field(description="The text.")
    data: JSON = strawberry.field(
        description="What the capability attached to its reply (citations, ...); else `{}`."
    )
    pid: str | None = strawberry.field(description="`Process.pid` of the request it belongs to.")
    created_at: datetime = strawberry.field(description="When it was stored.")
    edited_at: datetime | None = strawberry.field(description="When it was last edited.")
    deleted_at: datetime | None = strawberry.field(description="When it was deleted.")
    original_content: str | None = strawberry.field(
        description="The text before the first edit; null when it was never edited."
    )

    @field("The request that it asks for or answers.")
    async def process(self, info: Info) -> Annotated[Process, strawberry.lazy(".process")] | None:
        from .process import Process

        record = await info.context.processes.load(self.pid) if self.pid else None
        return Process.of(record) if record else None

    @field("The session that it belongs to; null when that has just been removed.")
    async def session(self, info: Info) -> Annotated[Session, strawberry.lazy(".session")] | None:
        from .session import Session

        return await Session.find(info, self.session_id)

    @classmethod
    def of(cls, record: MessageRecord) -> Self:
        return cls(
            id=global_id("Message", str(record.message_id)),
            message_id=Long(record.message_id),
            session_id=record.session_id,
            role=MessageRole(record.role),
            content=record.content,
            data=JSON(record.data),
            pid=record.pid,
            created_at=record.created_at,
            edited_at=record.edited_at,
            deleted_at=record.deleted_at,
            original_content=record.original_content,
        )

    @classmethod
    async def find(cls, info: Info, key: str) -> Self | None:
        record = await info.context.messages.load(number_of("Message", key))
        return cls.of(record) if record else None


@strawberry.type(description="One page of the messages of a session.")
class MessageConnection(Connection[Message]):
    total_count: Long | None = strawberry.field(
        description="How many there are in all pages; null where deleted ones are listed too."
    )


async def message_by_id(info: Info, message_id: int | None) -> Message | None:
    """A message of the caller, read together with others of the same response."""
    record = await info.context.messages.load(message_id) if message_id is not None else None
    return Message.of(record) if record else None
