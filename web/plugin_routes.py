"""`/plugins/<name>/`: routes of plugins, behind the same door as the server's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import structlog
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Mount, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from ..core.errors import MissionError
from ..plugins.host import PluginHost
from .auth import FORBIDDEN, TokenLost, secret_of
from .state import state_of

FAILED = 1011
log = structlog.get_logger(__name__)


def routes_of(host: PluginHost) -> Iterator[BaseRoute]:
    """One mount for each plugin that has routes."""
    for plugin in host.loaded:
        if plugin.contributions.routes:
            router = Router(routes=plugin.contributions.routes)
            yield Mount(f"/plugins/{plugin.context.name}", Admitted(router))


class Admitted:
    """ASGI middleware: tells who calls, as `request.user` (a `Caller`), or refuses.

    A WebSocket may bring its token as `?token=`, and is closed soon after that is valid no more.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._socket(WebSocket(scope, receive, send), scope, receive, send)
            return
        connection = HTTPConnection(scope)
        scope["user"] = await state_of(connection).auth.caller(connection)
        await self._app(scope, receive, send)

    async def _socket(self, socket: WebSocket, scope: Scope, receive: Receive, send: Send) -> None:
        auth = state_of(socket).auth
        secret = socket.query_params.get("token") or secret_of(socket)
        try:
            scope["user"] = await auth.caller(socket, secret)
        except MissionError:
            await socket.close()  # before it is accepted: the handshake gets a 403
            return
        closed = False

        async def noting(message: Message) -> None:
            nonlocal closed
            closed = closed or message["type"] == "websocket.close"
            await send(message)

        code = FAILED
        try:
            async with auth.while_valid(lambda: secret):
                await self._app(scope, receive, noting)
                return
        except WebSocketDisconnect:
            return  # it has left
        except TokenLost:
            code = FORBIDDEN
        except Exception:
            log.exception("plugin.socket_failed", path=scope["path"])
        if not closed:
            with suppress(RuntimeError, WebSocketDisconnect):  # it has left meanwhile
                await send({"type": "websocket.close", "code": code})
