"""One SQLite file in the data folder: leased, migrated, read in parallel, written in groups."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import TypeVar

from ...errors import Unavailable
from ..lease import FolderUnusable, Lease
from ..persistence import DatabaseUnusable, NothingStored, Params, Persistence, Row, Unit
from ..tables import CATALOG, check_stored
from .connection import connect
from .migrate import migrate
from .readers import Readers
from .writer import Writer, nothing

T = TypeVar("T")


class SqliteDatabase:
    """The embedded default of `Persistence`."""

    backend = "sqlite"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lease = Lease(folder)
        self._path = folder / "mission.sqlite3"
        self._writer: Writer | None = None
        self._readers: Readers | None = None

    async def open(self) -> None:
        """Take the folder's lease, migrate, start the writer and the readers.

        Raises:
            LeaseHeld: another server uses the folder.
            FolderUnusable: it cannot be written, or something in it is in the way.
            DatabaseUnusable: the file is damaged, or is something else.
        """
        self.lease.acquire()
        try:
            self._touch(os.O_CREAT)  # private before anything is in it
            _check(self._path)
            await migrate(self._path)
            await self._begin()
        except BaseException:
            self.lease.release()
            raise

    async def open_beside(self) -> None:
        """Open what a server has leased and migrated, running or not, for a command that reads or
        writes a row of its own. Makes nothing.

        Raises:
            NothingStored: there is no file, or not all tables.
            FolderUnusable, DatabaseUnusable: as `open`.
        """
        place = f"the data folder '{self.folder}'"
        try:
            self._touch(os.O_RDWR)
        except FileNotFoundError:
            raise NothingStored(place, self._path.name) from None
        _check(self._path)
        await self._begin()
        try:
            check_stored(await self.fetch_all(CATALOG[self.backend]), place)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Finish what is queued, close the file, give the lease back."""
        writer, self._writer = self._writer, None
        readers, self._readers = self._readers, None
        if writer is not None:
            await writer.close()
        if readers is not None:
            await readers.close()
        self.lease.release()

    @property
    def written(self) -> tuple[int, int]:
        """(commits, units in them) since it was opened."""
        return (0, 0) if self._writer is None else (self._writer.batches, self._writer.units)

    @property
    def lost(self) -> str | None:
        return None  # the kernel keeps the lock until the process ends

    async def announce(self, url: str) -> None:
        self.lease.announce(url)

    async def fetch_one(self, sql: str, params: Params = ()) -> Row | None:
        return await self._reading().fetch_one(sql, params)

    async def fetch_all(self, sql: str, params: Params = ()) -> list[Row]:
        return await self._reading().fetch_all(sql, params)

    async def write(self, unit: Unit[T]) -> T:
        if self._writer is None:
            raise Unavailable("the database is closed")
        return await self._writer.write(unit)

    async def units_ended(self) -> None:
        await self.write(nothing)  # one after another: it comes after all the others

    def _touch(self, flags: int) -> None:
        try:
            os.close(os.open(self._path, flags, 0o600))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise FolderUnusable(self.folder, error) from error

    async def _begin(self) -> None:
        writer = Writer(self._path)
        await writer.open()
        self._writer = writer
        self._readers = Readers(self._path)

    def _reading(self) -> Readers:
        if self._readers is None:
            raise Unavailable("the database is closed")
        return self._readers


def _check(path: Path) -> None:
    """Open the file once, for a clear word before anything is built on it."""
    try:
        connect(path).close()
    except sqlite3.DatabaseError as error:
        raise DatabaseUnusable(
            f"'{path}' cannot be used: {error}. If it is damaged, move it away and restore a copy;"
            " without one, a new file is made at the next start."
        ) from error


_: type[Persistence] = SqliteDatabase
