"""Sleeping processes: rows until it is time to wake them."""

from __future__ import annotations

from dataclasses import dataclass

from ..clock import Micros, now
from ..events.log import EventLog
from ..storage.persistence import Persistence, Transaction
from .process import CHILD, SLEEPING, ProcessControlBlock, ProcessState
from .store import find_in_unit, moved, save_state

WOKEN = "woken"


@dataclass(frozen=True, slots=True)
class Alarm:
    """`id` is the pid of the process to wake."""

    id: str


class AlarmStore:
    """What is to be woken, for `Expiry`."""

    def __init__(self, persistence: Persistence) -> None:
        self._persistence = persistence

    async def overdue(self, at: Micros, after: str, limit: int) -> list[Alarm]:
        """Alarms whose time has come, by pid, those that follow the pid `after`."""
        rows = await self._persistence.fetch_all(
            "SELECT process_id FROM alarm WHERE wake_at <= ? AND process_id > ?"
            " ORDER BY process_id LIMIT ?",
            (at, after, limit),
        )
        return [Alarm(row["process_id"]) for row in rows]

    async def next_expiry(self, at: Micros) -> Micros | None:
        """When the first alarm after `at` goes off."""
        row = await self._persistence.fetch_one(
            "SELECT MIN(wake_at) FROM alarm WHERE wake_at > ?", (at,)
        )
        first: Micros | None = row[0] if row else None
        return first


async def set_alarm(tx: Transaction, pid: str, wake_at: Micros) -> None:
    """Inside the unit that suspends a process."""
    await tx.execute(
        "INSERT INTO alarm (process_id, wake_at) VALUES (?, ?)"
        " ON CONFLICT (process_id) DO UPDATE SET wake_at = excluded.wake_at",
        (pid, wake_at),
    )


async def forget_alarm(tx: Transaction, pid: str) -> None:
    await tx.execute("DELETE FROM alarm WHERE process_id = ?", (pid,))


async def has_alarm(tx: Transaction, pid: str) -> bool:
    """Inside a unit: whether this process sleeps, also where it waits for something else too."""
    row = await tx.fetch_one("SELECT 1 FROM alarm WHERE process_id = ?", (pid,))
    return row is not None


async def wake(tx: Transaction, log: EventLog, pid: str) -> ProcessControlBlock | None:
    """One unit: the process is ready, where it still sleeps and it is time; else None."""
    at = now()
    found = await find_in_unit(tx, pid)
    gone_off = await tx.execute(
        "DELETE FROM alarm WHERE process_id = ? AND wake_at <= ?", (pid, at)
    )
    if found is None or not gone_off:
        return None
    before, row = found
    asleep = before.state is ProcessState.BLOCKED and before.reason in (SLEEPING, CHILD)
    if not asleep and before.state is not ProcessState.WAITING:
        return None
    process, changed = moved(before, ProcessState.READY, WOKEN)
    process = process.changed(reason=None)
    await save_state(tx, process, before.state, before.epoch)
    await log.append(tx, row["session_id"], before.user_id, [changed], at)
    return process
