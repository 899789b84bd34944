"""How this server opens a SQLite file: one set of pragmas for every connection to it."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

Pragmas = Mapping[str, str | int]

PRAGMAS: Final[Pragmas] = MappingProxyType(
    {
        "busy_timeout": 5000,  # milliseconds; first, for the others may have to wait for a lock
        "journal_mode": "WAL",
        "synchronous": "NORMAL",
        "foreign_keys": "ON",
        "cache_size": -65536,  # KiB, when negative
        "mmap_size": 268435456,  # bytes
        "temp_store": "MEMORY",
        "journal_size_limit": 67108864,  # bytes
        "wal_autocheckpoint": 8000,  # pages; hot ones are then written back once for many commits
    }
)
_RETRY_SECONDS = 0.01


def open_database(
    path: str, pragmas: Pragmas = PRAGMAS, *, check_same_thread: bool = True
) -> sqlite3.Connection:
    """Open a file (or `:memory:`) in autocommit mode, rows by name or position, `pragmas` in order.

    Blocks, for up to `busy_timeout` while others hold the file: not for the event loop's thread.
    Raises ValueError for a pragma that SQLite does not know, sqlite3.Error where it cannot open.
    """
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=check_same_thread)
    connection.row_factory = sqlite3.Row
    try:
        known = {name for (name,) in connection.execute("PRAGMA pragma_list")}
        for name, value in pragmas.items():
            # SQLite ignores an unknown pragma in silence, and takes no parameters for any.
            if name not in known:
                raise ValueError(f"SQLite has no pragma '{name}'; remove it from the credentials")
            if not re.fullmatch(r"-?\w+", str(value)):
                raise ValueError(f"SQLite pragma '{name}': {value!r} is not a number or a word")
            _apply(connection, f"PRAGMA {name}={value}")
    except BaseException:
        connection.close()
        raise
    return connection


def _apply(connection: sqlite3.Connection, pragma: str) -> None:
    (timeout,) = connection.execute("PRAGMA busy_timeout").fetchone()
    deadline = time.monotonic() + timeout / 1000
    while True:
        try:
            connection.execute(pragma).close()
            return
        except sqlite3.OperationalError as error:
            # The switch to WAL does not wait for a lock by itself, so of several processes that
            # open a new file at once some would fail.
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() >= deadline:
                raise
            time.sleep(_RETRY_SECONDS)
