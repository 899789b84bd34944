"""Work that is done to its end once it was accepted, whoever has asked for it and left."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from .admission import report_lost
from .sweep import Sweep

T = TypeVar("T")


class Accepted:
    """Holds the tasks of such work, for a server that stops to wait for."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def under_way(self) -> int:
        """How much of it is under way."""
        return len(self._tasks)

    async def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Do this to its end, also when the caller is cancelled: what is stored must be run."""
        task = self._begin(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(report_lost)
            raise

    def begin(self, work: Coroutine[Any, Any, object]) -> None:
        """The same where nobody waits for it."""
        self._begin(work).add_done_callback(report_lost)

    async def drained(self) -> None:
        """Until all of it is done."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(self._sweep.watched(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
