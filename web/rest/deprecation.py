"""How clients are told that the API of `/api/v1` will go: headers of RFC 9745 and RFC 8594."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...core.settings import Settings

PREFIX = "/api/v1/"
MORE = b'</docs>; rel="deprecation"; type="text/html"'


def deprecation_headers(settings: Settings) -> Sequence[tuple[bytes, bytes]]:
    """What every answer carries; nothing while no date is set."""
    since, until = settings.rest_deprecated_at, settings.rest_sunset_at
    if since is None and until is None:
        return ()
    headers = [(b"link", MORE)]
    if since is not None:
        headers.append((b"deprecation", f"@{int(since.timestamp())}".encode()))
    if until is not None:
        headers.append((b"sunset", _http_date(until)))
    return headers


class Deprecated:
    """ASGI middleware: these headers on whatever is answered below `/api/v1`."""

    def __init__(self, app: ASGIApp, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self._app = app
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._headers]
            await send(message)

        concerned = scope["type"] == "http" and scope["path"].startswith(PREFIX)
        await self._app(scope, receive, told if concerned else send)


def _http_date(moment: datetime) -> bytes:
    return format_datetime(moment.astimezone(UTC), usegmt=True).encode()
