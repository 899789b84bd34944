"""The journaled step: the one way in which a run touches the world."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import structlog
from pydantic import TypeAdapter

from ..capabilities import CapabilityRegistry, OrchestratorSpec
from ..chat.text import MAX_ID, checked
from ..clock import SECOND, Micros, now
from ..errors import MissionError, QuotaExceeded
from ..events.event import NewEvent
from ..identity import new_id
from ..retry import Again, Retry, persist
from ..runtime import MissionRuntime
from ..storage.persistence import Persistence, Transaction
from .appeals import Appeals
from .branches import Branch, current_branch
from .children import Spawning
from .codec import (
    ANY,
    TEXT,
    NotEncodable,
    StepError,
    adapter_of,
    cancelled_error,
    decode,
    decode_error,
    digest,
    encode,
    encode_error,
    exceeded_error,
    is_cancelled,
    is_exceeded,
)
from .interrupts import Question, in_doubt
from .journal import Journal, Record, mark_input_changed, store_record
from .ledger import Ledger, Owner
from .process import DIVERGED, ProcessControlBlock
from .questions import Questions
from .resources import Exhausted, Meter
from .steps import Call, Check, Done, Permit, Tell
from .suspension import Blocked, Suspended

MAX_NAME = 200  # characters of a snapshot's name, which is part of a key
log = structlog.get_logger(__name__)


@dataclass(eq=False)
class Run:
    """One run of one process, from the top, in this server."""

    runtime: MissionRuntime
    capabilities: CapabilityRegistry
    persistence: Persistence
    process: ProcessControlBlock
    context: dict[str, Any]
    provider: str
    spec: OrchestratorSpec
    owner: Owner
    meter: Meter
    ledger: Ledger
    journal: Journal
    questions: Questions
    appeals: Appeals
    torn_down: Callable[[], bool]
    """Whether the event loop is being closed: its cancellations are nobody's decision."""
    asleep: Callable[[Micros], None]
    """Hears when the process is to be woken."""
    waiting_on: list[str] = field(default_factory=list)
    """Ids of the questions that this run stops at."""
    spawning: list[Spawning] = field(default_factory=list)
    awaiting: list[str] = field(default_factory=list)
    """Keys of the steps whose children this run stops at, new ones included."""
    wakes: list[Micros] = field(default_factory=list[Micros])
    """When the sleeps that this run stops at are over."""
    counts: Counter[str] = field(default_factory=Counter[str])
    """What this run has taken, replayed or new, of what `count` takes."""
    llm_calls: int = 0
    """Attempts of the model calls that this run has got the outcome of."""

    async def perform(
        self,
        kind: str,
        name: str,
        inputs: Any,
        adapter: TypeAdapter[Any],
        call: Call,
        *,
        charge: tuple[str, ...] = (),
        risky: bool = False,
        announced: bool = False,
        tell: Tell | None = None,
        permit: Permit | None = None,
        retry: Retry | None = None,
        again: Again | None = None,
        check: Check | None = None,
    ) -> Any:
        """Do a step, or give what an earlier run recorded of it.

        `charge` names what it takes from the quota. A `risky` step is recorded as started before
        its call, and one found in doubt after a crash asks for a review. An `announced` one is
        recorded as started with what is first told of it, so that another attempt can say so, and
        what a model takes meanwhile has its place. `tell` makes the event, or what else is written,
        with the finished step. `permit` is asked before the first attempt with these inputs,
        `check` before the call. A failed call is tried again by `retry`, after errors that `again`
        finds worth it; each attempt takes its `charge`, and where none is left the error stands. A
        refusal is recorded too: raised later, a limit must not change a replay.

        Raises:
            Suspended: the run is being stopped.
            InvalidInput, QuotaExceeded: before anything was called.
            ToolFailed, LLMError, StepError: what the call raised, as it is stored.
            CancelledError: the orchestrator cancelled the step (`asyncio.timeout`, a task group).
                It is stored as failed, and on a replay waits to be cancelled again: so the
                orchestrator sees the same, and nothing is called twice.
        """
        checked("name", name, longest=MAX_ID)
        branch = current_branch()
        key = branch.next_key()
        found = self.match(branch, key, kind, name)
        record = Record(key, kind, name, digest(inputs), "started", now())
        if found is not None:
            self._compare(found, record)
        if found is not None and found.status != "started":
            if found.error is not None and is_cancelled(found.error):
                await asyncio.get_running_loop().create_future()  # whatever cancels it this time
            self._attempted(found)
            return self.replay(branch, found, adapter)
        value = None
        is_new = found is None or found.digest != record.digest
        try:
            refusal = await permit(branch, record) if permit is not None and is_new else None
            if refusal is not None:
                if await self._is_allowed(branch, record, (), None):
                    record.status, record.error = "failed", encode_error(name, refusal)
                else:
                    tell = None
            elif found is None or not risky or await self._is_retried(branch, found):
                if await self._is_allowed(branch, record, charge, check):
                    if risky:
                        await self.ledger.commit(self.storing(record))
                    elif announced:
                        self.ledger.put(self.storing(record))
                    with branch.inside(f"{kind} '{name}'"):
                        work = self._retried(record, call, charge, retry, again)
                        value = await self._call(record, adapter, work)
                else:
                    tell = None  # nothing was called that could be told of
            else:
                record.status = "completed"  # as the review says, and without an output
            await self.ledger.commit(self.storing(record), *([tell(record)] if tell else []))
        except asyncio.CancelledError:
            if branch.stopped is None and not self.torn_down():
                if (suspended := branch.unwinding) is not None:  # a task group gives way to it
                    raise branch.suspend(suspended) from None
                await self._cancelled(record, tell)
            raise
        self.journal.add(record)
        self._attempted(record)
        if record.error is not None:
            raise decode_error(record.error)
        return value

    def _attempted(self, record: Record) -> None:
        if record.kind == "llm":
            refused = record.error is not None and is_exceeded(record.error)
            self.llm_calls += record.attempt - refused

    def _compare(self, found: Record, record: Record) -> None:
        """Another attempt goes on counting; another input is worth a note, and no more."""
        record.attempt = found.attempt + 1
        record.input_changed = found.input_changed or found.digest != record.digest
        if record.input_changed and not found.input_changed:
            log.warning("input of a replayed step changed", pid=self.owner.pid, **_place(found))

            async def mark(tx: Transaction, _at: Micros) -> list[NewEvent]:
                await mark_input_changed(tx, self.owner.pid, found.key)
                return []

            self.ledger.put(mark)

    async def _cancelled(self, record: Record, tell: Tell | None) -> None:
        """The orchestrator has cancelled a step, so whatever that gave, it has not seen it."""
        finished = record.status != "started"
        record.status, record.output = "failed", None
        record.error = cancelled_error(record.name)
        events = [tell(record)] if tell and not finished else []
        await self.ledger.commit(self.storing(record), *events)

    async def _is_allowed(
        self, branch: Branch, record: Record, charge: tuple[str, ...], check: Check | None
    ) -> bool:
        """Whether the quota allows a step, which is charged then; else the record says why not."""
        try:
            if check is not None:
                await check()
            await self.charge(branch, "steps", *charge)
        except QuotaExceeded as exceeded:
            record.status, record.error = "failed", exceeded_error(exceeded)
            return False
        return True

    def _retried(
        self,
        record: Record,
        call: Call,
        charge: tuple[str, ...],
        retry: Retry | None,
        again: Again | None,
    ) -> Awaitable[Done]:
        async def attempt() -> Done:
            return await call(record.key, record.attempt)

        def after(error: Exception) -> bool | float:
            if retry is None or record.attempt >= retry.attempts:
                return False
            pause = isinstance(error, retry.on) and (again is None or again(error))
            if pause is False:
                return False
            try:
                self.meter.charge("steps", *charge)
            except QuotaExceeded:
                return False
            record.attempt += 1
            self.ledger.put(self.storing(record))  # a later run goes on counting
            return pause

        return attempt() if retry is None else persist(attempt, retry, after)

    async def _call(self, record: Record, adapter: TypeAdapter[Any], work: Awaitable[Done]) -> Any:
        """What it gave, as a replay will see it."""
        task = asyncio.current_task()
        began = time.monotonic()
        value = None
        try:
            done = await work
            output = encode(record.name, adapter, done.value)
            value = decode(record.name, adapter, output)
            record.output, record.status = output, "completed"
        except asyncio.CancelledError:
            if task is not None and task.cancelling():
                raise
            error = StepError(
                record.name, "CancelledError", "what it waited for was cancelled", False
            )
            record.error, record.status = encode_error(record.name, error), "failed"
        except (Exception, SystemExit) as error:
            record.error, record.status = encode_error(record.name, error), "failed"
        finally:  # also of what is cut off
            seconds = time.monotonic() - began
            record.duration = int(seconds * SECOND)
        self.runtime.timings.steps[record.kind].observe(seconds)
        return value

    def replay(self, branch: Branch, record: Record, adapter: TypeAdapter[Any]) -> Any:
        """What a step that is over gave, or raised."""
        if record.error is not None:
            raise decode_error(record.error)
        if record.output is None:
            return None  # whatever the declared type: a review has settled for no result
        try:
            return decode(record.name, adapter, record.output)
        except NotEncodable as error:
            text = f"at step {record.key} the journal has {record.kind} '{record.name}', but"
            text += f" {error.message}; bring back the version that the process started with"
            raise branch.suspend(Blocked(DIVERGED, text)) from None

    def snapshot(self, kind: str, name: str, read: Callable[[], Any], form: Any = None) -> Any:
        """What the process has first read under this name, or what `read` gives now where that has
        no JSON form. With `form`, the type of what was stored, it is read once only."""
        key = f"{kind}:{name}"
        branch = current_branch()
        if (suspended := branch.stopped) is not None:
            raise suspended
        found = self.match(branch, key, kind, name)
        live = read() if found is None or form is None else None
        try:
            adapter = adapter_of(cast(Any, form or type(live)))
            if found is not None:
                return self.replay(branch, found, adapter)
            output = encode(name, adapter, live)
            value = decode(name, adapter, output)
        except NotEncodable:
            return live
        if value != live:
            return live
        at = now()
        record = Record(key, kind, checked("name", name, longest=MAX_NAME), "", "completed", at)
        record.output = output
        self.journal.add(record)
        self.ledger.put(self.storing(record))
        return value

    async def ask(self, question: Question) -> str:
        """The answer to a question; suspends until there is one.

        Raises:
            Suspended: the answer is not here yet.
            InterruptExpired: nobody answered in time.
        """
        branch = current_branch()
        return await self.ask_at(branch, branch.next_key(), question)

    async def ask_at(self, branch: Branch, key: str, question: Question) -> str:
        """`ask`, as the step `key`."""
        found = self.match(branch, key, "interrupt", question.kind)
        if found is not None:
            answer: str = self.replay(branch, found, TEXT)
            return answer
        interrupt_id = self.journal.pending(key)
        if interrupt_id is None:
            record = Record(key, "interrupt", question.kind, "", "started", now())
            await self.charge_at(branch, record, "steps")
            interrupt_id = new_id()
            self.ledger.put(self.questions.raising(interrupt_id, key, question))
        raise self._waiting(branch, interrupt_id)

    async def charge(self, branch: Branch, *resources: str) -> None:
        """Take one of each resource from the quota, or none of any.

        Raises:
            Exhausted: a limit is reached, before anything was called.
            Suspended: it is, and the user is asked for more.
        """
        try:
            self.meter.charge(*resources)
        except Exhausted as error:
            if self.meter.quota.on_exhausted == "end":
                raise
            appeal = await self.appeals.for_more(error)
            if appeal is None:
                raise
            raise self._waiting(branch, appeal) from None

    async def charge_at(self, branch: Branch, record: Record, *resources: str) -> None:
        """`charge` for what has no record of its own yet. Raises as it does; a refusal is recorded
        as this one."""
        try:
            await self.charge(branch, *resources)
        except QuotaExceeded as exceeded:
            raise self.refused(record, exceeded) from None

    def refused(self, record: Record, exceeded: QuotaExceeded) -> MissionError:
        """What to raise, now and on every replay: the limit may be another one by then, and the
        orchestrator has gone on without what it was refused."""
        record.status, record.error = "failed", exceeded_error(exceeded)
        self.journal.add(record)
        self.ledger.put(self.storing(record))
        return decode_error(record.error)

    async def count(self, branch: Branch, key: str, kind: str, name: str, resource: str) -> None:
        """Take one of what is recorded only where it is refused. What a replay takes again costs
        nothing. Raises as `charge`."""
        found = self.match(branch, key, kind, name)
        if found is not None:
            self.replay(branch, found, ANY)
        elif self.counts[resource] >= self.meter.own(resource):
            record = Record(key, kind, name, "", "started", now())
            await self.charge_at(branch, record, resource)
        self.counts[resource] += 1

    def _waiting(self, branch: Branch, interrupt_id: str) -> Suspended:
        self.waiting_on.append(interrupt_id)
        return branch.suspend(Suspended("interrupt"))

    def match(self, branch: Branch, key: str, kind: str, name: str) -> Record | None:
        """What an earlier run recorded here. Raises Suspended where it did something else."""
        try:
            return self.journal.match(key, kind, name)
        except Suspended as blocked:
            raise branch.suspend(blocked) from None

    async def _is_retried(self, branch: Branch, doubtful: Record) -> bool:
        """Let a person decide about a risky call whose outcome a crash has hidden."""
        review = in_doubt(doubtful.name, doubtful.key, doubtful.attempt)
        key = f"{doubtful.key}.review{doubtful.attempt}"  # each attempt is asked about anew
        return await self.ask_at(branch, key, review) == "retry"

    def storing(self, record: Record) -> Callable[..., Awaitable[list[NewEvent]]]:
        stored = replace(record)  # as it is now

        async def write(tx: Transaction, _at: Micros) -> list[NewEvent]:
            await store_record(tx, self.owner.pid, stored)
            return []

        return write


def _place(record: Record) -> dict[str, str]:
    return {"step": record.key, "kind": record.kind, "name": record.name}
