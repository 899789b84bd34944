"""A bounded number of connections, taken for one piece of work at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import structlog

from ...errors import Unavailable
from ...trouble import Trouble
from .connection import (
    CONNECT_SECONDS,
    FAILURES,
    SERVER_SETTINGS,
    STATEMENT_SECONDS,
    is_closed,
    prepare,
    shown,
)

ACQUIRE_SECONDS = 10.0
CLOSE_SECONDS = 5.0
CACHED_STATEMENTS = 512
log = structlog.get_logger(__name__)


class Pool:
    """Connects when there is work. A lost connection is replaced at its next use.

    What has been used without an error is kept at hand: asyncpg's pool takes as long for taking a
    connection and giving it back as for a short read.
    """

    def __init__(self, url: str, size: int, **settings: str) -> None:
        self._shown = shown(url)
        self._away = Trouble(log, "database.away", "database.back")
        self._busy = Trouble(log, "database.busy", "database.free")
        self._pool = asyncpg.create_pool(
            url,
            min_size=0,
            max_size=size,
            timeout=CONNECT_SECONDS,
            command_timeout=STATEMENT_SECONDS,
            statement_cache_size=CACHED_STATEMENTS,
            max_cached_statement_lifetime=0,  # else a timer each, which holds its caller's context
            server_settings={**SERVER_SETTINGS, **settings},
            init=prepare,
            reset=_keep,
        )
        self._places = asyncio.Semaphore(size)
        self._at_hand: list[Any] = []  # acquired from the pool, and free
        self._closing = False

    async def open(self) -> None:
        await self._pool

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A connection that is nobody else's.

        Raises:
            Unavailable: the database is away, or all connections stay busy. Clients are told
                that; where the database is stands in the log.
        """
        try:
            await self._wait()
        except TimeoutError as error:
            self._busy.met(error, database=self._shown)
            raise Unavailable(
                f"the database gave no connection within {ACQUIRE_SECONDS:g} s; try again"
            ) from error
        try:
            connection = await self._take()
            self._away.passed()
            self._busy.passed()
            try:
                yield connection
            except BaseException:
                await self._give_back(connection)
                raise
            if self._closing:
                await self._give_back(connection)
            else:
                self._at_hand.append(connection)
        finally:
            self._places.release()

    async def close(self) -> None:
        """Wait a while for what is under way, then close every connection."""
        self._closing = True
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                while self._at_hand:
                    await self._give_back(self._at_hand.pop())
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    async def _wait(self) -> None:
        """Until there is one more connection to be had."""
        if self._places.locked():
            async with asyncio.timeout(ACQUIRE_SECONDS):
                await self._places.acquire()
        else:  # the rule; a timeout takes as long as a short read
            await self._places.acquire()

    async def _take(self) -> Any:
        while self._at_hand:
            connection = self._at_hand.pop()
            if not is_closed(connection):
                return connection
            await self._give_back(connection)
        try:
            return await self._pool.acquire(timeout=ACQUIRE_SECONDS)
        except FAILURES as error:
            self._away.met(error, database=self._shown)
            raise Unavailable("the database cannot be reached; try again") from error

    async def _give_back(self, connection: Any) -> None:
        try:
            await self._pool.release(connection, timeout=CLOSE_SECONDS)
        except FAILURES:
            log.info("database.connection_lost", exc_info=True)


async def _keep(_connection: Any) -> None:
    """Nothing to put back: no unit and no read changes its session. Saves a round trip."""
