"""The pieces of units that other rooms write sessions and messages with."""

from __future__ import annotations

import orjson

from ..clock import Micros, to_datetime
from ..errors import NotFound
from ..events.event import NewEvent
from ..events.log import EventLog
from ..identity import Caller
from ..storage.persistence import Persistence, Row, Transaction
from .records import Role, Session
from .rows import SESSIONS, session_from

ACTIVE = "last_activity = CASE WHEN last_activity > ? THEN last_activity ELSE ? END"
"""Takes the time twice. Units that run at once need not end in the order of their times, and a
clock may be set back: the latest time counts."""


class ChatUnits:
    """Each method runs inside a unit, which appends the events that it gives."""

    def __init__(self, persistence: Persistence, log: EventLog) -> None:
        self._persistence = persistence
        self._log = log

    async def find_session(self, tx: Transaction, caller: Caller, public_id: str) -> Session | None:
        """The caller's session, deleted or not."""
        row: Row | None = await tx.fetch_one(
            SESSIONS + " WHERE s.user_id = ? AND s.public_id = ?", (caller.user_id, public_id)
        )
        return session_from(row) if row is not None else None

    async def insert_session(
        self,
        tx: Transaction,
        caller: Caller,
        public_id: str,
        title: str | None,
        capability: str | None,
        at: Micros,
        *,
        messages: int = 0,
    ) -> tuple[Session, NewEvent]:
        """A session and its stream. `messages`: how many are `counted` already."""
        stream = await self._log.open_stream(tx)
        await tx.execute(
            "INSERT INTO session (id, public_id, user_id, title, capability, message_count,"
            " created_at, last_activity) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (stream, public_id, caller.user_id, title, capability, messages, at, at),
        )
        session = Session(
            id=stream,
            session_id=public_id,
            user_id=caller.user_id,
            title=title,
            capability=capability,
            message_count=0,
            created_at=to_datetime(at),
            last_activity=to_datetime(at),
        )
        return session, NewEvent("chat.session.created", {"session": session.as_json()})

    async def insert_message(
        self,
        tx: Transaction,
        session: int,
        pid: str | None,
        role: Role,
        content: str,
        at: Micros,
        data: dict[str, object] | None = None,
        *,
        counted: bool = False,
    ) -> tuple[int, NewEvent]:
        """A message, and its session's counter, unless it is `counted` since this unit has
        inserted the session.

        What a run still says in a session that was deleted meanwhile is stored as deleted too.

        Raises:
            NotFound: a user speaks in a session that is gone, or was deleted.
        """
        changed = counted or await tx.execute(
            f"UPDATE session SET message_count = message_count + 1, {ACTIVE}"  # noqa: S608
            " WHERE id = ? AND deleted_at IS NULL",
            (at, at, session),
        )
        if not changed and role == "user":
            row = await tx.fetch_one("SELECT public_id FROM session WHERE id = ?", (session,))
            raise NotFound("session", row[0] if row else str(session))
        encoded = orjson.dumps(data).decode() if data else None
        message_id = await tx.insert(
            "INSERT INTO message (session_id, pid, role, content, data, created_at, deleted_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (session, pid, role, content, encoded, at, None if changed else at),
        )
        payload = {"message_id": message_id, "role": role, "content": content}
        return message_id, NewEvent("chat.message.created", payload, pid)

    async def append(
        self, tx: Transaction, session: int, caller: Caller, at: Micros, *events: NewEvent
    ) -> int:
        """At the end of a unit: what it tells. The number of the session's newest event."""
        return await self._log.append(tx, session, caller.user_id, events, at)
