"""Clients that stop reading: their connection ends, and with it what was running for it."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from functools import partial
from types import coroutine
from typing import Any

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

STALLED_SECONDS = 30.0

log = structlog.get_logger(__name__)


@coroutine
def _rest(begun: Generator[Any, Any, None], waits_for: object) -> Generator[Any, Any, None]:
    """What is left of an awaitable that was begun, and waits."""
    while True:
        try:
            sent = yield waits_for
        except BaseException as error:
            step = partial(begun.throw, error)
        else:
            step = partial(begun.send, sent)
        try:
            waits_for = step()
        except StopIteration:
            return


class DropStalled:
    """ASGI middleware: gives up a connection once one message has waited `seconds` to be sent.

    Otherwise a subscription or a download whose client has stopped reading would be held open for
    good: a WebSocket's pings still leave and are answered while the stream behind them is stuck.
    """

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        connection = asyncio.timeout(None)
        stalled = False

        async def bounded(message: Message) -> None:
            nonlocal stalled
            sending = send(message).__await__()
            try:
                first = next(sending)
            except StopIteration:
                return  # as nearly always, it has left at once
            patience = asyncio.timeout(self._seconds)
            try:
                async with patience:
                    await _rest(sending, first)
            except TimeoutError:
                if patience.expired() and not stalled:
                    stalled = True
                    connection.reschedule(loop.time())
                raise

        try:
            async with connection:
                await self._app(scope, receive, bounded)
        except TimeoutError:
            if not stalled:
                raise
            log.warning("request.client_stalled", path=scope["path"], seconds=self._seconds)
