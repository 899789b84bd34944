"""The interrupt table: rows in, records out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import orjson

from ..chat.paging import MAX_PAGE, Listing, Window
from ..chat.records import Page
from ..clock import Micros, maybe_datetime, to_datetime
from ..storage.persistence import Persistence, Row, Transaction
from .process import (
    ANSWERABLE,
    Interrupt,
    InterruptKind,
    InterruptStatus,
    ProcessControlBlock,
)

_SELECT = "SELECT i.*, s.public_id FROM interrupt i JOIN session s ON s.id = i.session_id"
_INTERRUPTS = f"{_SELECT} WHERE "
_OLDEST = Listing(select=_SELECT, source="interrupt i", row="i.id", key=("i.id",), kinds=(str,))
_NEWEST = replace(_OLDEST, descending=True)


class InterruptStore:
    """Reads of questions: one user's own, and for expiry everybody's."""

    def __init__(self, persistence: Persistence) -> None:
        self._persistence = persistence

    async def find(self, user_id: str, interrupt_id: str) -> Interrupt | None:
        row = await self._persistence.fetch_one(
            _INTERRUPTS + "i.id = ? AND i.user_id = ?", (interrupt_id, user_id)
        )
        return interrupt_from(row) if row else None

    async def find_many(self, user_id: str, ids: Sequence[str]) -> dict[str, Interrupt]:
        marks = ", ".join("?" * len(ids))
        rows = await self._persistence.fetch_all(
            f"{_INTERRUPTS}i.user_id = ? AND i.id IN ({marks})", (user_id, *ids)
        )
        return {row["id"]: interrupt_from(row) for row in rows}

    async def has_asked(self, pid: str, kinds: Collection[InterruptKind]) -> bool:
        """Whether the process, or one below it, ever asked a question of one of these kinds."""
        marks = ", ".join("?" * len(kinds))
        # CROSS JOIN: else SQLite begins with every question that there is.
        row = await self._persistence.fetch_one(
            "WITH RECURSIVE tree(pid) AS (SELECT p.pid FROM process p WHERE p.pid = ?"  # noqa: S608
            " UNION ALL SELECT p.pid FROM tree t JOIN process p ON p.parent_pid = t.pid)"
            " SELECT 1 FROM tree t CROSS JOIN interrupt i"
            f" WHERE i.process_id = t.pid AND i.kind IN ({marks}) LIMIT 1",
            (pid, *map(str, kinds)),
        )
        return row is not None

    async def list_by_status(
        self, user_id: str, status: InterruptStatus, window: Window
    ) -> Page[Interrupt]:
        """Open ones oldest first, others newest first."""
        listing = _OLDEST if status is InterruptStatus.PENDING else _NEWEST
        where = "i.user_id = ? AND i.status = ?"
        found = await listing.page(self._persistence, where, (user_id, status), window)
        return found.of(interrupt_from)

    async def pending(self, user_id: str, first: int, after: str | None = None) -> list[Interrupt]:
        """Open questions to this user, oldest first; those asked after the question `after`."""
        rows = await self._persistence.fetch_all(
            _INTERRUPTS
            + "i.user_id = ? AND i.status = 'pending' AND i.id > ? ORDER BY i.id LIMIT ?",
            (user_id, after or "", min(first, MAX_PAGE)),
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


async def open_questions(
    reader: Persistence | Transaction, pids: Sequence[str]
) -> dict[str, tuple[Interrupt, ...]]:
    """What each of these processes, or one below it, waits for an answer to; oldest first.

    By the time of the unit that stored it: ids are older, and of two that ask at once the one with
    the younger id may be stored, and told, first."""
    marks = ", ".join("?" * len(pids))
    # CROSS JOIN: else SQLite begins with every open question that there is.
    rows = await reader.fetch_all(
        "WITH RECURSIVE tree(root, pid) AS ("  # noqa: S608
        f"SELECT p.pid, p.pid FROM process p WHERE p.pid IN ({marks})"
        " UNION ALL SELECT t.root, p.pid FROM process p JOIN tree t ON p.parent_pid = t.pid)"
        " SELECT t.root, i.*, s.public_id FROM tree t CROSS JOIN interrupt i"
        " JOIN session s ON s.id = i.session_id"
        " WHERE i.process_id = t.pid AND i.status = 'pending' ORDER BY i.created_at, i.id",
        pids,
    )
    found: dict[str, tuple[Interrupt, ...]] = {}
    for row in rows:
        found[row["root"]] = (*found.get(row["root"], ()), interrupt_from(row))
    return found


async def shown_beside(tx: Transaction, pid: str) -> Interrupt | None:
    """Inside a unit that has locked the session: of the questions of the request that this process
    works for, the one to be shown, which is the oldest that can be; None where none is open."""
    row = await tx.fetch_one(
        "WITH RECURSIVE up(pid, parent_pid) AS ("
        "SELECT p.pid, p.parent_pid FROM process p WHERE p.pid = ?"
        " UNION ALL SELECT p.pid, p.parent_pid FROM process p JOIN up u ON p.pid = u.parent_pid)"
        " SELECT pid FROM up WHERE parent_pid IS NULL",
        (pid,),
    )
    root = pid if row is None else row["pid"]
    found = (await open_questions(tx, [root])).get(root, ())
    return next((each for each in found if each.kind in ANSWERABLE), None)


async def shown_above(tx: Transaction, process: ProcessControlBlock) -> Interrupt | None:
    """Inside the unit that ends this process, before it closes any question: the one to be shown
    of the request that a spawned process works for; None for any other, which ends with it."""
    return await shown_beside(tx, process.pid) if process.depth else None


async def turned_to(tx: Transaction, pid: str, before: Interrupt | None) -> dict[str, Any]:
    """Inside that unit, once questions were closed: what the event of its end says of the question
    whose turn has come with that. `before` is what `shown_above` gave."""
    after = None if before is None else await shown_beside(tx, pid)
    if before is None or after is None or after.id == before.id:
        return {}
    return {"next": after.as_json()}


async def open_ids(tx: Transaction, pid: str) -> set[str]:
    """Inside a unit: the open questions of this very process."""
    rows = await tx.fetch_all(
        "SELECT id FROM interrupt WHERE process_id = ? AND status = 'pending'", (pid,)
    )
    return {row["id"] for row in rows}


async def close_interrupts(tx: Transaction, pid: str, at: Micros) -> None:
    """Inside a unit that ends a process: nobody waits for answers to it any more."""
    await tx.execute(
        "UPDATE interrupt SET status = 'cancelled', resolved_at = ?"
        " WHERE process_id = ? AND status = 'pending'",
        (at, pid),
    )


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
