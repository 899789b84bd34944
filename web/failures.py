"""What a client is told when something goes wrong: a status and why, never a trace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus
from math import ceil

import structlog
from graphql import GraphQLError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..core.errors import Busy, MissionError
from ..core.identity import new_id
from ..schema.errors import INTERNAL, INVALID_REQUEST, TOO_LARGE
from .graphql.answer import refused
from .graphql.media import accepted

GRAPHQL = "/graphql"

STATUS_OF = {
    "INVALID_INPUT": 400,
    "UNAUTHENTICATED": 401,
    "FORBIDDEN": 403,
    "NOT_FOUND": 404,
    "CONFLICT": 409,
    "QUOTA_EXCEEDED": 429,
    "BUSY": 429,
    "UNAVAILABLE": 503,
}
_CODE_OF = {
    401: "UNAUTHENTICATED",
    403: "FORBIDDEN",
    413: TOO_LARGE,
    500: INTERNAL,
    503: "UNAVAILABLE",
}

log = structlog.get_logger(__name__)


def refusal(
    scope: Scope,
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    incident: str | None = None,
) -> Response:
    """`{"detail": ...}`; where GraphQL is served an error with a code, as its clients read them."""
    if scope["path"] != GRAPHQL:
        return JSONResponse({"detail": detail}, status, headers)
    code = _CODE_OF.get(status, INVALID_REQUEST)
    told = {"code": code} if incident is None else {"code": code, "incident": incident}
    error = GraphQLError(detail, extensions=told)
    return refused(error, accepted(Headers(scope=scope).get("accept")), status, headers)


async def http_error(request: Request, error: Exception) -> Response:
    """A refusal for an unknown route, a wrong method and whatever else a route refuses."""
    assert isinstance(error, HTTPException)
    detail = error.detail or HTTPStatus(error.status_code).phrase
    return refusal(request.scope, error.status_code, detail, error.headers)


async def mission_error(request: Request, error: Exception) -> Response:
    """A refusal with the status that fits the error's code, 500 for the rest."""
    assert isinstance(error, MissionError)
    headers = {"Retry-After": str(ceil(error.retry_after))} if isinstance(error, Busy) else {}
    if error.code == "UNAUTHENTICATED":
        headers["WWW-Authenticate"] = "Bearer"
    return refusal(request.scope, STATUS_OF.get(error.code, 500), error.message, headers)


class Incidents:
    """ASGI middleware: gives every request an id, which its log lines and its answer carry, and
    answers an unexpected failure with that id alone.

    `draining` says whether the server shuts down: what it cuts short then is no failure.
    """

    def __init__(self, app: ASGIApp, draining: Callable[[], bool]) -> None:
        self._app = app
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        incident = new_id()
        started = False

        async def named(message: Message) -> None:
            nonlocal started
            started = True
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-request-id", incident.encode())]
            await send(message)

        async def answer(status: int, detail: str, number: str | None = None) -> None:
            told = refusal(scope, status, detail, incident=number)
            await told(scope, receive, named)

        bound = structlog.contextvars.bind_contextvars(http_request_id=incident)
        try:
            await self._app(scope, receive, named)
        except asyncio.CancelledError:
            if not self._draining() or scope["type"] == "websocket":
                raise
            if started:
                # Clients of streams resume from their cursor, here or elsewhere.
                await send({"type": "http.response.body", "body": b""})
            else:
                await answer(503, "the server is shutting down")
        except Exception:
            log.exception("request.failed", path=scope["path"])
            if started or scope["type"] == "websocket":
                raise  # only the server can end what has begun
            await answer(500, f"Internal error (incident {incident})", incident)
        finally:
            structlog.contextvars.reset_contextvars(**bound)
