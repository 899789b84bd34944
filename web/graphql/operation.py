"""The operation in an HTTP request, or why there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from graphql import GraphQLError
from starlette.requests import ClientDisconnect, Request

from ...schema.errors import INVALID_REQUEST

BODY_SECONDS = 30.0
PREFLIGHT_HEADERS = ("GraphQL-Require-Preflight", "Apollo-Require-Preflight")
"""Of no meaning but that a browser asks before it sends one to another site."""
ASKED_FIRST = (*PREFLIGHT_HEADERS, "Authorization", "X-Mission-User", "X-Apollo-Operation-Name")


class Refused(Exception):
    """The request cannot be executed. `error` goes to the client."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.error = GraphQLError(message, extensions={"code": INVALID_REQUEST})
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Operation:
    """One GraphQL request: the document, what to run of it, and with which variables."""

    query: str
    variables: dict[str, Any] | None
    name: str | None
    extensions: dict[str, Any] | None


async def read_operation(request: Request, most: int = 1) -> Operation | list[Operation]:
    """The operation of a GET, HEAD or POST; several where a body is an array, and `most` allows it.

    Raises:
        Refused: it is malformed, or comes in a form that a page elsewhere could make a browser
            send without asking first.
    """
    if request.method in ("GET", "HEAD"):
        _check_deliberate(request)
        given: Any = _from_url(request)
    else:
        given = await _from_body(request)
    if not isinstance(given, list):
        return _operation(given)
    if most == 1:
        raise Refused(400, "The body must be a JSON object; batches are not served here.")
    if not 1 <= len(given) <= most:
        raise Refused(400, f"A batch of {len(given)} operations; send 1 to {most}.")
    return [_operation(each) for each in given]


def _operation(given: object) -> Operation:
    if not isinstance(given, dict):
        raise Refused(400, "The body must be a JSON object.")
    query = given.get("query")
    if not isinstance(query, str) or not query:
        raise Refused(400, "`query` is missing: send the GraphQL document as a string.")
    name = given.get("operationName")
    if name is not None and not isinstance(name, str):
        raise Refused(400, "`operationName` must be a string or null.")
    return Operation(query, _object(given, "variables"), name or None, _object(given, "extensions"))


def _object(given: Mapping[str, Any], field: str) -> dict[str, Any] | None:
    value = given.get(field)
    if value is not None and not isinstance(value, dict):
        raise Refused(400, f"`{field}` must be an object or null.")
    return value


def _check_deliberate(request: Request) -> None:
    """Refuses what any page could make a browser get, by a link or a picture. A body cannot come
    that way: JSON is asked about first."""
    headers = request.headers
    if headers.get("sec-fetch-site") in ("same-origin", "none"):
        return  # the browser itself vouches for our own page, or for who typed the address
    if "origin" in headers:
        return  # one that may call this server: the guard has let it in
    if any(name in headers for name in ASKED_FIRST) or _is_json(headers.get("content-type", "")):
        return
    raise Refused(
        403,
        f"A GET needs the header `{PREFLIGHT_HEADERS[0]}: 1`, by which a page elsewhere cannot"
        " have caused it; or send the operation by POST, as application/json.",
    )


def _from_url(request: Request) -> dict[str, Any]:
    given: dict[str, Any] = dict(request.query_params)
    for field in ("variables", "extensions"):
        if field in given:
            given[field] = _json(given[field] or b"null", f"`{field}`")
    return given


async def _from_body(request: Request) -> Any:
    if not _is_json(request.headers.get("content-type", "")):
        raise Refused(415, "Send the operation as application/json, in UTF-8.")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await request.body()
    except TimeoutError:
        raise Refused(408, f"The body did not arrive within {BODY_SECONDS:g} seconds.") from None
    except ClientDisconnect:
        # Nobody is left to read this, but it is the client's doing and no failure of the server.
        raise Refused(400, "The client left before the body was complete.") from None
    return _json(body, "The body")


def _is_json(content_type: str) -> bool:
    media, _, parameters = content_type.lower().partition(";")
    charset = parameters.replace(" ", "").partition("charset=")[2].strip('"')
    return media.strip() == "application/json" and charset in ("", "utf-8", "utf8")


def _json(text: str | bytes, what: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Refused(400, f"{what} is not valid JSON: {error}.") from None
