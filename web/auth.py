"""Who is calling: the one place where a `Caller` is made from a connection."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from ..core.errors import InvalidInput
from ..core.identity import LOCAL, Caller

USER_HEADER = "X-Mission-User"
MAX_USER = 255


def caller_of(connection: HTTPConnection) -> Caller:
    """The caller of a request or WebSocket, without authentication: whoever the header names.

    Without the header it is the person at this machine, who is also the admin.

    Raises:
        InvalidInput: the header is empty, longer than 255 characters or not UTF-8.
    """
    raw = connection.headers.get(USER_HEADER)
    if raw is None:
        return LOCAL
    try:
        # Header values arrive as Latin-1; a name is UTF-8 everywhere else.
        name = raw.encode("latin-1").decode()
    except UnicodeDecodeError:
        raise InvalidInput(USER_HEADER, "must be UTF-8") from None
    if not 1 <= len(name) <= MAX_USER:
        raise InvalidInput(USER_HEADER, f"must have 1 to {MAX_USER} characters")
    return LOCAL if name == LOCAL.user_id else Caller(name)
