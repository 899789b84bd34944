"""Circuit breakers: their states, and an administrator's orders."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Annotated, Self

import strawberry

from ..core.clock import maybe_datetime
from ..core.identity import Caller
from ..core.llm.breaker import ProviderStatus
from ..core.node import Node as CoreNode
from ..core.tools.breaker import Breaker as BreakerRecord
from ..core.tools.breaker import BreakerState
from ..core.tools.governor import MAX_REASON
from .context import Info
from .enums import describe
from .errors import Errors
from .fields import mutation
from .scalars import Long

describe(
    BreakerState,
    "Whether a circuit breaker lets calls pass.",
    {
        BreakerState.CLOSED: "Calls pass.",
        BreakerState.OPEN: "It failed too often, and cools down.",
        BreakerState.HALF_OPEN: "Single calls try whether it works again.",
        BreakerState.QUARANTINED: "An administrator has shut it off.",
    },
    name="BreakerState",
)


@strawberry.enum(description="What a circuit breaker does.")
class BreakerPolicy(Enum):
    OFF = strawberry.enum_value("off", description="Nothing.")
    LOG_ONLY = strawberry.enum_value(
        "log_only", description="Tell of a tool that keeps failing, and let it be called."
    )
    LOG_AND_ENFORCE = strawberry.enum_value(
        "log_and_enforce", description="Tell, and refuse its calls until it has cooled down."
    )


@strawberry.type(description="The circuit breaker of one tool.")
class CircuitBreaker:
    tool: str = strawberry.field(description="Name of the tool.")
    state: BreakerState = strawberry.field(description="Whether calls pass.")
    policy: BreakerPolicy = strawberry.field(
        description="What it does. A quarantine counts under any."
    )
    offered: bool = strawberry.field(description="Whether models are offered the tool now.")
    reason: str | None = strawberry.field(
        description="Why it has this state; null from the start, and of an administrator's doing to"
        " everybody else."
    )
    changed_at: datetime | None = strawberry.field(description="Since when it has this state.")
    changed_by: str | None = strawberry.field(
        description="The user who changed it; null when the server did, and to all but"
        " administrators."
    )
    retry_at: datetime | None = strawberry.field(
        description="When an open one lets a call pass again, to try."
    )
    recent_failures: Long = strawberry.field(
        description="Errors and timeouts that count towards opening it."
    )

    @classmethod
    def of(cls, node: CoreNode, record: BreakerRecord, caller: Caller) -> Self:
        breakers = node.governor.breakers
        reason, changed_by = record.told(caller)
        return cls(
            tool=record.tool,
            state=record.state,
            policy=BreakerPolicy(breakers.policy(record.tool)),
            offered=breakers.refusal(record.tool) is None,
            reason=reason,
            changed_at=maybe_datetime(record.since or None),
            changed_by=changed_by,
            retry_at=maybe_datetime(record.retry_at),
            recent_failures=Long(len(record.failures)),
        )


@strawberry.enum(description="Whether an LLM provider is asked.")
class ProviderBreakerState(Enum):
    CLOSED = strawberry.enum_value("closed", description="It is asked.")
    LIMITED = strawberry.enum_value(
        "limited", description="It limits the rate of calls, and has said how long to wait."
    )
    OPEN = strawberry.enum_value("open", description="It failed too often, and is left alone.")
    HALF_OPEN = strawberry.enum_value(
        "half_open", description="The next call tries whether it works again."
    )


@strawberry.type(description="The circuit breaker of one LLM provider, on this server.")
class ProviderBreaker:
    provider: str = strawberry.field(description="Name of the provider.")
    state: ProviderBreakerState = strawberry.field(description="Whether it is asked.")
    failures: int = strawberry.field(description="Calls in a row that it did not answer.")
    retry_at: datetime | None = strawberry.field(
        description="When it is asked again; null while it may be."
    )

    @classmethod
    def of(cls, record: ProviderStatus) -> Self:
        wait = None if record.wait is None else timedelta(seconds=record.wait)
        return cls(
            provider=record.provider,
            state=ProviderBreakerState(record.state.value),
            failures=record.failures,
            retry_at=None if wait is None else datetime.now(UTC) + wait,
        )


@strawberry.input(description="The tool whose breaker is to be closed.")
class ResetBreakerInput:
    tool: str = strawberry.field(description="Name of the tool.")


@strawberry.input(description="The tool to be shut off.")
class QuarantineToolInput:
    tool: str = strawberry.field(description="Name of the tool.")
    reason: str = strawberry.field(
        description=f"Why, for other administrators: 1 to {MAX_REASON} characters."
    )


@strawberry.input(description="The tool to be let free.")
class ReleaseToolInput:
    tool: str = strawberry.field(description="Name of the tool.")


@strawberry.type(description="The breaker is closed, and has forgotten earlier failures.")
class ResetBreakerPayload:
    breaker: CircuitBreaker = strawberry.field(description="The breaker.")


@strawberry.type(description="Every call of the tool is refused until it is released.")
class QuarantineToolPayload:
    breaker: CircuitBreaker = strawberry.field(description="The tool's breaker.")


@strawberry.type(description="The tool may be called again.")
class ReleaseToolPayload:
    breaker: CircuitBreaker = strawberry.field(description="The tool's breaker.")


ResetBreakerResult = Annotated[
    ResetBreakerPayload | Errors,
    strawberry.union("ResetBreakerResult", description="The breaker, or why it stays as it is."),
]
QuarantineToolResult = Annotated[
    QuarantineToolPayload | Errors,
    strawberry.union("QuarantineToolResult", description="The breaker, or why it stays as it is."),
]
ReleaseToolResult = Annotated[
    ReleaseToolPayload | Errors,
    strawberry.union("ReleaseToolResult", description="The breaker, or why it stays as it is."),
]


@strawberry.type
class BreakerMutations:
    @mutation("Close a breaker that is open or half-open. For administrators.")
    async def reset_breaker(
        self,
        info: Info,
        input: Annotated[ResetBreakerInput, strawberry.argument(description="The tool.")],
    ) -> ResetBreakerResult:
        node, caller = info.context.node, info.context.caller
        record = await node.governor.reset(caller, input.tool)
        return ResetBreakerPayload(breaker=CircuitBreaker.of(node, record, caller))

    @mutation("Refuse every call of a tool from now on. For administrators.")
    async def quarantine_tool(
        self,
        info: Info,
        input: Annotated[QuarantineToolInput, strawberry.argument(description="The tool.")],
    ) -> QuarantineToolResult:
        node, caller = info.context.node, info.context.caller
        record = await node.governor.quarantine(caller, input.tool, input.reason)
        return QuarantineToolPayload(breaker=CircuitBreaker.of(node, record, caller))

    @mutation("Let a quarantined tool be called again. For administrators.")
    async def release_tool(
        self,
        info: Info,
        input: Annotated[ReleaseToolInput, strawberry.argument(description="The tool.")],
    ) -> ReleaseToolResult:
        node, caller = info.context.node, info.context.caller
        record = await node.governor.release(caller, input.tool)
        return ReleaseToolPayload(breaker=CircuitBreaker.of(node, record, caller))
