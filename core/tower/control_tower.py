"""The Control Tower: every request comes in, is run, asked about and ended here."""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakValueDictionary

from ..capabilities import CapabilityRegistry, OnBusy
from ..chat.records import Session
from ..chat.service import ChatService
from ..chat.text import MAX_ID, checked
from ..clock import Micros
from ..errors import Conflict, NotFound, Unavailable
from ..events.event import NewEvent
from ..events.log import EventLog
from ..identity import Caller
from ..runtime import MissionRuntime
from ..storage.persistence import Transaction
from .accepted import Accepted
from .admission import check_request, find_session, new_process
from .children import Aftermath
from .dispatch import LocalDispatcher, job_of
from .execution import Execution
from .fork import forked, store_fork
from .idempotency import submit_once
from .process import (
    Envelope,
    Interrupt,
    InterruptKind,
    ProcessControlBlock,
    ProcessState,
    SchedulingPriority,
)
from .quotas import adjust
from .rates import RateLimits
from .resolution import Resolver
from .resources import Exhausted
from .runner import Runner
from .scheduler import Job, Lane, Scheduler
from .sweep import Sweep
from .transitions import Transitions
from .upkeep import Upkeep
from .views import Views
from .watchers import Watcher, Watchers


class ControlTower(Views):
    """Submits, resumes, cancels and shows processes; every method sees the caller's own only."""

    def __init__(
        self,
        runtime: MissionRuntime,
        capabilities: CapabilityRegistry,
        chat: ChatService,
        events: EventLog,
    ) -> None:
        super().__init__(runtime.persistence)
        settings = runtime.settings
        self._runtime = runtime
        self._capabilities = capabilities
        self._chat = chat
        self._events = events
        self._rates = RateLimits(settings.rate_limits, settings.rate_limit_storage)
        self._watchers = Watchers()
        self._transitions = Transitions(runtime, chat, events)
        self._resolver = Resolver(runtime.persistence, chat, events)
        self.upkeep = Upkeep(
            runtime.persistence,
            events,
            self._interrupts,
            self._resolver,
            Sweep(
                self._store, self._transitions, lambda pid: pid in self._dispatcher, self._enqueue
            ),
            self._enqueue,
        )
        self._runner = Runner(
            runtime,
            capabilities,
            chat,
            events,
            settled=self._watchers.tell,
            asked=self.upkeep.questions.notice,
            asleep=self.upkeep.alarms.notice,
            torn_down=self._torn_down,
            overran=self._cut_off,
        )
        self._dispatcher = LocalDispatcher(
            Scheduler(
                slots=settings.running_slots,
                max_ready=settings.max_ready,
                max_backlog=settings.max_backlog,
            ),
            lambda pid, start: self._execution.run(pid, start),
        )
        self._execution = Execution(
            self._runner,
            self._transitions,
            self._store,
            self._watchers,
            lambda aftermath: self._follow(aftermath),
            lambda: self._dispatcher.open,
        )
        self._accepted = Accepted(self.upkeep.sweep)
        self._turns: WeakValueDictionary[Lane, asyncio.Lock] = WeakValueDictionary()
        self._open = False
        chat.on_removal(self._end_session)

    # life

    async def start(self) -> None:
        """Take up whatever an earlier server left unfinished, then accept requests."""
        lost = await self._store.unfinished(ProcessState.RUNNING)
        await asyncio.gather(*(self._transitions.restart(each.pid) for each in lost))
        served = [each for each in await self._store.retriable() if self._serves(each)]
        reason = "server_started"
        await asyncio.gather(*(self._transitions.unblock(each.pid, reason) for each in served))
        for process in await self._store.unfinished(ProcessState.READY):
            self._enqueue(process)
        self.upkeep.start()
        self._open = True

    async def stop(self) -> None:
        """Accept nothing more, let running work finish for a while, park the rest."""
        self._open = False
        self._execution.stop()
        await self.upkeep.stop()
        await self._accepted.drained()
        await self._dispatcher.park(
            self._runtime.settings.shutdown_seconds,
            lambda pid: self._runner.stop(pid, "parked"),
        )
        await self._rates.close()
        self._watchers.close()

    @property
    def depth(self) -> tuple[int, int]:
        """(running, in line) on this node."""
        return self._dispatcher.depth

    # requests

    async def submit_request(
        self,
        envelope: Envelope,
        priority: SchedulingPriority = SchedulingPriority.NORMAL,
        *,
        wait: float | None = None,
    ) -> Envelope:
        """Store the user's message and a process for it; the process runs when its turn comes.

        With `wait` (seconds), returns when the process is settled (terminated, waiting, blocked)
        or the time is up, whichever is first; without, at once. The process goes on either way.

        Raises:
            InvalidInput: the message, or an unknown capability. Nothing is stored.
            NotFound: the session is not the caller's, or was deleted.
            Conflict: `request_id` is in use, or the idempotency key is, for other work.
            Busy: too much is in line, the session is at work and `on_busy` is `reject`, or the
                caller has sent too often.
        """
        self._check_open()
        if envelope.idempotency_key is not None:
            return await submit_once(self, envelope, priority, wait)
        envelope = check_request(envelope)
        await self._rates.take(envelope.caller.user_id)
        session = await find_session(self._chat, envelope)
        own = session.capability if session else None
        spec = self._capabilities.choose(envelope.capability or own)
        process = new_process(envelope, spec, spec.quota or self._runtime.settings.quota, priority)
        with self._watchers.watching(process.pid) as watcher:
            job = job_of(process, spec.max_concurrent)
            on_busy = envelope.on_busy or spec.on_busy
            process = await self._accepted.do(
                self._submit(envelope, process, session, job, on_busy)
            )
            return envelope.with_process(await self._await(watcher, process, wait))

    async def resume_request(
        self,
        caller: Caller,
        interrupt_id: str,
        answer: str,
        *,
        kind: InterruptKind | None = None,
        wait: float | None = None,
    ) -> ProcessControlBlock:
        """Answer a question; the process that asked it goes on.

        Gives the process that the user has asked for: the one that asked, or the topmost above it.
        `wait` as in `submit_request`.

        Raises:
            NotFound: no such question to this caller, or not of this `kind`.
            Conflict: it was answered before, expired, or its process has ended.
            InvalidInput: not an answer to it; the question stays open.
        """
        self._check_open()
        interrupt = await self.get_interrupt(caller, interrupt_id)
        if kind is not None and interrupt.kind is not kind:
            raise NotFound("interrupt", interrupt_id)
        root = await self._store.root_of(await self.get(caller, interrupt.pid))
        with self._watchers.watching(root.pid) as watcher:
            process = await self._accepted.do(self._resume(interrupt, answer))
            if process.pid == root.pid:
                return await self._await(watcher, process, wait)
            if wait is not None:
                return await self._await(watcher, root, wait)
            return await self.get(caller, root.pid)

    async def cancel_request(
        self, caller: Caller, pid: str, reason: str = "cancelled by user"
    ) -> ProcessControlBlock:
        """End a process now, whatever it is doing. What it has produced is kept.

        Raises:
            NotFound, Conflict: it is not there, or has ended already.
        """
        checked("reason", reason, longest=MAX_ID)
        return await self._accepted.do(self._cancel(await self.get(caller, pid), reason))

    async def resume_process(self, caller: Caller, pid: str) -> ProcessControlBlock:
        """Try a process again that is blocked for want of the version it started with.

        A server does this by itself once, when it starts.

        Raises:
            NotFound: the process is not the caller's.
            Conflict: it is not blocked so, or what it needs is still not served here.
        """
        self._check_open()
        process = await self.get(caller, pid)
        if process.is_retriable and not self._serves(process):
            raise Conflict(
                f"capability '{process.capability}' version {process.version} is not served here;"
                " install it and restart"
            )
        return await self._accepted.do(self._unblock(process))

    async def set_priority(
        self, caller: Caller, pid: str, priority: SchedulingPriority
    ) -> ProcessControlBlock:
        """Give a process in line another place; its age counts as before.

        Raises:
            NotFound, Conflict: it is not there, or not in line (any more).
        """
        self._check_open()
        pid = (await self.get(caller, pid)).pid

        def move() -> None:
            self._dispatcher.reprioritise(pid, priority)

        return await self._transitions.prioritise(pid, priority, move)

    async def adjust_quota(self, caller: Caller, pid: str, **changes: Any) -> ProcessControlBlock:
        """Change limits of a process that has not ended; one that runs goes on under them. What is
        lowered is lowered below it too, as far as what it has spawned may use more than is left.

        Its owner may lower them; an administrator may raise them too, and may do so for the
        process of another, by its pid. `changes` are fields of `Quota`.

        Raises:
            InvalidInput, Forbidden, NotFound
            Conflict: it has ended.
        """
        self._check_open()
        process = await self._governed(caller, pid)
        pid = process.pid
        await self._runner.save(process)  # what is used is part of what is left
        may_raise, stored = caller.is_admin, self._runner.adjust
        return await self._persistence.write(
            lambda tx: adjust(tx, self._events, pid, changes, may_raise=may_raise, stored=stored)
        )

    async def fork_process(
        self, caller: Caller, pid: str, *, steps: int, message: str | None = None
    ) -> ProcessControlBlock:
        """A process in a session of its own that shares the first `steps` finished steps of
        another, and goes on from there, with another `message` where one is given.

        Raises:
            NotFound, InvalidInput: the process, the message, or more steps than it has finished.
            Conflict: it is a child of another.
            Busy: too much is in line, or the caller has sent too often.
        """
        self._check_open()
        await self._rates.take(caller.user_id)
        origin = await self.get(caller, pid)
        return await self._accepted.do(
            self._fork(caller, origin, forked(origin, steps, message), steps)
        )

    async def wait(self, caller: Caller, pid: str, timeout: float) -> ProcessControlBlock:
        """The process once it is settled, or as it is after `timeout` seconds."""
        with self._watchers.watching((await self.get(caller, pid)).pid) as watcher:
            process = await self.get(caller, pid)
            return process if process.settled else await self._await(watcher, process, timeout)

    # units, and what must follow them

    async def _submit(
        self,
        envelope: Envelope,
        process: ProcessControlBlock,
        session: Session | None,
        job: Job,
        on_busy: OnBusy,
    ) -> ProcessControlBlock:
        # Where units run at the same time, a session's must be stored in the order of its line.
        turn = self._turns.setdefault(job.lane, asyncio.Lock())
        submit = self._transitions.submit
        with self._dispatcher.submit(job, clears=on_busy == "cancel_previous") as at_once:
            async with turn:
                if on_busy == "cancel_previous":
                    await self._runner.save(process)
                start, ended = await self._persistence.write(
                    lambda tx: submit(tx, envelope, process, session, at_once, on_busy)
                )
                if at_once:
                    self._dispatcher.begin(start)
                self._follow(Aftermath(ended=ended))
        return start.process

    async def _fork(
        self, caller: Caller, origin: ProcessControlBlock, fork: ProcessControlBlock, steps: int
    ) -> ProcessControlBlock:
        with self._dispatcher.submit(self._job(fork)):
            return await self._persistence.write(
                lambda tx: store_fork(tx, self._chat, self._events, caller, origin, fork, steps)
            )

    async def _resume(self, interrupt: Interrupt, answer: str) -> ProcessControlBlock:
        resolved = await self._resolver.answer(interrupt, answer)
        if resolved.wakes:
            self._enqueue(resolved.process)
        return resolved.process

    async def _unblock(self, process: ProcessControlBlock) -> ProcessControlBlock:
        ready = await self._transitions.unblock(process.pid, "resumed")
        if ready is None:
            raise Conflict(f"process {process.pid} is not blocked by its capability")
        self._enqueue(ready)
        return ready

    async def _cancel(self, process: ProcessControlBlock, reason: str) -> ProcessControlBlock:
        await self._runner.save(process)
        process, aftermath = await self._transitions.cancel(process.pid, reason)
        self._follow(aftermath)
        return process

    async def _end_session(self, tx: Transaction, session: int, at: Micros) -> list[NewEvent]:
        events: list[NewEvent] = []
        ended = await self._transitions.end_all(tx, session, "session deleted", events, at)
        tx.after_commit(lambda: self._follow(Aftermath(ended=ended)))
        return events

    def _follow(self, aftermath: Aftermath) -> None:
        """Do here what a unit has made necessary."""
        for process in aftermath.ended:
            self._runner.stop(process.pid, "cancelled")
        self._dispatcher.abort([process.pid for process in aftermath.ended])
        for process in aftermath.ended:
            self._watchers.tell(process)
        for process in aftermath.ready:
            self._enqueue(process)

    # running

    def _cut_off(self, process: ProcessControlBlock, error: Exhausted) -> None:
        self._accepted.begin(self._execution.cut_off(process, error))

    def _torn_down(self) -> bool:
        """Whether the event loop is closed over a tower that nobody has stopped."""
        return self._open and self.upkeep.is_cancelled

    def _enqueue(self, process: ProcessControlBlock) -> None:
        self._dispatcher.enqueue(self._job(process))

    def _job(self, process: ProcessControlBlock) -> Job:
        spec = self._capabilities.find(process.capability, process.version)
        return job_of(process, spec.max_concurrent if spec else 1)

    def _serves(self, process: ProcessControlBlock) -> bool:
        return self._capabilities.find(process.capability, process.version) is not None

    async def _await(
        self, watcher: Watcher, process: ProcessControlBlock, seconds: float | None
    ) -> ProcessControlBlock:
        if seconds is None:
            return process
        settled = await watcher.settled(process, seconds)
        return settled or await self._store.find(process.user_id, process.pid) or process

    # checks

    def _check_open(self) -> None:
        if not self._open:
            raise Unavailable("the server is starting or shutting down; try again")
