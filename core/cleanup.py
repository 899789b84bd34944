"""Clean-up: what is old is removed, now and then and on demand."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from .clock import SECOND, now
from .errors import Forbidden, InvalidInput
from .events.retention import EventRetention
from .identity import Caller
from .settings import Settings
from .storage.persistence import Persistence
from .tower.retention import ProcessRetention

DAY = 24 * 3600
MAX_DAYS = 36_500
MAX_KEEP = 1_000_000
FIRST_SECONDS = 60.0  # a server that is restarted often cleans up all the same
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Removed:
    """How many rows a round has removed."""

    processes: int
    steps: int
    events: int


class CleanUp:
    """Rounds of clean-up, one at a time, each in small units that hold up no writer."""

    def __init__(self, settings: Settings, persistence: Persistence) -> None:
        self._settings = settings
        self._processes = ProcessRetention(persistence)
        self._events = EventRetention(persistence)
        self._round = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def clean_up(
        self, caller: Caller, *, days: int | None = None, keep: int | None = None
    ) -> Removed:
        """Remove processes that ended more than `days` ago, all but the newest `keep` of each
        session, and events older than that. None takes the settings'.

        Raises:
            Forbidden: the caller is no admin.
            InvalidInput: a number that is out of range.
        """
        if not caller.is_admin:
            raise Forbidden("only an admin may clean up")
        days = _bounded("days", self._settings.retention_days if days is None else days, MAX_DAYS)
        keep = _bounded(
            "keep", self._settings.retention_processes if keep is None else keep, MAX_KEEP
        )
        before = now() - days * DAY * SECOND
        async with self._round:
            forgotten = await self._processes.forget(before, keep)
            events = await self._events.cut(before)
        return Removed(forgotten.processes, forgotten.steps, events)

    def start(self, caller: Caller) -> None:
        """Clean up every `cleanup_seconds` as `caller`, until stopped; never where that is 0."""
        if self._settings.cleanup_seconds:
            self._task = asyncio.create_task(self._repeat(caller), name="clean-up")

    async def stop(self) -> None:
        """End with the unit under way; the next round makes up for the rest."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _repeat(self, caller: Caller) -> None:
        pause = min(FIRST_SECONDS, self._settings.cleanup_seconds)
        while True:
            await asyncio.sleep(pause)
            pause = self._settings.cleanup_seconds
            try:
                removed = await self.clean_up(caller)
            except Exception:
                log.exception("clean-up failed; trying again", seconds=pause)
            else:
                if removed != Removed(0, 0, 0):
                    log.info("cleaned up", **_counts(removed))


def _counts(removed: Removed) -> dict[str, int]:
    return {
        "processes": removed.processes,
        "steps": removed.steps,
        "events": removed.events,
    }


def _bounded(field: str, value: int, most: int) -> int:
    if not 0 <= value <= most:
        raise InvalidInput(field, f"is {value}; it must be between 0 and {most}")
    return value
