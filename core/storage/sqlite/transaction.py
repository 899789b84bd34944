"""Transactions: each belongs to one task, takes the write lock first, and ends whatever happens."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, cast

import aiosqlite
from tortoise.backends.base.client import (
    ConnectionWrapper,
    NestedTransactionContext,
    TransactionContext,
)
from tortoise.backends.sqlite.client import SqliteTransactionWrapper, translate_exceptions
from tortoise.connection import get_connections
from tortoise.exceptions import IntegrityError, OperationalError, TransactionManagementError

from .executor import Executor

if TYPE_CHECKING:
    from .client import SqliteClient


class SqliteTransaction(SqliteTransactionWrapper):
    """The client inside `async with in_transaction()`, or inside a nested one: a savepoint.

    Every use of it raises TransactionManagementError after its end, and in any other task.
    """

    executor_class = Executor

    def __init__(self, parent: SqliteClient | SqliteTransaction) -> None:
        super().__init__(parent)
        self._outer = parent if isinstance(parent, SqliteTransaction) else None
        self.task: asyncio.Task[object] | None = None

    def check(self) -> None:
        """Raise unless this is the task that began the transaction, and it is still open."""
        self._check_caller()
        if not self._connection.in_transaction:
            raise TransactionManagementError(
                f"SQLite has ended the transaction on '{self.connection_name}' by itself, after an"
                " error or a COMMIT or ROLLBACK in SQL. Leave the block and start again."
            )

    def _check_caller(self) -> None:
        if self._outer is not None:
            self._outer._check_caller()
        if self._finalized:
            raise TransactionManagementError(
                f"the transaction on '{self.connection_name}' has ended. Its client lives no longer"
                " than its `async with in_transaction()` block, also in tasks started there: start"
                " a task that uses the database outside the block."
            )
        if self.task is None:
            raise TransactionManagementError(
                f"the transaction on '{self.connection_name}' has not begun. Enter it with"
                " `async with in_transaction()`."
            )
        task = asyncio.current_task()
        if task is not self.task:
            raise TransactionManagementError(
                f"the transaction on '{self.connection_name}' belongs to {_name(self.task)} and was"
                f" used in {_name(task)}. Await its statements one after another in the task that"
                " began it (asyncio.gather, create_task and wait_for start other tasks), or start"
                " the other task outside the block."
            )

    def acquire_connection(self) -> ConnectionWrapper[aiosqlite.Connection]:
        self.check()
        return super().acquire_connection()

    def _in_transaction(self) -> TransactionContext:
        self.check()
        return SavepointContext(SqliteTransaction(self))

    async def create_connection(self, with_db: bool) -> None:  # noqa: ARG002 (Tortoise's interface)
        self.check()

    async def close(self) -> None:
        self._check_caller()
        raise TransactionManagementError(
            f"connection '{self.connection_name}' cannot be closed inside a transaction. Leave the"
            " `async with in_transaction()` block first."
        )

    @translate_exceptions
    async def execute_script(self, query: str) -> None:
        """Run several statements inside the transaction."""
        async with self.acquire_connection() as connection:
            for statement in _statements(query):
                await connection.execute(statement)

    async def begin(self) -> None:
        """Take the write lock, waiting for it up to `busy_timeout`. Raises OperationalError."""
        if self.task is not None:
            raise TransactionManagementError("this transaction has begun already; begin another")
        try:
            with _translated():
                # A deferred BEGIN takes the lock at its first write. Had another process written
                # since its first read, that fails at once, whatever the busy timeout.
                await self._connection.execute("BEGIN IMMEDIATE")
        except BaseException:
            # A cancelled BEGIN has been carried out all the same.
            await self._connection.rollback()
            raise
        self.task = asyncio.current_task()

    async def commit(self) -> None:
        """Commit now; the client is then finished. Of a savepoint: release it."""
        if self._savepoint is not None:
            return await self.release_savepoint()
        self.check()
        try:
            with _translated():
                await self._connection.commit()
        finally:
            # A cancelled COMMIT has gone through; a failed one has left the transaction open.
            self._finalized = not self._connection.in_transaction

    async def rollback(self) -> None:
        """Roll back now; the client is then finished. Of a savepoint: back to it."""
        self._check_caller()
        await self.abandon()

    async def abandon(self) -> None:
        """Undo whatever is not committed. Callable from any task, and more than once."""
        if self._finalized:
            return
        self._finalized = True
        if self._savepoint is None:
            await self._connection.rollback()
        elif self._connection.in_transaction:
            await self._connection.execute(f"ROLLBACK TO {self._savepoint}")
            await self._connection.execute(f"RELEASE {self._savepoint}")

    async def savepoint(self) -> None:
        if self._outer is None or self.task is not None:
            raise TransactionManagementError(
                "savepoints come from `async with in_transaction()` inside a transaction"
            )
        self._outer.check()
        self._savepoint = f"savepoint_{id(self)}"
        # One left over by a cancellation is empty, and ends with what surrounds it.
        await self._connection.execute(f"SAVEPOINT {self._savepoint}")
        self.task = self._outer.task

    async def savepoint_rollback(self) -> None:
        await self.rollback()

    async def release_savepoint(self) -> None:
        self.check()
        self._finalized = True
        await self._connection.execute(f"RELEASE {self._savepoint}")


class SqliteTransactionContext(TransactionContext):
    """Gives a task the turn on the connection and a transaction, and takes both back."""

    def __init__(self, parent: SqliteClient) -> None:
        self._parent = parent
        self._transaction = SqliteTransaction(parent)

    async def __aenter__(self) -> SqliteTransaction:
        parent, transaction = self._parent, self._transaction
        self._connections = get_connections()
        parent.refuse_own_transaction()
        await parent.turn.acquire()
        try:
            await parent.create_connection(with_db=True)
            transaction._connection = cast(aiosqlite.Connection, parent._connection)
            await transaction.begin()
        except BaseException:
            parent.turn.release()
            raise
        parent.transaction = transaction
        self._token = self._connections.set(parent.connection_name, transaction)
        return transaction

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        try:
            await _end(self._transaction, exc_type)
        finally:
            self._parent.transaction = None
            self._parent.turn.release()
            # A generator closed by the event loop leaves the block in another task, which cannot
            # reach the variable of the first; that one finds the transaction ended, and is told.
            with suppress(ValueError):
                self._connections.reset(self._token)


class SavepointContext(NestedTransactionContext):
    """A transaction inside a transaction. Unlike Tortoise's it undoes its work on any exception."""

    client: SqliteTransaction

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await _end(self.client, exc_type)


async def _end(transaction: SqliteTransaction, exc_type: type[BaseException] | None) -> None:
    try:
        if exc_type is None and not transaction._finalized:
            await transaction.commit()
    finally:
        await transaction.abandon()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise IntegrityError(error) from error
    except sqlite3.OperationalError as error:
        raise OperationalError(error) from error


def _statements(script: str) -> Iterator[str]:
    """Split at the semicolons that end a statement; sqlite3's executescript would commit first."""
    statement = ""
    for part in script.split(";"):
        statement += part + ";"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement:
        yield statement


def _name(task: asyncio.Task[object] | None) -> str:
    return "no task" if task is None else f"task '{task.get_name()}'"
