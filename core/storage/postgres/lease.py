"""The lease on a database: one server at a time, for as long as its session lives."""

from __future__ import annotations

import asyncio
import math
import os
import socket
import time
from contextlib import suppress
from typing import Any

import asyncpg
import structlog

from ...errors import Unavailable
from ...trouble import Trouble
from ..lease import DatabaseHeld
from .connection import FAILURES, connect, is_gone, shown
from .locks import LEASE

LOOK_SECONDS = 0.05
PATIENCE_SECONDS = 3.0
GRACE_SECONDS = 2.0
"""For how long a lease that had a holder must be free, before another than that one takes it: its
holder may have lost a connection and no more."""
HEARTBEAT_SECONDS = 5.0
AGAIN_SECONDS = 0.2
WAIT_SECONDS = 2.0
log = structlog.get_logger(__name__)


class DatabaseLease:
    """An advisory lock on a connection of its own, which is named after its server.

    A lease that is lost with its connection is taken again, and nothing may be written until it
    is. Should another server have been faster, this one never writes again: what it holds in
    memory is then another server's business.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._name = f"mission {os.getpid()}@{socket.gethostname()}"
        self._connection: asyncpg.Connection | None = None
        self._backend = 0
        self._gone = asyncio.Event()
        self._known = asyncio.Event()
        self._was_held = False
        self._is_lost = False
        self._keeper: asyncio.Task[None] | None = None

    async def acquire(self) -> None:
        """Take the lease, and keep it until `release`.

        Raises:
            DatabaseHeld: another server has it.
        """
        await self._take(GRACE_SECONDS)
        self._keeper = asyncio.create_task(self._keep(), name="database-lease")

    async def announce(self, url: str) -> None:
        """Say where the server listens, for whoever finds the database in use."""
        self._name = f"{self._name} {url}"
        if self._connection is not None:
            with suppress(*FAILURES):
                await self._connection.execute(
                    "SELECT set_config('application_name', $1, false)", self._name
                )

    async def release(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        await self._disconnect()

    async def ready(self) -> None:
        """Return while the lease is held; wait a moment for it where it has to be taken again.

        Raises:
            Unavailable: it could not be had; nothing may be written.
        """
        if not self._known.is_set():
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    await self._known.wait()
            except TimeoutError:
                raise Unavailable("the database is away; try again") from None
        self.check()

    @property
    def lost(self) -> str | None:
        """Why nothing can be written ever again, once another server has taken the database. Who
        that is stands in the log: probes tell this to anybody."""
        if not self._is_lost:
            return None
        return "this server has lost its data: another one has taken the database; start it again"

    def check(self) -> None:
        """Raise Unavailable if another server has taken the database over."""
        if self.lost is not None:
            raise Unavailable(self.lost)

    async def _take(self, grace: float = 0) -> None:
        """Connect and lock. A session whose client has just died may take a moment to end."""
        connection = await connect(self._url, application_name=self._name)
        now = time.monotonic
        deadline = now() + PATIENCE_SECONDS
        free_since = now() if self._was_held else -math.inf
        try:
            while now() - free_since < grace or not await connection.fetchval(LEASE.take):
                if await connection.fetchrow(LEASE.holder) is not None:
                    self._was_held, free_since = True, now()
                if now() > deadline:
                    raise await self._held(connection)
                await asyncio.sleep(LOOK_SECONDS)
        except BaseException:
            connection.terminate()
            raise
        self._gone.clear()
        self._connection = connection
        self._backend = connection.get_server_pid()
        connection.add_termination_listener(self._dropped)
        self._known.set()

    async def _held(self, connection: asyncpg.Connection) -> Exception:
        holder = await connection.fetchrow(LEASE.holder)
        if holder is not None and holder["pid"] == self._backend:
            # Our own session, cut off from us: the server has yet to notice.
            return ConnectionError("the lease's old connection is still open")
        who = (
            f"'{holder['name']}' from {holder['address'] or 'this machine'},"
            f" since {holder['since'].isoformat('T', 'seconds')}"
            if holder is not None
            else "another server"
        )
        return DatabaseHeld(shown(self._url), who)

    def _dropped(self, _connection: Any) -> None:
        self._known.clear()
        self._gone.set()

    async def _keep(self) -> None:
        while True:
            await self._until_gone()
            self._known.clear()
            log.warning("database.lease_lost", database=shown(self._url))
            await self._disconnect()
            trouble = Trouble(log, "database.lease_not_taken", "database.lease_taken_again")
            while not self._known.is_set():
                try:
                    await self._take()
                    log.info("database.lease_taken_again")
                except DatabaseHeld as held:
                    log.error("database.taken_over", error=held.message)
                    self._is_lost = True
                    self._known.set()
                    return
                except Exception as error:
                    if not is_gone(error):
                        trouble.met(error)
                    await asyncio.sleep(AGAIN_SECONDS)

    async def _until_gone(self) -> None:
        while not self._gone.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await self._gone.wait()
                continue
            try:
                if self._connection is not None:
                    await self._connection.fetchval("SELECT 1", timeout=HEARTBEAT_SECONDS)
            except FAILURES:
                return

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        connection.remove_termination_listener(self._dropped)
        try:
            await connection.close(timeout=HEARTBEAT_SECONDS)
        except FAILURES:
            connection.terminate()
