"""Where processes run: as tasks of this server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import structlog

from .process import ProcessControlBlock, SchedulingPriority
from .runner import Start
from .scheduler import Job, Scheduler

ABANDON_SECONDS = 5.0
log = structlog.get_logger(__name__)

RunProcess = Callable[[str, Start | None], Awaitable[bool]]
"""Runs a pid, with its start where that is known already; whether to put it in line again."""


class LocalDispatcher:
    """Keeps the line and owns the tasks of the running processes."""

    def __init__(self, scheduler: Scheduler, run: RunProcess) -> None:
        self._scheduler = scheduler
        self._run = run
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._starts: dict[str, Start] = {}
        self._returning: dict[str, Job] = {}
        self.open = True
        self.abandoned = 0

    def __contains__(self, pid: str) -> bool:
        """Whether a process is in line or at work here."""
        return pid in self._scheduler or pid in self._tasks

    @property
    def depth(self) -> tuple[int, int]:
        """(running, in line)."""
        return self._scheduler.running, self._scheduler.ready

    @contextmanager
    def submit(self, job: Job, *, clears: bool = False) -> Iterator[bool]:
        """Reserve a place while the body stores the process; gives whether it starts at once.
        `clears`: the body ends what the session has not finished yet.

        Where it does, the body must call `begin` with what it stored. If the body raises, the
        place is given back.

        Raises:
            Busy: the line, or the session's backlog, is full.
        """
        self._scheduler.enter(job, clears=clears)
        self._scheduler.release(job.pid)
        first = self._scheduler.next() if self.open else None
        at_once = first is job
        job.held = not at_once
        if first is not None and not at_once:
            self._launch(first)
        try:
            yield at_once
        except BaseException:
            self._starts.pop(job.pid, None)
            self._scheduler.leave(job.pid)
            self._pump()
            raise
        if job.gone:  # ended by a unit that became durable together with the body's
            self._starts.pop(job.pid, None)
        elif at_once:
            self._launch(job)
        else:
            self._scheduler.release(job.pid)
            self._pump()

    def begin(self, start: Start) -> None:
        """The process was stored as running already."""
        self._starts[start.process.pid] = start

    def enqueue(self, job: Job) -> None:
        """Put a process that is stored as ready in line, unless it is there; never refused."""
        if job.pid in self._tasks:  # answered so fast that the run which asked is still leaving
            self._returning[job.pid] = job
            return
        if job.pid in self._scheduler:  # found again, after a commit that nobody could be sure of
            return
        self._scheduler.enter(job, admitted=True)
        self._scheduler.release(job.pid)
        self._pump()

    def reprioritise(self, pid: str, priority: SchedulingPriority) -> bool:
        """False when it is not in line any more."""
        if pid in self._returning:
            self._returning[pid].priority = priority
            return True
        changed = self._scheduler.reprioritise(pid, priority)
        self._pump()
        return changed

    def abort(self, pids: Iterable[str]) -> None:
        """Take processes out of the line, or cancel their tasks. Their rows say already that they
        have ended.

        A task that will not end gives up its place after `ABANDON_SECONDS`, and is counted.
        """
        for pid in pids:
            self._returning.pop(pid, None)
            task = self._tasks.get(pid)
            if task is None:
                self._scheduler.leave(pid)
            else:
                task.cancel()
                asyncio.get_running_loop().call_later(ABANDON_SECONDS, self._abandon, pid, task)
        self._pump()  # once all are out: the place of one is not for the next of them

    async def park(self, seconds: float, stop: Callable[[str], None]) -> None:
        """Start nothing more; give running processes `seconds`, then `stop` and cancel them."""
        self.open = False
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=seconds)
        for pid, task in list(self._tasks.items()):
            stop(pid)
            task.cancel()
        if self._tasks:
            _, stuck = await asyncio.wait(self._tasks.values(), timeout=ABANDON_SECONDS)
            for task in stuck:
                log.warning("a run ignores its cancellation", task=task.get_name())

    def _pump(self) -> None:
        while self.open and (job := self._scheduler.next()) is not None:
            self._launch(job)

    def _launch(self, job: Job) -> None:
        start = self._starts.pop(job.pid, None)
        task = asyncio.create_task(self._work(job, start), name=f"process-{job.pid}")
        self._tasks[job.pid] = task
        # A task that is cancelled at once never begins with its work, nor comes to its end.
        task.add_done_callback(partial(self._left, job, False))

    async def _work(self, job: Job, start: Start | None) -> None:
        again = False
        try:
            again = await self._run(job.pid, start)
        except asyncio.CancelledError:
            log.info("run cancelled", pid=job.pid)
        except Exception:
            log.exception("run failed; the process stays as stored", pid=job.pid)
        finally:
            self._left(job, again, asyncio.current_task())

    def _left(self, job: Job, again: bool, task: asyncio.Task[None] | None) -> None:
        if self._tasks.get(job.pid) is not task:
            return  # the place was given up before
        del self._tasks[job.pid]
        self._scheduler.leave(job.pid)
        following = self._returning.pop(job.pid, None)
        if again:
            following = following or replace(job, held=True, gone=False)
        if following is not None and self.open:
            self.enqueue(following)
        self._pump()

    def _abandon(self, pid: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(pid) is task:
            self.abandoned += 1
            log.warning("a cancelled run goes on without its place", pid=pid)
            del self._tasks[pid]
            self._scheduler.leave(pid)
            self._pump()


def job_of(process: ProcessControlBlock, limit: int) -> Job:
    """The process's place in line, as of now."""
    return Job(
        pid=process.pid,
        lane=(process.user_id, process.session_id, *([process.pid] if process.depth else [])),
        capability=process.capability,
        priority=process.priority,
        arrived=asyncio.get_running_loop().time(),
        limit=limit,
    )
