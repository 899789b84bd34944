"""Runs a process once, from the top, to an outcome, a wait or a block."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from structlog.contextvars import bound_contextvars

from ..capabilities import CapabilityRegistry, OrchestratorSpec, Reply
from ..chat.service import ChatService
from ..chat.text import storable
from ..errors import ChildFailed, MissionError, QuotaExceeded, ToolFailed
from ..events.log import EventLog
from ..identity import new_id
from ..runtime import MissionRuntime
from ..storage.failures import storage_failed
from .appeals import Appeals
from .branches import Branch, within
from .children import Aftermath
from .codec import StepError, plain, public_text
from .deadlines import Deadlines
from .effects import Run
from .ending import Ending
from .interrupts import Declined
from .journal import Journal, load_journal
from .ledger import Ledger, Owner
from .mission import Mission
from .process import CHILD, SLEEPING, ProcessControlBlock
from .questions import Notice, Questions
from .resources import Exhausted, Meter
from .shares import Adjusted
from .suspension import Blocked, Fenced, NotStored, Suspended
from .usage import Account

MAX_REPLY = 1_000_000  # characters
WORDLESS = "The request ended without an answer in words."
DECLINED = Declined.code.lower()
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Start:
    """A process that has just become `running`, and what its run reads at its start."""

    process: ProcessControlBlock
    stream: int
    input: dict[str, Any]
    billed: dict[str, int] = field(default_factory=dict[str, int])
    """How much of its usage is its children's."""
    lent: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class Ran:
    """The process as its run has left it, and what that did to others."""

    process: ProcessControlBlock
    aftermath: Aftermath


