"""What probes are told: one status per component, and one for all of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from pydantic import BaseModel, ConfigDict


class ComponentStatus(StrEnum):
    UP = "up"
    DOWN = "down"
    DEGRADED = "degraded"


class OverallStatus(StrEnum):
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"

    @classmethod
    def of(cls, components: Iterable[ComponentHealth]) -> OverallStatus:
        """Unhealthy when anything is down, degraded when anything is degraded, else healthy."""
        statuses = {component.status for component in components}
        if ComponentStatus.DOWN in statuses:
            return cls.UNHEALTHY
        return cls.DEGRADED if ComponentStatus.DEGRADED in statuses else cls.HEALTHY


class ComponentHealth(BaseModel):
    """One component's state. `message` is shown to anybody: it holds no path, SQL or secret."""

    model_config = ConfigDict(frozen=True)

    status: ComponentStatus
    message: str | None = None
    latency_ms: float | None = None
    last_check: datetime | None = None


def mended(found: object, otherwise: ComponentStatus) -> ComponentHealth:
    """What a check has found, and `otherwise` where that is no `ComponentHealth`."""
    if isinstance(found, ComponentHealth):
        return found
    message = f"the check returned {type(found).__name__}, expected ComponentHealth"
    return ComponentHealth(status=otherwise, message=message)


class HealthCheckResult(BaseModel):
    """The body of a probe's answer; `wire` is its form for clients."""

    model_config = ConfigDict(frozen=True)

    status: OverallStatus
    timestamp: datetime
    uptime_seconds: float
    version: str
    components: dict[str, ComponentHealth]

    @cached_property
    def wire(self) -> bytes:
        """Its JSON, made once for all who are given the same result."""
        return self.model_dump_json().encode()
