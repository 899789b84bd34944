"""How much a request may bring at once."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .failures import refusal

DRAINED_BYTES = 1 << 24  # of a body that is refused
DRAIN_SECONDS = 5.0


class BodyLimit:
    """ASGI middleware: 413 for a body of more than `most` bytes."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._limit = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if _length(headers) > self._limit:
            expects = "100-continue" in headers.get("expect", "").lower()
            patient = send if expects else _patient(receive, send)
            await refusal(scope, 413, self._too_large())(scope, receive, patient)
        else:
            await self._app(scope, self._limited(receive), send)

    def _limited(self, receive: Receive) -> Receive:
        """Counts a body that came without a length."""
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > self._limit:
                    await _drain(receive)
                    raise HTTPException(413, self._too_large())
            return message

        return limited

    def _too_large(self) -> str:
        return f"the body is larger than {self._limit} bytes; MISSION_MAX_BODY_BYTES sets the limit"


def _length(headers: Headers) -> int:
    """The declared length of the body; 0 when none is declared, or it is not a number."""
    declared = headers.get("content-length", "")
    if not (declared.isascii() and declared.isdigit()):
        return 0
    return int(declared) if len(declared) < 19 else sys.maxsize


def _patient(receive: Receive, send: Send) -> Send:
    """Drains what a client still sends before the end of its answer."""

    async def patient(message: Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            await send({**message, "more_body": True})
            await _drain(receive)
            message = {"type": "http.response.body", "body": b""}
        await send(message)

    return patient


async def _drain(receive: Receive) -> None:
    """Read on for a while: to a client that still sends, a closed connection is an error, and what
    it was answered is lost."""
    left = DRAINED_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            while left > 0 and (message := await receive())["type"] == "http.request":
                left -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
