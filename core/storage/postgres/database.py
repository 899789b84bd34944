"""One PostgreSQL schema: leased, migrated, read and written over bounded pools."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from ...errors import Unavailable
from ..lease import Lease
from ..persistence import DatabaseAway, Params, Persistence, Row, Unit
from ..tables import CATALOG, check_stored
from .connection import FAILURES, connect, shown
from .lease import DatabaseLease
from .migrate import migrate
from .readers import Readers
from .writer import Writer

T = TypeVar("T")


class PostgresDatabase:
    """`Persistence` on PostgreSQL. The data folder still tells the command line of the server."""

    backend = "postgresql"

    def __init__(self, url: str, folder: Path) -> None:
        self.lease = Lease(folder)
        self._url = url
        self._database_lease = DatabaseLease(url)
        self._writer: Writer | None = None
        self._readers: Readers | None = None
        self._opened = AsyncExitStack()

    async def open(self) -> None:
        """Take the leases of the folder and the database, migrate, make ready to serve.

        Raises:
            LeaseHeld: another server uses the folder or the database.
            DatabaseUnusable: there is no such database, or it lets nobody in.
        """
        async with AsyncExitStack() as opened:
            self.lease.acquire()
            opened.callback(self.lease.release)
            with self._usable():
                lease = self._database_lease
                await lease.acquire()
                opened.push_async_callback(lease.release)
                await migrate(self._url)
                await self._begin(opened, lease.ready)
            self._opened = opened.pop_all()

    async def open_beside(self) -> None:
        """Open what a server has leased and migrated, running or not, for a command that reads or
        writes a row of its own. Makes nothing.

        Raises:
            NothingStored: there are not all tables.
            DatabaseUnusable: as `open`.
        """
        async with AsyncExitStack() as opened:
            with self._usable():
                await (await connect(self._url)).close()
                await self._begin(opened, _at_once)
                columns = await self.fetch_all(CATALOG[self.backend])
            check_stored(columns, f"the database at {shown(self._url)}")
            self._opened = opened.pop_all()

    async def _begin(self, opened: AsyncExitStack, ready: Callable[[], Awaitable[None]]) -> None:
        readers = Readers(self._url)
        await readers.open()
        opened.push_async_callback(readers.close)
        writer = Writer(self._url, ready)
        await writer.open()
        opened.push_async_callback(writer.close)
        self._readers, self._writer = readers, writer

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, *FAILURES) as error:
            raise DatabaseAway(
                f"the database at {shown(self._url)} cannot be used:"
                f" {str(error) or type(error).__name__}. Check MISSION_DATABASE_URL, and that the"
                " server there is running."
            ) from error

    async def close(self) -> None:
        """Finish what is under way, close every connection, give the leases back."""
        self._writer = None
        await self._opened.aclose()
        self._readers = None

    @property
    def written(self) -> tuple[int, int]:
        """(commits, units in them) since it was opened: here each unit has a commit of its own."""
        return (0, 0) if self._writer is None else (self._writer.units, self._writer.units)

    @property
    def lost(self) -> str | None:
        return self._database_lease.lost

    async def announce(self, url: str) -> None:
        self.lease.announce(url)
        await self._database_lease.announce(url)

    async def fetch_one(self, sql: str, params: Params = ()) -> Row | None:
        return await self._reading().fetch_one(sql, params)

    async def fetch_all(self, sql: str, params: Params = ()) -> list[Row]:
        return await self._reading().fetch_all(sql, params)

    async def write(self, unit: Unit[T]) -> T:
        if self._writer is None:
            raise Unavailable("the database is closed")
        return await self._writer.write(unit)

    async def units_ended(self) -> None:
        if self._writer is None:
            raise Unavailable("the database is closed")
        await self._writer.units_ended()

    def _reading(self) -> Readers:
        if self._readers is None:
            raise Unavailable("the database is closed")
        self._database_lease.check()
        return self._readers


async def _at_once() -> None:
    """What a command writes beside a server needs no lease."""


_: type[Persistence] = PostgresDatabase
