"""Group commit: one thread runs the queued units, many to a transaction.

A unit is written as a coroutine function so that the same unit runs on any database. Here it is
driven to its end inside the thread, without the event loop: every await of its transaction
returns at once. That costs one thread hop for a whole batch instead of one for each statement.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar, cast

import structlog

from ...errors import Unavailable
from ..persistence import Over, Params, Row, Transaction, Unit
from .connection import connect
from .settled import settle

T = TypeVar("T")

MAX_BATCH = 256
MAX_QUEUED = 4096
LOCK_ATTEMPTS = 6  # each waits for `busy_timeout`

# Compiled statements are kept by their text, and checked once: these of the writer's own must not
# be found by a unit that says the same.
_BEGIN = "BEGIN IMMEDIATE -- by the writer"
_COMMIT = "COMMIT -- by the writer"
_ROLLBACK = "ROLLBACK -- by the writer"
_SAVEPOINT = "SAVEPOINT unit -- by the writer"
_UNDO = "ROLLBACK TO unit -- by the writer"
_RELEASE = "RELEASE unit -- by the writer"

log = structlog.get_logger(__name__)


class UnitTransaction:
    """The transaction of one unit. Its awaits never suspend."""

    __slots__ = ("_cursor", "callbacks")

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor
        self.callbacks: list[Callable[[], None]] = []

    async def execute(self, sql: str, params: Params = ()) -> int:
        return self._cursor.execute(sql, params).rowcount

    async def execute_many(self, sql: str, rows: Iterable[Params]) -> None:
        self._cursor.executemany(sql, rows)

    async def insert(self, sql: str, params: Params = ()) -> int:
        return cast(int, self._cursor.execute(sql, params).lastrowid)

    async def fetch_one(self, sql: str, params: Params = ()) -> Row | None:
        # fetchall, not fetchone: a statement left half read would keep the savepoint open
        rows = self._cursor.execute(sql, params).fetchall()
        return cast("Row | None", rows[0] if rows else None)

    async def fetch_all(self, sql: str, params: Params = ()) -> list[Row]:
        return self._cursor.execute(sql, params).fetchall()

    async def lock(self, sql: str, params: Params = ()) -> None:
        pass  # no other unit runs before this one has ended

    def after_commit(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)

    def end(self) -> None:
        """The unit is over: whoever still holds this must not write into the next one."""
        self._cursor = cast(sqlite3.Cursor, Over())


@dataclass(slots=True, eq=False)
class _Job:
    unit: Unit[Any]
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None
    callbacks: list[Callable[[], None]] = field(default_factory=list)


class _Guard:
    """SQLite's authorizer: the transaction is the writer's, and closed to the units in it."""

    def __init__(self) -> None:
        self.unit_runs = False
        self.refused = False

    def __call__(self, action: int, *_: str | None) -> int:
        if self.unit_runs and action in (sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT):
            self.refused = True
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK


class Writer:
    """The one writer of a SQLite file. Bounded: beyond `MAX_QUEUED` units, `write` waits.

    A failure outside any unit ends the thread and fails what was queued: nobody waits for ever.
    The next write starts another thread, on a connection of its own.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # Waking a thread by it takes a fraction of what a condition takes. None: nothing follows.
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._closing = False
        self._places = asyncio.Semaphore(MAX_QUEUED)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._guard = _Guard()
        self.batches = 0
        self.units = 0

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            await self.write(nothing)
        except BaseException:
            await settle(self.close())
            raise

    async def close(self) -> None:
        """Commit what is queued, then stop."""
        self._closing = True
        self._jobs.put(None)
        if self._thread is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    async def write(self, unit: Unit[T]) -> T:
        """Raises Unavailable: closed, or the file cannot be written now."""
        if self._loop is None:
            raise Unavailable("the database is closed")
        await self._places.acquire()
        if self._closing:
            self._places.release()
            raise Unavailable("the database is closing")
        job = _Job(unit, self._loop.create_future())
        self._jobs.put(job)
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="mission-writer", daemon=True)
            self._thread.start()
        return cast(T, await job.future)

    # the thread

    def _serve(self) -> None:
        batch: list[_Job] = []
        try:
            with closing(connect(self._path)) as connection:
                self._guard = _Guard()
                connection.set_authorizer(self._guard)
                cursor = connection.cursor()  # one for all: a connection makes one a statement
                more = True
                while more:
                    batch, more = self._take()
                    if batch:
                        self._run(cursor, batch)
                        self._hand_over(self._deliver, batch)
                        batch = []
        except BaseException as error:
            log.exception("the database's writer failed")
            self._hand_over(self._fail, batch, error)

    def _take(self) -> tuple[list[_Job], bool]:
        """Waits for units; gives all there are by then, and whether more may follow."""
        batch: list[_Job] = []
        while not batch or (len(batch) < MAX_BATCH and not self._jobs.empty()):
            job = self._jobs.get()
            if job is None:
                return batch, False
            batch.append(job)
        return batch, True

    def _hand_over(self, receive: Callable[..., None], *results: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            cast(asyncio.AbstractEventLoop, self._loop).call_soon_threadsafe(receive, *results)

    def _run(self, cursor: sqlite3.Cursor, batch: list[_Job]) -> None:
        try:
            _begin(cursor)
            for job in batch:
                self._run_unit(cursor, job, alone=len(batch) == 1)
            cursor.execute(_COMMIT)
        except BaseException as error:  # nothing of this batch is durable
            if cursor.connection.in_transaction:
                cursor.execute(_ROLLBACK)
            for job in batch:
                job.error = job.error or error

    def _run_unit(self, cursor: sqlite3.Cursor, job: _Job, *, alone: bool) -> None:
        """Run one unit in a savepoint of its own, so that its failure harms no other."""
        transaction = UnitTransaction(cursor)
        if not alone:
            cursor.execute(_SAVEPOINT)
        guard = self._guard
        guard.unit_runs, guard.refused = True, False
        try:
            job.result = _drive(job.unit(transaction))
            if guard.refused:
                raise RuntimeError("a unit went on after it was refused to end its transaction")
        except BaseException as error:
            job.error = _refusal(error) if guard.refused else error
            # Some failures (disk full, I/O) end the whole transaction: then nobody's work is kept.
            if alone or not cursor.connection.in_transaction:
                raise
            guard.unit_runs = False
            cursor.execute(_UNDO)
        else:
            job.callbacks = transaction.callbacks
        finally:
            guard.unit_runs = False
            transaction.end()
        if not alone:
            cursor.execute(_RELEASE)

    # the event loop

    def _fail(self, batch: list[_Job], cause: BaseException) -> None:
        """The thread has ended: so does all that it has not done."""
        self._thread = None
        with suppress(Empty):
            while True:
                if (job := self._jobs.get_nowait()) is not None:
                    batch.append(job)
        for job in batch:
            if job.error is None:
                job.error = Unavailable(f"the database cannot be written: {cause}")
                job.error.__cause__ = cause
        self._deliver(batch)

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
            if job.future.done():  # its caller was cancelled
                continue
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)


def _begin(cursor: sqlite3.Cursor) -> None:
    # A plugin's own transaction may hold the file; the batch loses nothing by waiting for it.
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        try:
            cursor.execute(_BEGIN)
            return
        except sqlite3.OperationalError as error:
            if attempt == LOCK_ATTEMPTS or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise


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


def _refusal(cause: BaseException) -> RuntimeError:
    refusal = RuntimeError(
        "a unit ran BEGIN, COMMIT, ROLLBACK or SAVEPOINT; it is one transaction already, kept"
        " when it returns and undone when it raises"
    )
    refusal.__cause__ = cause
    return refusal


async def nothing(tx: Transaction) -> None:
    """A unit that asks for nothing but the writer's answer."""


_: type[Transaction] = UnitTransaction
