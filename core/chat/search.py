"""Literal search: newest first, ignoring case, nothing in the query has a special meaning."""

from __future__ import annotations

from ..identity import Caller
from ..storage.persistence import Persistence
from .paging import BIGGEST
from .records import Found
from .rows import MESSAGES, message_from

PAGE = 500
LONGEST_SCAN = 50_000
"""How many of a user's newest messages are looked at: there is no index yet."""


async def search(persistence: Persistence, caller: Caller, query: str, limit: int) -> list[Found]:
    """Undeleted messages that contain `query`, among the newest `LONGEST_SCAN`."""
    wanted = query.casefold()
    found: list[Found] = []
    before = BIGGEST
    for _ in range(LONGEST_SCAN // PAGE):
        rows = await persistence.fetch_all(
            MESSAGES + " WHERE s.user_id = ? AND m.id < ? AND m.deleted_at IS NULL"
            " ORDER BY m.id DESC LIMIT ?",
            (caller.user_id, before, PAGE),
        )
        for row in rows:
            if wanted in row["content"].casefold():
                found.append(Found(message_from(row), row["title"]))
                if len(found) == limit:
                    return found
        if len(rows) < PAGE:
            break
        before = rows[-1]["id"]
    return found