class Runner:
    """Builds missions, calls orchestrators, stores outcomes. Owns no task and no queue."""

    def __init__(
        self,
        runtime: MissionRuntime,
        capabilities: CapabilityRegistry,
        chat: ChatService,
        log: EventLog,
        *,
        settled: Callable[[ProcessControlBlock], None],
        asked: Notice,
        asleep: Notice,
        torn_down: Callable[[], bool],
        overran: Callable[[ProcessControlBlock, Exhausted], None],
    ) -> None:
        """`asked` and `asleep` hear when a question that was stored expires, or a sleep ends;
        `overran`, that a run goes on though its time is up: it is to be ended from outside."""
        self._runtime = runtime
        self._capabilities = capabilities
        self._chat = chat
        self._log = log
        self._settled = settled
        self._asked = asked
        self._asleep = asleep
        self._torn_down = torn_down
        self._overran = overran
        self._roots: dict[str, Branch] = {}
        self._accounts: dict[str, Account] = {}
        self._ledgers: dict[str, tuple[ProcessControlBlock, Ledger]] = {}

    def stop(self, pid: str, reason: str) -> None:
        """Let no further step of this run begin; whoever calls this cancels its task too."""
        root = self._roots.get(pid)
        if root is not None and root.suspended is None:
            root.suspend(Suspended(reason))

    def adjust(self, every: Sequence[Adjusted]) -> None:
        """These have another quota: where they run here, or what has spawned them, that counts
        from now on."""
        for before, after in every:
            if (account := self._accounts.get(after.pid)) is not None:
                account.adjust(after.quota)
            if (lender := self._accounts.get(after.parent_pid or "")) is not None:
                lender.lend(before.quota, after.quota)

    async def save(self, process: ProcessControlBlock, *, itself: bool = True) -> None:
        """Store what the runs here of the session of this process have used until now, for who ends
        some of them from outside; `itself`: what its own run has used, too."""
        session = process.user_id, process.session_id  # whose ids are unique per user only
        ledgers = [
            ledger
            for each, ledger in self._ledgers.values()
            if (each.user_id, each.session_id) == session and (itself or each.pid != process.pid)
        ]
        await asyncio.gather(*(_commit(each) for each in ledgers))

    async def run(self, start: Start) -> Ran | None:
        """Run to the end of this run.

        None when the run lost its process meanwhile (cancelled, or taken over): it wrote nothing.
        Raises what the storage raised when that failed: the process may be run again.
        """
        process = start.process
        owner = Owner(process.pid, process.epoch, start.stream, process.user_id)
        root = Branch("", None)
        account = Account(process.quota, process.usage, start.billed, start.lent)
        self._accounts[process.pid] = account
        ledger = Ledger(self._runtime.persistence, self._log, owner, account, root)
        self._roots[process.pid] = root
        self._ledgers[process.pid] = process, ledger
        if process.epoch == 1:
            self._runtime.timings.began(process.created_at, process.started_at)
        questions = Questions(owner, self._chat, self._asked)
        try:
            try:
                ending = await self._attempt(start, owner, account, ledger, questions, root)
                if ending.ends_others:
                    await self.save(process, itself=False)
                await ledger.commit(ending.write)
            except Exception as error:
                if storage_failed(error):
                    raise
                log.exception("outcome could not be stored", pid=process.pid)
                await ledger.close()
                ledger = Ledger(self._runtime.persistence, self._log, owner, account, root)
                ending = Ending(process, self._chat, start.stream, ledger, questions).failed(
                    "not_stored", "the outcome could not be stored; the server's log says why"
                )
                await ledger.commit(ending.write)
        except Fenced:
            return None
        except NotStored as lost:
            raise lost.error from None
        finally:
            root.end()
            del self._roots[process.pid], self._accounts[process.pid], self._ledgers[process.pid]
            await ledger.close()
        ended = ending.process.changed(quota=account.quota)
        self._runtime.timings.ended(ended.created_at, ended.completed_at)
        self._settled(ended)
        return Ran(ended, ending.aftermath)

    async def _attempt(
        self,
        start: Start,
        owner: Owner,
        account: Account,
        ledger: Ledger,
        questions: Questions,
        root: Branch,
    ) -> Ending:
        """Call the orchestrator, and say how this run ends."""
        process = start.process
        ending = Ending(process, self._chat, start.stream, ledger, questions)
        spec = self._capabilities.find(process.capability, process.version)
        if spec is None:
            return ending.blocked(
                "missing_capability",
                f"capability '{process.capability}' version {process.version} is not installed"
                " here; install it and restart",
            )
        resumed = process.epoch > 1
        persistence = self._runtime.persistence
        run = Run(
            runtime=self._runtime,
            capabilities=self._capabilities,
            persistence=persistence,
            process=process,
            context=start.input["context"],
            provider=start.input["provider"],
            spec=spec,
            owner=owner,
            meter=Meter(process.pid, account, ledger.tell),
            ledger=ledger,
            journal=await load_journal(persistence, process.pid) if resumed else Journal(),
            questions=questions,
            appeals=Appeals(persistence, owner, ledger, questions),
            torn_down=self._torn_down,
            asleep=self._asleep,
        )
        if resumed and spec.on_error == "ask" and (failure := await run.appeals.given_up()):
            return ending.failed("error", failure)
        try:
            reply = await self._call(spec, run, account, root)
        except (Fenced, NotStored):
            raise
        except Blocked as blocked:
            return ending.blocked(blocked.reason, blocked.explanation)
        except Suspended as suspended:
            if suspended.reason in ("interrupt", CHILD, SLEEPING):
                return ending.suspended(run)
            if suspended.reason == "timeout":
                return await self._out_of_time(run, ending)
            return ending.parked(suspended.reason)
        except QuotaExceeded as error:
            return ending.failed(error.reason, error.message)
        except MissionError as error:
            if (declined := _declined(error)) is None:
                return ending.failed(error.code.lower(), _shown(error, process.pid))
            if process.depth:  # who spawned it may have another way
                return ending.failed(DECLINED, declined)
            return ending.completed(Reply(f"Nothing more was done: {declined}"))
        except (Exception, BaseExceptionGroup, SystemExit) as error:
            return await self._failed(run, ending, error)
        return ending.completed(reply)

    async def _out_of_time(self, run: Run, ending: Ending) -> Ending:
        error = run.meter.out_of_time(run.ledger.elapsed())
        if run.meter.quota.on_exhausted == "ask":
            appeal = await run.appeals.for_more(error)
            if appeal is not None:
                run.waiting_on.append(appeal)
                return ending.suspended(run)
        return ending.failed(error.reason, error.message)

    async def _failed(self, run: Run, ending: Ending, error: BaseException) -> Ending:
        """Of something that no orchestrator should raise."""
        incident = new_id()
        pid = run.process.pid
        log.error("orchestrator failed", pid=pid, incident=incident, exc_info=error)
        failure = (
            f"the capability '{run.spec.name}' failed unexpectedly"
            f" ({type(error).__name__}; incident {incident})"
        )
        if run.spec.on_error == "ask":
            appeal = await run.appeals.after(failure)
            if appeal is not None:
                run.waiting_on = [appeal]
                return ending.suspended(run)
        return ending.failed("error", failure)

    async def _call(
        self, spec: OrchestratorSpec, run: Run, account: Account, root: Branch
    ) -> Reply:
        """The orchestrator's reply, within its running time."""
        task = asyncio.current_task()
        if run.ledger.elapsed() >= account.quota.timeout_seconds:
            raise root.suspend(Suspended("timeout"))

        def expire() -> None:
            if task is not None and root.suspended is None:
                root.suspend(Suspended("timeout"))
                task.cancel()

        def overrun() -> None:
            log.warning("a run goes on though its time is up", pid=run.process.pid)
            self._overran(run.process, run.meter.out_of_time(run.ledger.elapsed()))

        deadlines = Deadlines(account, run.ledger, run.meter, expire, overrun)
        deadlines.set()
        result: object = None
        try:
            # For the log lines of whatever the orchestrator uses, and of Python about its mistakes.
            of_run = bound_contextvars(pid=run.process.pid, capability=spec.name)
            with within(root), of_run:
                result = await spec.function(Mission(run))
        except BaseException as error:
            cancelled = isinstance(error, asyncio.CancelledError)
            if root.unwound is None and cancelled and not self._torn_down():
                raise MissionError("the orchestrator cancelled itself") from None
            if root.unwound is None:
                if (first := _first(error)) is not None:
                    raise first from error
                raise
            if cancelled and task is not None:
                task.uncancel()
        finally:
            deadlines.cancel()
        # A suspension stands, also where a handler swallowed it or a task group wrapped it.
        if (suspended := root.suspended or root.unwound) is not None:
            raise suspended
        reply = Reply(result) if isinstance(result, str) else result
        if not isinstance(reply, Reply):
            raise MissionError(
                f"the orchestrator of '{spec.name}' returned {type(result).__name__},"
                " expected a Reply or a str"
            )
        if len(reply.text) > MAX_REPLY:
            raise MissionError(
                f"the reply has {len(reply.text)} characters, at most {MAX_REPLY} are stored"
            )
        data = plain("the reply's data", reply.data)
        text = storable(reply.text)
        if not text and not data and not run.process.depth:
            text = WORDLESS  # a person reads it, and would wait on after an empty message
        return replace(reply, text=text, data=data)


async def _commit(ledger: Ledger) -> None:
    with suppress(Fenced, NotStored, Exception):  # what has broken it is for its own run to tell
        await ledger.commit()


def _first(error: BaseException) -> BaseException | None:
    """Of a task group's errors the first, as `mission.gather` raises it, if all are a mission's."""
    if not isinstance(error, BaseExceptionGroup) or error.split(MissionError)[1] is not None:
        return None
    first: BaseException = error
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


def _declined(error: MissionError) -> str | None:
    """What the user said no to, here or in a child, if the error tells of that: no failure."""
    if isinstance(error, Declined):
        return error.message
    if isinstance(error, ChildFailed) and error.reason == DECLINED:
        return error.text
    return None


def _shown(error: MissionError, pid: str) -> str:
    """What the client reads of the error that ended a process."""
    if (text := public_text(error)) is not None:
        return text
    incident = new_id()
    log.error("orchestrator failed", pid=pid, incident=incident, error=error.message)
    if isinstance(error, StepError):
        return f"step '{error.step}' failed unexpectedly ({error.type}; incident {incident})"
    tool = f"tool '{error.tool}'" if isinstance(error, ToolFailed) else "it"
    return f"{tool} failed unexpectedly (incident {incident})"
