"""The tower's records: what a process is, may use, has used and is waiting for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field

from ..identity import Caller

if TYPE_CHECKING:
    from ..capabilities import OnBusy


class ProcessState(StrEnum):
    NEW = "new"
    READY = "ready"
    RUNNING = "running"
    WAITING = "waiting"
    BLOCKED = "blocked"
    TERMINATED = "terminated"
    ZOMBIE = "zombie"


class SchedulingPriority(StrEnum):
    REALTIME = "realtime"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"
    IDLE = "idle"


class Outcome(StrEnum):
    """How a terminated process ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


CHILD = "child"
"""Reason of a process that is blocked until a process it has spawned ends."""

SLEEPING = "sleeping"
"""Reason of a process that is blocked until it is time to go on."""

CRASHED = "crashed_repeatedly"
"""Reason of a process that servers have died under: it is tried again on demand only."""

OUT_OF_TIME = "timeout_exceeded"
"""Reason of a process that its limit of running time has ended."""

DIVERGED = "diverged"
"""Reason of a process that is blocked because a replay asked for another step than its journal
has."""

RETRIABLE = ("missing_capability", DIVERGED)
"""Reasons of a blocked process that another version of a capability can mend."""


class InterruptKind(StrEnum):
    CLARIFICATION = "clarification"
    CONFIRMATION = "confirmation"
    AGENT_REVIEW = "agent_review"
    CHECKPOINT = "checkpoint"
    RESOURCE_EXHAUSTED = "resource_exhausted"
    TIMEOUT = "timeout"
    SYSTEM_ERROR = "system_error"


ASKED_AS_TEXT = frozenset(
    {
        InterruptKind.CLARIFICATION,
        InterruptKind.AGENT_REVIEW,
        InterruptKind.CHECKPOINT,
        InterruptKind.SYSTEM_ERROR,
    }
)
"""Kinds that clients which know no other than a clarification are shown, and answer, as one."""

ANSWERABLE = ASKED_AS_TEXT | {InterruptKind.CONFIRMATION}
"""Kinds that such clients are asked, of one request one at a time. The others are appeals for more
of what a quota limits: these are told at once, and hold nothing back."""


class InterruptStatus(StrEnum):
    PENDING = "pending"
    RESOLVED = "resolved"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


MOST = 1_000_000_000
"""Highest limit of a quota: an `Int` of GraphQL, also after it was extended."""


