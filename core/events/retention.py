"""The log forgets from its beginning: prefixes that are older than what is kept."""

from __future__ import annotations

from ..clock import Micros
from ..storage.persistence import Persistence, Transaction

CUT = 500  # events in one unit
STREAMS = 200  # read at once

_OLD = (
    "SELECT s.id FROM stream s JOIN event e ON e.stream_id = s.id AND e.seq = s.first_seq"
    " WHERE e.created_at < ? AND s.id > ? ORDER BY s.id LIMIT ?"
)
_NEEDED = (
    "SELECT MIN(first_seq) FROM process WHERE session_id = ?"
    " AND state NOT IN ('terminated', 'zombie')"
)


class EventRetention:
    """Cuts every stream before its first event that is young enough, or that belongs to the story
    of a process which has not ended."""

    def __init__(self, persistence: Persistence) -> None:
        self._persistence = persistence

    async def cut(self, before: Micros) -> int:
        """Remove what was told before this time; how many events that were."""
        removed, stream = 0, 0
        while True:
            rows = await self._persistence.fetch_all(_OLD, (before, stream, STREAMS))
            if not rows:
                return removed
            for row in rows:
                stream = row["id"]
                removed += await self._cut_stream(stream, before)

    async def _cut_stream(self, stream: int, before: Micros) -> int:
        removed = 0
        while count := await self._persistence.write(lambda tx: _cut_some(tx, stream, before)):
            removed += count
            if count < CUT:
                break
        return removed


async def _cut_some(tx: Transaction, stream: int, before: Micros) -> int:
    # Nothing is changed by this, but the row is taken: a process that begins meanwhile begins
    # behind what is read here.
    bounds = await tx.fetch_one(
        "UPDATE stream SET first_seq = first_seq WHERE id = ? RETURNING first_seq, last_seq",
        (stream,),
    )
    if bounds is None:
        return 0
    first: int = bounds["first_seq"]
    end = min(first + CUT, bounds["last_seq"] + 1)
    needed = await tx.fetch_one(_NEEDED, (stream,))
    if needed is not None and needed[0] is not None:
        end = min(end, needed[0])
    young = await tx.fetch_one(
        "SELECT MIN(seq) FROM event WHERE stream_id = ? AND seq >= ? AND seq < ?"
        " AND created_at >= ?",
        (stream, first, end, before),
    )
    if young is not None and young[0] is not None:
        end = min(end, young[0])
    if end <= first:
        return 0
    await tx.execute("UPDATE stream SET first_seq = ? WHERE id = ?", (end, stream))
    return await tx.execute("DELETE FROM event WHERE stream_id = ? AND seq < ?", (stream, end))
