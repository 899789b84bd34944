"""`/ws`: what happens, told live to clients of the former WebSocket interface."""

from __future__ import annotations

import asyncio

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from ..core.errors import MissionError, Unavailable
from .auth import TokenLost, secret_of
from .event_manager import SEND_SECONDS, Client
from .guard import forbid
from .state import state_of

GOING_AWAY = 1001
REFUSED = 1008
NOT_READY = 1011
TRY_LATER = 1013


async def serve(socket: WebSocket) -> None:
    """One connection, from the handshake to its end."""
    state = state_of(socket)
    if state.phase != "serving":
        await socket.accept()
        await socket.close(NOT_READY)
        return
    secret = socket.query_params.get("token") or secret_of(socket)
    try:
        caller = await state.auth.caller(socket, secret) if state.auth.required else None
    except Unavailable:
        await socket.accept()
        await socket.close(NOT_READY)
        return
    except MissionError as error:
        await forbid(error.message, socket.scope, socket.receive, socket.send)
        return
    await socket.accept()
    client = Client(socket, caller, state.settings)
    state.event_manager.join(client)
    work = [
        asyncio.create_task(part, name="ws-client")
        for part in (client.receive(), client.send(), client.full.wait())
    ]
    code = GOING_AWAY
    try:
        async with state.auth.while_valid(lambda: secret):
            await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        if client.full.is_set():
            code = TRY_LATER
    except TokenLost:
        code = REFUSED
    finally:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        await state.event_manager.leave(client)
    if socket.client_state is WebSocketState.CONNECTED:
        await _close(socket, code)


async def _close(socket: WebSocket, code: int) -> None:
    try:
        async with asyncio.timeout(SEND_SECONDS):
            await socket.close(code)
    except (RuntimeError, TimeoutError, WebSocketDisconnect):
        return  # it has left, or does not read that either


routes = [WebSocketRoute("/ws", serve)]
