"""Requests that do not validate: pydantic's errors in the shape that clients of the API know."""

from __future__ import annotations

import asyncio
import json
from codecs import BOM_UTF8
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import orjson
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from ...core.nesting import MAX_NESTING, nested_too_deep

M = TypeVar("M", bound=BaseModel)
Problem = dict[str, Any]

BODY_SECONDS = 30.0
UNREADABLE = object()


class Unprocessable(Exception):
    """The request does not validate. `problems` go to the client."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("the request does not validate")
        self.problems = problems


def read_query(request: Request) -> dict[str, str]:
    """The parameters, of a repeated one the last. Bytes that are no UTF-8 become lone surrogates,
    which no field takes: to replace them would make one text, such as one user, of many."""
    query = request.scope["query_string"].decode("latin-1")
    return dict(parse_qsl(query, keep_blank_values=True, errors="surrogateescape"))


def valid_parameters(
    model: type[M], path: Mapping[str, str], query: Mapping[str, str], problems: list[Problem]
) -> M | None:
    """The model made from both, or None and what is wrong added to `problems`, the path first."""
    given = {**query, **path}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        found = _problems(error)
        for problem in found:
            name = problem["loc"][0]
            problem["loc"] = ["path" if name in path else "query", *problem["loc"]]
            problem["input"] = _readable(given[name]) if name in given else None
            if problem["type"] == "string_unicode":  # by a name that clients know
                problem |= {"type": "string_type", "msg": "Input should be a valid string"}
        problems += sorted(found, key=lambda problem: problem["loc"][0])
        return None


def valid_body(model: type[M], body: object, problems: list[Problem]) -> M | None:
    """The model made from a decoded body, or None and what is wrong added to `problems`."""
    if body is None:
        problems.append(_problem("missing", ["body"], "Field required", None))
        return None
    try:
        return model.model_validate(body)
    except ValidationError as error:
        for problem in _problems(error):
            problem["loc"] = ["body", *problem["loc"]]
            problems.append(problem)
        return None


async def read_body(request: Request, problems: list[Problem]) -> object:
    """The decoded JSON of a request, None for an empty body, and `UNREADABLE`, with the reason
    added to `problems`, for one that is no JSON.

    A body that does not say it is JSON is text, which no model takes.
    """
    try:
        async with asyncio.timeout(BODY_SECONDS):
            raw = await request.body()
    except TimeoutError:
        raise HTTPException(408, f"the body did not arrive within {BODY_SECONDS:g} s") from None
    except ClientDisconnect:  # nobody is left to read this
        raise HTTPException(400, "the client left before the body was complete") from None
    if not raw:
        return None
    if not _is_json(request.headers.get("content-type")):
        return raw.decode(errors="replace")
    try:
        body: object = orjson.loads(raw.removeprefix(BOM_UTF8))
    except orjson.JSONDecodeError as error:
        problems.append(_no_json(*_complaint(raw, error)))
        return UNREADABLE
    # Few have as many brackets at all, and only those need be looked through.
    if raw.count(b"[") + raw.count(b"{") > MAX_NESTING and nested_too_deep(body):
        problems.append(_no_json(0, f"Nested deeper than {MAX_NESTING} levels"))
        return UNREADABLE
    return body


def _no_json(at: int, why: str) -> Problem:
    problem = _problem("json_invalid", ["body", at], "JSON decode error", {})
    return problem | {"ctx": {"error": why}}


def _complaint(raw: bytes, error: orjson.JSONDecodeError) -> tuple[int, str]:
    """Where in a body it goes wrong, and why: as the standard library tells it, by whose offsets
    clients go, unless that takes what JSON does not allow, such as NaN."""
    try:
        json.loads(raw.decode())
    except json.JSONDecodeError as standard:
        return standard.pos, standard.msg
    except (ValueError, RecursionError):
        pass  # no UTF-8, too long a number, too deep
    return error.pos, error.msg


def _readable(text: str) -> str:
    return text.encode(errors="surrogateescape").decode(errors="replace")


def _is_json(header: str | None) -> bool:
    if header is None:
        return True
    media = header.partition(";")[0].strip().lower()
    return media == "application/json" or media.endswith("+json")


def _problems(error: ValidationError) -> list[Problem]:
    found = error.errors(include_url=False)
    return [
        _problem(each["type"], list(each["loc"]), each["msg"], each["input"])
        | ({"ctx": {k: _plain(v) for k, v in each["ctx"].items()}} if "ctx" in each else {})
        for each in found
    ]


def _problem(type: str, loc: list[int | str], msg: str, input: object) -> Problem:
    return {"type": type, "loc": loc, "msg": msg, "input": input}


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float | bool | None) else str(value)
