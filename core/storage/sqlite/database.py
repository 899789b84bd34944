"""One SQLite file in the data folder: leased, migrated, read in parallel, written in groups."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import TypeVar

from ...errors import Unavailable
from ..lease import Lease
from ..persistence import DatabaseUnusable, Params, Persistence, Row, Unit
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
            DatabaseUnusable: the file is damaged, or is something else.
        """
        self.lease.acquire()
        try:
            os.close(os.open(self._path, os.O_CREAT, 0o600))  # private before anything is in it
            _check(self._path)
            await migrate(self._path)
            await self._begin()
        except BaseException:
            self.lease.release()
            raise

    async def open_beside(self) -> None:
        """Open what a running server has leased and migrated, for a command beside it that reads
        or writes a row of its own.

        Raises:
            DatabaseUnusable: as `open`.
        """
        _check(self._path)
        await self._begin()

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
