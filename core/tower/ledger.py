"""Everything a run writes: in order, in few units, and only while the run owns its process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ..clock import Micros, now
from ..events.event import NewEvent
from ..events.log import EventLog
from ..storage.failures import storage_failed
from ..storage.persistence import Persistence, Row, Transaction
from .branches import Branch
from .suspension import Fenced, NotStored, Suspended
from .usage import COLUMNS, Account, add_usage

COALESCE_SECONDS = 0.05
Write = Callable[[Transaction, Micros], Awaitable["list[NewEvent]"]]
"""Part of a unit: writes, and gives the events that tell of it."""


class EpochLost(Exception):
    """The process has been taken over or ended; the unit is rolled back."""


@dataclass(slots=True)
class Owner:
    """Whose ledger this is. `stream` is the session's number."""

    pid: str
    epoch: int
    stream: int
    user_id: str


_SAVE = (
    "UPDATE process SET stage = ?, "  # noqa: S608 - names from our own table
    + ", ".join(f"{column} = {column} + ?" for column in COLUMNS)
    + " WHERE pid = ? AND epoch = ? AND state = 'running' RETURNING quota, "
    + ", ".join(COLUMNS)
)


class Ledger:
    """Buffers events and writes of one run; whatever waits goes into the next unit together.

    Events that nobody waits for (stages, deltas) are flushed at most every `COALESCE_SECONDS`.
    Once a unit is lost, nothing that follows it is written, and `root` is suspended.
    """

    def __init__(
        self, persistence: Persistence, log: EventLog, owner: Owner, account: Account, root: Branch
    ) -> None:
        self._persistence = persistence
        self._log = log
        self._owner = owner
        self._account = account
        self._root = root
        self._buffer: list[NewEvent | Write] = []
        self._deltas: dict[tuple[str, int], dict[str, Any]] = {}
        self._deltas_at = 0.0
        self._waiting: list[asyncio.Future[None]] = []
        self._flusher: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._flushed_at = 0.0
        self._broken: BaseException | None = None
        self._counting_since = asyncio.get_running_loop().time()
        self._stages: list[str] = []

    def tell(self, event: NewEvent) -> None:
        """Append this event soon."""
        self._buffer.append(event)
        self._schedule()

    def put(self, write: Write) -> None:
        """Write this soon."""
        self._buffer.append(write)
        self._schedule()

    def delta(self, step: str, attempt: int, offset: int, text: str) -> None:
        """Text of a streamed reply; joined with what is already waiting of the same step."""
        waiting = self._deltas.get((step, attempt))
        if waiting is not None:
            waiting["text"] += text
            return
        payload = {"step": step, "attempt": attempt, "offset": offset, "text": text}
        self._deltas[step, attempt] = payload
        self._schedule()

    def end_deltas(self, step: str, attempt: int) -> None:
        """A streamed reply is over: the last of its text comes before whatever is told next."""
        payload = self._deltas.pop((step, attempt), None)
        if payload is not None:
            self.tell(NewEvent("llm.delta", payload, self._owner.pid))

    async def commit(self, *writes: NewEvent | Write) -> None:
        """Write these, after all that waits, and return once they are durable.

        Raises:
            Fenced: the run no longer owns its process; nothing was written.
            NotStored: the storage failed; these may have been written or not.
        """
        if self._broken is not None:
            raise self._broken
        self._take_deltas()
        self._buffer.extend(writes)
        loop = asyncio.get_running_loop()
        stored: asyncio.Future[None] = loop.create_future()
        self._waiting.append(stored)
        if self._flusher is None or self._flusher.done():
            self._flusher = loop.create_task(self._flush(), name="ledger-flush")
        await stored

    async def close(self) -> None:
        """Wait for a flush under way; drop what nobody waited for."""
        if self._timer is not None:
            self._timer.cancel()
        self._buffer.clear()
        self._deltas.clear()
        if self._flusher is not None and not self._flusher.done():
            await asyncio.wait([self._flusher])

    @property
    def stage(self) -> str | None:
        """The stage entered last of those that are open."""
        return self._stages[-1] if self._stages else None

    def enter(self, stage: str) -> None:
        self._stages.append(stage)

    def leave(self, stage: str) -> None:
        self._stages.remove(stage)

    def elapsed(self) -> float:
        """Seconds this process has been running, earlier runs included."""
        time = asyncio.get_running_loop().time()
        usage = self._account.usage
        total = usage.elapsed_seconds + time - self._counting_since
        usage.elapsed_seconds = round(total, 6)  # as exact as it is stored
        self._counting_since = time
        return usage.elapsed_seconds

    def _schedule(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            due = max(loop.time(), self._flushed_at + COALESCE_SECONDS)
            self._timer = loop.call_at(due, self._start_flush)

    def _start_flush(self) -> None:
        self._timer = None
        self._take_deltas()
        if self._flusher is None or self._flusher.done():
            loop = asyncio.get_running_loop()
            self._flusher = loop.create_task(self._flush(), name="ledger-flush")

    async def _flush(self) -> None:
        while self._buffer or self._waiting:
            batch, self._buffer = self._buffer, []
            waiting, self._waiting = self._waiting, []
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._flushed_at = asyncio.get_running_loop().time()
            if self._broken is None:
                await self._write(batch)
            for stored in waiting:
                _settle(stored, self._broken)
        if self._deltas:
            self._schedule()

    def _take_deltas(self) -> None:
        """What other steps commit meanwhile does not cut a streamed reply into smaller pieces."""
        time = asyncio.get_running_loop().time()
        if self._deltas and time >= self._deltas_at + COALESCE_SECONDS:
            self._deltas_at = time
            deltas, self._deltas = self._deltas, {}
            pid = self._owner.pid
            self._buffer += [NewEvent("llm.delta", each, pid) for each in deltas.values()]

    async def _write(self, batch: list[NewEvent | Write]) -> None:
        self.elapsed()
        added = self._account.unsaved()
        try:
            self._account.saved(added, await self._persistence.write(self._unit(batch, added)))
        except EpochLost:
            self._broken = self._root.suspend(Fenced())
        except Exception as error:  # an order once broken cannot be mended by going on
            if storage_failed(error):
                self._broken = self._root.suspend(NotStored(error))
            else:
                self._broken = error
                self._root.suspend(Suspended("not_stored"))

    def _unit(
        self, batch: list[NewEvent | Write], added: tuple[int, ...]
    ) -> Callable[[Transaction], Awaitable[Row]]:
        owner = self._owner
        saved = (self.stage, *added, owner.pid, owner.epoch)

        async def unit(tx: Transaction) -> Row:
            # Before any process: whoever changes several of a session's takes them in its order.
            await tx.lock("SELECT 1 FROM session WHERE id = ?", (owner.stream,))
            at = now()  # under the lock: what a session's units write is in the order of its times
            row = await tx.fetch_one(_SAVE, saved)
            if row is None:
                raise EpochLost
            events: list[NewEvent] = []
            for item in batch:
                if isinstance(item, NewEvent):
                    events.append(item)
                else:
                    events.extend(await item(tx, at))
            await add_usage(tx, owner.user_id, owner.stream, added, at)
            if events:
                await self._log.append(tx, owner.stream, owner.user_id, events, at)
            return row

        return unit


def _settle(stored: asyncio.Future[None], error: BaseException | None) -> None:
    if stored.done():  # whoever waited was cancelled
        return
    if error is None:
        stored.set_result(None)
    else:
        stored.set_exception(error)
        stored.exception()  # whoever waits may be cancelled before it is told
