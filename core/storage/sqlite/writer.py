"""Group commit: one thread runs the queued units, many to a transaction.

A unit is written as a coroutine function so that the same unit runs on any database. Here it is
driven to its end inside the thread, without the event loop: every await of its transaction
returns at once. That costs one thread hop for a whole batch instead of one for each statement.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import structlog

from ...errors import Unavailable
from ..persistence import Params, Row, Transaction, Unit
from .connection import connect

T = TypeVar("T")

MAX_BATCH = 256
MAX_QUEUED = 4096
LOCK_ATTEMPTS = 6  # each waits for `busy_timeout`

log = structlog.get_logger(__name__)


class SqliteTransaction:
    """The transaction of one unit. Its awaits never suspend."""

    __slots__ = ("_connection", "callbacks")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.callbacks: list[Callable[[], None]] = []

    async def execute(self, sql: str, params: Params = ()) -> int:
        return self._connection.execute(sql, params).rowcount

    async def execute_many(self, sql: str, rows: Iterable[Params]) -> None:
        self._connection.executemany(sql, rows)

    async def insert(self, sql: str, params: Params = ()) -> int:
        return cast(int, self._connection.execute(sql, params).lastrowid)

    async def fetch_one(self, sql: str, params: Params = ()) -> Row | None:
        # fetchall, not fetchone: a statement left half read would keep the savepoint open
        rows = self._connection.execute(sql, params).fetchall()
        return cast("Row | None", rows[0] if rows else None)

    async def fetch_all(self, sql: str, params: Params = ()) -> list[Row]:
        return self._connection.execute(sql, params).fetchall()

    def after_commit(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)


@dataclass(slots=True, eq=False)
class _Job:
    unit: Unit[Any]
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None
    callbacks: list[Callable[[], None]] = field(default_factory=list)


class Writer:
    """The one writer of a SQLite file. Bounded: beyond `MAX_QUEUED` units, `write` waits."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._jobs: deque[_Job] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._places = asyncio.Semaphore(MAX_QUEUED)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.batches = 0
        self.units = 0

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(
            target=self._serve, args=(opened,), name="mission-writer", daemon=True
        )
        self._thread.start()
        await opened

    async def close(self) -> None:
        """Commit what is queued, then stop."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        with self._wake:
            self._closing = True
            self._wake.notify()
        await asyncio.get_running_loop().run_in_executor(None, thread.join)

    async def write(self, unit: Unit[T]) -> T:
        if self._thread is None or self._loop is None:
            raise Unavailable("the database is closed")
        await self._places.acquire()
        job = _Job(unit, self._loop.create_future())
        with self._wake:
            if self._closing:
                self._places.release()
                raise Unavailable("the database is closing")
            self._jobs.append(job)
            self._wake.notify()
        return cast(T, await job.future)

    # the thread

    def _serve(self, opened: asyncio.Future[None]) -> None:
        loop = cast(asyncio.AbstractEventLoop, self._loop)
        try:
            connection = connect(self._path)
        except sqlite3.Error as error:
            loop.call_soon_threadsafe(opened.set_exception, error)
            return
        loop.call_soon_threadsafe(opened.set_result, None)
        try:
            while batch := self._take():
                self._run(connection, batch)
                loop.call_soon_threadsafe(self._deliver, batch)
        finally:
            connection.close()

    def _take(self) -> list[_Job]:
        with self._wake:
            while not self._jobs and not self._closing:
                self._wake.wait()
            count = min(len(self._jobs), MAX_BATCH)
            return [self._jobs.popleft() for _ in range(count)]

    def _run(self, connection: sqlite3.Connection, batch: list[_Job]) -> None:
        try:
            _begin(connection)
            for job in batch:
                _run_unit(connection, job, alone=len(batch) == 1)
            connection.execute("COMMIT")
        except BaseException as error:  # nothing of this batch is durable
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            for job in batch:
                job.error = job.error or error

    def _deliver(self, batch: list[_Job]) -> None:
        self.batches += 1
        self.units += len(batch)
        for job in batch:
            self._places.release()
            if job.error is None:
                for callback in job.callbacks:
                    try:
                        callback()
                    except Exception:
                        log.exception("after_commit callback failed")
            if job.future.cancelled():
                continue
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)


def _begin(connection: sqlite3.Connection) -> None:
    # A plugin's own transaction may hold the file; the batch loses nothing by waiting for it.
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        try:
            connection.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            if attempt == LOCK_ATTEMPTS or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise


def _run_unit(connection: sqlite3.Connection, job: _Job, *, alone: bool) -> None:
    """Run one unit in a savepoint of its own, so that its failure harms no other."""
    transaction = SqliteTransaction(connection)
    if not alone:
        connection.execute("SAVEPOINT unit")
    try:
        job.result = _drive(job.unit(transaction))
    except BaseException as error:
        job.error = error
        # Some failures (disk full, I/O) end the whole transaction: then nobody's work is kept.
        if alone or not connection.in_transaction:
            raise
        connection.execute("ROLLBACK TO unit")
    else:
        job.callbacks = transaction.callbacks
    if not alone:
        connection.execute("RELEASE unit")


def _drive(awaitable: Any) -> Any:
    coroutine = cast("Coroutine[Any, Any, Any]", awaitable)
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise RuntimeError(
        "a unit awaited something other than its transaction; do the waiting before the write"
    )


_: type[Transaction] = SqliteTransaction
