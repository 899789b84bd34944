"""How a question is raised: the row, the message that shows it and the event that tells of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import orjson

from ..chat.service import ChatService
from ..clock import Micros, maybe_datetime
from ..events.event import NewEvent
from ..storage.persistence import Transaction
from .interrupt_store import shown_beside
from .interrupts import OPTIONS, Question
from .ledger import Owner
from .process import ANSWERABLE

Notice = Callable[[Micros], None]
"""Hears, once a question is durable, when it expires."""


class Questions:
    """Raises the questions of one run."""

    def __init__(self, owner: Owner, chat: ChatService, notice: Notice) -> None:
        self._owner = owner
        self._chat = chat
        self._notice = notice
        self.raised = False

    def raising(
        self, interrupt_id: str, key: str, question: Question
    ) -> Callable[[Transaction, Micros], Awaitable[list[NewEvent]]]:
        """Part of a unit: asks `question` at the step `key`."""
        owner, kind = self._owner, question.kind
        options = question.options or OPTIONS.get(kind, ())
        data = None if question.data is None else orjson.dumps(question.data).decode()

        self.raised = True

        async def write(tx: Transaction, at: Micros) -> list[NewEvent]:
            expires_at = question.expires_at(at)
            await tx.execute(
                "INSERT INTO interrupt (id, process_id, session_id, user_id, key, kind, status,"
                " question, options, data, created_at, expires_at)"
                " VALUES (?, ?, ?, ?, ?, ?, 'pending', ?, ?, ?, ?, ?)",
                (
                    interrupt_id,
                    owner.pid,
                    owner.stream,
                    owner.user_id,
                    key,
                    kind,
                    question.text,
                    orjson.dumps(options).decode(),
                    data,
                    at,
                    expires_at,
                ),
            )
            shown: dict[str, object] = {"interrupt_id": interrupt_id, "kind": kind}
            message_id, said = await self._chat.insert_message(
                tx, owner.stream, owner.pid, "assistant", question.text, at, shown
            )
            if expires_at is not None:
                tx.after_commit(lambda: self._notice(expires_at))
            payload: dict[str, object] = {
                "interrupt_id": interrupt_id,
                "kind": kind,
                "question": question.text,
                "options": list(options),
                "data": question.data,
                "message_id": message_id,
                "expires_at": maybe_datetime(expires_at),
            }
            first = await shown_beside(tx, owner.pid) if kind in ANSWERABLE else None
            if first is not None and first.id != interrupt_id:
                payload["behind"] = first.id
            return [said, NewEvent("interrupt.raised", payload, owner.pid, interrupt_id)]

        return write
