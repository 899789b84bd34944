"""A bound on code that is not ours, and that may not heed a cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")
GRACE_SECONDS = 0.5
"""How long a call may take to clean up after it was cancelled, before it is left alone."""


class Bounded(Generic[T]):
    """Calls a function, again and again, and waits no longer than it is told to.

    A call that goes on after its cancellation is left alone; until it ends no other is made, so
    that there is never a heap of them.
    """

    def __init__(self, call: Callable[[], Awaitable[T]]) -> None:
        self._call = call
        self._left: set[asyncio.Task[T]] = set()

    async def within(self, seconds: float) -> T:
        """What the function gives.

        Raises:
            TimeoutError: it gave nothing within `seconds`, or an earlier call still goes on.
            RuntimeError: it cancelled itself.
            Exception: what it raised.
        """
        if self._left:
            raise TimeoutError
        task = asyncio.create_task(self._run(), name="bounded")
        try:
            await asyncio.wait([task], timeout=seconds)
            if not task.done():
                raise TimeoutError
        finally:
            if not task.done():
                await self._cancel(task)
        if task.cancelled():
            raise RuntimeError("it was cancelled from within")
        return task.result()

    async def _run(self) -> T:
        return await self._call()

    async def _cancel(self, task: asyncio.Task[T]) -> None:
        self._left.add(task)
        task.add_done_callback(self._ended)
        task.cancel()
        await asyncio.wait([task], timeout=GRACE_SECONDS)

    def _ended(self, task: asyncio.Task[T]) -> None:
        self._left.discard(task)
        if not task.cancelled():
            task.exception()  # nobody asks for it any more
