"""Threads for sync functions: never more than a fixed number, whatever their callers do."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, TypeVar, TypeVarTuple

from ..errors import Busy, Unavailable

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Overrun(TimeoutError):
    """The call did not end in time, as opposed to a TimeoutError that it raised itself."""


@dataclass(slots=True, eq=False)
class _Job:
    call: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    ended: asyncio.Future[_Outcome]
    over: bool = False
    abandoned: bool = False
    # Taken once and never released: by the worker that starts the call, or by the caller that
    # leaves before. So a call either runs and is counted, or never starts.
    claim: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, slots=True)
class _Outcome:
    value: Any = None
    error: Exception | None = None


class ThreadPool:
    """At most `size` daemon threads, started when needed and kept.

    Used from one event loop. A thread cannot be stopped: a call whose caller left is *abandoned*,
    and holds its thread until the function returns.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"a pool needs at least one thread, not {size}")
        self.size = size
        self._slots = asyncio.Semaphore(size)
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads = 0
        self._busy = 0
        self._abandoned = 0
        self._closed = False

    @property
    def busy(self) -> int:
        """Threads that run something, abandoned calls included."""
        return self._busy

    @property
    def abandoned(self) -> int:
        """Calls still running although nobody waits for them any more."""
        return self._abandoned

    async def run(self, fn: Callable[[*Ts], T], *args: *Ts, timeout: float | None) -> T:
        """What `fn(*args)` returns, from a thread that sees the caller's context variables.

        `timeout` is in seconds, the wait for a free thread included; None waits as long as it
        takes. Cancelling returns at once.

        Raises:
            Busy: all threads were taken until the time was up; `fn` was not called.
            Overrun: `fn` was still running when the time was up; it is abandoned.
            Unavailable: the pool is closed.
        """
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        await self._take_slot(deadline)
        context = contextvars.copy_context()
        job = _Job(lambda: context.run(fn, *args), loop, loop.create_future())
        self._jobs.put(job)
        try:
            async with asyncio.timeout_at(deadline):
                outcome = await job.ended
        except TimeoutError:
            raise Overrun(f"still running after {timeout:g} s") from None
        finally:
            self._leave(job)
        if outcome.error is not None:
            raise outcome.error
        value: T = outcome.value
        return value

    def close(self) -> None:
        """Take no more calls, let idle threads end. What still runs goes on in a daemon thread,
        which does not keep the interpreter from exiting."""
        if self._closed:
            return
        self._closed = True
        for _ in range(self._threads):
            self._jobs.put(None)
        # Wakes the first caller in line, which finds the pool closed and wakes the next.
        self._slots.release()

    async def _take_slot(self, deadline: float | None) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await self._slots.acquire()
        except TimeoutError:
            raise Busy(
                f"all {self.size} threads for sync functions are taken; try again later, or "
                "raise MISSION_TOOL_THREADS"
            ) from None
        if self._closed:
            self._slots.release()
            raise Unavailable("the server is shutting down; try again when it is back")
        self._busy += 1
        self._ensure_thread()

    def _ensure_thread(self) -> None:
        if self._busy <= self._threads:
            return
        worker = threading.Thread(
            target=_work, args=(self._jobs, self._ended), name="mission-sync", daemon=True
        )
        try:
            worker.start()
        except RuntimeError as error:
            self._free_slot()
            raise Busy(f"the machine gives no more threads: {error}") from error
        self._threads += 1

    def _leave(self, job: _Job) -> None:
        """The caller is gone: unless the call is over or can still be prevented, abandon it."""
        if not job.over:
            job.abandoned = not job.claim.acquire(blocking=False)
            self._abandoned += job.abandoned

    def _ended(self, job: _Job, outcome: _Outcome) -> None:
        """In the event loop: the worker is done with this job, whether it ran or not."""
        job.over = True
        self._abandoned -= job.abandoned
        self._free_slot()
        if not job.ended.done():
            job.ended.set_result(outcome)

    def _free_slot(self) -> None:
        self._busy -= 1
        self._slots.release()


def _work(jobs: SimpleQueue[_Job | None], ended: Callable[[_Job, _Outcome], None]) -> None:
    while (job := jobs.get()) is not None:
        outcome = _run(job) if job.claim.acquire(blocking=False) else _Outcome()
        # A closed loop has nobody left to tell.
        with contextlib.suppress(RuntimeError):
            job.loop.call_soon_threadsafe(ended, job, outcome)
        del job, outcome  # an idle thread must not keep arguments and results alive


def _run(job: _Job) -> _Outcome:
    try:
        return _Outcome(job.call())
    except Exception as error:
        return _Outcome(error=error)
    except BaseException as error:
        # SystemExit, KeyboardInterrupt or CancelledError out of a thread would stop the loop, or
        # pass for a cancellation of the caller.
        failure = RuntimeError(f"{type(error).__name__} raised in a thread")
        failure.__cause__ = error
        return _Outcome(error=failure)
