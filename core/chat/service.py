"""Sessions and messages, for one caller at a time."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace

import orjson

from ..clock import Micros, maybe_datetime, now, to_datetime
from ..errors import NotFound
from ..events.event import NewEvent
from ..events.log import EventLog
from ..identity import Caller
from ..storage.persistence import Persistence, Row, Transaction
from .paging import BIGGEST, decode_cursor, limited, page
from .records import Message, Page, Role, Session
from .text import MAX_ID, MAX_TITLE, checked

_SESSIONS = "SELECT s.*, t.last_seq FROM session s JOIN stream t ON t.id = s.id"


class ChatService:
    """Every method sees the caller's own data only; the rest does not exist."""

    def __init__(self, persistence: Persistence, log: EventLog) -> None:
        self._persistence = persistence
        self._log = log

    async def create_session(
        self, caller: Caller, *, title: str | None = None, capability: str | None = None
    ) -> Session:
        """A new, empty session. `capability` answers its messages unless they name another."""
        if title is not None:
            checked("title", title, longest=MAX_TITLE, shortest=0)
        if capability is not None:
            checked("capability", capability, longest=MAX_ID)
        public_id = str(uuid.uuid4())

        async def unit(tx: Transaction) -> Session:
            at = now()
            session = await self.insert_session(tx, caller, public_id, title, capability, at)
            created = NewEvent("chat.session.created", {"title": title})
            last_seq = await self._log.append(tx, session.id, caller.user_id, [created], at)
            return replace(session, last_seq=last_seq)

        return await self._persistence.write(unit)

    async def get_session(self, caller: Caller, session_id: str) -> Session:
        row = await self._persistence.fetch_one(
            _SESSIONS + " WHERE s.user_id = ? AND s.public_id = ?",
            (caller.user_id, session_id),
        )
        if row is None:
            raise NotFound("session", session_id)
        return session_from(row)

    async def list_sessions(
        self, caller: Caller, *, first: int = 50, after: str | None = None
    ) -> Page[Session]:
        """Undeleted sessions, the one last active first."""
        active, number = decode_cursor(after, int, int) if after is not None else (BIGGEST, BIGGEST)
        rows = await self._persistence.fetch_all(
            _SESSIONS + " WHERE s.user_id = ? AND s.deleted_at IS NULL"
            " AND (s.last_activity, s.id) < (?, ?)"
            " ORDER BY s.last_activity DESC, s.id DESC LIMIT ?",
            (caller.user_id, active, number, limited(first)),
        )
        return page(rows, first, session_from, lambda row: (row["last_activity"], row["id"]))

    async def list_messages(
        self, caller: Caller, session_id: str, *, first: int = 100, after: str | None = None
    ) -> Page[Message]:
        """A session's undeleted messages, oldest first."""
        session = await self.get_session(caller, session_id)
        (number,) = decode_cursor(after, int) if after is not None else (0,)
        rows = await self._persistence.fetch_all(
            "SELECT m.*, ? AS public_id FROM message m WHERE m.session_id = ? AND m.id > ?"
            " AND m.deleted_at IS NULL ORDER BY m.id LIMIT ?",
            (session_id, session.id, number, limited(first)),
        )
        return page(rows, first, message_from, lambda row: (row["id"],))

    async def get_message(self, caller: Caller, message_id: int) -> Message:
        row = None
        if 0 < message_id <= BIGGEST:
            row = await self._persistence.fetch_one(
                "SELECT m.*, s.public_id FROM message m JOIN session s ON s.id = m.session_id"
                " WHERE m.id = ? AND s.user_id = ?",
                (message_id, caller.user_id),
            )
        if row is None:
            raise NotFound("message", str(message_id))
        return message_from(row)

    async def get_messages(self, caller: Caller, ids: Sequence[int]) -> dict[int, Message]:
        """Those of `ids` that are the caller's, by id."""
        marks = ", ".join("?" * len(ids))
        rows = await self._persistence.fetch_all(
            "SELECT m.*, s.public_id FROM message m JOIN session s ON s.id = m.session_id"  # noqa: S608
            f" WHERE s.user_id = ? AND m.id IN ({marks})",
            (caller.user_id, *ids),
        )
        return {row["id"]: message_from(row) for row in rows}

    # pieces of other rooms' units

    async def find_session(self, tx: Transaction, caller: Caller, public_id: str) -> Session | None:
        """Inside a unit: the caller's session, deleted or not."""
        row = await tx.fetch_one(
            _SESSIONS + " WHERE s.user_id = ? AND s.public_id = ?", (caller.user_id, public_id)
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
    ) -> Session:
        """Inside a unit: a session and its stream. The unit appends `chat.session.created`."""
        stream = await self._log.open_stream(tx)
        await tx.execute(
            "INSERT INTO session (id, public_id, user_id, title, capability, message_count,"
            " created_at, last_activity) VALUES (?, ?, ?, ?, ?, 0, ?, ?)",
            (stream, public_id, caller.user_id, title, capability, at, at),
        )
        return Session(
            id=stream,
            session_id=public_id,
            user_id=caller.user_id,
            title=title,
            capability=capability,
            message_count=0,
            created_at=to_datetime(at),
            last_activity=to_datetime(at),
        )

    async def insert_message(
        self,
        tx: Transaction,
        session: int,
        pid: str | None,
        role: Role,
        content: str,
        at: Micros,
        data: dict[str, object] | None = None,
    ) -> tuple[int, NewEvent]:
        """Inside a unit: a message, its session's counter, and the event to append.

        What a run still says in a session that was deleted meanwhile is stored as deleted too.

        Raises:
            NotFound: a user speaks in a session that is gone, or was deleted.
        """
        changed = await tx.execute(
            "UPDATE session SET message_count = message_count + 1, last_activity = ?"
            " WHERE id = ? AND deleted_at IS NULL",
            (at, session),
        )
        if not changed and role == "user":
            raise NotFound("session", str(session))
        encoded = orjson.dumps(data).decode() if data else None
        message_id = await tx.insert(
            "INSERT INTO message (session_id, pid, role, content, data, created_at, deleted_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (session, pid, role, content, encoded, at, None if changed else at),
        )
        payload = {"message_id": message_id, "role": role, "content": content}
        return message_id, NewEvent("chat.message.created", payload, pid)


def session_from(row: Row) -> Session:
    return Session(
        id=row["id"],
        session_id=row["public_id"],
        user_id=row["user_id"],
        title=row["title"],
        capability=row["capability"],
        message_count=row["message_count"],
        created_at=to_datetime(row["created_at"]),
        last_activity=to_datetime(row["last_activity"]),
        deleted_at=maybe_datetime(row["deleted_at"]),
        archived_at=maybe_datetime(row["archived_at"]),
        last_seq=row["last_seq"],
    )


def message_from(row: Row) -> Message:
    return Message(
        message_id=row["id"],
        session_id=row["public_id"],
        pid=row["pid"],
        role=row["role"],
        content=row["content"],
        created_at=to_datetime(row["created_at"]),
        deleted_at=maybe_datetime(row["deleted_at"]),
        edited_at=maybe_datetime(row["edited_at"]),
        original_content=row["original_content"],
        data=orjson.loads(row["data"]) if row["data"] else {},
    )
