"""The probes' checker, and the bodies of the endpoints under `/api/v1/governance`."""

from __future__ import annotations

from ..core.health.checker import HealthChecker
from ..core.health.result import ComponentStatus, HealthCheckResult
from ..web.rest.models import HealthSummaryResponse, ToolHealthResponse

__all__ = [
    "ComponentStatus",
    "HealthCheckResult",
    "HealthChecker",
    "HealthSummaryResponse",
    "ToolHealthResponse",
]
