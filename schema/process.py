"""Processes: requests of the caller, as the Control Tower records them."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Self

import strawberry

from ..core.errors import InvalidInput
from ..core.tower.process import Outcome, ProcessControlBlock, SchedulingPriority
from .arguments import After, Before, Count, First, Last, maybe_text, page_size, window
from .context import Info
from .enums import describe
from .event import Event, event_page, event_window
from .fields import field
from .interrupt import Interrupt
from .message import Message, message_by_id
from .node import Node, global_id, key_of
from .pagination import NOTHING, Connection
from .step import AfterStep, Step
from .usage import Quota, Usage

if TYPE_CHECKING:
    from .session import Session


@strawberry.enum(description="Where a process is in its life.")
class ProcessState(Enum):
    NEW = strawberry.enum_value("new", description="Stored, not yet in line.")
    READY = strawberry.enum_value("ready", description="In line for a running slot.")
    RUNNING = strawberry.enum_value("running", description="At work.")
    WAITING = strawberry.enum_value("waiting", description="For a person: see its interrupts.")
    BLOCKED = strawberry.enum_value("blocked", description="For something else: see its reason.")
    TERMINATED = strawberry.enum_value("terminated", description="Ended: see its outcome.")

    @classmethod
    def _missing_(cls, value: object) -> ProcessState | None:
        # A zombie is an ended process that clean-up has marked: no concern of clients.
        return cls.TERMINATED if value == "zombie" else None


describe(
    SchedulingPriority,
    "Place in the line for running slots. Work of a lower priority gains with time, so that it is"
    " never starved.",
    {
        SchedulingPriority.REALTIME: "Before everything: somebody is watching.",
        SchedulingPriority.HIGH: "Before what is usual.",
        SchedulingPriority.NORMAL: "What is usual.",
        SchedulingPriority.LOW: "After what is usual.",
        SchedulingPriority.IDLE: "When there is nothing else to do.",
    },
)
describe(
    Outcome,
    "How a process ended.",
    {
        Outcome.COMPLETED: "With a reply.",
        Outcome.FAILED: "Without one: see its reason and error.",
        Outcome.CANCELLED: "On demand, or with the process that had spawned it.",
    },
)


AfterProcess = Annotated[
    strawberry.ID | None,
    strawberry.argument(
        description="`Process.id` or `Process.pid` of the last one already seen; null for the"
        " beginning."
    ),
]


@strawberry.type(description="One request: scheduled, bounded by a quota, journaled.")
class Process(Node):
    record: strawberry.Private[ProcessControlBlock]
    pid: str = strawberry.field(description="Id as events and other interfaces know it.")
    request_id: str = strawberry.field(
        description="Id that the client gave the request, or one made for it."
    )
    session_id: str = strawberry.field(description="`Session.sessionId` of its session.")
    capability: str = strawberry.field(description="Capability that answers.")
    depth: int = strawberry.field(description="0 for a request, 1 for what it has spawned, ...")
    version: int = strawberry.field(description="Version of the capability that it started with.")
    text: str = strawberry.field(description="What the user wrote.")
    state: ProcessState = strawberry.field(description="Where it is in its life.")
    priority: SchedulingPriority = strawberry.field(description="Place in the line.")
    stage: str | None = strawberry.field(description="Stage that it is in, as the capability says.")
    outcome: Outcome | None = strawberry.field(description="How it ended; null until it has.")
    reason: str | None = strawberry.field(
        description="Why it failed or is blocked, in one stable word; of what was cancelled, the"
        " reason that was given."
    )
    error: str | None = strawberry.field(description="What went wrong, in words for the user.")
    reply: str | None = strawberry.field(description="Text of the reply; null until there is one.")
    created_at: datetime = strawberry.field(description="When it was submitted.")
    started_at: datetime | None = strawberry.field(description="When it first ran.")
    completed_at: datetime | None = strawberry.field(description="When it ended.")

    @field("What it may use.")
    def quota(self) -> Quota:
        return Quota.of(self.record.quota)

    @field("What it has used.")
    def usage(self) -> Usage:
        return Usage.of(self.record.usage)

    @field(
        "Questions that wait for an answer, its own and those of the processes that it has"
        " spawned, the first to answer first."
    )
    def interrupts(self) -> list[Interrupt]:
        return [Interrupt.of(record) for record in self.record.interrupts]

    @field("Its timeline: journaled steps in the order in which they began.")
    async def steps(self, info: Info, first: Count = 100, after: AfterStep = None) -> list[Step]:
        key = maybe_text("after", after)
        found = await info.context.steps.load((self.pid, page_size(first), key))
        if found is None and key is not None:
            raise InvalidInput("after", "is not the key of a step of this process")
        return [Step.of(record) for record in found or ()]

    @field(
        "Its own events, oldest first. The cursors are those of `processEvents`: what is read here"
        " can be followed there."
    )
    async def events(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Event]:
        part = window(first, after, last, before)
        session = await info.context.sessions.load(self.session_id)
        if session is None:  # removed since this process was read
            return event_page(NOTHING)
        part = event_window(part, session.id, session.last_seq)
        page = await info.context.process_events.load(((self.pid, session.id), part))
        return event_page(page or NOTHING)

    @field("The process that has spawned it; null for a request.")
    async def parent(self, info: Info) -> Process | None:
        pid = self.record.parent_pid
        record = await info.context.processes.load(pid) if pid else None
        return Process.of(record) if record else None

    @field("Processes that it has spawned, oldest first.")
    async def children(
        self, info: Info, first: Count = 50, after: AfterProcess = None
    ) -> list[Process]:
        last = None if after is None else key_of(after, "Process")
        records = await info.context.children.load((self.pid, page_size(first), last))
        return [Process.of(record) for record in records or ()]

    @field("The message that it answers.")
    async def user_message(self, info: Info) -> Message | None:
        return await message_by_id(info, self.record.message_id)

    @field("The message that holds its reply; null until there is one.")
    async def reply_message(self, info: Info) -> Message | None:
        return await message_by_id(info, self.record.reply_message_id)

    @field("The session that it belongs to; null when that has just been removed.")
    async def session(self, info: Info) -> Annotated[Session, strawberry.lazy(".session")] | None:
        from .session import Session

        return await Session.find(info, self.session_id)

    @classmethod
    def of(cls, record: ProcessControlBlock) -> Self:
        return cls(
            id=global_id("Process", record.pid),
            record=record,
            pid=record.pid,
            request_id=record.request_id,
            session_id=record.session_id,
            capability=record.capability,
            depth=record.depth,
            version=record.version,
            text=record.message,
            state=ProcessState(record.state.value),
            priority=record.priority,
            stage=record.stage,
            outcome=record.outcome,
            reason=record.reason,
            error=record.error,
            reply=record.reply,
            created_at=record.created_at,
            started_at=record.started_at,
            completed_at=record.completed_at,
        )

    @classmethod
    async def find(cls, info: Info, key: str) -> Self | None:
        record = await info.context.processes.load(key)
        return cls.of(record) if record else None

    @classmethod
    async def load(cls, info: Info, key: str) -> Self:
        context = info.context
        return cls.of(await context.node.tower.get(context.caller, key))


ProcessId = Annotated[
    strawberry.ID,
    strawberry.argument(description="`Process.id`, `Process.pid` or `Process.requestId`."),
]


@strawberry.type
class ProcessQueries:
    @field("One process; null with an error when there is none.")
    async def process(self, info: Info, id: ProcessId) -> Process | None:
        return await Process.load(info, key_of(id, "Process"))

    @field("The caller's processes, newest first.")
    async def processes(
        self,
        info: Info,
        session_id: Annotated[
            strawberry.ID | None,
            strawberry.argument(
                description="Only those of this session: `Session.id` or `Session.sessionId`."
            ),
        ] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Process]:
        context = info.context
        page = await context.node.tower.list_processes(
            context.caller,
            window(first, after, last, before),
            session_id=key_of(session_id, "Session") if session_id is not None else None,
        )
        return Connection.of(page, Process.of)
