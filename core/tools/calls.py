"""Calls of tools that are over: stored with their steps, rolled up to minutes, hours and days.

Each attempt at a step is a call. Its unit adds one row and touches no other, so that units of one
tool do not wait for each other. A background job moves rows into the windows in units of its own: a
call is in one of the two places, whatever crashes when, and whoever reads adds them up.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from ..clock import SECOND, Micros, now
from ..storage.failures import storage_failed
from ..storage.persistence import Persistence, Row, Transaction
from .breaker import FAILED
from .spec import ToolStatus

MINUTE: Micros = 60 * SECOND
HOUR: Micros = 60 * MINUTE
DAY: Micros = 24 * HOUR
SPANS = (MINUTE, HOUR, DAY)
"""Of the windows, the finest first; each begins and ends with one of the finer ones."""
KEPT: Micros = 366 * DAY
"""Windows older than this are removed: nobody can ask for them."""
SLOW: Micros = 5 * SECOND
SLOWEST = 10
"""Slow calls that are kept of each minute."""
BATCH = 1000  # calls in one unit
ROUND_SECONDS = 5.0
UNCOUNTED = (ToolStatus.NOT_FOUND, ToolStatus.DENIED, ToolStatus.UNAVAILABLE)
"""What was refused before there was a call."""

log = structlog.get_logger(__name__)

_ADD = "INSERT INTO tool_call (tool, status, started_at, duration) VALUES (?, ?, ?, ?)"
_TAKE = (
    "DELETE FROM tool_call WHERE id IN (SELECT id FROM tool_call ORDER BY id LIMIT ?)"
    " RETURNING id, tool, status, started_at, duration"
)
_COUNT = (
    "INSERT INTO tool_window (span, start, tool, calls, successes, failures, duration, longest,"
    " last_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (span, start, tool) DO UPDATE SET calls = tool_window.calls + excluded.calls,"
    " successes = tool_window.successes + excluded.successes,"
    " failures = tool_window.failures + excluded.failures,"
    " duration = tool_window.duration + excluded.duration,"
    " longest = CASE WHEN excluded.longest > tool_window.longest THEN excluded.longest"
    " ELSE tool_window.longest END,"
    " last_at = CASE WHEN excluded.last_at > tool_window.last_at THEN excluded.last_at"
    " ELSE tool_window.last_at END"
)
_SLOW = (
    "INSERT INTO slow_call (id, tool, started_at, duration) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (id) DO NOTHING"
)
_TOO_MANY = (
    "DELETE FROM slow_call WHERE id IN (SELECT id FROM slow_call WHERE started_at >= ?"
    " AND started_at < ? ORDER BY duration DESC, id DESC LIMIT 1000000 OFFSET ?)"
)


@dataclass(frozen=True, slots=True)
class FinishedCall:
    """One attempt at calling a tool, and how it ended."""

    tool: str
    status: ToolStatus
    started_at: Micros
    duration: Micros


async def add_call(tx: Transaction, call: FinishedCall) -> None:
    """Inside the unit that stores the attempt's step, or that it is tried again."""
    if call.status not in UNCOUNTED:
        await tx.execute(_ADD, (call.tool, call.status.value, call.started_at, call.duration))


class RollUp:
    """Moves finished calls into windows of a minute, of an hour and of a day."""

    def __init__(self, persistence: Persistence) -> None:
        self._persistence = persistence
        self._task: asyncio.Task[None] | None = None
        self._cut_at = 0

    def start(self) -> None:
        self._task = asyncio.create_task(self._repeat(), name="tool-roll-up")

    async def stop(self) -> None:
        """What is left is moved by the next server."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def run(self) -> int:
        """Move whatever waits; how many calls that were."""
        moved = 0
        while await self._persistence.fetch_one("SELECT 1 FROM tool_call LIMIT 1") is not None:
            moved += await self._persistence.write(_move)
        return moved

    async def cut(self, before: Micros) -> None:
        """Remove windows and slow calls from before this time."""
        await self._persistence.write(lambda tx: _cut(tx, before))

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(ROUND_SECONDS)
            try:
                await self.run()
                if (at := now()) > self._cut_at + HOUR:
                    self._cut_at = at
                    await self.cut(at - KEPT)
            except Exception as error:
                if not storage_failed(error):
                    log.exception("tool calls could not be rolled up; trying again")


@dataclass(slots=True)
class _Sum:
    calls: int = 0
    successes: int = 0
    failures: int = 0
    duration: Micros = 0
    longest: Micros = 0
    last_at: Micros = 0

    def add(self, row: Row) -> None:
        self.calls += 1
        self.successes += row["status"] == ToolStatus.SUCCESS
        self.failures += row["status"] in FAILED
        self.duration += row["duration"]
        self.longest = max(self.longest, row["duration"])
        self.last_at = max(self.last_at, row["started_at"])

    @property
    def values(self) -> tuple[int, ...]:
        return (
            *(self.calls, self.successes, self.failures),
            *(self.duration, self.longest, self.last_at),
        )


async def _move(tx: Transaction) -> int:
    rows = await tx.fetch_all(_TAKE, (BATCH,))
    sums: defaultdict[tuple[Micros, Micros, str], _Sum] = defaultdict(_Sum)
    for row in rows:
        for span in SPANS:
            sums[span, row["started_at"] // span * span, row["tool"]].add(row)
    await tx.execute_many(_COUNT, [(*key, *sums[key].values) for key in sorted(sums)])
    await _keep_slow(tx, [row for row in rows if row["duration"] >= SLOW])
    return len(rows)


async def _keep_slow(tx: Transaction, rows: Iterable[Row]) -> None:
    minutes: set[Micros] = set()
    for row in rows:
        await tx.execute(_SLOW, (row["id"], row["tool"], row["started_at"], row["duration"]))
        minutes.add(row["started_at"] // MINUTE * MINUTE)
    for minute in minutes:
        await tx.execute(_TOO_MANY, (minute, minute + MINUTE, SLOWEST))


async def _cut(tx: Transaction, before: Micros) -> None:
    for span in SPANS:
        await tx.execute("DELETE FROM tool_window WHERE span = ? AND start < ?", (span, before))
    await tx.execute("DELETE FROM slow_call WHERE started_at < ?", (before,))
