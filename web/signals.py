"""Ctrl-C and SIGTERM: the first one stops in good order, the second one at once."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

LAST_SECONDS = 1.0
"""For tasks to end in, once what they were for has ended."""


class Stopper:
    """Cancels one task when a signal comes, and ends the process when another does."""

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None
        self._number: int | None = None

    @property
    def asked(self) -> bool:
        """Whether a signal came."""
        return self._number is not None

    def watch(self, task: asyncio.Task[Any]) -> None:
        """Cancel this task from now on; at once when a signal came already."""
        self._task = task
        if self.asked:
            task.cancel()

    def handle(self, number: int, _frame: FrameType | None) -> None:
        # A handler of `signal`, not of the loop: it must work while something blocks the loop.
        if self.asked:
            os.write(sys.stderr.fileno(), b"Stopped by force.\n")
            os._exit(128 + number)
        self._number = number
        if self._task is not None:
            self._task.get_loop().call_soon_threadsafe(self._task.cancel)

    @contextmanager
    def installed(self) -> Iterator[None]:
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run_stoppable(main: Coroutine[Any, Any, int], stopped: int = 0) -> int:
    """Run a coroutine that a signal cancels; its exit code, or `stopped` when it was cancelled."""
    stopper = Stopper()

    async def watched() -> int:
        task = asyncio.ensure_future(main)
        stopper.watch(task)
        try:
            code = await task
        except asyncio.CancelledError:
            if not stopper.asked:
                raise
            code = stopped
        await _end_others(code)
        return code

    with stopper.installed():
        return asyncio.run(watched())


async def _end_others(code: int) -> None:
    """End the tasks that are left, or the process with `code` where they will not end:
    `asyncio.run` would wait for a plugin that swallows its cancellation, for ever."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if not others:
        return
    _, deaf = await asyncio.wait(others, timeout=LAST_SECONDS)
    if deaf:
        logging.getLogger(__name__).warning("%d tasks do not end; leaving them", len(deaf))
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(code)
