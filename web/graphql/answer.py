"""Results and refusals as HTTP responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from graphql import GraphQLError
from starlette.responses import Response
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError

from ...schema.errors import INTERNAL, TIMEOUT, TOO_LARGE, presented
from ...schema.execution.results import LARGEST, EventResult, MutationResult, SharedResult
from .media import Media

_STATUS = {INTERNAL: 500, TIMEOUT: 504}


def body_of(result: ExecutionResult) -> dict[str, Any]:
    """A result as clients get it. Only what was executed has `data`."""
    body: dict[str, Any] = {} if _not_executed(result) else {"data": result.data}
    if result.errors:
        body["errors"] = [error.formatted for error in result.errors]
    if result.extensions:
        body["extensions"] = result.extensions
    return body


def written(result: ExecutionResult, most: int) -> bytes:
    """A result in JSON, or an error in its place when that is larger than `most` bytes. One that
    many are sent is put into JSON for the first of them."""
    encoded = result.encoded if isinstance(result, SharedResult) else None
    if encoded is None:
        encoded = _encoded(result)
        if isinstance(result, SharedResult) and len(encoded) <= LARGEST:
            result.encoded = bytes(memoryview(encoded))  # orjson's own holds 4 KiB at least
    return encoded if len(encoded) <= most else _instead(result, len(encoded), most)


def _encoded(result: ExecutionResult) -> bytes:
    """A result in JSON, or that it has none: only a defect puts in what JSON cannot hold, such as
    half of a pair of surrogates."""
    try:
        return orjson.dumps(body_of(result))
    except orjson.JSONEncodeError as error:
        told = presented(GraphQLError(str(error), original_error=error))
        return orjson.dumps(_replaced(result, told.message, told.extensions or {}))


def _instead(result: ExecutionResult, found: int, most: int) -> bytes:
    """Without its data; its own errors stay where these are not what makes it large."""
    text = f"The response has {found} bytes; the most is {most}. Ask for less at once."
    body = _replaced(result, text, {"code": TOO_LARGE})
    own = [error.formatted for error in result.errors or ()]
    whole = orjson.dumps({**body, "errors": [*body["errors"], *own]})
    return whole if len(whole) <= most else orjson.dumps(body)


def _replaced(result: ExecutionResult, text: str, told: dict[str, Any]) -> dict[str, Any]:
    """A body without data that says why, and what is known all the same: that a mutation was
    executed, and after which event to go on."""
    if isinstance(result, MutationResult):
        text = f"{text.removesuffix('.')}. The mutation has been executed."
    located = result.located(told) if isinstance(result, EventResult) else told
    error = GraphQLError(text, extensions=located)
    body: dict[str, Any] = {"data": None, "errors": [error.formatted]}
    if result.extensions:
        body["extensions"] = result.extensions
    return body


def answered(result: ExecutionResult, media: Media, most: int) -> Response:
    """The answer to an operation, executed or not, of `most` bytes or fewer."""
    if not _not_executed(result):
        return _response(written(result, most), media, 200)
    codes = [(error.extensions or {}).get("code") for error in result.errors or ()]
    failed = next((_STATUS[code] for code in codes if code in _STATUS), 400)
    # Clients of plain JSON read the body only when the status says that all is well.
    return _json(body_of(result), media, 200 if media is Media.JSON else failed)


def answered_together(results: list[ExecutionResult], media: Media, most: int) -> Response:
    """The answers to a batch, in its order, each of `most` bytes or fewer."""
    return _response(b"[%b]" % b",".join(written(result, most) for result in results), media, 200)


def refused(
    error: GraphQLError,
    media: Media | None,
    status: int,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The answer to what never became an operation."""
    response = _json({"errors": [error.formatted]}, media or Media.JSON, status)
    response.headers.update(headers or {})
    return response


def _not_executed(result: ExecutionResult) -> bool:
    return isinstance(result, PreExecutionError)


def _json(body: object, media: Media, status: int) -> Response:
    return _response(orjson.dumps(body), media, status)


def _response(body: bytes, media: Media, status: int) -> Response:
    form = Media.JSON if media.streams else media
    return Response(body, status, media_type=f"{form}; charset=utf-8")
