"""The Control Tower: every request comes in, is run, asked about and ended here."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import orjson
import structlog

from ..capabilities import CapabilityRegistry
from ..chat.records import Page, Session
from ..chat.service import ChatService
from ..chat.text import MAX_ID, MAX_MESSAGE, checked
from ..clock import SECOND, now, to_datetime
from ..errors import InvalidInput, MissionError, NotFound, Unavailable
from ..events.log import EventLog
from ..identity import Caller, new_id
from ..runtime import MissionRuntime
from .dispatch import LocalDispatcher, job_of
from .journal import list_steps
from .process import (
    Envelope,
    Interrupt,
    InterruptKind,
    ProcessControlBlock,
    ProcessState,
    SchedulingPriority,
    Step,
    Usage,
)
from .resolution import Resolver
from .runner import Runner, Start
from .scheduler import Job, Scheduler
from .store import ProcessStore
from .transitions import Transitions
from .watchers import Watcher, Watchers

MAX_CONTEXT = 64 * 1024  # bytes of JSON
EXPIRY_POLL_SECONDS = 30.0
RETRY_SECONDS = (1.0, 60.0)  # first and longest pause after a run that the storage has failed
log = structlog.get_logger(__name__)
T = TypeVar("T")


class ControlTower:
    """Submits, resumes, cancels and shows processes; every method sees the caller's own only."""

    def __init__(
        self,
        runtime: MissionRuntime,
        capabilities: CapabilityRegistry,
        chat: ChatService,
        events: EventLog,
    ) -> None:
        settings = runtime.settings
        self._runtime = runtime
        self._persistence = runtime.persistence
        self._capabilities = capabilities
        self._chat = chat
        self._store = ProcessStore(runtime.persistence)
        self._watchers = Watchers()
        self._runner = Runner(runtime, capabilities, chat, events, self._watchers.tell)
        self._transitions = Transitions(runtime, chat, events)
        self._resolver = Resolver(runtime.persistence, chat, events)
        self._dispatcher = LocalDispatcher(
            Scheduler(
                slots=settings.running_slots,
                max_ready=settings.max_ready,
                max_backlog=settings.max_backlog,
            ),
            self._run,
        )
        self._accepting: set[asyncio.Task[Any]] = set()
        self._expiring: asyncio.Task[None] | None = None
        self._expiry_changed = asyncio.Event()
        self._open = False

    # life

    async def start(self) -> None:
        """Take up whatever an earlier server left unfinished, then accept requests."""
        lost = await self._store.unfinished(ProcessState.RUNNING)
        reason = "server_stopped"
        await asyncio.gather(*(self._transitions.recover(each.pid, reason) for each in lost))
        for process in await self._store.unfinished(ProcessState.READY):
            self._enqueue(process)
        self._expiring = asyncio.create_task(self._expire(), name="tower-expiry")
        self._open = True

    async def stop(self) -> None:
        """Accept nothing more, let running work finish for a while, park the rest."""
        self._open = False
        if self._expiring is not None:
            self._expiring.cancel()
            await asyncio.gather(self._expiring, return_exceptions=True)
        if self._accepting:
            await asyncio.wait(self._accepting)
        await self._dispatcher.park(
            self._runtime.settings.shutdown_seconds,
            lambda pid: self._runner.stop(pid, "parked"),
        )
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
            Conflict: `request_id` is in use.
            Busy: too much is in line.
        """
        caller = envelope.caller
        checked("message", envelope.message, longest=MAX_MESSAGE)
        self._check_open()
        _check_request(envelope)
        session = await self._find_session(envelope)
        own = session.capability if session else None
        spec = self._capabilities.choose(envelope.capability or own)
        pid = new_id()
        process = ProcessControlBlock(
            pid=pid,
            request_id=envelope.request_id or pid,
            session_id=envelope.session_id or str(uuid.uuid4()),
            user_id=caller.user_id,
            capability=spec.name,
            version=spec.version,
            message=envelope.message,
            message_id=0,  # known once it is stored
            state=ProcessState.NEW,
            priority=priority,
            stage=None,
            outcome=None,
            reason=None,
            error=None,
            reply=None,
            reply_message_id=None,
            quota=spec.quota or self._runtime.settings.quota,
            usage=Usage(),
            epoch=0,
            created_at=to_datetime(now()),
            started_at=None,
            completed_at=None,
        )
        with self._watchers.watching(pid) as watcher:
            job = job_of(process, spec.max_concurrent)
            process = await self._accept(self._submit(envelope, process, session, job))
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
        """Answer a question; the process that asked it goes on. `wait` as in `submit_request`.

        Raises:
            NotFound: no such question to this caller, or not of this `kind`.
            Conflict: it was answered before, expired, or its process has ended.
            InvalidInput: not an answer to it; the question stays open.
        """
        self._check_open()
        interrupt = await self._resolver.find(caller, interrupt_id, kind)
        with self._watchers.watching(interrupt.pid) as watcher:
            process = await self._accept(self._resume(interrupt, answer))
            return await self._await(watcher, process, wait)

    async def cancel_request(
        self, caller: Caller, pid: str, reason: str = "cancelled by user"
    ) -> ProcessControlBlock:
        """End a process now, whatever it is doing. What it has produced is kept.

        Raises:
            NotFound, Conflict: it is not there, or has ended already.
        """
        checked("reason", reason, longest=MAX_ID)
        pid = (await self.get(caller, pid)).pid
        return await self._accept(self._cancel(pid, reason))

    async def wait(self, caller: Caller, pid: str, timeout: float) -> ProcessControlBlock:
        """The process once it is settled, or as it is after `timeout` seconds."""
        with self._watchers.watching((await self.get(caller, pid)).pid) as watcher:
            process = await self.get(caller, pid)
            return process if process.settled else await self._await(watcher, process, timeout)

    # views

    async def get(self, caller: Caller, pid: str) -> ProcessControlBlock:
        """By pid or request id."""
        process = await self._store.find(caller.user_id, pid)
        if process is None:
            raise NotFound("process", pid)
        return process

    async def get_many(self, caller: Caller, pids: Sequence[str]) -> dict[str, ProcessControlBlock]:
        """Those of `pids` that are the caller's, by pid."""
        return await self._store.find_many(caller.user_id, pids)

    async def list_processes(
        self,
        caller: Caller,
        *,
        session_id: str | None = None,
        first: int = 50,
        after: str | None = None,
    ) -> Page[ProcessControlBlock]:
        """Newest first; of one session, or of all."""
        return await self._store.list_processes(caller.user_id, session_id, first, after)

    async def steps(self, caller: Caller, pid: str) -> list[Step]:
        """The timeline of a process: its journaled steps in the order in which they began."""
        return await list_steps(self._persistence, (await self.get(caller, pid)).pid)

    async def get_interrupt(self, caller: Caller, interrupt_id: str) -> Interrupt:
        """A question to the caller, open or not."""
        return await self._resolver.find(caller, interrupt_id, None)

    async def pending_interrupts(
        self, caller: Caller, *, first: int = 50, after: str | None = None
    ) -> list[Interrupt]:
        """Questions that wait for the caller, oldest first; those asked after the one of the id
        `after`, which itself may have been answered since."""
        return await self._store.pending(caller.user_id, first, after)

    # units, and what must follow them

    async def _accept(self, work: Coroutine[Any, Any, T]) -> T:
        """Do this to its end, also when the caller is cancelled: what is stored must be run."""
        task = asyncio.create_task(work)
        self._accepting.add(task)
        task.add_done_callback(self._accepting.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_report)
            raise

    async def _submit(
        self, envelope: Envelope, process: ProcessControlBlock, session: Session | None, job: Job
    ) -> ProcessControlBlock:
        async with self._dispatcher.submit(job) as at_once:
            start = await self._persistence.write(
                lambda tx: self._transitions.submit(tx, envelope, process, session, at_once)
            )
            if at_once:
                self._dispatcher.begin(start)
        return start.process

    async def _resume(self, interrupt: Interrupt, answer: str) -> ProcessControlBlock:
        resolved = await self._resolver.answer(interrupt, answer)
        if resolved.wakes:
            self._enqueue(resolved.process)
        return resolved.process

    async def _cancel(self, pid: str, reason: str) -> ProcessControlBlock:
        process = await self._transitions.cancel(pid, reason)
        self._runner.stop(pid, "cancelled")
        self._dispatcher.abort(pid)
        self._watchers.tell(process)
        return process

    # running

    async def _run(self, pid: str, start: Start | None) -> bool:
        """Run a process; whether it is to be put in line again.

        Where the storage fails, the process keeps its place and is run again after a pause.
        """
        pause, longest = RETRY_SECONDS
        failed = False
        while True:
            try:
                if failed:
                    await self._transitions.recover(pid, "storage_failed")
                return await self._run_once(pid, start)
            except Exception:
                log.exception("run failed; trying again", pid=pid, seconds=pause)
            await asyncio.sleep(pause)
            failed, start, pause = True, None, min(2 * pause, longest)

    async def _run_once(self, pid: str, start: Start | None) -> bool:
        if start is None:
            start = await self._transitions.claim(pid)
        if start is None:
            return False
        process = await self._runner.run(start)
        if process is not None and process.interrupts:
            self._expiry_changed.set()
        return process is not None and process.state is ProcessState.READY

    def _enqueue(self, process: ProcessControlBlock) -> None:
        spec = self._capabilities.find(process.capability, process.version)
        limit = spec.max_concurrent if spec else 1
        self._dispatcher.enqueue(job_of(process, limit))

    async def _expire(self) -> None:
        """Ends questions whose time is up, for as long as the tower is open."""
        while True:
            self._expiry_changed.clear()
            try:
                for interrupt in await self._store.overdue(now()):
                    resolved = await self._resolver.expire(interrupt)
                    if resolved is not None and resolved.wakes:
                        self._enqueue(resolved.process)
                due = await self._store.next_expiry()
            except Exception:
                log.exception("expiry failed; trying again")
                due = None
            pause = EXPIRY_POLL_SECONDS if due is None else (due - now()) / SECOND
            try:
                async with asyncio.timeout(min(max(pause, 0.01), EXPIRY_POLL_SECONDS)):
                    await self._expiry_changed.wait()
            except TimeoutError:
                continue

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

    async def _find_session(self, envelope: Envelope) -> Session | None:
        if envelope.session_id is None:
            return None
        try:
            session = await self._chat.get_session(envelope.caller, envelope.session_id)
        except NotFound:
            if envelope.create_session:
                return None
            raise
        if session.deleted_at is not None:
            raise NotFound("session", envelope.session_id)
        return session


def _report(task: asyncio.Task[Any]) -> None:
    """Nobody else looks at the outcome of what was done for a caller who has left."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, MissionError):
        log.error("a request failed after its caller had left", exc_info=error)


def _check_request(envelope: Envelope) -> None:
    if envelope.session_id is not None:
        checked("session_id", envelope.session_id, longest=MAX_ID)
    if envelope.request_id is not None:
        checked("request_id", envelope.request_id, longest=MAX_ID)
    try:
        size = len(orjson.dumps(envelope.context))
    except orjson.JSONEncodeError as error:
        raise InvalidInput("context", f"is not JSON: {error}") from None
    if size > MAX_CONTEXT:
        text = f"has {size} bytes of JSON, at most {MAX_CONTEXT} are taken"
        raise InvalidInput("context", text)
