"""Those who wait for a process to settle."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from .process import ProcessControlBlock, ProcessState


class Watcher:
    """One caller's wait for one process."""

    def __init__(self) -> None:
        self._settled: ProcessControlBlock | None = None
        self._closed = False
        self._changed = asyncio.Event()

    def tell(self, process: ProcessControlBlock | None) -> None:
        """The process has settled; None when nothing more will be heard of it here."""
        self._closed |= process is None
        self._settled = process or self._settled
        self._changed.set()

    async def settled(
        self, since: ProcessControlBlock, seconds: float
    ) -> ProcessControlBlock | None:
        """The process as a run later than `since` has left it.

        None when `seconds` are over, or this node stops. News of an earlier run may come late,
        after an answer to what that run has asked: it is passed over.
        """
        try:
            async with asyncio.timeout(seconds):
                while not self._closed:
                    if self._settled is not None and _is_news(self._settled, since):
                        return self._settled
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass
        return None


class Watchers:
    """Everybody who waits, by pid."""

    def __init__(self) -> None:
        self._watchers: dict[str, set[Watcher]] = {}
        self._closed = False

    @contextmanager
    def watching(self, pid: str) -> Iterator[Watcher]:
        watcher = Watcher()
        if self._closed:
            watcher.tell(None)
        self._watchers.setdefault(pid, set()).add(watcher)
        try:
            yield watcher
        finally:
            watchers = self._watchers[pid]
            watchers.discard(watcher)
            if not watchers:
                del self._watchers[pid]

    def tell(self, process: ProcessControlBlock) -> None:
        """Wake whoever waits for this process, if it is settled."""
        if process.settled:
            for watcher in self._watchers.get(process.pid, ()):
                watcher.tell(process)

    def close(self) -> None:
        """Let nobody wait any longer, nor anybody who comes later."""
        self._closed = True
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.tell(None)


def _is_news(settled: ProcessControlBlock, since: ProcessControlBlock) -> bool:
    if settled.epoch > since.epoch:
        return True
    if settled.epoch < since.epoch or since.state is ProcessState.RUNNING:
        return settled.epoch == since.epoch
    if since.state not in (ProcessState.WAITING, ProcessState.BLOCKED):
        return False
    # Suspended all the while: news is what a process below it asks, or is blocked by.
    if settled.error not in (None, since.error):
        return True
    known = {interrupt.id for interrupt in since.interrupts}
    return any(interrupt.id not in known for interrupt in settled.interrupts)
