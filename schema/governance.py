"""Governance: how the tools, the layers of memory and the promises of the server are doing."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated, Self

import strawberry

from ..core.alignment.indicator import Indicator
from ..core.memory.layers import MemoryLayer as MemoryLayerRecord
from ..core.tools.health import MAX_HOURS, HealthSummary
from ..core.tools.health import SlowExecution as SlowExecutionRecord
from ..core.tools.health import ToolHealth as ToolHealthRecord
from .breaker import CircuitBreaker, ProviderBreaker
from .context import Info
from .fields import field
from .scalars import Long

Hours = Annotated[
    int,
    strawberry.argument(
        description=f"How far back to look, in hours from a whole minute on: 1 to {MAX_HOURS}."
    ),
]


@strawberry.enum(description="How a tool is doing, by the worse of success rate and mean latency.")
class ToolHealthStatus(Enum):
    HEALTHY = strawberry.enum_value(
        "healthy", description="At least 95 % succeed, in 2 seconds or less."
    )
    DEGRADED = strawberry.enum_value(
        "degraded", description="At least 80 % succeed, in 5 seconds or less."
    )
    UNHEALTHY = strawberry.enum_value("unhealthy", description="Fewer, or slower.")
    UNKNOWN = strawberry.enum_value("unknown", description="Fewer than 5 calls to judge by.")


@strawberry.type(description="One tool in one window of time.")
class ToolHealth:
    tool: str = strawberry.field(description="Name of the tool.")
    status: ToolHealthStatus = strawberry.field(description="How it is doing.")
    success_rate: float = strawberry.field(description="Share of its calls that succeeded: 0 to 1.")
    avg_latency_ms: float = strawberry.field(description="Mean time of a call, in milliseconds.")
    max_latency_ms: float = strawberry.field(
        description="Longest time of a call, in milliseconds; of its first minute or hour in part."
    )
    total_calls: Long = strawberry.field(description="Calls that were made and are over.")
    recent_errors: Long = strawberry.field(description="Those that failed or timed out.")
    issues: list[str] = strawberry.field(description="What is wrong, in sentences.")
    recommendations: list[str] = strawberry.field(description="What to do about it.")
    last_used: datetime | None = strawberry.field(description="When the last call began.")
    checked_at: datetime = strawberry.field(description="When this was judged.")

    @classmethod
    def of(cls, record: ToolHealthRecord) -> Self:
        return cls(
            tool=record.tool_name,
            status=ToolHealthStatus(record.status),
            success_rate=record.success_rate,
            avg_latency_ms=record.avg_latency_ms,
            max_latency_ms=record.max_latency_ms,
            total_calls=Long(record.total_calls),
            recent_errors=Long(record.recent_errors),
            issues=record.issues,
            recommendations=record.recommendations,
            last_used=record.last_used,
            checked_at=record.checked_at,
        )


@strawberry.type(description="A call of a tool that took 5 seconds or more.")
class SlowExecution:
    tool: str = strawberry.field(description="Name of the tool.")
    execution_time_ms: Long = strawberry.field(description="How long it took, in milliseconds.")
    recorded_at: datetime = strawberry.field(description="When it began.")

    @classmethod
    def of(cls, record: SlowExecutionRecord) -> Self:
        return cls(
            tool=record.tool_name,
            execution_time_ms=Long(record.execution_time_ms),
            recorded_at=record.recorded_at,
        )


@strawberry.type(description="All tools taken together. Each is counted once.")
class GovernanceSummary:
    overall_status: ToolHealthStatus = strawberry.field(description="The worst that is known.")
    healthy: int = strawberry.field(description="Tools that are healthy.")
    degraded: int = strawberry.field(description="Tools that are degraded.")
    unhealthy: int = strawberry.field(description="Tools that are unhealthy.")
    unknown: int = strawberry.field(description="Tools with too few calls to judge by.")
    checked_at: datetime = strawberry.field(description="When this was judged.")

    @classmethod
    def of(cls, record: HealthSummary) -> Self:
        return cls(
            overall_status=ToolHealthStatus(record.overall_status),
            checked_at=record.checked_at,
            **record.summary,
        )


@strawberry.enum(description="Whether a layer of memory is kept.")
class MemoryLayerState(Enum):
    ACTIVE = strawberry.enum_value("active", description="It is.")
    AVAILABLE = strawberry.enum_value("available", description="A plugin could bring it.")
    FAILED = strawberry.enum_value("failed", description="What keeps it does not answer.")


@strawberry.type(description="One of the seven layers of memory.")
class MemoryLayer:
    layer: str = strawberry.field(description="`L1` to `L7`.")
    name: str = strawberry.field(description="Its name, such as `canonical`.")
    description: str = strawberry.field(description="What is in it.")
    state: MemoryLayerState = strawberry.field(description="Whether it is kept.")
    healthy: bool = strawberry.field(description="Whether what keeps it says that it is well.")
    backend: str | None = strawberry.field(description="Where it lies.")
    rows: Long | None = strawberry.field(description="How much is in it, where that is counted.")
    rows_estimated: bool = strawberry.field(description="Whether `rows` is an estimate.")
    last_write: datetime | None = strawberry.field(description="When it was last written to.")
    message: str | None = strawberry.field(description="What is wrong, or worth knowing.")
    enable: str | None = strawberry.field(description="How to get it, while it is only available.")

    @classmethod
    def of(cls, record: MemoryLayerRecord) -> Self:
        return cls(
            layer=record.id,
            name=record.name,
            description=record.description,
            state=MemoryLayerState(record.state),
            healthy=record.healthy,
            backend=record.backend,
            rows=None if record.rows is None else Long(record.rows),
            rows_estimated=record.is_estimate,
            last_write=record.last_write,
            message=record.message,
            enable=record.enable,
        )


@strawberry.enum(description="Whether a promise is kept.")
class AlignmentState(Enum):
    MET = strawberry.enum_value("met", description="The value reaches the threshold.")
    MISSED = strawberry.enum_value("missed", description="It does not.")
    UNKNOWN = strawberry.enum_value("unknown", description="Nothing to measure by has happened.")
    FAILED = strawberry.enum_value("failed", description="It could not be measured.")


@strawberry.type(description="One thing that broke a promise.")
class AlignmentCase:
    text: str = strawberry.field(description="What happened.")
    pid: str | None = strawberry.field(
        description="`Process.pid` of the process that it happened in, for administrators."
    )


@strawberry.type(description="A promise of the server, measured by what really happened.")
class AlignmentIndicator:
    name: str = strawberry.field(description="Stable name, such as `evidence_chain`.")
    title: str = strawberry.field(description="Name for people.")
    definition: str = strawberry.field(description="What the value is the share of.")
    threshold: float = strawberry.field(description="The least value that keeps the promise.")
    state: AlignmentState = strawberry.field(description="Whether it is kept.")
    value: float | None = strawberry.field(
        description="`good` of `total`: 0 to 1; null while there is nothing to measure by."
    )
    total: Long = strawberry.field(description="How many were looked at.")
    good: Long = strawberry.field(description="How many of them kept it.")
    cases: list[AlignmentCase] = strawberry.field(
        description="Some that did not, at most 20, the newest first."
    )
    message: str | None = strawberry.field(description="Why it could not be measured.")
    measured_at: datetime = strawberry.field(description="When it was measured.")

    @classmethod
    def of(cls, record: Indicator) -> Self:
        return cls(
            name=record.name,
            title=record.title,
            definition=record.definition,
            threshold=record.threshold,
            state=AlignmentState(record.state),
            value=record.value,
            total=Long(record.total),
            good=Long(record.good),
            cases=[AlignmentCase(text=each.text, pid=each.pid) for each in record.cases],
            message=record.message,
            measured_at=record.measured_at,
        )


@strawberry.type(description="What the server is set up with.")
class ServerSetup:
    llm_provider: str = strawberry.field(description="Name of the LLM provider in use.")
    database_backend: str = strawberry.field(description="`sqlite` or `postgresql`.")
    log_level: str = strawberry.field(description="The least level that is logged.")


@strawberry.type(description="How the server is doing, as its journal tells.")
class Governance:
    @field("All tools taken together.")
    async def summary(self, info: Info, hours: Hours = 24) -> GovernanceSummary:
        return GovernanceSummary.of(await info.context.tool_health.load(hours))

    @field("Every tool that is registered or was called, by name.")
    async def tools(self, info: Info, hours: Hours = 24) -> list[ToolHealth]:
        found = await info.context.tool_health.load(hours)
        return [ToolHealth.of(each) for each in found.tools]

    @field("The slowest calls of 5 seconds or more, at most 10, the slowest first.")
    async def slow_executions(self, info: Info, hours: Hours = 24) -> list[SlowExecution]:
        found = await info.context.tool_health.load(hours)
        return [SlowExecution.of(each) for each in found.slow_executions]

    @field("The circuit breaker of every tool, by name.")
    def breakers(self, info: Info) -> list[CircuitBreaker]:
        node, caller = info.context.node, info.context.caller
        return [CircuitBreaker.of(node, each, caller) for each in node.governor.all()]

    @field("The circuit breaker of every LLM provider in use, by name.")
    def provider_breakers(self, info: Info) -> list[ProviderBreaker]:
        runtime = info.context.node.runtime
        return [ProviderBreaker.of(each) for each in runtime.provider_breakers()]

    @field("The seven layers of memory, from `L1` to `L7`.")
    async def memory_layers(self, info: Info) -> list[MemoryLayer]:
        layers = await info.context.node.memory_layers.status()
        return [MemoryLayer.of(each) for each in layers]

    @field("What the server is set up with.")
    def setup(self, info: Info) -> ServerSetup:
        runtime = info.context.node.runtime
        return ServerSetup(
            llm_provider=runtime.provider_name,
            database_backend="postgresql" if runtime.settings.database_url else "sqlite",
            log_level=runtime.settings.log_level,
        )

    @field("The promises of the server. Measured every 15 seconds at most.")
    async def alignment(self, info: Info) -> list[AlignmentIndicator]:
        context = info.context
        found = await context.node.alignment.report(context.caller)
        return [AlignmentIndicator.of(each) for each in found]


@strawberry.type
class GovernanceQueries:
    @field("How the server is doing: its tools, its memory, its promises.")
    def governance(self) -> Governance:
        return Governance()
