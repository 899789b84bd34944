"""Reads on connections of their own, which cannot write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from ...errors import Unavailable
from ..persistence import Params, Row
from .connection import drop, is_gone
from .pool import Pool
from .statements import numbered

CONNECTIONS = 8
ATTEMPTS = 3


class Readers:
    """Answers SELECTs. One whose connection is lost is asked again on another."""

    def __init__(self, url: str) -> None:
        self._pool = Pool(url, CONNECTIONS, default_transaction_read_only="on")
        self.open = self._pool.open
        self.close = self._pool.close

    async def fetch_one(self, sql: str, params: Params = ()) -> Row | None:
        sql = numbered(sql)
        row = await self._read(lambda connection: connection.fetchrow(sql, *params))
        return cast("Row | None", row)

    async def fetch_all(self, sql: str, params: Params = ()) -> list[Row]:
        sql = numbered(sql)
        rows = await self._read(lambda connection: connection.fetch(sql, *params))
        return cast("list[Row]", rows)

    async def _read(self, read: Callable[[Any], Awaitable[Any]]) -> Any:
        for attempt in range(1, ATTEMPTS + 1):
            async with self._pool.connection() as connection:
                try:
                    return await read(connection)
                except TimeoutError as error:
                    raise Unavailable("the database did not answer in time; try again") from error
                except Exception as error:
                    if not is_gone(error, connection):
                        raise
                    drop(connection)
                    if attempt == ATTEMPTS:
                        raise Unavailable("the database went away; try again") from error
        raise AssertionError("unreachable")
