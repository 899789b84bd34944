"""Interrupts: questions that a process waits for an answer to."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Self

import strawberry

from ..core.tower.process import Interrupt as InterruptRecord
from ..core.tower.process import InterruptKind, InterruptStatus
from .arguments import After, Before, First, Last, window
from .context import Info
from .enums import describe
from .fields import field
from .node import Node, global_id
from .pagination import Connection
from .scalars import JSON

if TYPE_CHECKING:
    from .process import Process
    from .session import Session

describe(
    InterruptKind,
    "What is asked.",
    {
        InterruptKind.CLARIFICATION: "A text.",
        InterruptKind.CONFIRMATION: "Yes or no.",
        InterruptKind.AGENT_REVIEW: "What to do about a step that may or may not have happened.",
        InterruptKind.CHECKPOINT: "Whether to go on.",
        InterruptKind.RESOURCE_EXHAUSTED: "Whether to allow more.",
        InterruptKind.TIMEOUT: "Whether to wait on.",
        InterruptKind.SYSTEM_ERROR: "What to do about a failure.",
    },
)
describe(
    InterruptStatus,
    "Whether a question is answered.",
    {
        InterruptStatus.PENDING: "Nobody has answered.",
        InterruptStatus.RESOLVED: "It is answered.",
        InterruptStatus.EXPIRED: "Nobody answered in time.",
        InterruptStatus.CANCELLED: "The process ended first.",
    },
)


@strawberry.type(description="A pause of a process that needs an answer.")
class Interrupt(Node):
    interrupt_id: str = strawberry.field(description="Id as events and other interfaces know it.")
    kind: InterruptKind = strawberry.field(description="What is asked.")
    status: InterruptStatus = strawberry.field(description="Whether it is answered.")
    question: str = strawberry.field(description="The question, to be shown to a person.")
    options: list[str] = strawberry.field(
        description="Answers to choose from; for a clarification they are only suggestions."
    )
    data: JSON | None = strawberry.field(
        description="What the question is about, for clients that show more than its text. A tool:"
        " `tool`, `risk`, `arguments`. A limit: `resource`, `used`, `limit`, `extend_by`. A"
        " failure: `failure`. Null where the text says all."
    )
    answer: str | None = strawberry.field(description="The accepted answer; null while pending.")
    pid: str = strawberry.field(description="`Process.pid` of the process that waits.")
    session_id: str = strawberry.field(description="`Session.sessionId` of its session.")
    created_at: datetime = strawberry.field(description="When it was asked.")
    expires_at: datetime | None = strawberry.field(
        description="When it can no longer be answered; null means never."
    )
    resolved_at: datetime | None = strawberry.field(description="When it was answered or ended.")

    @field("The process that waits.")
    async def process(self, info: Info) -> Annotated[Process, strawberry.lazy(".process")] | None:
        from .process import Process

        record = await info.context.processes.load(self.pid)
        return Process.of(record) if record else None

    @field("The session of the process; null when that has just been removed.")
    async def session(self, info: Info) -> Annotated[Session, strawberry.lazy(".session")] | None:
        from .session import Session

        return await Session.find(info, self.session_id)

    @classmethod
    def of(cls, record: InterruptRecord) -> Self:
        return cls(
            id=global_id("Interrupt", record.id),
            interrupt_id=record.id,
            kind=record.kind,
            status=record.status,
            question=record.question,
            options=list(record.options),
            data=None if record.data is None else JSON(record.data),
            answer=record.answer,
            pid=record.pid,
            session_id=record.session_id,
            created_at=record.created_at,
            expires_at=record.expires_at,
            resolved_at=record.resolved_at,
        )

    @classmethod
    async def find(cls, info: Info, key: str) -> Self | None:
        record = await info.context.interrupts.load(key)
        return cls.of(record) if record else None


@strawberry.type
class InterruptQueries:
    @field(
        "Questions to the caller: those that wait for an answer oldest first, others newest first."
    )
    async def interrupts(
        self,
        info: Info,
        status: Annotated[
            InterruptStatus, strawberry.argument(description="Only those in this status.")
        ] = InterruptStatus.PENDING,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Interrupt]:
        context = info.context
        page = await context.node.tower.list_interrupts(
            context.caller, window(first, after, last, before), status=status
        )
        return Connection.of(page, Interrupt.of)
