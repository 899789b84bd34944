"""The transaction of one unit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

from ..persistence import Over, Params, Row, Transaction
from .statements import numbered


class PostgresTransaction:
    """What a unit writes with, on a connection that is its own until the commit."""

    __slots__ = ("_connection", "callbacks")

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.callbacks: list[Callable[[], None]] = []

    async def execute(self, sql: str, params: Params = ()) -> int:
        status: str = await self._connection.execute(numbered(sql), *params)
        changed = status.rpartition(" ")[2]  # as in `UPDATE 3`
        return int(changed) if changed.isdigit() else -1

    async def execute_many(self, sql: str, rows: Iterable[Params]) -> None:
        await self._connection.executemany(numbered(sql), rows)

    async def insert(self, sql: str, params: Params = ()) -> int:
        id: int = await self._connection.fetchval(numbered(f"{sql} RETURNING id"), *params)
        return id

    async def fetch_one(self, sql: str, params: Params = ()) -> Row | None:
        return cast("Row | None", await self._connection.fetchrow(numbered(sql), *params))

    async def fetch_all(self, sql: str, params: Params = ()) -> list[Row]:
        return cast("list[Row]", await self._connection.fetch(numbered(sql), *params))

    async def lock(self, sql: str, params: Params = ()) -> None:
        # Not FOR UPDATE: rows that refer to the locked one may still be inserted.
        await self._connection.fetch(numbered(f"{sql} FOR NO KEY UPDATE"), *params)

    def end(self) -> None:
        """The unit is over: whoever still holds this must not write into the next one."""
        self._connection = Over()

    def after_commit(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)


_: type[Transaction] = PostgresTransaction
