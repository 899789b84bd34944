"""Every operation of the API, by group."""

from __future__ import annotations

from typing import Any

from ...core.health.result import HealthCheckResult
from .. import probes
from . import governance, messages, requests, sessions
from .endpoint import Endpoint, Nothing, Operation, routes_of
from .models import NotReadyResponse, RootResponse
from .reference import reference

ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (
    *sessions.endpoints,
    *messages.endpoints,
    *requests.endpoints,
    *governance.endpoints,
)

OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "/", probes.root, Nothing, Nothing, RootResponse, open=True),
    Operation(
        "GET",
        "/health",
        probes.liveness,
        Nothing,
        Nothing,
        HealthCheckResult,
        open=True,
        says={500: NotReadyResponse},
    ),
    Operation(
        "GET",
        "/ready",
        probes.readiness,
        Nothing,
        Nothing,
        HealthCheckResult,
        open=True,
        says={503: HealthCheckResult | NotReadyResponse},
    ),
    *ENDPOINTS,
)
"""What is described: also the operations that are served elsewhere."""

routes = [*routes_of(ENDPOINTS), *reference(OPERATIONS)]
