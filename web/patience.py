"""Connections as uvicorn serves them, where it is too patient, too loud or writes too often."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from .answers import OneWrite

HEAD_SECONDS = 20.0
"""How often a connection is looked at; between two looks, the head of a request has to arrive."""


class PatientHttp(H11Protocol):
    """Gives up connections that never ask for anything, so that they cannot use up the sockets.

    There is a limit for how long a client may take to begin a request. Uvicorn's own is for the
    time after an answer, and ends with the first byte of what follows: one byte a second, or none
    at all on a new connection, would keep it open for ever.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        largest = self.config.h11_max_incomplete_event_size
        self.conn = OneWrite(h11.SERVER) if largest is None else OneWrite(h11.SERVER, largest)
        self._seen: Any = None
        self._look_again()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def _look_again(self) -> None:
        self._timer = self.loop.call_later(HEAD_SECONDS, self._look)

    def _look(self) -> None:
        if self.transport.get_protocol() is not self:
            return  # it has become a WebSocket, which has limits of its own
        begun = self.conn.their_state is not h11.IDLE
        if not begun and self.cycle is self._seen:
            self.transport.abort()
            return
        self._seen = self.cycle
        self._look_again()


class RefusableWebSocket(WebSocketsSansIOProtocol):
    """WebSockets as uvicorn speaks them, where a handshake that is answered with a refusal is over.

    Uvicorn takes it for one that was never answered, and logs an error for each.
    """

    async def send(self, message: Any) -> None:
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True
