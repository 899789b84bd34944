"""Tortoise's client for SQLite, safe to cancel at every point."""

from __future__ import annotations

import asyncio
import sqlite3
from types import TracebackType
from typing import Any, cast

import aiosqlite
from tortoise.backends.base.client import ConnectionWrapper, TransactionContext
from tortoise.backends.sqlite.client import SqliteClient as TortoiseSqliteClient
from tortoise.backends.sqlite.client import translate_exceptions
from tortoise.exceptions import DBConnectionError, TransactionManagementError

from .executor import Executor
from .pragmas import PRAGMAS, open_database
from .settled import SettledConnection, settle
from .transaction import SqliteTransaction, SqliteTransactionContext


class SqliteClient(TortoiseSqliteClient):
    """One connection, which its statements and transactions take in turns.

    A cancelled caller leaves the queue at once; one whose statement runs already is held until it
    has ended. Outside a transaction such a statement may have taken effect, never in part.
    Transactions take the write lock as they begin, and belong to the task that began them.
    """

    executor_class = Executor

    def __init__(self, file_path: str, **credentials: Any) -> None:
        """`credentials`: what Tortoise adds, and pragmas beside or instead of `PRAGMAS`."""
        super().__init__(file_path, **{**PRAGMAS, **credentials})
        self.turn = self._lock
        self.transaction: SqliteTransaction | None = None

    async def create_connection(self, with_db: bool) -> None:  # noqa: ARG002 (Tortoise's interface)
        """Open the file unless it is open. Raises DBConnectionError."""
        if self._connection is None:
            await settle(self._open())

    async def _open(self) -> None:
        def connect() -> sqlite3.Connection:
            return open_database(self.filename, self.pragmas)

        connection = SettledConnection(connect, iter_chunk_size=64)
        try:
            await connection
        except (sqlite3.Error, ValueError) as error:
            raise DBConnectionError(
                f"cannot open the SQLite file '{self.filename}': {error}."
                " Check that its folder exists and may be written, and the pragmas."
            ) from error
        self._connection = connection
        await self._post_connect()
        self.log.debug("opened %s with %s", self.filename, self.pragmas)

    async def close(self) -> None:
        """Close the file, once the statement or transaction that has it has ended."""
        self.refuse_own_transaction()
        async with self.turn:
            await settle(super().close())

    def acquire_connection(self) -> ConnectionWrapper[aiosqlite.Connection]:
        """The connection for one turn: `async with client.acquire_connection() as connection`."""
        self.refuse_own_transaction()
        return _Turn(self.turn, self)

    def _in_transaction(self) -> TransactionContext:
        return SqliteTransactionContext(self)

    @translate_exceptions
    async def execute_many(self, query: str, values: list[list[Any]]) -> None:
        """Run one statement for each row of values: for all of them or for none."""
        async with self._in_transaction() as transaction:
            await transaction.execute_many(query, values)

    def refuse_own_transaction(self) -> None:
        """Raise where waiting for a turn would be waiting for oneself, for ever."""
        if self.transaction is not None and self.transaction.task is asyncio.current_task():
            raise TransactionManagementError(
                f"connection '{self.connection_name}' is in a transaction of this task. Use the"
                " client that `async with in_transaction() as client` gives, or leave the block"
                " first."
            )


class _Turn(ConnectionWrapper[aiosqlite.Connection]):
    """Holds the turn for a statement; never gives it back with a transaction open."""

    client: SqliteClient

    async def __aenter__(self) -> aiosqlite.Connection:
        await self._lock.acquire()
        try:
            await self.client.create_connection(with_db=True)
        except BaseException:
            self._lock.release()
            raise
        # The wrapper was made before the wait, in which the client may have been closed.
        self.connection = cast(aiosqlite.Connection, self.client._connection)
        return self.connection

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        try:
            if self.connection.in_transaction:
                await self.connection.rollback()
                if exc_type is None:
                    raise TransactionManagementError(
                        f"a statement left a transaction open on '{self.client.connection_name}';"
                        " it was rolled back. Use `async with in_transaction()` in place of BEGIN."
                    )
        finally:
            self._lock.release()
