"""The path and query parameters of the API's operations."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from ...core.chat.paging import BIGGEST
from .models import STORABLE, UserId, WireModel

INTEGER = re.compile(r"-?[0-9]+")
LONG_NUMBER = re.compile(r"(?P<sign>[+-]?)[0-9]+")
LONGEST_NUMBER = 100  # characters

_FLAGS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}


def _flag(value: object) -> object:
    if not isinstance(value, str):
        return value
    flag = _FLAGS.get(value.lower())
    if flag is None:
        raise PydanticCustomError(
            "bool_parsing", "Input should be a valid boolean, unable to interpret input"
        )
    return flag


Flag = Annotated[bool, BeforeValidator(_flag)]
"""true, false, 1, 0, yes, no, on or off, in any case."""


def _text(value: str | None) -> str | None:
    # Pydantic looks into texts with bounds alone.
    try:
        (value or "").encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("string_type", "Input should be a valid string") from None
    return value


def _no_integer() -> PydanticCustomError:
    return PydanticCustomError(
        "int_parsing", "Input should be a valid integer, unable to parse string as an integer"
    )


def _bounded(value: object) -> object:
    if not isinstance(value, str):
        return value
    if not value.isascii():
        raise _no_integer()  # which pydantic would not say of what is no text
    # Beyond some thousand digits pydantic reads no number at all; nothing has such a one.
    if len(value) <= LONGEST_NUMBER:
        return value
    if not (found := LONG_NUMBER.fullmatch(value.strip())):
        raise _no_integer()
    return -BIGGEST if found["sign"] == "-" else BIGGEST


def _message_id(value: object) -> object:
    # Pydantic also reads `1.0`, `1_0`, `+1` and ` 1`; of a path, each would be another name.
    if isinstance(value, str) and not INTEGER.fullmatch(value):
        raise _no_integer()
    return _bounded(value)


WHOLE = BeforeValidator(_bounded)
"""Of numbers in queries."""

MessageId = Annotated[int, BeforeValidator(_message_id)]


class OfUser(WireModel):
    user_id: UserId


class OfSession(OfUser):
    session_id: str


class OfMessage(OfUser):
    message_id: MessageId


class ListSessions(OfUser):
    filter: Annotated[str, Field(pattern="^(today|week|month|all)$")] | None = None
    include_deleted: Flag = False
    limit: Annotated[int, Field(ge=1, le=200), WHOLE] = 50
    offset: Annotated[int, Field(ge=0), WHOLE] = 0


class DeleteSession(OfSession):
    soft: Flag = True


class ListMessages(OfSession):
    limit: Annotated[int, Field(ge=1, le=500), WHOLE] = 100
    offset: Annotated[int, Field(ge=0), WHOLE] = 0
    include_deleted: Flag = False


class DeleteMessage(OfMessage):
    soft: Flag = True


class Search(OfUser):
    query: Annotated[str, Field(min_length=1, max_length=500), STORABLE]
    limit: Annotated[int, Field(ge=1, le=500), WHOLE] = 50


class ExportSession(OfSession):
    format: Annotated[str, Field(pattern="^(json|txt|md)$")] = "json"


class OfRequest(WireModel):
    pid: str


class OfTool(WireModel):
    tool_name: str
    period_hours: Annotated[int, Field(ge=1, le=8760), WHOLE] = 1


class Dashboard(WireModel):
    user_id: Annotated[
        str | None, Field(description="Who looks; without it `system`."), AfterValidator(_text)
    ] = None
