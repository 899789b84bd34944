"""Finds what is stored as ready or running here, and is neither in line nor at work.

A commit that failed on its way may have been carried out all the same. What should have followed
it (a place in line) then did not; the rows say what it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import structlog

from ..storage.failures import storage_failed
from ..trouble import Trouble
from .process import ProcessControlBlock, ProcessState
from .store import ProcessStore
from .transitions import Transitions

PAUSE_SECONDS = 1.0  # before the storage that has just failed is asked
T = TypeVar("T")
log = structlog.get_logger(__name__)


class Sweep:
    """A round over what is unfinished, after each failure of the storage. `holds`: whether a pid is
    in line or at work here; `enqueue` puts a ready process in line."""

    def __init__(
        self,
        store: ProcessStore,
        transitions: Transitions,
        holds: Callable[[str], bool],
        enqueue: Callable[[ProcessControlBlock], None],
    ) -> None:
        self._store = store
        self._transitions = transitions
        self._holds = holds
        self._enqueue = enqueue
        self._wanted = asyncio.Event()
        self._trouble = Trouble(log, "sweep failed; trying again", "sweep works again")

    async def watched(self, work: Coroutine[Any, Any, T]) -> T:
        """Do this; where the storage fails, look afterwards for what it may have left."""
        try:
            return await work
        except Exception as error:
            if storage_failed(error):
                self._wanted.set()
            raise

    async def run(self) -> None:
        """For as long as the tower is open."""
        while True:
            await self._wanted.wait()
            await asyncio.sleep(PAUSE_SECONDS)
            self._wanted.clear()
            try:
                await self._round()
            except Exception as error:
                self._trouble.met(error)
                self._wanted.set()
            else:
                self._trouble.passed()

    async def _round(self) -> None:
        for pid in await self._store.pids_in(ProcessState.RUNNING):
            if not self._holds(pid):
                await self._transitions.recover(pid, "storage_failed")
        for pid in await self._store.pids_in(ProcessState.READY):
            if self._holds(pid):
                continue
            process = await self._store.find_anyones(pid)
            if process is not None and process.state is ProcessState.READY:
                log.warning("process was in no line", pid=pid)
                self._enqueue(process)
