"""What the tower does without being asked: ends what is over, wakes sleepers, finds the lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..events.log import EventLog
from ..storage.persistence import Persistence
from .alarms import Alarm, AlarmStore, wake
from .expiry import Expiry
from .interrupt_store import InterruptStore
from .process import Interrupt, ProcessControlBlock
from .resolution import Resolver
from .sweep import Sweep


class Upkeep:
    """Owns the tasks for it. `enqueue` puts a process that has become ready in line."""

    def __init__(
        self,
        persistence: Persistence,
        events: EventLog,
        interrupts: InterruptStore,
        resolver: Resolver,
        sweep: Sweep,
        enqueue: Callable[[ProcessControlBlock], None],
    ) -> None:
        self._persistence = persistence
        self._events = events
        self._resolver = resolver
        self._enqueue = enqueue
        self.sweep = sweep
        self.questions = Expiry(interrupts, self._expire)
        self.alarms = Expiry(AlarmStore(persistence), self._wake)
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = False

    def start(self) -> None:
        rounds = {
            "expiry": self.questions.run(),
            "alarms": self.alarms.run(),
            "sweep": self.sweep.run(),
        }
        self.tasks = {
            name: asyncio.create_task(each, name=f"tower-{name}") for name, each in rounds.items()
        }

    async def stop(self) -> None:
        self._stopping = True
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody has begun to end its tasks."""
        return any(task.cancelling() for task in self.tasks.values())

    @property
    def lost(self) -> list[str]:
        """Names of its tasks that have ended, though nobody has stopped them."""
        return sorted(
            name for name, task in self.tasks.items() if task.done() and not self._stopping
        )

    async def _expire(self, interrupt: Interrupt) -> None:
        resolved = await self.sweep.watched(self._resolver.expire(interrupt))
        if resolved is not None and resolved.wakes:
            self._enqueue(resolved.process)

    async def _wake(self, alarm: Alarm) -> None:
        unit = self._persistence.write(lambda tx: wake(tx, self._events, alarm.id))
        process = await self.sweep.watched(unit)
        if process is not None:
            self._enqueue(process)
