"""`/`, `/health` and `/ready`: what this server is, whether it lives, whether it can work."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ..core.capabilities import CapabilityRegistry
from ..core.health.checker import Check
from ..core.health.result import ComponentHealth, ComponentStatus, OverallStatus
from ..core.settings import Settings
from ..core.version import __version__
from ..plugins.host import PluginHost
from ..plugins.report import PluginStatus
from .failures import refusal
from .guard import HARDENED
from .state import AppState, Phase, state_of

# A server that drains is alive to the end, and ready for nothing new; one that stands by, too.
ALIVE: tuple[Phase, ...] = ("standby", "serving", "draining")
NOT_READY: dict[Phase, str] = {
    "new": "not started",
    "starting": "starting",
    "standby": "standing by: another one uses the database",
    "draining": "shutting down",
    "stopped": "stopped",
}
ANSWERING = ("/", "/health", "/ready", "/ws")
JSON = "application/json"
SHOWN = 10  # plugins named in a message


class Started:
    """ASGI middleware: 503 for everything but what tells of the start, until that is done."""

    def __init__(self, app: ASGIApp, state: AppState) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        phase = self._state.phase
        if (
            phase not in ("starting", "standby")
            or scope["type"] == "lifespan"
            or scope["path"] in ANSWERING
        ):
            await self._app(scope, receive, send)
            return
        detail = f"the server is {NOT_READY[phase]}"
        answer = refusal(scope, 503, detail, {"Retry-After": "1"})
        await answer(scope, receive, send)


class Liveness:
    """ASGI middleware: answers `GET /health` ahead of all other work, since orchestrators ask often
    and of many servers. What a page of another origin asks takes the usual way."""

    def __init__(self, app: ASGIApp, state: AppState) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or scope["path"] != "/health"
            or scope["method"] not in ("GET", "HEAD")
            or any(name == b"origin" for name, _ in scope["headers"])
        ):
            await self._app(scope, receive, send)
            return
        answer = await _alive(self._state)
        answer.raw_headers += HARDENED
        await answer(scope, receive, send)


async def root(_request: Request) -> JSONResponse:
    """What this server is and where its surfaces are."""
    return JSONResponse(
        {
            "service": "mission-system",
            "version": __version__,
            "description": "Runs pip-installable capabilities: journaled, resumable, bounded.",
            "health": "/health",
            "ready": "/ready",
            "api": {
                "requests": "/api/v1/requests",
                "request_status": "/api/v1/requests/{pid}/status",
                "metrics": "/api/v1/metrics",
            },
            "websocket": "/ws",
            "api_docs": "/docs",
            "governance": "/api/v1/governance/dashboard",
        }
    )


async def liveness(request: Request) -> Response:
    """Liveness: 200 once started, 500 before, and where only a restart would help."""
    return await _alive(state_of(request))


async def readiness(request: Request) -> Response:
    """Readiness: 200 when healthy or degraded, 503 when unhealthy, starting or shutting down."""
    state = state_of(request)
    if state.phase != "serving":
        return _unhealthy(state.phase, 503)
    result = await state.health_checker.check_readiness()
    status = 503 if result.status is OverallStatus.UNHEALTHY else 200
    return Response(result.wire, status, media_type=JSON)


def plugins_check(host: PluginHost) -> Check:
    """Degraded while a plugin is not served: the others work."""

    async def check() -> ComponentHealth:
        broken = (PluginStatus.FAILED, PluginStatus.INCOMPATIBLE)
        names = [report.name for report in host.reports if report.status in broken]
        if not names:
            return ComponentHealth(status=ComponentStatus.UP)
        message = f"not served: {', '.join(names[:SHOWN])}"
        return ComponentHealth(status=ComponentStatus.DEGRADED, message=message)

    return check


def capability_check(settings: Settings, capabilities: CapabilityRegistry) -> Check:
    """Down while the settings name a default capability that is not served: whoever names none
    himself might be answered by another, or by none. The default of that setting is no such word.
    """

    async def check() -> ComponentHealth:
        name = settings.default_capability
        if name in capabilities or "default_capability" not in settings.model_fields_set:
            return ComponentHealth(status=ComponentStatus.UP)
        served = ", ".join(spec.name for spec in capabilities) or "none is installed"
        message = (
            f"MISSION_DEFAULT_CAPABILITY names '{name[:100]}', which is not served; choose from:"
            f" {served}"
        )
        return ComponentHealth(status=ComponentStatus.DOWN, message=message)

    return check


async def _alive(state: AppState) -> Response:
    if state.phase not in ALIVE:
        return _unhealthy(state.phase, 500)
    if (lost := state.node.lost) is not None:  # to be started again, and to stand by then
        return JSONResponse({"status": OverallStatus.UNHEALTHY.value, "message": lost}, 500)
    result = await state.health_checker.check_liveness()
    return Response(result.wire, media_type=JSON)


def _unhealthy(phase: Phase, status: int) -> JSONResponse:
    message = f"the server is {NOT_READY[phase]}"
    return JSONResponse({"status": OverallStatus.UNHEALTHY.value, "message": message}, status)


routes = [
    Route("/", root),
    Route("/health", liveness),
    Route("/ready", readiness),
]
