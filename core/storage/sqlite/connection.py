"""Plain connections to the database file, for threads."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from .pragmas import PRAGMAS, open_database


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open the file in autocommit mode, rows by name or position.

    It may be closed from another thread than the one that uses it. Blocks, see `open_database`.
    """
    # None is as SQLite takes it. Unless that is said, Python looks for a way to adapt each one that
    # is bound, until an exception tells it that there is none: a tenth of the time of most
    # statements. It can only be said for the whole process, and changes nothing for anybody.
    sqlite3.register_adapter(type(None), _same)
    # A mapped file is of use to who reads much once. It makes a writer search the log for each page
    # that it reads, those in its cache too.
    pragmas = {**PRAGMAS, **({"query_only": "ON"} if read_only else {"mmap_size": 0})}
    return open_database(str(path), pragmas, check_same_thread=False)


def _same(none: None) -> None:
    return none
