"""Reads on their own connections: a few threads, each with one."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar, cast

from ..persistence import Params, Row
from .connection import connect

T = TypeVar("T")
THREADS = 4


class Readers:
    """A pool of read-only connections to one SQLite file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._pool = ThreadPoolExecutor(THREADS, "mission-reader", initializer=self._connect)

    def _connect(self) -> None:
        connection = connect(self._path, read_only=True)
        self._local.connection = connection
        self._connections.append(connection)

    async def fetch_one(self, sql: str, params: Params = ()) -> Row | None:
        return await self._run(lambda connection: _first(connection, sql, params))

    async def fetch_all(self, sql: str, params: Params = ()) -> list[Row]:
        return await self._run(lambda connection: connection.execute(sql, params).fetchall())

    async def _run(self, read: Callable[[sqlite3.Connection], T]) -> T:
        def work() -> T:
            return read(cast(sqlite3.Connection, self._local.connection))

        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self._pool.shutdown)
        for connection in self._connections:
            connection.close()
        self._connections.clear()


def _first(connection: sqlite3.Connection, sql: str, params: Params) -> Row | None:
    rows = connection.execute(sql, params).fetchall()
    return cast("Row | None", rows[0] if rows else None)
