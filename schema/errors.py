"""Errors: union members that a client can act on, and one gate that all the others pass."""

from __future__ import annotations

from collections.abc import Mapping
from secrets import token_hex
from typing import Generic, Self, TypeVar

import strawberry
import structlog
from graphql import GraphQLError
from strawberry.exceptions import MissingQueryError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError

from ..core import errors as core
from .event import event_cursor

log = structlog.get_logger(__name__)

INVALID_REQUEST = "INVALID_REQUEST"
INTERNAL = "INTERNAL"
TIMEOUT = "TIMEOUT"
TOO_LARGE = "TOO_LARGE"


@strawberry.interface(description="Something that the client can act on.")
class Error:
    code: str = strawberry.field(description="Stable name of the kind of error.")
    message: str = strawberry.field(description="What is wrong, where, and what to do next.")

    @classmethod
    def of(cls, error: core.MissionError) -> Self:
        return cls(code=error.code, message=error.message)


@strawberry.type(description="It does not exist, or it belongs to someone else.")
class NotFound(Error):
    pass


@strawberry.type(description="The caller may not do this.")
class Forbidden(Error):
    pass


@strawberry.type(description="The state of the thing forbids the change: answered, ended, taken.")
class Conflict(Error):
    pass


@strawberry.type(description="An argument does not validate.")
class InvalidInput(Error):
    field: str = strawberry.field(description="Name of the argument or input field.")

    @classmethod
    def of(cls, error: core.MissionError) -> Self:
        assert isinstance(error, core.InvalidInput)
        return cls(code=error.code, message=error.message, field=error.field)


@strawberry.type(description="A limit was reached.")
class QuotaExceeded(Error):
    reason: str = strawberry.field(description="Which limit, such as `max_llm_calls_exceeded`.")

    @classmethod
    def of(cls, error: core.MissionError) -> Self:
        assert isinstance(error, core.QuotaExceeded)
        return cls(code=error.code, message=error.message, reason=error.reason)


@strawberry.type(description="The server has too much to do.")
class Busy(Error):
    retry_after: float = strawberry.field(description="Seconds after which to try again.")

    @classmethod
    def of(cls, error: core.MissionError) -> Self:
        assert isinstance(error, core.Busy)
        return cls(code=error.code, message=error.message, retry_after=error.retry_after)


Errors = NotFound | Forbidden | InvalidInput | Conflict | QuotaExceeded | Busy
"""The members that every mutation's result has beside its payload."""

_MEMBERS: dict[type[core.MissionError], type[Error]] = {
    core.NotFound: NotFound,
    core.Forbidden: Forbidden,
    core.InvalidInput: InvalidInput,
    core.Conflict: Conflict,
    core.QuotaExceeded: QuotaExceeded,
    core.Busy: Busy,
}


R = TypeVar("R", bound=core.MissionError, contravariant=True)
M = TypeVar("M", bound=Error, covariant=True)


class ErrorMember(strawberry.ExceptionHandler[R, M], Generic[R, M]):
    """Turns one of the core's errors into its member, in fields whose union has that member."""

    def __init__(self, exception_type: type[R], error_type: type[M]) -> None:
        self.exception_type = exception_type
        self.error_type = error_type

    def handle(self, exception: R, *, field: object, info: object) -> M:  # noqa: ARG002
        return self.error_type.of(exception)


def error_members() -> list[ErrorMember[core.MissionError, Error]]:
    return [ErrorMember(raised, member) for raised, member in _MEMBERS.items()]


def presented(error: GraphQLError) -> GraphQLError:
    """What a client is told of `error`: itself, with a code, when its text is meant for clients;
    otherwise only the number of the incident that the log explains."""
    cause = _cause(error)
    if isinstance(cause, core.MissionError):
        return _retold(error, cause.message, {"code": cause.code, **_details(cause)})
    if cause is None and "code" in (error.extensions or {}):
        return error
    if isinstance(cause, _REQUEST_ERRORS) or (cause is None and error.path is None):
        return _retold(error, error.message, {"code": INVALID_REQUEST})
    incident = token_hex(8)
    log.error("graphql.internal_error", incident=incident, path=error.path, exc_info=cause or error)
    return _retold(error, "Internal error", {"code": INTERNAL, "incident": incident})


_REQUEST_ERRORS = (MissingQueryError, CannotGetOperationTypeError, InvalidOperationTypeError)


def _cause(error: GraphQLError) -> Exception | None:
    """What was raised, behind any number of wrappings by the executor."""
    cause: Exception | None = error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    return cause


def _details(error: core.MissionError) -> Mapping[str, object]:
    match error:
        case core.InvalidInput():
            return {"field": error.field}
        case core.QuotaExceeded():
            return {"reason": error.reason}
        case core.Busy():
            return {"retryAfter": error.retry_after}
        case core.CursorExpired():
            return {"oldest": event_cursor(error.stream, error.oldest - 1)}
    return {}


def _retold(error: GraphQLError, message: str, extensions: dict[str, object]) -> GraphQLError:
    return GraphQLError(
        message,
        nodes=error.nodes,
        source=error.source,
        positions=error.positions,
        path=error.path,
        extensions=extensions,
    )
