"""Ends interrupts: by an answer, exactly once, or because nobody gave one in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from ..chat.service import ChatService
from ..clock import Micros, from_datetime, now
from ..errors import Conflict
from ..events.event import NewEvent
from ..events.log import EventLog
from ..storage.persistence import Persistence, Transaction
from .appeals import PREFIX, extended
from .codec import expired_error
from .interrupt_store import shown_beside
from .interrupts import accept
from .journal import Record, store_record
from .process import (
    ANSWERABLE,
    ASKED_AS_TEXT,
    Interrupt,
    InterruptStatus,
    ProcessControlBlock,
    ProcessState,
)
from .store import find_in_unit, moved, save_quota, save_state

NEVER: Micros = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Resolved:
    """The process after one of its questions has ended. `wakes`: this made it ready, so it is to
    be put in line; otherwise it still runs, or another answer has done so before."""

    process: ProcessControlBlock
    wakes: bool


class Resolver:
    """Writes the outcome of a question as the step that asked it, and wakes the process."""

    def __init__(self, persistence: Persistence, chat: ChatService, events: EventLog) -> None:
        self._persistence = persistence
        self._chat = chat
        self._events = events

    async def answer(self, interrupt: Interrupt, text: str) -> Resolved:
        """Accept an answer.

        Raises:
            Conflict: answered before, expired, or its process has ended.
            InvalidInput: not an answer to this question, which stays open.
        """
        if interrupt.status is not InterruptStatus.PENDING:
            raise _closed(interrupt.status)
        answer = accept(interrupt.kind, interrupt.options, text)
        output = orjson.dumps(answer).decode()
        status = InterruptStatus.RESOLVED
        resolved = await self._persistence.write(
            lambda tx: self._resolve(tx, interrupt, status, answer, output, None)
        )
        if resolved is None:
            row = await self._persistence.fetch_one(
                "SELECT status FROM interrupt WHERE id = ?", (interrupt.id,)
            )
            raise _closed(row["status"] if row else InterruptStatus.CANCELLED)
        return resolved

    async def expire(self, interrupt: Interrupt) -> Resolved | None:
        """End a question unanswered; None when it has ended meanwhile."""
        error = expired_error(interrupt.question)
        return await self._persistence.write(
            lambda tx: self._resolve(tx, interrupt, InterruptStatus.EXPIRED, None, None, error)
        )

    async def _resolve(
        self,
        tx: Transaction,
        interrupt: Interrupt,
        status: InterruptStatus,
        answer: str | None,
        output: str | None,
        error: str | None,
    ) -> Resolved | None:
        at = now()
        in_time = status is InterruptStatus.RESOLVED
        found = await find_in_unit(tx, interrupt.pid)
        asked = await tx.fetch_one(
            "UPDATE interrupt SET status = ?, answer = ?, resolved_at = ?"
            " WHERE id = ? AND status = 'pending' AND (COALESCE(expires_at, ?) > ?) = ?"
            " RETURNING key",
            (status, answer, at, interrupt.id, NEVER, at, in_time),
        )
        if asked is None or found is None:
            return None
        process, row = found
        if not asked["key"].startswith(PREFIX):
            record = _record(interrupt, asked["key"], output, error, at)
            await store_record(tx, interrupt.pid, record)
        elif answer == "extend" and interrupt.data is not None:
            process = process.changed(quota=extended(process.quota, interrupt.data))
            await save_quota(tx, process)
        payload: dict[str, Any] = {
            "interrupt_id": interrupt.id,
            "kind": interrupt.kind,
            "question": interrupt.question,
        }
        if answer is not None:
            payload["answer"] = answer
        if interrupt.kind in ANSWERABLE and (left := await shown_beside(tx, interrupt.pid)):
            payload["next"] = left.as_json()
        events = [NewEvent(f"interrupt.{status}", payload, interrupt.pid)]
        if answer is not None and interrupt.kind in ASKED_AS_TEXT:
            _, said = await self._chat.insert_message(
                tx, row["session_id"], interrupt.pid, "user", answer, at
            )
            events.insert(0, said)
        wakes = process.state is ProcessState.WAITING
        if wakes:
            before = process
            process, ready = moved(before, ProcessState.READY, str(status))
            await save_state(tx, process, before.state, before.epoch)
            events.append(ready)
        await self._events.append(tx, row["session_id"], process.user_id, events, at)
        return Resolved(process, wakes)


def _record(
    interrupt: Interrupt, key: str, output: str | None, error: str | None, at: Micros
) -> Record:
    asked = from_datetime(interrupt.created_at)
    return Record(
        key=key,
        kind="interrupt",
        name=interrupt.kind,
        digest="",
        status="completed" if error is None else "failed",
        created_at=asked,
        output=output,
        error=error,
        duration=at - asked,
    )


def _closed(status: str) -> Conflict:
    """Why a question takes no answer; one that is still pending has only just run out of time."""
    if status == InterruptStatus.RESOLVED:
        return Conflict("the question was answered before")
    if status == InterruptStatus.CANCELLED:
        return Conflict("the question was cancelled: its process has ended")
    return Conflict("the question has expired")
