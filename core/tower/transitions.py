"""The units that move a process: submitted, claimed for a run, cancelled, recovered."""

from __future__ import annotations

from collections.abc import Callable

import orjson

from ..capabilities import OnBusy
from ..chat.records import Session
from ..chat.service import ChatService
from ..clock import Micros, now, to_datetime
from ..errors import Busy, Conflict, NotFound
from ..events.event import NewEvent
from ..events.log import EventLog
from ..runtime import MissionRuntime
from ..storage.persistence import Transaction
from .children import Aftermath, billed_to, cancel_below, cancel_one, fail_one, settle
from .interrupt_store import shown_above
from .process import CRASHED, Envelope, ProcessControlBlock, ProcessState, SchedulingPriority
from .runner import Start
from .shares import lent_by
from .store import find_in_unit, insert_process, moved, save_state, unfinished_in_unit

SUPERSEDED = "superseded"


class Transitions:
    """Each method is one unit: the change, and the events that tell of it."""

    def __init__(self, runtime: MissionRuntime, chat: ChatService, events: EventLog) -> None:
        self._persistence = runtime.persistence
        self._provider_of = runtime.provider_of
        self._max_restarts = runtime.settings.max_restarts
        self._chat = chat
        self._events = events

    async def submit(
        self,
        tx: Transaction,
        envelope: Envelope,
        process: ProcessControlBlock,
        session: Session | None,
        at_once: bool,
        on_busy: OnBusy,
    ) -> tuple[Start, list[ProcessControlBlock]]:
        """The message, the process and their events; and the processes that it has ended.

        `session` None creates the session.
        """
        at = now()
        caller = envelope.caller
        await _refuse_known_request(tx, envelope)
        events: list[NewEvent] = []
        if session is None and envelope.session_id is not None:  # maybe created meanwhile
            session = await self._chat.find_session(tx, caller, process.session_id)
        new = session is None
        if session is None:
            session, opened = await self._chat.insert_session(
                tx, caller, process.session_id, None, envelope.capability, at, messages=1
            )
            events.append(opened)
        try:
            message_id, said = await self._chat.insert_message(
                tx, session.id, process.pid, "user", envelope.message, at, counted=new
            )
        except NotFound:
            raise NotFound("session", process.session_id) from None
        # Only now: the message has locked the session, so that of two senders one sees the other.
        ended: list[ProcessControlBlock] = []
        if on_busy == "reject":
            await _refuse_if_busy(tx, session.id)
        elif on_busy == "cancel_previous":
            ended = await self.end_all(tx, session.id, SUPERSEDED, events, at)
        process = process.changed(message_id=message_id, created_at=to_datetime(at))
        process, ready = moved(process, ProcessState.READY)
        created = {
            "capability": process.capability,
            "priority": process.priority,
            "request_id": process.request_id,
            "message_id": message_id,
        }
        events += [said, NewEvent("process.created", created, process.pid), ready]
        if at_once:
            process, running = moved(
                process, ProcessState.RUNNING, epoch=1, started_at=to_datetime(at)
            )
            events.append(running)
        input = {"context": envelope.context, "provider": self._provider_of(process.capability)}
        await insert_process(tx, process, session.id, input, at)
        await self._events.append(tx, session.id, caller.user_id, events, at)
        return Start(process, session.id, input), ended

    async def claim(self, pid: str) -> Start | None:
        """A ready process becomes running, in its next epoch; None when it is ready no more."""
        return await self._persistence.write(lambda tx: self._claim(tx, pid))

    async def cancel(self, pid: str, reason: str) -> tuple[ProcessControlBlock, Aftermath]:
        """The process is ended, whatever it was doing, and with it all that it has spawned.

        Raises:
            NotFound, Conflict: it is gone, or has ended already.
        """
        return await self._persistence.write(lambda tx: self._cancel(tx, pid, reason))

    async def cut_off(self, run: ProcessControlBlock, reason: str, error: str) -> Aftermath:
        """The process has failed, though this run of it goes on; nothing where it is not the
        process's any more."""
        return await self._persistence.write(lambda tx: self._cut_off(tx, run, reason, error))

    async def prioritise(
        self, pid: str, priority: SchedulingPriority, stored: Callable[[], None]
    ) -> ProcessControlBlock:
        """The process has another priority; `stored` is called in the order of the commits.

        Raises:
            NotFound, Conflict: it is gone, or not in line.
        """
        return await self._persistence.write(lambda tx: self._prioritise(tx, pid, priority, stored))

    async def recover(self, pid: str, reason: str) -> ProcessControlBlock | None:
        """A process whose run was lost, with its server or for another `reason`, is ready again.

        Gives the process, which is left alone unless it was running.
        """
        return await self._persistence.write(lambda tx: self._recover(tx, pid, reason))

    async def restart(self, pid: str) -> None:
        """A process that an earlier server died under is ready again; blocked where that has
        happened `max_restarts` times without a new step, for it may be what the servers die of."""
        await self._persistence.write(lambda tx: self._restart(tx, pid))

    async def unblock(self, pid: str, reason: str) -> ProcessControlBlock | None:
        """A process whose capability is to be tried again is ready; None when it is not blocked
        for want of one any more."""
        return await self._persistence.write(lambda tx: self._unblock(tx, pid, reason))

    async def _claim(self, tx: Transaction, pid: str) -> Start | None:
        found = await find_in_unit(tx, pid)
        if found is None or found[0].state is not ProcessState.READY:
            return None
        (before, row), at = found, now()
        process, changed = moved(
            before,
            ProcessState.RUNNING,
            epoch=before.epoch + 1,
            started_at=before.started_at or to_datetime(at),
            reason=None,
            error=None,
        )
        await save_state(tx, process, before.state, before.epoch)
        await self._events.append(tx, row["session_id"], before.user_id, [changed], at)
        billed = await billed_to(tx, pid)
        lent = await lent_by(tx, pid)
        return Start(process, row["session_id"], orjson.loads(row["input"]), billed, lent)

    async def _cancel(
        self, tx: Transaction, pid: str, reason: str
    ) -> tuple[ProcessControlBlock, Aftermath]:
        found = await find_in_unit(tx, pid)
        if found is None:
            raise NotFound("process", pid)
        (before, row), at = found, now()
        if before.state in (ProcessState.TERMINATED, ProcessState.ZOMBIE):
            raise Conflict(f"process {pid} has ended already ({before.outcome})")
        shown = await shown_above(tx, before)
        below, events = await cancel_below(tx, pid, at)
        process, ended = await cancel_one(tx, before, reason, at, shown)
        parent, woken = await settle(tx, process, None, at)
        events += ended + woken
        await self._events.append(tx, row["session_id"], before.user_id, events, at)
        return process, Aftermath([parent] if parent else [], [*below, process])

    async def _cut_off(
        self, tx: Transaction, run: ProcessControlBlock, reason: str, error: str
    ) -> Aftermath:
        found = await find_in_unit(tx, run.pid)
        if found is None:
            return Aftermath()
        (before, row), at = found, now()
        if (before.state, before.epoch) != (ProcessState.RUNNING, run.epoch):
            return Aftermath()
        shown = await shown_above(tx, before)
        below, events = await cancel_below(tx, run.pid, at)
        process, ended = await fail_one(tx, before, reason, error, at, shown)
        parent, woken = await settle(tx, process, None, at)
        events += ended + woken
        await self._events.append(tx, row["session_id"], before.user_id, events, at)
        return Aftermath([parent] if parent else [], [*below, process])

    async def end_all(
        self, tx: Transaction, session: int, reason: str, events: list[NewEvent], at: Micros
    ) -> list[ProcessControlBlock]:
        """Whatever the session has not finished, ended; its `events` to be appended."""
        ended = []
        for before in await unfinished_in_unit(tx, session):
            below, told = await cancel_below(tx, before.pid, at)
            events += told
            process, told = await cancel_one(tx, before, reason, at)
            events += told
            ended += [*below, process]
        return ended

    async def _prioritise(
        self,
        tx: Transaction,
        pid: str,
        priority: SchedulingPriority,
        stored: Callable[[], None],
    ) -> ProcessControlBlock:
        found = await find_in_unit(tx, pid)
        if found is None:
            raise NotFound("process", pid)
        before, row = found
        changed = await tx.execute(
            "UPDATE process SET priority = ? WHERE pid = ? AND state = 'ready'", (priority, pid)
        )
        if not changed:
            raise Conflict(
                f"process {pid} is {before.state}: only one in line has a place to change"
            )
        if priority is not before.priority:
            payload = {"from": before.priority, "to": priority}
            event = NewEvent("process.priority_changed", payload, pid)
            await self._events.append(tx, row["session_id"], before.user_id, [event], now())
        tx.after_commit(stored)
        return before.changed(priority=priority)

    async def _recover(self, tx: Transaction, pid: str, reason: str) -> ProcessControlBlock | None:
        found = await find_in_unit(tx, pid)
        if found is None or found[0].state is not ProcessState.RUNNING:
            return found[0] if found else None
        before, row = found
        process, changed = moved(before, ProcessState.READY, reason)
        await save_state(tx, process, before.state, before.epoch)
        await self._events.append(tx, row["session_id"], before.user_id, [changed], now())
        return process

    async def _restart(self, tx: Transaction, pid: str) -> None:
        found = await find_in_unit(tx, pid)
        if found is None or found[0].state is not ProcessState.RUNNING:
            return
        before, row = found
        steps = await tx.fetch_one(
            "SELECT COUNT(*) FROM step WHERE process_id = ? AND status <> 'started'", (pid,)
        )
        done = steps[0] if steps else 0
        restarts = 1 + (row["restarts"] if row["restarted_at"] == done else 0)
        if restarts > self._max_restarts:
            process, changed = moved(
                before,
                ProcessState.BLOCKED,
                CRASHED,
                error=f"the server has died under this process {restarts} times in a row; resume it"
                " to try once more, or cancel it",
            )
            process = process.changed(reason=CRASHED)
        else:
            process, changed = moved(before, ProcessState.READY, "server_stopped")
        await save_state(tx, process, before.state, before.epoch)
        await tx.execute(
            "UPDATE process SET restarts = ?, restarted_at = ? WHERE pid = ?", (restarts, done, pid)
        )
        await self._events.append(tx, row["session_id"], before.user_id, [changed], now())

    async def _unblock(self, tx: Transaction, pid: str, reason: str) -> ProcessControlBlock | None:
        found = await find_in_unit(tx, pid)
        if found is None or not found[0].is_retriable:
            return None
        before, row = found
        process, changed = moved(before, ProcessState.READY, reason, error=None)
        process = process.changed(reason=None)
        await save_state(tx, process, before.state, before.epoch)
        await self._events.append(tx, row["session_id"], before.user_id, [changed], now())
        return process


async def _refuse_if_busy(tx: Transaction, session: int) -> None:
    row = await tx.fetch_one(
        "SELECT 1 FROM process WHERE session_id = ? AND state IN ('ready', 'running') LIMIT 1",
        (session,),
    )
    if row is not None:
        raise Busy("this session is at work on an earlier message; try again when it is done", 1.0)


async def _refuse_known_request(tx: Transaction, envelope: Envelope) -> None:
    if envelope.request_id is None:
        return
    known = await tx.fetch_one(
        "SELECT 1 FROM process WHERE user_id = ?"
        " AND (request_id = ? OR (pid = ? AND request_id IS NULL))",
        (envelope.caller.user_id, envelope.request_id, envelope.request_id),
    )
    if known is not None:
        raise Conflict(f"request id '{envelope.request_id}' is in use; choose another")
