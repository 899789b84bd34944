"""Sessions and messages as they are read: the SELECTs, and rows made into records."""

from __future__ import annotations

import orjson

from ..clock import maybe_datetime, to_datetime
from ..storage.persistence import Row
from .paging import Listing
from .records import SHORT, Message, Session

SESSIONS = (
    "SELECT s.*, t.last_seq, CASE WHEN s.title IS NULL OR s.title = '' THEN"  # noqa: S608
    f" (SELECT SUBSTR(m.content, 1, {SHORT + 1}) FROM message m WHERE m.session_id = s.id"
    " AND m.role = 'user' AND m.deleted_at IS NULL ORDER BY m.id LIMIT 1) END AS opening"
    " FROM session s JOIN stream t ON t.id = s.id"
)
MESSAGES = "SELECT m.*, s.public_id, s.title FROM message m JOIN session s ON s.id = m.session_id"
_OWN = "(SELECT s.{0} FROM session s WHERE s.id = m.session_id) AS {0}"
SCATTERED = f"SELECT m.*, {_OWN.format('public_id')}, {_OWN.format('title')} FROM"
"""The same of `m`, for messages of many sessions: joined, PostgreSQL would read all sessions."""

BY_ACTIVITY = Listing(
    select=SESSIONS,
    source="session s",
    row="s.id",
    key=("s.last_activity", "s.id"),
    kinds=(int, int),
    descending=True,
)
IN_ORDER = Listing(select=MESSAGES, source="message m", row="m.id", key=("m.id",), kinds=(int,))
"""Of messages."""


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
        opening=row["opening"],
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
