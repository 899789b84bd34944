"""Ended processes are forgotten: marked as zombies first, then removed with all that is theirs.

What was said stays: messages belong to their session. A request goes together with everything that
it has spawned. Each unit is small; one that never came is made up for by the next round, which
finds the marks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from ..clock import Micros
from ..storage.persistence import Persistence, Row, Transaction
from . import lifecycle
from .process import ProcessState

FAMILIES = 20  # marked in one unit
PROCESSES = 20  # removed in one unit
STEPS = 500  # removed in one unit
CANDIDATES = 2000  # looked at in one read
SESSIONS = 1000  # looked at in one read

_IN_ORDER = (
    "SELECT pid, created_at, CASE WHEN state = ? AND parent_pid IS NULL AND completed_at < ?"
    " THEN 1 ELSE 0 END AS is_old FROM process WHERE pid > ? ORDER BY pid LIMIT ?"
)
# Sessions that may have surplus. What has not ended or was spawned counts too, for then an index
# alone can tell; what goes is ranked among ended requests, by the next read.
_CROWDED = (
    "SELECT session_id FROM process WHERE session_id > ? AND session_id <= ?"
    " GROUP BY session_id HAVING COUNT(*) > ?"
)
_SURPLUS = (
    "SELECT pid FROM (SELECT pid, ROW_NUMBER() OVER (PARTITION BY session_id ORDER BY pid DESC)"
    " AS place FROM process WHERE session_id IN ({}) AND state = ? AND parent_pid IS NULL) ended"
    " WHERE place > ? AND pid > ? ORDER BY pid LIMIT ?"
)
_FAMILY = (
    "WITH RECURSIVE tree(pid) AS (SELECT r.pid FROM process r WHERE r.pid = ?"
    " UNION ALL SELECT c.pid FROM process c JOIN tree t ON c.parent_pid = t.pid)"
    " SELECT p.pid, p.state FROM process p JOIN tree t ON t.pid = p.pid"
)


@dataclass(slots=True)
class Forgotten:
    """How many rows were removed."""

    processes: int = 0
    steps: int = 0


class ProcessRetention:
    """Removes ended processes, one small unit after another."""

    def __init__(self, persistence: Persistence) -> None:
        self._persistence = persistence

    async def forget(self, before: Micros, keep: int) -> Forgotten:
        """Those that ended before this time, and in each session all but the newest `keep`."""
        await self._mark_old(before)
        await self._mark_surplus(keep)
        forgotten = Forgotten()
        while pids := await self._zombies():
            processes, steps = await self._persistence.write(partial(_remove, pids=pids))
            forgotten.processes += processes
            forgotten.steps += steps
        forgotten.steps += await self._forget_calls(before)
        return forgotten

    async def _mark_old(self, before: Micros) -> None:
        # Pids are in the order of time: behind those that began too late, none ended in time.
        after = ""
        while True:
            rows = await self._persistence.fetch_all(
                _IN_ORDER, (ProcessState.TERMINATED, before, after, CANDIDATES)
            )
            await self._mark([row["pid"] for row in rows if row["is_old"]])
            if len(rows) < CANDIDATES or rows[-1]["created_at"] >= before:
                return
            after = rows[-1]["pid"]

    async def _mark_surplus(self, keep: int) -> None:
        row = await self._persistence.fetch_one("SELECT MAX(id) FROM session")
        last = (row[0] if row else None) or 0
        for after in range(0, last, SESSIONS):
            rows = await self._persistence.fetch_all(_CROWDED, (after, after + SESSIONS, keep))
            if rows:
                await self._mark_beyond(keep, [row["session_id"] for row in rows])

    async def _mark_beyond(self, keep: int, sessions: Sequence[int]) -> None:
        sql = _SURPLUS.format(", ".join("?" * len(sessions)))
        after = ""
        while rows := await self._persistence.fetch_all(
            sql, (*sessions, ProcessState.TERMINATED, keep, after, CANDIDATES)
        ):
            after = rows[-1]["pid"]
            await self._mark([row["pid"] for row in rows])

    async def _mark(self, pids: Sequence[str]) -> None:
        for first in range(0, len(pids), FAMILIES):
            some = pids[first : first + FAMILIES]
            await self._persistence.write(partial(_mark_families, pids=some))

    async def _zombies(self) -> list[str]:
        # Children before their parents: no row is ever left without the one above it.
        rows = await self._persistence.fetch_all(
            "SELECT pid FROM process WHERE state = ? AND state <> 'terminated'"
            " ORDER BY depth DESC, pid LIMIT ?",
            (ProcessState.ZOMBIE, PROCESSES),
        )
        return [row["pid"] for row in rows]

    async def _forget_calls(self, before: Micros) -> int:
        """Calls of tools outside any process."""
        removed = 0
        while count := await self._persistence.write(lambda tx: _remove_calls(tx, before)):
            removed += count
        return removed


async def _mark_families(tx: Transaction, pids: Sequence[str]) -> None:
    for pid in pids:
        family = await tx.fetch_all(_FAMILY, (pid,))
        if not all(_has_ended(row) for row in family):
            continue
        for row in family:
            before = ProcessState(row["state"])
            if before is ProcessState.TERMINATED:
                lifecycle.check(before, ProcessState.ZOMBIE)
                await tx.execute(
                    "UPDATE process SET state = ? WHERE pid = ? AND state = ?",
                    (ProcessState.ZOMBIE, row["pid"], before),
                )


def _has_ended(row: Row) -> bool:
    return row["state"] in (ProcessState.TERMINATED, ProcessState.ZOMBIE)


async def _remove(tx: Transaction, pids: Sequence[str]) -> tuple[int, int]:
    """Some of their steps; the processes too once these are few enough."""
    marks = ", ".join("?" * len(pids))
    rows = await tx.fetch_all(
        f"SELECT id FROM step WHERE process_id IN ({marks}) LIMIT ?",  # noqa: S608
        (*pids, STEPS),
    )
    await _remove_steps(tx, [row["id"] for row in rows])
    if len(rows) == STEPS:
        return 0, STEPS
    await tx.execute(f"DELETE FROM interrupt WHERE process_id IN ({marks})", pids)  # noqa: S608
    removed = await tx.execute(
        f"DELETE FROM process WHERE state = ? AND pid IN ({marks})",  # noqa: S608
        (ProcessState.ZOMBIE, *pids),
    )
    return removed, len(rows)


async def _remove_calls(tx: Transaction, before: Micros) -> int:
    rows = await tx.fetch_all(
        "SELECT id FROM step WHERE process_id IS NULL AND created_at < ? LIMIT ?", (before, STEPS)
    )
    await _remove_steps(tx, [row["id"] for row in rows])
    return len(rows)


async def _remove_steps(tx: Transaction, ids: Sequence[int]) -> None:
    if ids:
        marks = ", ".join("?" * len(ids))
        await tx.execute(f"DELETE FROM step_output WHERE step_id IN ({marks})", ids)  # noqa: S608
        await tx.execute(f"DELETE FROM step WHERE id IN ({marks})", ids)  # noqa: S608
