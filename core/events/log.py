"""The append-only log: gapless sequences, one stream to a session."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from ..chat.paging import Listing
from ..clock import Micros, to_datetime
from ..errors import InvalidInput
from ..storage.persistence import Persistence, Row, Transaction
from .event import Event, NewEvent

_EVENTS = "SELECT e.*, s.public_id FROM event e LEFT JOIN session s ON s.id = e.stream_id"
IN_ORDER = Listing(select=_EVENTS, source="event e", row="e.id", key=("e.seq",), kinds=(int,))
"""Of one stream."""

MAX_READ = 500
BIGGEST = (1 << 63) - 1
Hint = Callable[[int, int, str], None]
"""Called on the event loop after a commit with (stream, newest seq, user)."""


class EventLog:
    """Appends inside the units of others; reads by cursor."""

    def __init__(self, persistence: Persistence, hint: Hint) -> None:
        self._persistence = persistence
        self._hint = hint

    async def open_stream(self, tx: Transaction, name: str | None = None) -> int:
        """A new, empty stream; its number."""
        return await tx.insert(
            "INSERT INTO stream (name, last_seq, first_seq) VALUES (?, 0, 1)", (name,)
        )

    async def append(
        self, tx: Transaction, stream: int, user_id: str, events: Sequence[NewEvent], at: Micros
    ) -> int:
        """Append in order; the sequence number of the last event of the stream.

        Belongs at the end of a unit: it takes the stream's counter row, which serialises the
        stream's writers until the commit, and makes its numbers gapless whatever is rolled back.
        """
        fresh = await _untold(tx, events)
        row = await tx.fetch_one(
            "UPDATE stream SET last_seq = last_seq + ? WHERE id = ? RETURNING last_seq",
            (len(fresh), stream),
        )
        if row is None:
            raise LookupError(f"stream {stream} does not exist")
        last: int = row[0]
        if fresh:
            first = last - len(fresh) + 1
            await tx.execute_many(
                "INSERT INTO event (stream_id, seq, type, pid, key, user_id, payload, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (stream, seq, e.type, e.pid, e.key, user_id, _encode(e.payload), at)
                    for seq, e in enumerate(fresh, first)
                ],
            )
            tx.after_commit(lambda: self._hint(stream, last, user_id))
        return last

    async def read(self, stream: int, after: int, limit: int = MAX_READ) -> list[Event]:
        """Events with `seq > after`, oldest first, at most `limit` (1 to `MAX_READ`).

        Raises:
            InvalidInput: a limit or cursor out of its bounds.
        """
        if not 1 <= limit <= MAX_READ:
            raise InvalidInput("limit", f"must be between 1 and {MAX_READ}")
        if not 0 <= after <= BIGGEST:
            raise InvalidInput("after", f"must be between 0 and {BIGGEST}")
        rows = await self._persistence.fetch_all(
            _EVENTS + " WHERE e.stream_id = ? AND e.seq > ? ORDER BY e.seq LIMIT ?",
            (stream, after, limit),
        )
        return [event_from(row) for row in rows]

    async def bounds(self, stream: int) -> tuple[int, int]:
        """(oldest kept, newest) sequence numbers; (1, 0) for a stream that is empty or unknown."""
        row = await self._persistence.fetch_one(
            "SELECT first_seq, last_seq FROM stream WHERE id = ?", (stream,)
        )
        return (row[0], row[1]) if row else (1, 0)


async def _untold(tx: Transaction, events: Sequence[NewEvent]) -> list[NewEvent]:
    """These events without what is stored already, and without what comes twice among them."""
    fresh, keys = list[NewEvent](), set[tuple[str | None, str, str]]()
    for event in events:
        if event.key is not None:
            key = (event.pid, event.key, event.type)
            if key in keys or await _is_told(tx, event):
                continue
            keys.add(key)
        fresh.append(event)
    return fresh


async def _is_told(tx: Transaction, event: NewEvent) -> bool:
    row = await tx.fetch_one(
        "SELECT 1 FROM event WHERE pid = ? AND key = ? AND type = ?",
        (event.pid, event.key, event.type),
    )
    return row is not None


def _encode(payload: dict[str, Any]) -> str:
    return orjson.dumps(payload, option=orjson.OPT_NON_STR_KEYS).decode()


def event_from(row: Row) -> Event:
    payload = orjson.loads(row["payload"])
    return Event(
        stream=row["stream_id"],
        seq=row["seq"],
        type=row["type"],
        # What ends the stream of a session that was removed tells itself which one that was.
        session_id=row["public_id"] or payload.get("session_id", ""),
        pid=row["pid"],
        user_id=row["user_id"],
        payload=payload,
        created_at=to_datetime(row["created_at"]),
    )
