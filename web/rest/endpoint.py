"""An endpoint as data: what it takes, what it gives, and the function between the two."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeVar

import orjson
from pydantic import BaseModel, TypeAdapter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ...core.identity import LOCAL, Caller
from ...core.node import Node
from ..auth import acting_for
from ..state import state_of
from .models import WireModel
from .route import SlashRoute
from .validation import (
    UNREADABLE,
    Problem,
    Unprocessable,
    read_body,
    read_query,
    valid_body,
    valid_parameters,
)

P = TypeVar("P", bound=BaseModel)
B = TypeVar("B", bound=BaseModel)

JSON = "application/json"


class Nothing(WireModel):
    """No parameters, or no body."""


@dataclass(frozen=True, slots=True)
class Call(Generic[P, B]):
    """One request that validates. `params` holds path and query parameters alike.

    `caller` is the user that the request names; where it names nobody, whoever sent it.
    `admitted` is whose token it came with, None without authentication.
    """

    request: Request
    node: Node
    caller: Caller
    admitted: Caller | None
    params: P
    body: B


@dataclass(frozen=True)
class Operation:
    """What the description tells of one operation.

    `answer` is the type of the answer's body, None where there is none, or where `handle` makes the
    response, of the media types `media`. `fails` are the statuses, beside those that any operation
    has, with which it refuses; `says` are the types of refusals that are no `{"detail": ...}`.
    `once` says that it heeds the header `Idempotency-Key`, `open` that it never asks for a
    token, `attachment` that the answer is a file.
    """

    method: str
    path: str
    handle: Callable[..., Awaitable[object]]
    params: type[BaseModel]
    body: type[BaseModel]
    answer: Any = None
    status: int = 200
    fails: tuple[int, ...] = ()
    media: tuple[str, ...] = (JSON,)
    once: bool = False
    open: bool = False
    attachment: bool = False
    says: Mapping[int, Any] = field(default_factory=dict)

    @property
    def has_body(self) -> bool:
        return self.body is not Nothing

    @property
    def validates(self) -> bool:
        return self.has_body or self.params is not Nothing

    @cached_property
    def adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(self.answer)


@dataclass(frozen=True)
class Endpoint(Operation, Generic[P, B]):
    """An operation that is served from this description: what `handle` gives becomes `answer`."""

    handle: Callable[[Call[P, B]], Awaitable[object]]
    params: type[P]
    body: type[B]

    async def respond(self, request: Request) -> Response:
        auth = state_of(request).auth
        admitted = await auth.caller(request) if auth.required else None
        params, body = await self._validated(request)
        caller = _acting(admitted, getattr(body, "user_id", None) or _user_of(params))
        call = Call(request, state_of(request).node, caller, admitted, params, body)
        result = await self.handle(call)
        if isinstance(result, Response):
            return result
        if self.answer is None:
            return Response(status_code=self.status)
        made = self.adapter.validate_python(result, from_attributes=True)
        return Response(self.adapter.dump_json(made), self.status, media_type=JSON)

    async def _validated(self, request: Request) -> tuple[P, B]:
        problems: list[Problem] = []
        query = read_query(request)
        params = valid_parameters(self.params, request.path_params, query, problems)
        given = await read_body(request, problems) if self.has_body else {}
        body = None if given is UNREADABLE else valid_body(self.body, given, problems)
        if params is None or body is None or problems:
            raise Unprocessable(problems)
        return params, body


class Resource:
    """ASGI application: the endpoints of one path, by method."""

    def __init__(self, endpoints: Iterable[Endpoint[Any, Any]]) -> None:
        self._by_method = {endpoint.method: endpoint for endpoint in endpoints}
        if "GET" in self._by_method:
            self._by_method["HEAD"] = self._by_method["GET"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._by_method[scope["method"]].respond(request)
        except Unprocessable as error:
            detail = orjson.dumps({"detail": error.problems}, default=str)
            response = Response(detail, 422, media_type=JSON)
        if scope["method"] == "HEAD" and isinstance(response, StreamingResponse):
            response.body_iterator = _nothing()  # which would be read to its end for nobody
        await response(scope, receive, send)


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield


def routes_of(endpoints: Iterable[Endpoint[Any, Any]]) -> list[SlashRoute]:
    """One route for each path, so that a wrong method is told from an unknown path."""
    by_path: dict[str, list[Endpoint[Any, Any]]] = {}
    for endpoint in endpoints:
        by_path.setdefault(endpoint.path, []).append(endpoint)
    routes: list[SlashRoute] = []
    for path, group in by_path.items():
        resource: ASGIApp = Resource(group)
        routes.append(SlashRoute(path, resource, methods=[endpoint.method for endpoint in group]))
    return routes


def _user_of(params: BaseModel) -> str | None:
    user: str | None = getattr(params, "user_id", None)
    return user


def _acting(admitted: Caller | None, user: str | None) -> Caller:
    """Without authentication whoever is named, else as whom the token may act.

    Raises:
        Forbidden: the token is bound to another user.
    """
    if admitted is not None:
        return acting_for(admitted, user)
    return LOCAL if user in (None, LOCAL.user_id) else Caller(user or "")
