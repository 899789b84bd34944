"""Health: whether the server is alive, and whether it can do its work."""

from __future__ import annotations

from datetime import datetime
from typing import Self

import strawberry

from ..core.health.result import ComponentHealth, ComponentStatus, HealthCheckResult, OverallStatus
from .context import Info
from .enums import describe
from .fields import field

describe(
    ComponentStatus,
    "Whether a component works.",
    {
        ComponentStatus.UP: "It works.",
        ComponentStatus.DOWN: "It does not work.",
        ComponentStatus.DEGRADED: "It works, badly.",
    },
)
describe(
    OverallStatus,
    "All components taken together.",
    {
        OverallStatus.HEALTHY: "All are up.",
        OverallStatus.DEGRADED: "One is degraded, none is down.",
        OverallStatus.UNHEALTHY: "One is down.",
    },
    name="HealthStatus",
)


@strawberry.type(description="The state of one component of the server.")
class HealthComponent:
    name: str = strawberry.field(description="Name of the component, such as `database`.")
    status: ComponentStatus = strawberry.field(description="Whether it works.")
    message: str | None = strawberry.field(description="What is wrong, or worth knowing.")
    latency_ms: float | None = strawberry.field(
        description="How long the check took, in milliseconds."
    )
    last_check: datetime | None = strawberry.field(description="When it was checked.")

    @classmethod
    def of(cls, name: str, record: ComponentHealth) -> Self:
        return cls(
            name=name,
            status=record.status,
            message=record.message,
            latency_ms=record.latency_ms,
            last_check=record.last_check,
        )


@strawberry.type(description="The answer to a probe.")
class Health:
    status: OverallStatus = strawberry.field(description="All components taken together.")
    timestamp: datetime = strawberry.field(description="When the probe was answered.")
    uptime_seconds: float = strawberry.field(description="Seconds since the server started.")
    version: str = strawberry.field(description="Version of the server.")
    components: list[HealthComponent] = strawberry.field(description="The components looked at.")

    @classmethod
    def of(cls, record: HealthCheckResult) -> Self:
        return cls(
            status=record.status,
            timestamp=record.timestamp,
            uptime_seconds=record.uptime_seconds,
            version=record.version,
            components=[HealthComponent.of(*item) for item in record.components.items()],
        )


@strawberry.type
class HealthQueries:
    @field("Whether the server is alive. Touches no dependency.")
    async def health(self, info: Info) -> Health:
        return Health.of(await info.context.node.health.check_liveness())

    @field("Whether the server can do its work: checks its dependencies.")
    async def readiness(self, info: Info) -> Health:
        return Health.of(await info.context.node.health.check_readiness())
