"""A connection on which nothing is ever left under way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import aiosqlite

T = TypeVar("T")


async def settle(work: Awaitable[T]) -> T:
    """Await `work` to its end, however often the caller is cancelled meanwhile.

    The cancellation is raised afterwards: whoever handles it finds the work done or failed, never
    half done, at the price of waiting for it. A failure is then the cancellation's cause.
    """
    future = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = cancelled or error
    if cancelled is not None:
        raise cancelled from (None if future.cancelled() else future.exception())
    return future.result()


class SettledConnection(aiosqlite.Connection):
    """Runs each statement to its end before a cancellation of its caller goes on.

    aiosqlite hands statements to a thread, which a cancelled `await` does not stop: the statement
    would take effect at some time after its caller has cleaned up and gone.
    """

    async def _execute(self, fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        if not self._running or self._connection is None:
            raise ValueError("Connection closed")
        # A bare future: asyncio.run cancels every task as it ends, and would cancel a wrapping one.
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._tx.put_nowait((future, partial(fn, *args, **kwargs)))
        return await settle(future)
