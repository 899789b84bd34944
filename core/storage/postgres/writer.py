"""Runs units: each in a transaction and a task of its own, again where that is safe."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import asyncpg
import structlog

from ...errors import Unavailable
from ..persistence import Unit
from .connection import drop, is_closed, is_gone
from .pool import CLOSE_SECONDS, Pool
from .transaction import PostgresTransaction

CONNECTIONS = 16
MAX_QUEUED = 4096
UNIT_SECONDS = 60.0
ATTEMPTS = 10

T = TypeVar("T")
log = structlog.get_logger(__name__)

CLASHES = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
"""Undone by the server because of another unit: nothing is wrong with this one."""
TAKEN = asyncpg.UniqueViolationError
"""Another unit was faster, after this one had looked. Run once more, it finds what is there, and
says so in its own words; one that does not look fails again in the same way."""


class Writer:
    """Bounded: `CONNECTIONS` units run at once, and beyond `MAX_QUEUED` more `write` waits."""

    def __init__(self, url: str, ready: Callable[[], Awaitable[None]]) -> None:
        self._pool = Pool(url, CONNECTIONS)
        self._ready = ready
        self._places = asyncio.Semaphore(MAX_QUEUED)
        self._units: set[asyncio.Task[Any]] = set()
        self._closing = False
        self.units = 0
        self.open = self._pool.open

    async def close(self) -> None:
        """Commit what was taken, then close the connections."""
        self._closing = True
        if self._units:
            await asyncio.wait(self._units, timeout=UNIT_SECONDS)
        for task in self._units:
            task.cancel()
        if self._units:
            await asyncio.wait(self._units, timeout=CLOSE_SECONDS)
        await self._pool.close()

    async def write(self, unit: Unit[T]) -> T:
        await self._places.acquire()
        if self._closing:
            self._places.release()
            raise Unavailable("the database is closing")
        task = asyncio.create_task(self._run(unit), name="unit")
        self._units.add(task)
        task.add_done_callback(self._ran)
        return await asyncio.shield(task)

    async def units_ended(self) -> None:
        """Each has its time, so this has an end."""
        if self._units:
            await asyncio.wait(self._units)

    def _ran(self, task: asyncio.Task[Any]) -> None:
        self._units.discard(task)
        self._places.release()
        if not task.cancelled():
            task.exception()  # its caller may have been cancelled

    async def _run(self, unit: Unit[T]) -> T:
        attempt = 0
        while True:
            attempt += 1
            await self._ready()
            try:
                return await self._attempt(unit)
            except CLASHES:
                if attempt >= ATTEMPTS:
                    raise
            except TAKEN:
                if attempt >= 3:
                    raise
            except _Lost as lost:
                if attempt >= 3:
                    raise Unavailable("the database went away; try again") from lost.__cause__
            await asyncio.sleep(random.uniform(0, 0.002 * 2**attempt))  # noqa: S311

    async def _attempt(self, unit: Unit[T]) -> T:
        async with self._pool.connection() as connection:
            transaction = PostgresTransaction(connection)
            committing = False
            try:
                async with asyncio.timeout(UNIT_SECONDS):
                    await connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
                    result = await unit(transaction)
                    committing = True
                    ended = await connection.execute("COMMIT")
            except BaseException as error:
                gone = is_gone(error, connection)
                await _undo(connection, error)
                if committing and (gone or isinstance(error, TimeoutError)):
                    raise Unavailable(
                        "the database went away at the commit: the change may be stored or not;"
                        " look before you repeat it"
                    ) from error
                if gone:
                    raise _Lost from error
                if isinstance(error, TimeoutError):
                    raise Unavailable("the database did not answer in time; try again") from error
                raise
            finally:
                transaction.end()
        if ended != "COMMIT":
            raise RuntimeError(
                "a unit went on after one of its statements had failed: nothing of it is stored."
                " Let the error pass; look before you write instead of catching it"
            )
        self.units += 1
        for callback in transaction.callbacks:
            try:
                callback()
            except Exception:
                log.exception("after_commit callback failed")
        return result


class _Lost(Exception):
    """The connection broke before COMMIT was sent: nothing of the unit is stored."""


async def _undo(connection: Any, error: BaseException) -> None:
    """Leave nothing open on the connection, at the price of the connection if need be."""
    if isinstance(error, (TimeoutError, asyncio.CancelledError)) or is_closed(connection):
        drop(connection)
        return
    try:
        await connection.execute("ROLLBACK", timeout=CLOSE_SECONDS)
    except asyncio.CancelledError:
        drop(connection)
        raise
    except Exception:
        drop(connection)
