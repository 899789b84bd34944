"""Runs a process until what its run came to is stored, also where the storage fails for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog

from ..storage.failures import storage_failed
from ..trouble import Trouble
from .children import Aftermath
from .process import ProcessControlBlock, ProcessState
from .resources import Exhausted
from .runner import Runner, Start
from .store import ProcessStore
from .transitions import Transitions
from .watchers import Watchers

RETRY_SECONDS = (1.0, 60.0)  # first and longest pause after a run that the storage has failed
log = structlog.get_logger(__name__)


class Execution:
    """Claims, runs and recovers. `follow` does what a run has made necessary for other processes;
    `is_open`: whether it is still worth trying again here."""

    def __init__(
        self,
        runner: Runner,
        transitions: Transitions,
        store: ProcessStore,
        watchers: Watchers,
        follow: Callable[[Aftermath], None],
        is_open: Callable[[], bool],
    ) -> None:
        self._runner = runner
        self._transitions = transitions
        self._store = store
        self._watchers = watchers
        self._follow = follow
        self._is_open = is_open
        self._stopping = asyncio.Event()
        self._trouble = Trouble(log, "run failed; trying again", "runs are stored again")

    async def run(self, pid: str, start: Start | None) -> bool:
        """Run a process; whether it is to be put in line again.

        Where the storage fails, the process keeps its place and is run again after a pause. Any
        other error leaves it as it is stored, for the next server to take up.
        """
        pause, longest = RETRY_SECONDS
        failed = False
        while True:
            try:
                if failed and await self._is_settled(pid):
                    return False
                again = await self._run_once(pid, start)
            except Exception as error:
                if not storage_failed(error):
                    raise
                self._trouble.met(error, pid=pid)
            else:
                self._trouble.passed()
                return again
            if not self._is_open():
                return False
            await asyncio.sleep(pause)
            failed, start, pause = True, None, min(2 * pause, longest)

    async def cut_off(self, process: ProcessControlBlock, error: Exhausted) -> None:
        """End a process whose run goes on though its time is up; what it has used is kept."""
        pause, longest = RETRY_SECONDS
        while True:
            try:
                await self._runner.save(process)
                aftermath = await self._transitions.cut_off(process, error.reason, error.message)
            except Exception as failure:
                if not storage_failed(failure):
                    raise
                self._trouble.met(failure, pid=process.pid)
            else:
                self._trouble.passed()
                self._follow(aftermath)
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
                return
            pause = min(2 * pause, longest)

    def stop(self) -> None:
        """Of what is cut off, try nothing again: a server that stops waits for it, before it parks
        what runs, and the next one takes up what is stored."""
        self._stopping.set()

    async def _is_settled(self, pid: str) -> bool:
        """Whether the end of the lost run was stored after all; else the process is ready again."""
        stored = await self._transitions.recover(pid, "storage_failed")
        if stored is None or stored.state in (ProcessState.READY, ProcessState.RUNNING):
            return False
        self._follow(Aftermath(ready=await self._store.ready_beside(stored)))
        self._watchers.tell(await self._store.find(stored.user_id, pid) or stored)
        return True

    async def _run_once(self, pid: str, start: Start | None) -> bool:
        if start is None:
            start = await self._transitions.claim(pid)
        if start is None:
            return False
        ran = await self._runner.run(start)
        if ran is None:
            return False
        self._follow(ran.aftermath)
        if ran.process.interrupts or ran.process.is_retriable:
            await self._tell_ancestors(ran.process)
        return ran.process.state is ProcessState.READY

    async def _tell_ancestors(self, process: ProcessControlBlock) -> None:
        """Whoever waits for a process above this one is asked its questions, or told that it is
        blocked."""
        while process.parent_pid is not None:
            parent = await self._store.find(process.user_id, process.parent_pid)
            if parent is None:
                return
            self._watchers.tell(parent)
            process = parent
