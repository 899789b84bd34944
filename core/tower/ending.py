"""The last unit of a run: its outcome, or what it waits for."""

from __future__ import annotations

from typing import Any

from ..capabilities import Reply
from ..chat.service import ChatService
from ..chat.text import storable
from ..clock import Micros, to_datetime
from ..events.event import NewEvent
from ..storage.persistence import Transaction
from .alarms import WOKEN, forget_alarm, set_alarm
from .children import (
    Aftermath,
    awaited,
    cancel_below,
    insert_children,
    settle,
    store_result,
)
from .effects import Run
from .interrupt_store import (
    close_interrupts,
    open_ids,
    open_questions,
    shown_above,
    turned_to,
)
from .ledger import Ledger
from .process import CHILD, DIVERGED, SLEEPING, Outcome, ProcessControlBlock, ProcessState
from .questions import Questions
from .store import moved, save_state, stuck_below


class Ending:
    """The last unit of a run: what it writes, and the process as it is afterwards."""

    def __init__(
        self,
        process: ProcessControlBlock,
        chat: ChatService,
        stream: int,
        ledger: Ledger,
        questions: Questions,
    ) -> None:
        self.process = process
        self._before = process
        self._chat = chat
        self._stream = stream
        self._ledger = ledger
        self._questions = questions
        self._reply: Reply | None = None
        self._outcome: Outcome | None = None
        self._state = ProcessState.TERMINATED
        self._reason: str | None = None
        self._error: str | None = None
        self._run: Run | None = None
        self.aftermath = Aftermath()

    def completed(self, reply: Reply) -> Ending:
        self._outcome, self._reply = Outcome.COMPLETED, reply
        return self

    def failed(self, reason: str, error: str) -> Ending:
        # Both may be an orchestrator's own words.
        self._outcome, self._reason, self._error = Outcome.FAILED, storable(reason), storable(error)
        return self

    def blocked(self, reason: str, explanation: str) -> Ending:
        self._state, self._reason, self._error = ProcessState.BLOCKED, reason, explanation
        return self

    def suspended(self, run: Run) -> Ending:
        """Until a question is answered, a child has ended, or it is time to wake up."""
        self._run = run
        return self

    def parked(self, reason: str) -> Ending:
        self._state, self._reason = ProcessState.READY, reason
        return self

    @property
    def ends_others(self) -> bool:
        """Whether what this process has spawned, and still runs, is ended with it."""
        return self._outcome is not None and self._before.epoch > 1

    async def write(self, tx: Transaction, at: Micros) -> list[NewEvent]:
        events: list[NewEvent] = []
        changes: dict[str, Any] = {"error": self._error, "stage": self._ledger.stage}
        state, why = self._state, self._reason
        self.aftermath = Aftermath()
        result: str | None = None
        turned: dict[str, Any] = {}
        if self._reply is not None and self._before.depth:
            result = await store_result(tx, self._before.pid, self._reply)
            changes["reply"] = self._reply.text
        elif self._reply is not None:
            message_id, said = await self._chat.insert_message(
                tx,
                self._stream,
                self._before.pid,
                "assistant",
                self._reply.text,
                at,
                self._reply.data,
            )
            changes |= {"reply": self._reply.text, "reply_message_id": message_id}
            events.append(said)
        if self._run is not None:
            self.aftermath.ready, told = await self._spawn(tx, self._run, at)
            events += told
            state, why = await _stopped_at(tx, self._run, at)
            await self._set_alarm(tx, self._run, state)
            found = await open_questions(tx, [self._before.pid])
            changes["interrupts"] = found.get(self._before.pid, ())
        elif why == DIVERGED:  # kept: somebody brings the version back, or ends the process
            await tx.execute(
                "UPDATE process SET divergences = divergences + 1 WHERE pid = ? AND epoch = ?",
                (self._before.pid, self._before.epoch),
            )
        elif state is ProcessState.TERMINATED:
            changes |= {"outcome": self._outcome, "completed_at": to_datetime(at)}
            told, turned = await self._close(tx, at)
            events += told
        stored = None if state is ProcessState.READY else why
        process, changed = moved(self._before, state, why, **changes)
        self.process = process.changed(reason=stored)
        await save_state(tx, self.process, self._before.state, self._before.epoch)
        if self.process.awaits_child:
            stuck = await stuck_below(tx, [process.pid])
            self.process = self.process.changed(error=stuck.get(process.pid))
        events.append(changed)
        events.extend(self._story(turned))
        if state is ProcessState.TERMINATED:
            parent, told = await settle(tx, self.process, result, at)
            self.aftermath.ready = [parent] if parent else []
            events += told
        return events

    async def _spawn(
        self, tx: Transaction, run: Run, at: Micros
    ) -> tuple[list[ProcessControlBlock], list[NewEvent]]:
        if not run.spawning:
            return [], []
        parent, default, new = self._before, run.runtime.settings.quota, run.spawning
        keeps = bool(run.waiting_on or run.wakes)  # what may take it up again meanwhile
        return await insert_children(
            tx, parent, self._stream, run.runtime.provider_of, new, default, at, keeps=keeps
        )

    async def _close(self, tx: Transaction, at: Micros) -> tuple[list[NewEvent], dict[str, Any]]:
        """What this process leaves open ends with it; gives what is told of that, and what the
        event of its own end says of it."""
        pid, again, events = self._before.pid, self._before.epoch > 1, list[NewEvent]()
        if not again and not self._questions.raised:
            return events, {}
        shown = await shown_above(tx, self._before)
        await close_interrupts(tx, pid, at)
        if again:  # in its first run a process has spawned nothing yet
            self.aftermath.ended, events = await cancel_below(tx, pid, at)
        return events, await turned_to(tx, pid, shown)

    async def _set_alarm(self, tx: Transaction, run: Run, state: ProcessState) -> None:
        if run.wakes and state is not ProcessState.READY:
            wake_at = min(run.wakes)
            await set_alarm(tx, self._before.pid, wake_at)
            tx.after_commit(lambda: run.asleep(wake_at))
        elif self._before.epoch > 1:
            await forget_alarm(tx, self._before.pid)

    def _story(self, turned: dict[str, Any]) -> list[NewEvent]:
        pid, payload = self._before.pid, {**self._before.names, **turned}
        if self._outcome is Outcome.COMPLETED:
            payload["message_id"] = self.process.reply_message_id
            return [NewEvent("process.completed", payload, pid)]
        if self._outcome is Outcome.FAILED:
            payload |= {"reason": self._reason, "error": self._error}
            return [NewEvent("process.failed", payload, pid)]
        return []


async def _stopped_at(tx: Transaction, run: Run, at: Micros) -> tuple[ProcessState, str | None]:
    """The state of a process whose run stops at questions, children and sleeps."""
    pid = run.process.pid
    if run.wakes and min(run.wakes) <= at:
        return ProcessState.READY, WOKEN
    if run.waiting_on and not await open_ids(tx, pid) >= set(run.waiting_on):
        return ProcessState.READY, "answered"  # while another branch was still running
    if run.awaiting and not await awaited(tx, pid) >= set(run.awaiting):
        return ProcessState.READY, "child_ended"
    if run.waiting_on:
        return ProcessState.WAITING, None
    return ProcessState.BLOCKED, CHILD if run.awaiting else SLEEPING
