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
    prepare,
    shown,
)

ACQUIRE_SECONDS = 10.0
CLOSE_SECONDS = 5.0
CACHED_STATEMENTS = 512
log = structlog.get_logger(__name__)


class Pool:
    """Connects when there is work. A lost connection is replaced at its next use."""

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
            connection = await self._pool.acquire(timeout=ACQUIRE_SECONDS)
        except TimeoutError as error:
            self._busy.met(error, database=self._shown)
            raise Unavailable(
                f"the database gave no connection within {ACQUIRE_SECONDS:g} s; try again"
            ) from error
        except FAILURES as error:
            self._away.met(error, database=self._shown)
            raise Unavailable("the database cannot be reached; try again") from error
        self._away.passed()
        self._busy.passed()
        try:
            yield connection
        finally:
            try:
                await self._pool.release(connection, timeout=CLOSE_SECONDS)
            except FAILURES:
                log.info("database.connection_lost", exc_info=True)

    async def close(self) -> None:
        """Wait a while for what is under way, then close every connection."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()


async def _keep(_connection: Any) -> None:
    """Nothing to put back: no unit and no read changes its session. Saves a round trip."""
