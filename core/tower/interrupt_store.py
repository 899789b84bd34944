"""The interrupt table: rows in, records out."""

from __future__ import annotations

import orjson

from ..chat.paging import decode_cursor, limited, page
from ..chat.records import Page
from ..clock import Micros, maybe_datetime, to_datetime
from ..storage.persistence import Persistence, Row
from .process import Interrupt, InterruptKind, InterruptStatus

_INTERRUPTS = (
    "SELECT i.*, s.public_id FROM interrupt i JOIN session s ON s.id = i.session_id WHERE "
)
LAST_ID = "z"  # sorts after every id, by bytes and by a language's order


class InterruptStore:
    """Reads of questions: one user's own, and for expiry everybody's."""

    def __init__(self, persistence: Persistence) -> None:
        self._persistence = persistence

    async def find(self, user_id: str, interrupt_id: str) -> Interrupt | None:
        row = await self._persistence.fetch_one(
            _INTERRUPTS + "i.id = ? AND i.user_id = ?", (interrupt_id, user_id)
        )
        return interrupt_from(row) if row else None

    async def list_by_status(
        self, user_id: str, status: InterruptStatus, first: int, after: str | None
    ) -> Page[Interrupt]:
        """Open ones oldest first, others newest first."""
        is_open = status is InterruptStatus.PENDING
        (last,) = decode_cursor(after, str) if after is not None else ("" if is_open else LAST_ID,)
        following = "i.id > ? ORDER BY i.id" if is_open else "i.id < ? ORDER BY i.id DESC"
        rows = await self._persistence.fetch_all(
            f"{_INTERRUPTS}i.user_id = ? AND i.status = ? AND {following} LIMIT ?",
            (user_id, status, last, limited(first)),
        )
        return page(rows, first, interrupt_from, lambda row: (row["id"],))

    async def pending(self, user_id: str, first: int, after: str | None = None) -> list[Interrupt]:
        """Open questions to this user, oldest first; those asked after the question `after`."""
        rows = await self._persistence.fetch_all(
            _INTERRUPTS
            + "i.user_id = ? AND i.status = 'pending' AND i.id > ? ORDER BY i.id LIMIT ?",
            (user_id, after or "", limited(first) - 1),
        )
        return [interrupt_from(row) for row in rows]

    async def overdue(self, at: Micros, after: str, limit: int) -> list[Interrupt]:
        """Open questions whose time is up, by id, those that follow the id `after`."""
        rows = await self._persistence.fetch_all(
            _INTERRUPTS + "i.status = 'pending' AND i.expires_at <= ? AND i.id > ?"
            " ORDER BY i.id LIMIT ?",
            (at, after, limit),
        )
        return [interrupt_from(row) for row in rows]

    async def next_expiry(self, at: Micros) -> Micros | None:
        """When the first question expires that does so after `at`."""
        row = await self._persistence.fetch_one(
            "SELECT MIN(expires_at) FROM interrupt WHERE status = 'pending' AND expires_at > ?",
            (at,),
        )
        expiry: Micros | None = row[0] if row else None
        return expiry


def interrupt_from(row: Row) -> Interrupt:
    return Interrupt(
        id=row["id"],
        pid=row["process_id"],
        session_id=row["public_id"],
        kind=InterruptKind(row["kind"]),
        status=InterruptStatus(row["status"]),
        question=row["question"],
        options=tuple(orjson.loads(row["options"])),
        data=orjson.loads(row["data"]) if row["data"] else None,
        answer=row["answer"],
        created_at=to_datetime(row["created_at"]),
        expires_at=maybe_datetime(row["expires_at"]),
        resolved_at=maybe_datetime(row["resolved_at"]),
    )
