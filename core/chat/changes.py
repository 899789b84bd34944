"""The units that change or remove what was said. Each keeps the counters equal to the rows.

They take rows in one order, so that no two of them wait for each other: session, processes,
messages, stream.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from enum import Enum
from typing import Final, Literal

from ..clock import Micros, from_datetime, now
from ..errors import Forbidden, NotFound
from ..events.event import NewEvent
from ..identity import Caller
from ..storage.persistence import Row, Transaction
from .records import Message, Session
from .rows import MESSAGES, message_from
from .search.blocks import note_edit, note_removal, note_removal_of_session
from .units import ACTIVE, ChatUnits

EndProcesses = Callable[[Transaction, int, Micros], Awaitable[list[NewEvent]]]
"""Inside the unit that removes a session: ends what works in it, and gives the events of that."""


class Keep(Enum):
    """Says of a value that may be None that it stays as it is."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP
Kept = Literal[Keep.KEEP]


class Changes:
    """Writes for one caller at a time; another's session or message does not exist.

    The events name no process: what has ended is told no more of.
    """

    def __init__(self, units: ChatUnits) -> None:
        self._units = units
        self.end_processes: EndProcesses = _end_nothing

    async def update_session(
        self,
        tx: Transaction,
        caller: Caller,
        public_id: str,
        title: str | None,
        archived_at: datetime | Kept | None,
    ) -> Session:
        at = now()
        changed, values = f"title = COALESCE(?, title), {ACTIVE}", [title, at, at]
        if archived_at is not KEEP:
            changed += ", archived_at = ?"
            values.append(None if archived_at is None else from_datetime(archived_at))
        await tx.execute(
            f"UPDATE session SET {changed} WHERE user_id = ? AND public_id = ?",  # noqa: S608
            (*values, caller.user_id, public_id),
        )
        session = await self._units.find_session(tx, caller, public_id)
        if session is None:
            raise NotFound("session", public_id)
        event = NewEvent("chat.session.updated", {"session": session.as_json()})
        await self._units.append(tx, session.id, caller, at, event)
        return session

    async def delete_session(self, tx: Transaction, caller: Caller, public_id: str) -> None:
        """Deletes softly: it can still be read by its id, and undone by nobody."""
        at = now()
        session = await self._units.find_session(tx, caller, public_id)
        if session is None:
            raise NotFound("session", public_id)
        changed = await tx.execute(
            "UPDATE session SET deleted_at = ?, message_count = 0"
            " WHERE id = ? AND deleted_at IS NULL",
            (at, session.id),
        )
        if not changed:
            return
        await tx.execute(
            "UPDATE message SET deleted_at = ? WHERE session_id = ? AND deleted_at IS NULL",
            (at, session.id),
        )
        deleted = NewEvent("chat.session.deleted", {"session_id": public_id, "soft": True})
        await self._units.append(tx, session.id, caller, at, deleted)

    async def remove_session(self, tx: Transaction, caller: Caller, public_id: str) -> None:
        """Removes all of it. Its stream stays, holding no more than how it ended."""
        at = now()
        session = await self._units.find_session(tx, caller, public_id)
        if session is None:
            raise NotFound("session", public_id)
        await _take(tx, session.id)
        events = await self.end_processes(tx, session.id, at)
        await note_removal_of_session(tx, caller.user_id, session.id)
        if not await tx.execute("DELETE FROM session WHERE id = ?", (session.id,)):
            raise NotFound("session", public_id)
        await tx.execute("DELETE FROM event WHERE stream_id = ?", (session.id,))
        await tx.execute("UPDATE stream SET first_seq = last_seq + 1 WHERE id = ?", (session.id,))
        deleted = NewEvent("chat.session.deleted", {"session_id": public_id, "soft": False})
        await self._units.append(tx, session.id, caller, at, *events, deleted)

    async def edit_message(
        self, tx: Transaction, caller: Caller, message_id: int, content: str
    ) -> Message:
        at = now()
        row = await _find_message(tx, caller, message_id)
        if row["deleted_at"] is not None:
            raise NotFound("message", str(message_id))
        if row["role"] != "user":
            raise Forbidden("Only user messages can be edited")
        changed = await tx.execute(
            "UPDATE message SET content = ?, edited_at = ?,"
            " original_content = COALESCE(original_content, content)"
            " WHERE id = ? AND deleted_at IS NULL",
            (content, at, message_id),
        )
        if not changed:
            raise NotFound("message", str(message_id))
        await note_edit(tx, caller.user_id, message_id)
        message = message_from(await _find_message(tx, caller, message_id))
        payload = {"message_id": message_id, "message": message.as_json()}
        event = NewEvent("chat.message.edited", payload)
        await self._units.append(tx, row["session_id"], caller, at, event)
        return message

    async def delete_message(
        self, tx: Transaction, caller: Caller, message_id: int, soft: bool
    ) -> None:
        at = now()
        row = await _find_message(tx, caller, message_id)
        session = row["session_id"]
        await _take(tx, session)
        hidden = await tx.execute(
            "UPDATE message SET deleted_at = ? WHERE id = ? AND deleted_at IS NULL",
            (at, message_id),
        )
        if hidden:
            await tx.execute(
                "UPDATE session SET message_count = message_count - 1 WHERE id = ?", (session,)
            )
        if soft and not hidden:
            return
        if not soft:
            await note_removal(tx, caller.user_id, message_id)
            if not await tx.execute("DELETE FROM message WHERE id = ?", (message_id,)):
                raise NotFound("message", str(message_id))
        payload = {"message_id": message_id, "soft": soft}
        event = NewEvent("chat.message.deleted", payload)
        await self._units.append(tx, session, caller, at, event)


async def _take(tx: Transaction, session: int) -> None:
    """Lock the session's row: nobody speaks in it, or counts, until this unit is over."""
    await tx.execute("UPDATE session SET message_count = message_count WHERE id = ?", (session,))


async def _find_message(tx: Transaction, caller: Caller, message_id: int) -> Row:
    row = await tx.fetch_one(
        MESSAGES + " WHERE m.id = ? AND s.user_id = ?", (message_id, caller.user_id)
    )
    if row is None:
        raise NotFound("message", str(message_id))
    return row


async def _end_nothing(_tx: Transaction, _session: int, _at: Micros) -> list[NewEvent]:
    return []