class Quota(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """What one process may use. Checked before the call that would break it."""

    max_llm_calls: int = Field(default=10, ge=0, le=MOST)
    max_tool_calls: int = Field(default=50, ge=0, le=MOST)
    max_agent_hops: int = Field(default=21, ge=0, le=MOST, description="Stages entered.")
    max_iterations: int = Field(
        default=3, ge=0, le=MOST, description="Rounds of `mission.rounds()`."
    )
    max_steps: int = Field(default=1000, ge=1, le=MOST)
    timeout_seconds: float = Field(
        default=300.0, gt=0, le=MOST, description="Running time; waiting is not counted."
    )
    soft_timeout_seconds: float = Field(default=240.0, gt=0, le=MOST)
    max_input_tokens: int = Field(default=4096, ge=1, le=MOST, description="Per LLM call.")
    max_output_tokens: int = Field(default=2048, ge=1, le=MOST, description="Per LLM call.")
    max_context_tokens: int = Field(default=16384, ge=1, le=MOST)
    on_exhausted: Literal["end", "ask"] = Field(
        default="end",
        description="What a process does at its limit of calls, hops, rounds, steps or time: `end`,"
        " or `ask` its user for as much again.",
    )

    def as_json(self) -> str:
        """As it is stored."""
        return _encoded(self)


@lru_cache(maxsize=256)  # most processes have the quota of their capability
def _encoded(quota: Quota) -> str:
    return quota.model_dump_json()


@dataclass(slots=True)
class Usage:
    """What one process has used so far. `elapsed_seconds` is running time only; `cost` is in
    billionths of the price table's currency."""

    llm_calls: int = 0
    tool_calls: int = 0
    agent_hops: int = 0
    iterations: int = 0
    steps: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: int = 0
    elapsed_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupt:
    """A pause that needs an answer. `answer` is the accepted text, None while pending; `data` is
    what the question is about, for front ends that show more than its text."""

    id: str
    pid: str
    session_id: str
    kind: InterruptKind
    status: InterruptStatus
    question: str
    options: tuple[str, ...]
    data: dict[str, Any] | None
    answer: str | None
    created_at: datetime
    expires_at: datetime | None
    resolved_at: datetime | None

    def as_json(self) -> dict[str, Any]:
        """What an event tells of it."""
        return {
            "interrupt_id": self.id,
            "kind": self.kind,
            "question": self.question,
            "options": list(self.options),
            "data": self.data,
            "expires_at": self.expires_at,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One journaled effect. `status` is started (under way, or in doubt after a crash), completed
    or failed; `duration` is in seconds, `size` the characters of its output as JSON.
    `input_changed`: a replay asked for it with another input than the first run."""

    pid: str
    key: str
    kind: str
    name: str
    status: str
    attempt: int
    size: int
    input_changed: bool
    duration: float
    tokens_in: int
    tokens_out: int
    model: str | None
    cost: int
    error: str | None
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class ProcessControlBlock:
    """The tower's record of one request."""

    pid: str
    request_id: str
    session_id: str
    user_id: str
    capability: str
    version: int
    message: str
    message_id: int
    state: ProcessState
    priority: SchedulingPriority
    stage: str | None = None
    outcome: Outcome | None = None
    reason: str | None = None
    error: str | None = None
    """Why it failed or is blocked; of one that waits for a child, which process below it is."""
    reply: str | None = None
    reply_message_id: int | None = None
    quota: Quota
    usage: Usage
    epoch: int
    created_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
    parent_pid: str | None = None
    parent_key: str | None = None
    """Key of the parent's step that waits for it."""
    depth: int = 0
    interrupts: tuple[Interrupt, ...] = ()
    """Open questions, its own and those of the processes below it."""

    def changed(self, **changes: Any) -> ProcessControlBlock:
        """A copy with other values: `dataclasses.replace`, which takes ten times as long for so
        many fields, and each turn makes several."""
        if not changes.keys() <= self.__dict__.keys():
            raise TypeError(f"a process has no {', '.join(changes.keys() - self.__dict__.keys())}")
        copy = object.__new__(ProcessControlBlock)
        copy.__dict__.update(self.__dict__, **changes)
        return copy

    @property
    def names(self) -> dict[str, str]:
        """What an event of its end says of it: by then it may be gone, with its session."""
        named = {"request_id": self.request_id}
        return named if self.parent_pid is None else {**named, "parent_pid": self.parent_pid}

    @property
    def pending(self) -> Interrupt | None:
        """The interrupt to answer next, or None."""
        return self.interrupts[0] if self.interrupts else None

    @property
    def is_retriable(self) -> bool:
        """Whether it is blocked by what a deployment may have mended since."""
        reasons = (*RETRIABLE, CRASHED)
        return self.state is ProcessState.BLOCKED and self.reason in reasons

    @property
    def settled(self) -> bool:
        """Whether nothing more happens without somebody's doing."""
        if self.awaits_child or (self.state is ProcessState.BLOCKED and self.reason == SLEEPING):
            return bool(self.interrupts) or self.error is not None
        return self.state in (
            ProcessState.WAITING,
            ProcessState.BLOCKED,
            ProcessState.TERMINATED,
            ProcessState.ZOMBIE,
        )

    @property
    def awaits_child(self) -> bool:
        """Whether it is blocked, and what ends its children takes it up again."""
        return self.state is ProcessState.BLOCKED and self.reason == CHILD


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A request as data, into the tower and out of it.

    In: who asks, what, where. `session_id` None creates a session; a given one must exist unless
    `create_session`. `capability` None takes the session's, then the default; `on_busy` None
    takes the capability's. A request whose `idempotency_key` the caller has used before is that
    earlier one. Out: `process`.
    """

    caller: Caller
    message: str
    session_id: str | None = None
    create_session: bool = False
    capability: str | None = None
    request_id: str | None = None
    idempotency_key: str | None = None
    context: dict[str, Any] = field(default_factory=dict)
    on_busy: OnBusy | None = None
    process: ProcessControlBlock | None = None

    def with_process(self, process: ProcessControlBlock) -> Envelope:
        return replace(self, process=process, session_id=process.session_id)
